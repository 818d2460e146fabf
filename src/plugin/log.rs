//! Knows how records of the log reach the plugins that take it, and what plugins say for the log themselves.
//! Never: where a record goes that none of them takes.

use std::time::Duration;

use telex_plugin::raw;

use super::chain::{Chain, failed_at};
use super::ffi::{Said, Voice};
use super::pace::{Late, Task};
use super::view;
use crate::core::{Level, Note};

impl Chain {
    /// Whether a plugin takes the log's records.
    pub(super) fn has_log(&self) -> bool {
        self.slots.iter().any(|slot| slot.instance.is_log() && !slot.is_out)
    }

    /// Hands a record to the log plugins. False if none has taken it. `now` is since 1970.
    pub(super) fn record(&mut self, note: &Note, now: Duration) -> bool {
        let mut taken = false;
        for at in 0..self.slots.len() {
            let slot = &mut self.slots[at];
            // What a log plugin says of a record would lead to a record for ever.
            let is_own = note.about.plugin.as_ref() == Some(&slot.settings.name);
            if !slot.instance.is_log() || slot.is_out || is_own {
                continue;
            }
            let bytes = note.text.len() + note.fields.len();
            slot.unflushed_bytes += bytes;
            let record = view::record(note, now);
            let (answer, late) = slot.pace.time(Task::Record, || bytes, || slot.instance.record(&record));
            taken |= answer == raw::OK;
            self.logged(at, Task::Record, answer, late);
        }
        taken
    }

    /// Tells the log plugins that these were all records of this turn.
    pub(super) fn flush(&mut self) {
        for at in 0..self.slots.len() {
            let slot = &mut self.slots[at];
            if slot.instance.is_log() && !slot.is_out {
                let bytes = std::mem::take(&mut slot.unflushed_bytes);
                let (answer, late) = slot.pace.time(Task::Flush, || bytes, || slot.instance.flush());
                self.logged(at, Task::Flush, answer, late);
            }
        }
    }

    /// Counts what a log plugin did wrong. One that says [`raw::FAULT`] did not: its disk is full, or its peer
    /// gone, which it tells itself, and it may take the next record.
    fn logged(&mut self, at: usize, task: Task, answer: i32, late: Option<Late>) {
        match (answer, late) {
            (raw::OK | raw::FAULT, Some(late)) => self.strike(at, &late.to_string()),
            (raw::OK | raw::FAULT, None) => {}
            (answer, _) => self.strike(at, &failed_at(answer, task)),
        }
    }

    /// What there is to log of the plugins themselves. `voices` are theirs; those that have ended go.
    pub(super) fn take_notes(&mut self, voices: &mut Vec<Voice>) -> Vec<Note> {
        voices.retain(|voice| {
            // Looked at before what it said: behind that nothing more comes.
            let is_over = voice.is_over();
            if let Some(said) = voice.said() {
                self.note_said(voice.name(), said);
            }
            !is_over
        });
        std::mem::take(&mut self.notes)
    }

    /// What log plugins have said of the records that they were handed. It goes to none of them: they would
    /// drive each other for ever.
    pub(super) fn take_echoes(&mut self, voices: &[Voice]) -> Vec<Note> {
        let notes = std::mem::take(&mut self.notes);
        for voice in voices {
            self.note_said(voice.name(), voice.echoes());
        }
        std::mem::replace(&mut self.notes, notes)
    }

    /// Makes records of the log of what a plugin has said.
    fn note_said(&mut self, name: &str, said: Said) {
        for (level, text) in said.records {
            self.note(view::level_of(level), name, &text);
        }
        if said.lost > 0 {
            self.note(Level::Warning, name, &format!("said {} more in one turn", said.lost));
        }
    }
}
