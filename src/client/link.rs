//! Knows a connected socket, and the bytes on their way out of and into it.
//! Never: where in them a line ends.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::client::dial::Stream;

/// As much comes zeroed from the kernel (mallopt(3), M_MMAP_THRESHOLD), and takes memory as far as it is filled: less would
/// be filled with zeros first, which a command that asks one question would wait for.
const READ_BYTES: usize = 128 << 10;
/// How long a write waits for room, and then a read for bytes, in turn: either may be what the daemon
/// waits for.
pub(super) const TURN: Duration = Duration::from_millis(5);
/// How long the end of a connection is held up by what is still to be written.
const LINGER: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Link {
    /// The process that made it.
    process: u32,
    stream: Stream,
    /// What was read; `input[at..filled]` is not yet looked at.
    input: Box<[u8]>,
    at: usize,
    filled: usize,
    /// Whether all has been read that will ever come.
    pub(super) is_ended: bool,
    /// Whether its end waits until what was sent has been taken.
    pub(super) lingers: bool,
    /// Lines to be written, of which `sent` bytes are.
    pub(super) output: Vec<u8>,
    sent: usize,
}

impl Link {
    pub(super) fn over(stream: Stream) -> io::Result<Link> {
        stream.set_write_timeout(TURN)?;
        Ok(Link {
            process: std::process::id(),
            stream,
            input: vec![0; READ_BYTES].into_boxed_slice(),
            at: 0,
            filled: 0,
            is_ended: false,
            lingers: true,
            output: Vec::new(),
            sent: 0,
        })
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.sent < self.output.len()
    }

    /// Writes once; false if there was no room.
    pub(super) fn write(&mut self) -> io::Result<bool> {
        match self.stream.write(&self.output[self.sent..]) {
            Ok(written) => {
                self.sent += written;
                if !self.has_unsent() {
                    self.forget_output();
                }
                Ok(true)
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => Ok(true),
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// Takes back what stands in the output from `new` on, unless some of that has been written.
    pub(super) fn take_back(&mut self, new: usize) -> bool {
        let is_untouched = self.sent <= new;
        if is_untouched {
            self.output.truncate(new);
        }
        is_untouched
    }

    pub(super) fn forget_output(&mut self) {
        self.output.clear();
        self.sent = 0;
    }

    /// Lends out the bytes that were read to `take`, which advances them past what it uses.
    pub(super) fn take<T>(&mut self, take: impl FnOnce(&mut &[u8]) -> T) -> T {
        let mut rest = &self.input[self.at..self.filled];
        let taken = take(&mut rest);
        self.at = self.filled - rest.len();
        taken
    }

    /// Reads once, over what was read before; false if nothing came until the deadline.
    pub(super) fn read(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match self.stream.read(&mut self.input, left) {
                Ok(length) => {
                    self.is_ended = length == 0;
                    (self.at, self.filled) = (0, length);
                    return Ok(true);
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                            return Ok(false);
                        }
                    }
                    ErrorKind::ConnectionReset => {
                        self.is_ended = true;
                        return Ok(true);
                    }
                    _ => return Err(error),
                },
            }
        }
    }

    /// Reads and forgets until then, or to the end of the connection.
    fn discard(&mut self, until: Instant) {
        while !self.is_ended && Instant::now() < until && self.read(Some(until)).unwrap_or(false) {}
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Drop for Link {
    /// Finishes a line that was begun. What comes meanwhile is read and forgotten: while the daemon cannot
    /// write, it may not read either.
    fn drop(&mut self) {
        // In the child of a fork the connection is the parent's.
        if self.process != std::process::id() || !self.lingers {
            return;
        }
        let deadline = Instant::now() + LINGER;
        while self.has_unsent() && Instant::now() < deadline {
            match self.write() {
                Ok(true) => {}
                Ok(false) => self.discard(Instant::now() + TURN),
                Err(_) => return,
            }
        }
        // A TCP socket that is closed with something unread in it takes back what is still on its way.
        if self.stream.end_of_tcp() {
            self.discard(deadline);
        }
    }
}
