//! Knows the file of learned rules: what it has already, and how more get there by a thread, so that a slow disk
//! holds up no message.
//! Never: what a rule says.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use telex_log::{Batch, Queue, Sink, Tell};
use telex_plugin::Record;

/// How many rules are learned.
const LEARNED_MAX: usize = 10_000;
/// Bytes of rules that wait for the disk: more than there are, as names have no more than 255 bytes.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// The event of a record that is a rule.
const RULE: &str = "rule";

/// Why there can be no learning.
pub(crate) fn cannot_open(path: &Path, error: &io::Error) -> String {
    format!("\"learn_file\" is \"{}\", which cannot be opened: {error}", path.display())
}

/// The file of learned rules. What is to be written when it is dropped is written, or told of as lost.
#[derive(Debug)]
pub struct Learned {
    queue: Queue,
    rules: HashSet<String>,
    has_told: bool,
}

impl Learned {
    /// Opens or makes a file. What it has is not learned again. `tell` is told if it cannot be written, and
    /// if it can be again.
    pub fn open(path: &Path, tell: Tell) -> Result<Learned, String> {
        let fault = |error: io::Error| cannot_open(path, &error);
        // What is learned is for the administrator, whatever the umask is.
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).mode(0o600).open(path).map_err(fault)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(fault)?;
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n").map_err(fault)?;
        }
        let rules = text.lines().map(|line| line.trim().to_owned()).take(LEARNED_MAX).collect();
        let sink = RuleFile { path: path.to_owned(), file };
        let queue = Queue::start("acl-learn", WAITING_BYTES_MAX, Box::new(write_line), sink, tell)?;
        Ok(Learned { queue, rules, has_told: false })
    }

    /// Has a rule written if it is new. The error is for the log, once: no more rules are learned.
    pub fn learn(&mut self, rule: &str) -> Result<(), String> {
        if self.rules.contains(rule) {
            return Ok(());
        }
        if self.rules.len() >= LEARNED_MAX {
            return match std::mem::replace(&mut self.has_told, true) {
                true => Ok(()),
                false => {
                    Err(format!("{LEARNED_MAX} rules are learned, which is enough; write some that say more"))
                }
            };
        }
        let record = Record { event: RULE, message: rule, ..Record::default() };
        // A rule that finds no room is learned when it is needed again.
        if self.queue.add(&record).is_ok() {
            self.rules.insert(rule.to_owned());
            self.queue.flush();
        }
        Ok(())
    }
}

/// A rule on its line; what the queue says itself is a comment.
fn write_line(record: &Record<'_>, line: &mut Vec<u8>) {
    if record.event != RULE {
        line.extend_from_slice(b"# ");
    }
    line.extend_from_slice(record.message.as_bytes());
    line.push(b'\n');
}

/// The file, which is written line by line: one that finds no room whole is taken back.
#[derive(Debug)]
struct RuleFile {
    path: PathBuf,
    file: File,
}

impl Sink for RuleFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn write(&mut self, batch: &mut Batch) -> io::Result<usize> {
        let line = batch.record();
        let before = self.file.metadata()?.len();
        if let Err(error) = self.file.write_all(line) {
            // A device has no length to set.
            let _ = self.file.set_len(before);
            return Err(error);
        }
        Ok(line.len())
    }

    /// It is never asked for: a reload that changes nothing makes it anew.
    fn reopen(&mut self, _: &mut Batch) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    fn open(path: &Path) -> (Learned, Receiver<String>) {
        let (tell, told) = channel();
        let tell = move |_, text: &str| drop(tell.send(text.to_owned()));
        (Learned::open(path, Box::new(tell)).expect("a file"), told)
    }

    #[test]
    fn a_rule_is_written_once_also_by_the_next_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("learned.toml");
        for rules in [&["{ one },", "{ two },", "{ one },"][..], &["{ two },"]] {
            let (mut learned, told) = open(&path);
            rules.iter().for_each(|rule| learned.learn(rule).unwrap());
            drop(learned);
            assert_eq!(told.iter().count(), 0);
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "{ one },\n{ two },\n");
    }

    #[test]
    fn a_line_without_an_end_is_ended_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("learned.toml");
        fs::write(&path, "{ one },").unwrap();
        open(&path).0.learn("{ two },").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{ one },\n{ two },\n");
    }

    #[test]
    fn what_is_learned_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("learned.toml");
        let text: String = (0..LEARNED_MAX).map(|number| format!("{number}\n")).collect();
        fs::write(&path, &text).unwrap();
        let (mut learned, _told) = open(&path);
        assert_eq!(learned.learn("7"), Ok(()));
        assert!(learned.learn("new").unwrap_err().contains("10000 rules"));
        assert_eq!(learned.learn("new"), Ok(()), "that is told once");
        drop(learned);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told() {
        assert!(Learned::open(Path::new("/"), Box::new(|_, _| {})).unwrap_err().contains("\"/\""));
        let (tell, told) = channel();
        let tell = move |_, text: &str| drop(tell.send(text.to_owned()));
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let sink = RuleFile { path: "/dev/full".into(), file };
        let queue = Queue::start("acl-learn", 1000, Box::new(write_line), sink, Box::new(tell)).unwrap();
        let mut learned = Learned { queue, rules: HashSet::new(), has_told: false };
        learned.learn("{ one },").unwrap();
        drop(learned);
        let told: Vec<String> = told.iter().collect();
        assert!(told[0].starts_with("cannot write to /dev/full: No space left on device"), "{told:?}");
        assert_eq!(told[1], "1 records lost, which /dev/full has not taken at the end");
    }
}
