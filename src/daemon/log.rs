//! Knows where records go: to stderr, or to plugins at the end of the turn.
//! Never: what is worth one.

use std::io;
use std::time::Duration;

use crate::core::{Event, Level, Note, Subject};
use crate::sys::{BackgroundWriter, is_journal};

/// How long the daemon's end waits for stderr to take what is left.
const END_MAX: Duration = Duration::from_secs(1);

/// Of the records of one turn so many are published. The log itself has all.
const PUBLISHED_MAX: usize = 1000;

/// The log. On stderr it is one line per record, with a level in front that the journal understands if it is
/// the journal that reads (sd-daemon(3)).
#[derive(Debug)]
pub(super) struct Log {
    /// As the configuration has it.
    level: Level,
    /// What an administrator has put in its place, and until when that holds.
    asked: Option<(Level, Option<Duration>)>,
    for_journal: bool,
    stderr: BackgroundWriter,
    /// Plugins take the records.
    is_for_plugins: bool,
    /// Those that they have not been handed yet.
    waiting: Vec<Note>,
    /// Administrators subscribe to the records.
    publishes: bool,
    /// Those that are not published yet.
    published: Vec<Note>,
    /// How many more there were.
    unpublished: usize,
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
        Ok(Log {
            level,
            asked: None,
            for_journal,
            stderr,
            is_for_plugins: false,
            waiting: Vec::new(),
            publishes: false,
            published: Vec::new(),
            unpublished: 0,
        })
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

    /// Puts another level in the place of the configuration's, until that is taken back.
    pub(super) fn set_level_until(&mut self, level: Level, until: Option<Duration>) {
        self.asked = Some((level, until));
    }

    /// What has been put in its place, and until when that holds.
    pub(super) fn asked_level(&self) -> Option<(Level, Option<Duration>)> {
        self.asked
    }

    /// The level of the configuration is in force again, if it was not; says which.
    pub(super) fn take_back_level(&mut self) -> Option<Level> {
        self.asked.take().map(|_| self.level)
    }

    /// When that is due by itself.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.asked.and_then(|(_, until)| until)
    }

    /// Whether records are kept for [`Log::take_published`] too.
    pub(super) fn publishes(&mut self, publishes: bool) {
        self.publishes = publishes;
    }

    /// The records that are to be published.
    pub(super) fn take_published(&mut self) -> Vec<Note> {
        let left_out = std::mem::take(&mut self.unpublished);
        if left_out > 0 {
            let text = format!("{left_out} more records were logged at once, and are not published");
            self.published.push(own_note(Level::Warning, &text));
        }
        std::mem::take(&mut self.published)
    }

    /// Whether there are any.
    pub(super) fn has_published(&self) -> bool {
        !self.published.is_empty()
    }

    pub(super) fn note(&mut self, note: Note) {
        if let Some(note) = self.wanted(note) {
            self.take(note);
        }
    }

    fn take(&mut self, note: Note) {
        if self.publishes {
            match self.published.len() < PUBLISHED_MAX {
                true => self.published.push(note.clone()),
                false => self.unpublished += 1,
            }
        }
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
        if note.level > self.asked.map_or(self.level, |(level, _)| level) {
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

    /// Says something of the log itself, whatever its level is.
    pub(super) fn announce(&mut self, text: &str) {
        self.take(own_note(Level::Notice, text));
    }

    fn say(&mut self, level: Level, text: &str) {
        self.note(own_note(level, text));
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

fn own_note(level: Level, text: &str) -> Note {
    let (about, fields) = (Subject::default(), "{}".to_owned());
    Note { level, event: Event::Daemon, about, text: text.to_owned(), fields }
}

/// A record as stderr has it.
fn line(for_journal: bool, level: Level, text: &str) -> String {
    // syslog(3) counts on from LOG_ERR.
    match for_journal {
        true => format!("<{}>{text}\n", level as u8 + 3),
        false => format!("telexd: {}: {text}\n", level.word()),
    }
}
