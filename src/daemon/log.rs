//! Knows how records get to stderr.
//! Never: what is worth one.

use std::io::Write;

use crate::core::{Level, Note};

/// The log on stderr: one line per record, with a level in front that the journal understands where
/// it is the journal that reads (sd-daemon(3)).
#[derive(Debug)]
pub(super) struct Log {
    level: Level,
    for_journal: bool,
}

impl Log {
    pub(super) fn new(level: Level, for_journal: bool) -> Log {
        Log { level, for_journal }
    }

    pub(super) fn set_level(&mut self, level: Level) {
        self.level = level;
    }

    pub(super) fn note(&mut self, note: &Note) {
        match note.about.number {
            Some(number) => self.write(note.level, &format!(":{number} {}", note.text)),
            None => self.write(note.level, &note.text),
        }
    }

    pub(super) fn error(&mut self, text: &str) {
        self.write(Level::Error, text);
    }

    pub(super) fn warn(&mut self, text: &str) {
        self.write(Level::Warning, text);
    }

    pub(super) fn notice(&mut self, text: &str) {
        self.write(Level::Notice, text);
    }

    fn write(&mut self, level: Level, text: &str) {
        if level > self.level {
            return;
        }
        let (number, word) = match level {
            Level::Error => (3, "error"),
            Level::Warning => (4, "warning"),
            Level::Notice => (5, "notice"),
            Level::Info => (6, "info"),
            Level::Debug => (7, "debug"),
        };
        // A peer's words may stand in it: no line end of theirs begins a record of its own.
        let text: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        let line = match self.for_journal {
            true => format!("<{number}>{text}\n"),
            false => format!("telexd: {word}: {text}\n"),
        };
        // Where stderr cannot be written to there is nowhere to say so.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}
