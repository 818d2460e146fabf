//! Knows a connected socket that never makes its thread wait.
//! Never: what is said over it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use crate::listen::{Listener, Peer, identify};

/// A connected, non-blocking socket.
#[derive(Debug)]
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    /// Takes a connection that waits; `WouldBlock` if none does.
    pub(super) fn accept(listener: &Listener) -> io::Result<Stream> {
        match listener {
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Stream::Unix(stream))
            }
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                // Each answer is wanted at once.
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
        }
    }

    /// The process at the other end; none over TCP.
    pub(super) fn process(&self) -> io::Result<Option<Peer>> {
        match self {
            Stream::Unix(stream) => identify(stream).map(Some),
            Stream::Tcp(_) => Ok(None),
        }
    }

    pub(super) fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => (&mut &*stream).read(bytes),
            Stream::Tcp(stream) => (&mut &*stream).read(bytes),
        }
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => (&mut &*stream).write(bytes),
            Stream::Tcp(stream) => (&mut &*stream).write(bytes),
        }
    }

    /// Tells a TCP peer that nothing more comes; false if this is no TCP, or the connection is over.
    pub(super) fn end_of_tcp(&self) -> bool {
        matches!(self, Stream::Tcp(stream) if stream.shutdown(Shutdown::Write).is_ok())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Tcp(stream) => stream.as_fd(),
        }
    }
}
