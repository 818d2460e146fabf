//! Knows how records of the log reach the plugins that take it, and what plugins say for the log themselves.
//! Never: where a record goes that none of them takes.

use std::time::Duration;

use telex_plugin::raw::{self, Str};

use super::chain::{self, Chain};
use super::ffi::Said;
use super::{Plugins, failed_at};
use crate::core::{Event, Level, Note};

impl Plugins {
    /// Whether a plugin takes the log's records.
    pub fn has_log(&self) -> bool {
        self.chain.slots.iter().any(|slot| slot.instance.is_log() && !slot.is_out)
    }

    /// Hands a record to the log plugins. False where none has taken it. `now` is since 1970.
    pub fn record(&mut self, note: &Note, now: Duration) -> bool {
        let mut taken = false;
        for at in 0..self.chain.slots.len() {
            let slot = &mut self.chain.slots[at];
            // What a thread of a log plugin says of a record would lead to a record for ever.
            let is_own = note.event == Event::Plugin && note.fields == chain::fields_of(&slot.wanted.name);
            if !slot.instance.is_log() || slot.is_out || is_own {
                continue;
            }
            match slot.instance.record(&record(note, now)) {
                raw::OK => taken = true,
                // Its disk is full, or its peer gone: it says so itself, and may take the next one.
                raw::FAULT => {}
                answer => self.chain.strike(at, &format!("{} a record of the log", failed_at(answer))),
            }
        }
        taken
    }

    /// Tells the log plugins that these were all records of this turn.
    pub fn flush(&mut self) {
        for at in 0..self.chain.slots.len() {
            let slot = &mut self.chain.slots[at];
            if slot.instance.is_log() && !slot.is_out {
                let answer = slot.instance.flush();
                if answer != raw::OK && answer != raw::FAULT {
                    self.chain.strike(at, &format!("{} writing the log", failed_at(answer)));
                }
            }
        }
    }

    /// What there is to log of the plugins themselves.
    pub fn take_notes(&mut self) -> Vec<Note> {
        let chain = &mut self.chain;
        self.workshop.voices().retain(|voice| {
            // Looked at before what it said: behind that nothing more comes.
            let is_over = voice.is_over();
            if let Some(said) = voice.said() {
                note_said(chain, voice.name(), said);
            }
            !is_over
        });
        std::mem::take(&mut chain.notes)
    }

    /// What log plugins have said of the records that they were handed. It goes to none of them: they would
    /// drive each other for ever.
    pub fn take_echoes(&mut self) -> Vec<Note> {
        let notes = std::mem::take(&mut self.chain.notes);
        for voice in self.workshop.voices().iter() {
            note_said(&mut self.chain, voice.name(), voice.echoes());
        }
        std::mem::replace(&mut self.chain.notes, notes)
    }

    /// Whether there is more for the log already.
    pub fn has_notes(&self) -> bool {
        !self.chain.notes.is_empty()
    }
}

/// A record, as a log plugin sees it; lives as long as the note.
fn record(note: &Note, now: Duration) -> raw::Record {
    raw::Record {
        size: size_of::<raw::Record>() as u32,
        level: match note.level {
            Level::Error => raw::ERR,
            Level::Warning => raw::WARNING,
            Level::Notice => raw::NOTICE,
            Level::Info => raw::INFO,
            Level::Debug => raw::DEBUG,
        },
        time: i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
        event: Str::of(note.event.word()),
        connection: note.about.number.unwrap_or(0),
        node_id: Str::maybe(note.about.node_id.as_deref()),
        uid: note.about.uid.map_or(-1, i64::from),
        message: Str::of(&note.text),
        fields: Str::of(&note.fields),
    }
}

/// The level of a record of a plugin's own: what is worse than an error is one too.
fn level_of(number: i32) -> Level {
    match number {
        ..=raw::ERR => Level::Error,
        raw::WARNING => Level::Warning,
        raw::NOTICE => Level::Notice,
        raw::INFO => Level::Info,
        _ => Level::Debug,
    }
}

/// Makes records of the log of what a plugin has said.
fn note_said(chain: &mut Chain, name: &str, said: Said) {
    for (level, text) in said.records {
        chain.note(level_of(level), name, &text);
    }
    if said.lost > 0 {
        chain.note(Level::Warning, name, &format!("said {} more in one turn", said.lost));
    }
}
