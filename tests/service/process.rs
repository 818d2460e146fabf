//! Services that are processes of their own: this test program, started again with one of its tests.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use telex::client::{Error, Message};

use super::support::{PATIENCE, Process, Telexd, wait_for, wait_until};
use super::{address, echo, unix};

const PART: &str = "TELEX_TEST_SERVICE";
const DAEMON: &str = "TELEX_TEST_DAEMON";
const DIR: &str = "TELEX_TEST_DIR";
const NAME: &str = "TELEX_TEST_NAME";

/// What the process does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// An echo with a socket file, which tells of each `sleep`, and answers `fork` with the process ID of a child
    /// that holds all that was open.
    Echo,
    /// The same; the process goes on when the service has ended.
    Stay,
    /// The same at what the service manager hands over.
    Inherit,
    /// The same with the sockets of one name alone. At first it fails to start.
    InheritNamed,
}

impl Part {
    fn word(self) -> &'static str {
        match self {
            Part::Echo => "echo",
            Part::Stay => "stay",
            Part::Inherit => "inherit",
            Part::InheritNamed => "inherit named",
        }
    }

    /// What has to be in the environment of the process.
    pub(crate) fn environment(self, telexd: &Telexd, node_id: &str) -> Vec<(&'static str, String)> {
        let dir = telexd.dir().to_str().expect("UTF-8").to_owned();
        vec![
            (PART, self.word().to_owned()),
            (DAEMON, telexd.addresses[0].clone()),
            (DIR, dir),
            (NAME, node_id.to_owned()),
        ]
    }

    /// Starts it and waits until it serves.
    pub(crate) fn start(self, telexd: &Telexd, node_id: &str) -> ServiceProcess {
        let (program, arguments) = program();
        let mut command = Command::new(program);
        command.args(arguments).envs(self.environment(telexd, node_id)).env_remove("NOTIFY_SOCKET");
        let mut process = ServiceProcess::start(command);
        process.expect("ready");
        process
    }
}

/// The program and arguments that make a process play its part.
pub(crate) fn program() -> (std::path::PathBuf, [&'static str; 3]) {
    (std::env::current_exe().expect("this program"), ["--exact", "process::part", "--nocapture"])
}

/// A process; it ends with the test.
pub(crate) struct ServiceProcess {
    child: Child,
    lines: Receiver<String>,
}

impl ServiceProcess {
    pub(crate) fn start(mut command: Command) -> ServiceProcess {
        command.stdin(Stdio::null());
        ServiceProcess::spawn(command)
    }

    /// The same with the stdin of the command.
    pub(crate) fn spawn(mut command: Command) -> ServiceProcess {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a process");
        let stdout = BufReader::new(child.stdout.take().expect("its stdout"));
        let (tell, lines) = channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        ServiceProcess { child, lines }
    }

    /// Waits until it has said this word.
    pub(crate) fn expect(&mut self, word: &str) {
        let wanted = format!("@{word}");
        let deadline = std::time::Instant::now() + PATIENCE;
        let mut line = String::new();
        while !line.trim_end().ends_with(&wanted) {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            line = self.lines.recv_timeout(left).unwrap_or_else(|why| panic!("no {word}: {why}"));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("a signal");
    }

    /// Tells it to end, once it waits for that. Of its signals it asks for SIGINT last.
    pub(crate) fn end(&self, signal: Signal) {
        let caught = || {
            let status =
                std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("its signals");
            u64::from_str_radix(caught.trim(), 16).expect("a set")
        };
        wait_until("SIGINT to be caught", || caught() & (1 << (Signal::SIGINT as i32 - 1)) != 0);
        self.signal(signal);
    }

    pub(crate) fn suspend(&self) {
        self.signal(Signal::SIGSTOP);
        wait_until("a suspended process", || Process(self.child.id()).is_stopped());
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("its end");
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for("the end of the process", || self.child.try_wait().expect("its state"))
    }

    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }

    pub(crate) fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("its threads").count()
    }
}

impl Drop for ServiceProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process itself; among the tests it does nothing.
#[test]
fn part() {
    let Ok(part) = std::env::var(PART) else { return };
    let variable = |name: &str| std::env::var(name).expect(name);
    let builder = echo(&variable(NAME)).notify(true).on("sleep", |request: &Message| {
        println!("@sleep");
        let ms = request.body_value().as_u64().unwrap_or_default();
        thread::sleep(Duration::from_millis(ms));
        Ok::<_, String>("\"slept\"")
    });
    let builder = builder.on("fork", |_| {
        // SAFETY: the child only sleeps and ends.
        #[expect(unsafe_code, reason = "fork(2) is what this is about")]
        match unsafe { nix::unistd::fork() }.map_err(|error| error.to_string())? {
            nix::unistd::ForkResult::Parent { child } => Ok::<_, String>(child.to_string()),
            nix::unistd::ForkResult::Child => {
                thread::sleep(2 * PATIENCE);
                unsafe { nix::libc::_exit(0) }
            }
        }
    });
    let dir = variable(DIR);
    let file = unix(Path::new(&dir), "echo");
    let builder = match part.as_str() {
        "inherit" => builder.inherit().listen(file),
        "inherit named" => {
            let nowhere = address(&format!("unix:{dir}/nowhere"));
            let failed = echo("failed").inherit_named("mine").start(&nowhere).map(drop);
            assert!(matches!(failed, Err(Error::Connect { .. })), "{failed:?}");
            let failed = echo("failed").inherit_named("mine").inherit_named("no one's").start_alone();
            let why = failed.expect_err("no such socket").to_string();
            assert!(why.contains("\"no one's\""), "{why}");
            builder.inherit_named("mine")
        }
        _ => builder.listen(file),
    };
    let service = builder.start(&address(&variable(DAEMON))).expect("a service");
    println!("@ready");
    service.run().expect("signals");
    println!("@over");
    if part == "stay" {
        thread::sleep(2 * PATIENCE);
    }
}
