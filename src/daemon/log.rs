//! Knows where records go: to stderr, or to plugins at the end of the turn.
//! Never: what is worth one.

use std::io;
use std::time::Duration;

use crate::core::{Event, Level, Note, Subject};
use crate::sys::{BackgroundWriter, is_journal};

/// How long the daemon's end waits for stderr to take what is left.
const END_MAX: Duration = Duration::from_secs(1);

/// The log. On stderr it is one line per record, with a level in front that the journal understands if it is
/// the journal that reads (sd-daemon(3)).
#[derive(Debug)]
pub(super) struct Log {
    level: Level,
    for_journal: bool,
    stderr: BackgroundWriter,
    /// Plugins take the records.
    is_for_plugins: bool,
    /// Those that they have not been handed yet.
    waiting: Vec<Note>,
}

impl Log {
    /// A log of what is at least as severe as `level`. Fails if there is no thread to write it.
    pub(super) fn start(level: Level) -> io::Result<Log> {
        let for_journal = is_journal();
        let dropped = move |count| {
            let text = format!("{count} records of the log were dropped: stderr did not take them in time");
            line(for_journal, Level::Warning, &text)
        };
        let stderr = BackgroundWriter::start(io::stderr(), dropped)?;
        Ok(Log { level, for_journal, stderr, is_for_plugins: false, waiting: Vec::new() })
    }

    /// Whether records wait for plugins from now on.
    pub(super) fn for_plugins(&mut self, is_for_plugins: bool) {
        self.is_for_plugins = is_for_plugins;
    }

    /// The records that wait for plugins.
    pub(super) fn take_waiting(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.waiting)
    }

    pub(super) fn set_level(&mut self, level: Level) {
        self.level = level;
    }

    pub(super) fn note(&mut self, note: Note) {
        let Some(note) = self.wanted(note) else { return };
        match self.is_for_plugins {
            true => self.waiting.push(note),
            false => self.write(&note),
        }
    }

    /// What no plugin is to be handed.
    pub(super) fn note_to_stderr(&self, note: Note) {
        if let Some(note) = self.wanted(note) {
            self.write(&note);
        }
    }

    fn wanted(&self, mut note: Note) -> Option<Note> {
        if note.level > self.level {
            return None;
        }
        // A peer's words may stand in it: no line end of theirs begins a record of its own.
        if note.text.contains(char::is_control) {
            note.text = note.text.replace(char::is_control, "\u{fffd}");
        }
        Some(note)
    }

    pub(super) fn error(&mut self, text: &str) {
        self.say(Level::Error, text);
    }

    pub(super) fn warn(&mut self, text: &str) {
        self.say(Level::Warning, text);
    }

    pub(super) fn notice(&mut self, text: &str) {
        self.say(Level::Notice, text);
    }

    fn say(&mut self, level: Level, text: &str) {
        let (about, fields) = (Subject::default(), "{}".to_owned());
        self.note(Note { level, event: Event::Daemon, about, text: text.to_owned(), fields });
    }

    /// Writes a record to stderr.
    pub(super) fn write(&self, note: &Note) {
        let line = match note.about.number {
            Some(number) => line(self.for_journal, note.level, &format!(":{number} {}", note.text)),
            None => line(self.for_journal, note.level, &note.text),
        };
        self.stderr.write(&line);
    }
}

impl Drop for Log {
    /// Waits until stderr has taken all records, but not for long.
    fn drop(&mut self) {
        self.stderr.drain(END_MAX);
    }
}

/// A record as stderr has it.
fn line(for_journal: bool, level: Level, text: &str) -> String {
    let (number, word) = match level {
        Level::Error => (3, "error"),
        Level::Warning => (4, "warning"),
        Level::Notice => (5, "notice"),
        Level::Info => (6, "info"),
        Level::Debug => (7, "debug"),
    };
    match for_journal {
        true => format!("<{number}>{text}\n"),
        false => format!("telexd: {word}: {text}\n"),
    }
}
