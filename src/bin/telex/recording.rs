//! Knows the file of a recording: how its lines are written, whole or not at all, and read.
//! Never: what is done with what was recorded.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;
use serde::Deserialize;
use telex::client::{Category, Message};

use crate::exit::{Exit, Failure};

/// How much is kept before it is written.
const KEPT_BYTES: usize = 64 << 10;

/// A recording that is being written. A line stands in the file as a whole or not at all.
pub(crate) struct Recording {
    file: File,
    name: String,
    /// Whether all that is in the file is this recording's: what stdout leads to may hold more.
    is_own: bool,
    /// Whole lines that are still to be written.
    kept: Vec<u8>,
    bytes: u64,
    lines: u64,
}

impl Recording {
    /// A new file; what is there already is only overwritten if it is meant. `-` is stdout.
    pub(crate) fn create(name: &str, overwrite: bool) -> Result<Recording, Failure> {
        let file = match name {
            "-" => std::io::stdout().as_fd().try_clone_to_owned().map(File::from),
            _ => File::options()
                .write(true)
                .create(overwrite)
                .truncate(overwrite)
                .create_new(!overwrite)
                // The messages of others are for its owner alone.
                .mode(0o600)
                .open(name),
        };
        let is_own = name != "-";
        let name = if name == "-" { "stdout" } else { name }.to_owned();
        match file {
            Ok(file) => Ok(Recording { file, name, is_own, kept: Vec::new(), bytes: 0, lines: 0 }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(Failure::new(Exit::Refused, format!("{name} is there already: --force overwrites it")))
            }
            Err(error) => Err(Failure::file(&name, &error)),
        }
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.kept.extend_from_slice(line.as_bytes());
        self.kept.push(b'\n');
        if self.kept.len() < KEPT_BYTES { Ok(()) } else { self.flush() }
    }

    /// Writes what is kept. If that fails, what was written of a line is taken back, if the file lets it.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        let (mut written, mut failed) = (0, None);
        while written < self.kept.len() && failed.is_none() {
            match self.file.write(&self.kept[written..]) {
                Ok(0) => failed = Some(ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => failed = Some(error),
            }
        }
        let whole = self.kept[..written].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.lines += self.kept[..whole].iter().filter(|byte| **byte == b'\n').count() as u64;
        self.bytes += whole as u64;
        self.kept.clear();
        match failed {
            None => Ok(()),
            Some(error) => {
                if self.is_own && whole < written {
                    let _ = self.file.set_len(self.bytes);
                }
                Err(Failure::file(&self.name, &error))
            }
        }
    }

    /// Writes what is kept, and waits until a disk has it.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        self.flush()?;
        match self.file.sync_data() {
            // It is no file on a disk.
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
            done => done.map_err(|error| Failure::file(&self.name, &error)),
        }
    }

    /// How many lines stand in the file.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }
}

/// A message of a recording.
pub(crate) struct Recorded {
    /// Seconds since 1970.
    pub(crate) time: f64,
    /// The unique id of its sender's connection.
    pub(crate) sender: String,
    pub(crate) message: Message,
}

/// What can be done with it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// It can be sent.
    Sent,
    /// It answered a request.
    Reply,
    /// It was for the daemon itself.
    ToDaemon,
}

/// A line of a recording.
#[derive(Deserialize)]
struct Line {
    time: f64,
    sender: Sender,
    line: String,
    line_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Sender {
    unique_id: String,
}

/// Times beyond the year 30,000 are none.
const TIME_MAX: f64 = 1e12;

impl Recorded {
    fn read(line: &[u8]) -> Result<Recorded, String> {
        let is_message = || Message::read(line.to_vec()).is_ok();
        let Line { time, sender, line: text, line_bytes } = match serde_json::from_slice(line) {
            Ok(line) => line,
            Err(_) if is_message() => {
                return Err(
                    "it has no time and no sender: what was recorded with --plain cannot be replayed".into(),
                );
            }
            Err(error) => return Err(format!("it is no recorded message: {error}")),
        };
        if let Some(bytes) = line_bytes {
            let kept = text.len();
            return Err(format!(
                "only {kept} of {bytes} bytes were recorded (--snap): that cannot be replayed"
            ));
        }
        if !(0.0..TIME_MAX).contains(&time) {
            return Err(format!("{time:?} is no time"));
        }
        match Message::read(text.into_bytes()) {
            Ok(message) => Ok(Recorded { time, sender: sender.unique_id, message }),
            Err(fault) => Err(format!("its line is no message: {fault}")),
        }
    }

    pub(crate) fn again(&self) -> Again {
        match self.message.category() {
            Category::Reply | Category::Error => Again::Reply,
            _ if self.message.to().is_none() && self.message.topic().is_none() => Again::ToDaemon,
            _ => Again::Sent,
        }
    }

    /// The node that it was sent from, if its sender had a name.
    pub(crate) fn node(&self) -> Option<&str> {
        let from = self.message.from().filter(|from| !from.starts_with(':'))?;
        Some(from.split_once('#').map_or(from, |(node, _)| node))
    }
}

/// A recording that is read, each time as far as it went when it was opened.
pub(crate) struct Source {
    name: String,
    file: File,
    bytes: u64,
}

impl Source {
    /// Opens a regular file: anything else, such as a pipe, cannot be read a second time.
    pub(crate) fn open(name: &str) -> Result<Source, Failure> {
        let no_file =
            || Failure::usage(format!("{name} is no regular file: a recording is read more than once"));
        if name == "-" {
            return Err(no_file());
        }
        // So that a FIFO is not waited for.
        let opened = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(name);
        let opened = opened.and_then(|file| Ok((file.metadata()?, file)));
        match opened.map_err(|error| Failure::file(name, &error))? {
            (metadata, file) if metadata.is_file() => {
                Ok(Source { name: name.to_owned(), file, bytes: metadata.len() })
            }
            _ => Err(no_file()),
        }
    }

    /// Hands each message to `each`; none of an empty line. An error names the line that is at fault.
    pub(crate) fn read(&self, mut each: impl FnMut(Recorded) -> Result<(), Failure>) -> Result<(), Failure> {
        let name = &self.name;
        let failed = |error| Failure::file(name, &error);
        (&self.file).rewind().map_err(failed)?;
        let mut lines = BufReader::new(&self.file).take(self.bytes).split(b'\n').zip(1..);
        lines.try_for_each(|(line, number): (_, u64)| {
            let line = line.map_err(failed)?;
            if line.trim_ascii().is_empty() {
                return Ok(());
            }
            let recorded = Recorded::read(&line)
                .map_err(|why| Failure::usage(format!("{name}: line {number}: {why}")))?;
            each(recorded)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_read_as_far_as_it_went_when_it_was_opened() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("recording");
        let message = r#"{"message_type":"signal","to":"a"}"#;
        let sender = serde_json::json!({"unique_id": ":7"});
        let line = serde_json::json!({"time": 1, "sender": sender, "line": message}).to_string() + "\n";
        std::fs::write(&path, line.repeat(3)).expect("a file");
        let source = Source::open(path.to_str().expect("a path")).expect("a recording");
        let mut counts = [0; 2];
        for count in &mut counts {
            let counting = source.read(|_| {
                *count += 1;
                Ok(())
            });
            counting.expect("messages");
            std::fs::write(&path, line.repeat(9)).expect("a file");
        }
        assert_eq!(counts, [3, 3]);
    }
}
