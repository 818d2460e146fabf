//! Knows how records get to a socket of this machine.
//! Never: what they look like there.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;
use telex_plugin::{Fault, Record};

use crate::{Batch, Format, Queue, STEP, Sink, Tell};

/// How a record is sent.
type Send = fn(&UnixDatagram, &Path, &[u8]) -> io::Result<()>;

/// What records a socket takes that is no datagram socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// As they are formatted, one behind the other.
    Takes,
    /// None.
    Refuses,
}

/// A socket of this machine, such as `/dev/log`. It need not be there, and may come and go. To a datagram socket a
/// record is sent at once, so that it outlives the daemon. If nothing takes it, or there is no room, it waits in a
/// [`Queue`]; so do all records for a stream socket.
#[derive(Debug)]
pub struct LocalSocket {
    path: PathBuf,
    socket: UnixDatagram,
    send: Send,
    queue: Queue,
}

impl LocalSocket {
    /// `send` sends a record to the socket at `path`, and gives `WouldBlock` where that has no room.
    pub fn start(
        thread: &str,
        path: &Path,
        max_queue_bytes: usize,
        format: Format,
        send: Send,
        stream: Stream,
        tell: Tell,
    ) -> Result<LocalSocket, String> {
        SocketAddr::from_pathname(path).map_err(|error| {
            format!("path: {} is no path of a socket, such as \"/dev/log\": {error}", path.display())
        })?;
        // None of them is connected: a connection would end with the one at its other end.
        let open = || -> io::Result<(UnixDatagram, UnixDatagram)> {
            let (at_once, patient) = (UnixDatagram::unbound()?, UnixDatagram::unbound()?);
            at_once.set_nonblocking(true)?;
            patient.set_write_timeout(Some(STEP))?;
            Ok((at_once, patient))
        };
        let (socket, patient) = open().map_err(|error| format!("cannot make a socket: {error}"))?;
        let sink = Patient { path: path.to_owned(), socket: patient, send, stream, connection: None };
        let queue = Queue::start(thread, max_queue_bytes, format, sink, tell)?;
        Ok(LocalSocket { path: path.to_owned(), socket, send, queue })
    }

    /// Sends a record, or has it wait.
    pub fn add(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        self.queue.add_unless(record, |bytes| (self.send)(&self.socket, &self.path, bytes).is_ok())
    }

    /// Wakes the thread for what waits.
    pub fn flush(&self) {
        self.queue.flush();
    }
}

/// The same from the thread, which may wait a moment.
struct Patient {
    path: PathBuf,
    socket: UnixDatagram,
    send: Send,
    stream: Stream,
    /// To a stream socket.
    connection: Option<UnixStream>,
}

impl Patient {
    fn write_some(&mut self, batch: &mut Batch) -> io::Result<usize> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => match (self.send)(&self.socket, &self.path, batch.record()) {
                Err(error) if self.stream == Stream::Takes && is_other_kind(&error) => {
                    none.insert(connect_to(&self.path)?)
                }
                sent => return sent.map(|()| batch.record().len()),
            },
        };
        connection.write(batch.rest()).inspect_err(|error| {
            if error.kind() != ErrorKind::WouldBlock {
                self.connection = None;
                // The next one is to have it whole.
                batch.restart_record();
            }
        })
    }
}

/// Whether a socket is there, and is of another kind than was thought.
fn is_other_kind(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EPROTOTYPE as i32)
}

/// Connects, and waits no longer than a [`STEP`] if those who wait to be accepted are too many.
fn connect_to(path: &Path) -> io::Result<UnixStream> {
    let own = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&own, sockopt::SendTimeout, &TimeVal::new(0, STEP.as_micros() as i64))?;
    connect(own.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(own.into())
}

impl Sink for Patient {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn write(&mut self, batch: &mut Batch) -> io::Result<usize> {
        match self.write_some(batch) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            written => written,
        }
    }

    fn reopen(&mut self, _: &mut Batch) -> io::Result<()> {
        Ok(())
    }
}
