#![doc = include_str!("../README.md")]

mod file;
mod line;

use std::path::PathBuf;

use serde::Deserialize;
use telex_log::{Format, MaxLevel, MaxQueueBytes, Queue, Tell, options};
use telex_plugin::{Call, Event, Events, Fault, Heard, Host, Kind, Log, Plugin, Record};

use crate::file::LineFile;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    path: PathBuf,
    format: LineFormat,
    mode: String,
    level: MaxLevel,
    max_queue_bytes: MaxQueueBytes,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            path: PathBuf::new(),
            format: LineFormat::Json,
            mode: "0640".to_owned(),
            level: MaxLevel::default(),
            max_queue_bytes: MaxQueueBytes::default(),
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LineFormat {
    Json,
    Text,
}

/// Writes records to a file, one line each.
#[derive(Debug)]
pub struct LogFile {
    level: MaxLevel,
    queue: Queue,
}

impl LogFile {
    /// Opens the file; `tell` is told when writing fails, and when it works again.
    pub fn start(config: &str, tell: Tell) -> Result<LogFile, String> {
        let options: Options = options(config)?;
        if !options.path.is_absolute() {
            let path = options.path.display();
            return Err(format!("path: \"{path}\" is no absolute path, such as \"/var/log/telexd.log\""));
        }
        let mode = u32::from_str_radix(&options.mode, 8).ok().filter(|mode| *mode <= 0o777);
        let mode =
            mode.ok_or_else(|| format!("mode: \"{}\" is no mode from \"0000\" to \"0777\"", options.mode))?;
        let format: Format = match options.format {
            LineFormat::Json => Box::new(line::write_json),
            LineFormat::Text => Box::new(line::write_text),
        };
        let file = LineFile::open(&options.path, mode)
            .map_err(|error| format!("cannot open {}: {error}", options.path.display()))?;
        let queue = Queue::start("log-file", options.max_queue_bytes.0, format, file, tell)?;
        Ok(LogFile { level: options.level, queue })
    }

    /// Takes a record.
    pub fn write(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        if self.level.takes(record) { self.queue.add(record) } else { Ok(()) }
    }

    /// Has what was taken written.
    pub fn flush(&self) {
        self.queue.flush();
    }

    /// Goes on in the file that is at `path` now.
    pub fn reopen(&self) {
        self.queue.reopen();
    }
}

impl Plugin for LogFile {
    fn create(host: Host, config: &str) -> Result<LogFile, String> {
        LogFile::start(config, Box::new(move |level, message| host.log(level, message)))
    }
}

impl Log for LogFile {
    fn record(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        self.write(record)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        LogFile::flush(self);
        Ok(())
    }
}

impl Events for LogFile {
    fn event(&mut self, _: &Event<'_>, _: &Call<'_>) -> Heard {
        self.reopen();
        Heard::Yes
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Reloaded]
    }
}

telex_plugin::export!(LogFile, log, events);
