#![doc = include_str!("../README.md")]

mod datagram;
mod native;

use std::path::PathBuf;

use serde::Deserialize;
use telex_log::{LocalSocket, Logger, MaxLevel, MaxQueueBytes, Stream, Tell, Way, options};

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

/// Starts; the journal need not be there. `tell` is told when it cannot be reached, and when it can again.
pub fn start(config: &str, tell: Tell) -> Result<Logger, String> {
    let Options { path, identifier, level, max_queue_bytes } = options(config)?;
    let format = Box::new(native::format(identifier));
    let socket = LocalSocket::start(
        "log-journal",
        &path,
        max_queue_bytes.0,
        format,
        datagram::send,
        Stream::Refuses,
        tell,
    )?;
    Ok(Logger::new(level, Way::Socket(socket)))
}

// It opens no file, and needs none at its other end.
telex_log::export!(start, start);
