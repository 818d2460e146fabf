#![doc = include_str!("../README.md")]

mod file;
mod line;

use std::path::PathBuf;

use serde::Deserialize;
use telex_log::{Format, Logger, MaxLevel, MaxQueueBytes, Queue, Tell, Way, options};

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

/// Opens the file; `tell` is told when writing fails, and when it works again.
pub fn start(config: &str, tell: Tell) -> Result<Logger, String> {
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
    Ok(Logger::new(options.level, Way::Queue(queue)))
}

telex_log::export!(start);
