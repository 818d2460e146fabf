#![doc = include_str!("../README.md")]

mod message;
mod server;

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use telex_log::{LocalSocket, MaxLevel, MaxQueueBytes, Queue, Tell, options};
use telex_plugin::{Call, Event, Events, Fault, Heard, Host, Kind, Log, Plugin, Record};

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

/// Sends records to syslog.
#[derive(Debug)]
pub struct LogSyslog {
    level: MaxLevel,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Local(LocalSocket),
    Remote(Queue),
}

impl LogSyslog {
    /// Starts; who is to take the records need not be there. `tell` is told when he cannot be reached, and
    /// when he can again.
    pub fn start(config: &str, tell: Tell) -> Result<LogSyslog, String> {
        const THREAD: &str = "log-syslog";
        let options: Options = options(config)?;
        let origin = Origin::new(&options.facility, &options.tag)?;
        let max_queue_bytes = options.max_queue_bytes.0;
        let way = match (&options.path, &options.server) {
            (Some(_), Some(_)) => return Err("path and server: it takes only one of them".to_owned()),
            (path, None) => {
                let path = path.as_deref().unwrap_or(Path::new("/dev/log"));
                let format = Box::new(origin.rfc_3164());
                Way::Local(LocalSocket::start(THREAD, path, max_queue_bytes, format, send, tell)?)
            }
            (None, Some(address)) => {
                let server = Server::new(address)?;
                let format = Box::new(origin.rfc_5424(server.transport() == Transport::Tcp));
                Way::Remote(Queue::start(THREAD, max_queue_bytes, format, server, tell)?)
            }
        };
        Ok(LogSyslog { level: options.level, way })
    }

    /// Takes a record.
    pub fn write(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        match &mut self.way {
            _ if !self.level.takes(record) => Ok(()),
            Way::Local(socket) => socket.add(record),
            Way::Remote(queue) => queue.add(record),
        }
    }

    /// Has what was taken sent.
    pub fn flush(&self) {
        match &self.way {
            Way::Local(socket) => socket.flush(),
            Way::Remote(queue) => queue.flush(),
        }
    }

    /// Connects to the server anew, and looks its name up again.
    pub fn reopen(&self) {
        if let Way::Remote(queue) = &self.way {
            queue.reopen();
        }
    }
}

fn send(socket: &UnixDatagram, path: &Path, message: &[u8]) -> io::Result<()> {
    socket.send_to(message, path).map(|_| ())
}

impl Plugin for LogSyslog {
    fn create(host: Host, config: &str) -> Result<LogSyslog, String> {
        LogSyslog::start(config, Box::new(move |level, message| host.log(level, message)))
    }
}

impl Log for LogSyslog {
    fn record(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        self.write(record)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        LogSyslog::flush(self);
        Ok(())
    }
}

impl Events for LogSyslog {
    fn event(&mut self, _: &Event<'_>, _: &Call<'_>) -> Heard {
        self.reopen();
        Heard::Yes
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Reloaded]
    }
}

telex_plugin::export!(LogSyslog, log, events);
