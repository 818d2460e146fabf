#![doc = include_str!("../README.md")]

mod message;
mod server;

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use telex_log::{LocalSocket, Logger, MaxLevel, MaxQueueBytes, Queue, Stream, Tell, Way, options};

use crate::message::Origin;
use crate::server::{Server, Transport};

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    path: Option<PathBuf>,
    server: Option<String>,
    facility: String,
    tag: String,
    level: MaxLevel,
    max_queue_bytes: MaxQueueBytes,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            path: None,
            server: None,
            facility: "daemon".to_owned(),
            tag: "telexd".to_owned(),
            level: MaxLevel::default(),
            max_queue_bytes: MaxQueueBytes::default(),
        }
    }
}

/// Starts; who is to take the records need not be there. `tell` is told when he cannot be reached, and
/// when he can again.
pub fn start(config: &str, tell: Tell) -> Result<Logger, String> {
    const THREAD: &str = "log-syslog";
    let options: Options = options(config)?;
    let origin = Origin::new(&options.facility, &options.tag)?;
    let max_queue_bytes = options.max_queue_bytes.0;
    let way = match (&options.path, &options.server) {
        (Some(_), Some(_)) => return Err("path and server: it takes only one of them".to_owned()),
        (path, None) => {
            let path = path.as_deref().unwrap_or(Path::new("/dev/log"));
            let format = Box::new(origin.rfc_3164());
            Way::Socket(LocalSocket::start(THREAD, path, max_queue_bytes, format, send, Stream::Takes, tell)?)
        }
        (None, Some(address)) => {
            let server = Server::new(address)?;
            let format = Box::new(origin.rfc_5424(server.transport() == Transport::Tcp));
            Way::Queue(Queue::start(THREAD, max_queue_bytes, format, server, tell)?)
        }
    };
    Ok(Logger::new(options.level, way))
}

/// Sends a datagram, which needs no line end.
fn send(socket: &UnixDatagram, path: &Path, message: &[u8]) -> io::Result<()> {
    socket.send_to(message.strip_suffix(b"\n").unwrap_or(message), path).map(|_| ())
}

// It opens no file, and needs none at its other end.
telex_log::export!(start, start);
