//! Knows the daemon's listening sockets, and how connections are taken from them.
//! Never: which peer connects.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};

use crate::address::Address;
use crate::listen::{self, Place};
use crate::net::Stream;

/// A listening, non-blocking socket.
#[derive(Debug)]
pub enum Listener {
    /// A Unix socket.
    Unix(UnixListener),
    /// A TCP socket.
    Tcp(TcpListener),
}

impl Listener {
    pub(super) fn source(&mut self) -> &mut dyn Source {
        match self {
            Listener::Unix(listener) => listener,
            Listener::Tcp(listener) => listener,
        }
    }

    /// Takes one connection that waits; `WouldBlock` if none does.
    pub fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Unix(listener) => listener.accept().map(|(stream, _)| Stream::unix(stream)),
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                // A line may be an answer that is waited for: it must not wait for more of them.
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
        }
    }
}

/// A listener and where it listens.
#[derive(Debug)]
pub struct Bound {
    /// The socket.
    pub listener: Listener,
    place: Place,
}

impl Deref for Bound {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.listener {
            Listener::Unix(listener) => listener.as_fd(),
            Listener::Tcp(listener) => listener.as_fd(),
        }
    }
}

impl From<listen::Bound> for Bound {
    fn from(bound: listen::Bound) -> Bound {
        let listener = match bound.listener {
            listen::Listener::Unix(listener) => Listener::Unix(UnixListener::from_std(listener)),
            listen::Listener::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)),
        };
        Bound { listener, place: bound.place }
    }
}

impl Bound {
    /// Where it listens.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Binds the address of a socket file anew that the daemon has made, and that is gone. Errors as of [`bind`].
    pub fn bind_again(&self) -> io::Result<Bound> {
        self.place.bind_again().map(Bound::from)
    }
}

/// Binds an address: one listener, or one for each IP address that a host name stands for. `mode`
/// and `group` are for socket files. Errors say what is wrong, not with which address.
pub fn bind(address: &Address, mode: u32, group: Option<&str>) -> io::Result<Vec<Bound>> {
    Ok(listen::bind(address, mode, group)?.into_iter().map(Bound::from).collect())
}

/// Takes a listening socket over that another process has bound for this `place`.
pub fn take_over(socket: OwnedFd, place: Place) -> io::Result<Bound> {
    listen::take_over(socket, place).map(Bound::from)
}

/// Takes a listening socket that was opened for the daemon. Its file, if it has one, is not the daemon's to
/// remove. Fails if it is no Unix or TCP socket that listens, or if others than this machine could connect.
pub fn adopt(socket: OwnedFd) -> io::Result<Bound> {
    listen::adopt(socket).map(Bound::from)
}
