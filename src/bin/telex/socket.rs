//! Knows a connection that is written to and read from without waiting.
//! Never: what a line says.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use telex::address::Address;
use telex::client;

use crate::context::CONNECT_TIMEOUT;
use crate::exit::{Exit, Failure};

/// A connection, and what is still to be written to it.
pub(crate) struct Socket {
    stream: File,
    /// Lines; the first `sent` bytes of them are written.
    out: Vec<u8>,
    sent: usize,
}

impl Socket {
    pub(crate) fn connect(address: &Address) -> Result<Socket, Failure> {
        let stream = client::socket(address, CONNECT_TIMEOUT);
        let stream = File::from(stream.map_err(|error| Failure::unreachable(address, &error))?);
        // A new socket has no other flag of this kind.
        fcntl(&stream, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|errno| lost(&errno.into()))?;
        Ok(Socket { stream, out: Vec::new(), sent: 0 })
    }

    /// Where lines are put that are to be written.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
        &mut self.out
    }

    /// How many bytes are still to be written.
    pub(crate) fn unsent(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Writes what there is room for.
    pub(crate) fn write(&mut self) -> Result<(), Failure> {
        while self.unsent() > 0 {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(&error)),
            }
        }
        Ok(())
    }

    /// Reads once: how many bytes came. None came yet without an answer; 0 is the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Failure> {
        match self.stream.read(buffer) {
            Ok(count) => Ok(Some(count)),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(None),
                ErrorKind::ConnectionReset => Ok(Some(0)),
                _ => Err(lost(&error)),
            },
        }
    }
}

/// Lets this process have as many connections as the system allows it.
pub(crate) fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // If it stays as it is, a connection too many tells so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn lost(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Unreachable, format!("the connection to the daemon: {error}"))
}
