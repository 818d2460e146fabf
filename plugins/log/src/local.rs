//! Knows how records get to a datagram socket of this machine.
//! Never: what a datagram of it looks like.

use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

use telex_plugin::{Fault, Record};

use crate::{Batch, Format, Queue, STEP, Sink, Tell};

/// How a record is sent.
type Send = fn(&UnixDatagram, &Path, &[u8]) -> io::Result<()>;

/// A datagram socket of this machine, such as `/dev/log`. It need not be there, and may come and go. A record
/// is sent at once, so that it outlives the daemon; where there is nobody to take it, or no room, it
/// waits in a [`Queue`].
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
        let sink = Datagrams { path: path.to_owned(), socket: patient, send };
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
struct Datagrams {
    path: PathBuf,
    socket: UnixDatagram,
    send: Send,
}

impl Sink for Datagrams {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn write(&mut self, batch: &mut Batch) -> io::Result<usize> {
        match (self.send)(&self.socket, &self.path, batch.record()) {
            Ok(()) => Ok(batch.record().len()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn reopen(&mut self, _: &mut Batch) -> io::Result<()> {
        Ok(())
    }
}
