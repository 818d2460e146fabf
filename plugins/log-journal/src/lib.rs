#![doc = include_str!("../README.md")]

mod datagram;
mod native;

use std::path::PathBuf;

use serde::Deserialize;
use telex_log::{LocalSocket, MaxLevel, MaxQueueBytes, Tell, options};
use telex_plugin::{Call, Event, Events, Fault, Heard, Host, Kind, Log, Plugin, Record};

pub use crate::native::MESSAGE_IDS;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    path: PathBuf,
    identifier: String,
    level: MaxLevel,
    max_queue_bytes: MaxQueueBytes,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            path: PathBuf::from("/run/systemd/journal/socket"),
            identifier: "telexd".to_owned(),
            level: MaxLevel::default(),
            max_queue_bytes: MaxQueueBytes::default(),
        }
    }
}

/// Sends records to the journal.
#[derive(Debug)]
pub struct LogJournal {
    level: MaxLevel,
    socket: LocalSocket,
}

impl LogJournal {
    /// Starts; the journal need not be there. `tell` is told when it cannot be reached, and when it can again.
    pub fn start(config: &str, tell: Tell) -> Result<LogJournal, String> {
        let options: Options = options(config)?;
        let format = Box::new(native::format(options.identifier));
        let socket = LocalSocket::start(
            "log-journal",
            &options.path,
            options.max_queue_bytes.0,
            format,
            datagram::send,
            tell,
        )?;
        Ok(LogJournal { level: options.level, socket })
    }

    /// Takes a record.
    pub fn write(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        if self.level.takes(record) { self.socket.add(record) } else { Ok(()) }
    }

    /// Has what was taken sent.
    pub fn flush(&self) {
        self.socket.flush();
    }
}

impl Plugin for LogJournal {
    fn create(host: Host, config: &str) -> Result<LogJournal, String> {
        LogJournal::start(config, Box::new(move |level, message| host.log(level, message)))
    }
}

impl Log for LogJournal {
    fn record(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        self.write(record)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        LogJournal::flush(self);
        Ok(())
    }
}

impl Events for LogJournal {
    fn event(&mut self, _: &Event<'_>, _: &Call<'_>) -> Heard {
        Heard::Yes
    }

    /// Not to be made anew by a reload that changes nothing here.
    fn wants(&self) -> &'static [Kind] {
        &[Kind::Reloaded]
    }
}

telex_plugin::export!(LogJournal, log, events);
