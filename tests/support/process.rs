//! Knows what the kernel tells of a process.
//! Never: what the process is.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A process that may be looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    fn file(self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.0)).expect(name)
    }

    fn status(self, key: &str) -> u64 {
        let text = self.file("status");
        let line = text.lines().find(|line| line.starts_with(key)).expect(key);
        line.split_whitespace().nth(1).and_then(|value| value.parse().ok()).expect(line)
    }

    /// Memory that it has, in KiB.
    pub(crate) fn rss_kib(self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most it ever had, in KiB.
    pub(crate) fn rss_peak_kib(self) -> u64 {
        self.status("VmHWM:")
    }

    /// Sends it a signal by its number, which may be a real-time one.
    pub(crate) fn signal(self, number: i32) {
        // The shell's own: a program `kill` is not on every machine.
        let sent = Command::new("sh").args(["-c", &format!("kill -{number} {}", self.0)]).status();
        assert!(sent.expect("sh").success(), "signal {number}");
    }

    /// The root directory as the process has it.
    pub(crate) fn root(self) -> PathBuf {
        format!("/proc/{}/root", self.0).into()
    }

    pub(crate) fn open_files(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0)).expect("fd").count()
    }

    /// Soft and hard limit of open files.
    pub(crate) fn open_files_limits(self) -> (String, String) {
        let text = self.file("limits");
        let line = text.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
        let mut words = line["Max open files".len()..].split_whitespace().map(str::to_owned);
        (words.next().expect("soft"), words.next().expect("hard"))
    }

    /// Time that it has spent on a processor.
    pub(crate) fn cpu(self) -> Duration {
        let text = self.file("stat");
        // The command's name may hold spaces; behind its parenthesis come fields 3 and on (proc(5)).
        let fields: Vec<_> = text[text.rfind(')').expect("a name") + 2..].split(' ').collect();
        let ticks: u64 =
            fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime");
        // Of a hundred a second, on every architecture that is in use.
        Duration::from_millis(ticks * 10)
    }

    /// Whether it is stopped by a signal.
    pub(crate) fn is_stopped(self) -> bool {
        let text = self.file("stat");
        text[text.rfind(')').expect("a name") + 2..].starts_with('T')
    }
}
