//! Knows how to get from an address to a connected socket.
//! Never: what is said over it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::{Duration, Instant};

use crate::address::{Address, Host};

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// For sockets that several threads hold.
impl Stream {
    /// The same socket once more, for another thread.
    pub(super) fn try_clone(&self) -> io::Result<Stream> {
        match self {
            Stream::Unix(stream) => stream.try_clone().map(Stream::Unix),
            Stream::Tcp(stream) => stream.try_clone().map(Stream::Tcp),
        }
    }

    /// Whether small writes leave at once; of TCP alone.
    pub(crate) fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match self {
            Stream::Unix(_) => Ok(()),
            Stream::Tcp(stream) => stream.set_nodelay(nodelay),
        }
    }
}

impl Stream {
    /// Connects. Of a TCP host all addresses are tried, in the resolver's order; `*` is this machine.
    /// The kernel may take longer than `within` over it.
    pub(super) fn connect(address: &Address, within: Duration) -> io::Result<Stream> {
        match address {
            Address::Unix(path) => UnixStream::connect(path).map(Stream::Unix),
            Address::Abstract(name) => {
                UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?).map(Stream::Unix)
            }
            Address::Tcp(Host::Any, port) => tcp("localhost", *port, within),
            Address::Tcp(Host::Name(host), port) => tcp(host, *port, within),
        }
    }

    /// Reads, waiting so long at most; nothing is forever. The kernel waits in steps of some milliseconds,
    /// so that zero is a case of its own.
    pub(super) fn read(&self, bytes: &mut [u8], timeout: Option<Duration>) -> io::Result<usize> {
        if timeout == Some(Duration::ZERO) {
            self.set_nonblocking(true)?;
            let read = self.read_some(bytes);
            self.set_nonblocking(false)?;
            return read;
        }
        self.set_read_timeout(timeout)?;
        self.read_some(bytes)
    }

    /// How long a read waits for bytes before it gives up; never, without one. Not zero.
    pub(super) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Stream::Unix(stream) => stream.set_read_timeout(timeout),
            Stream::Tcp(stream) => stream.set_read_timeout(timeout),
        }
    }

    /// Whether a read or write that would wait gives up instead.
    pub(crate) fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Stream::Unix(stream) => stream.set_nonblocking(nonblocking),
            Stream::Tcp(stream) => stream.set_nonblocking(nonblocking),
        }
    }

    /// How long a write waits for room before it gives up.
    pub(super) fn set_write_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Stream::Unix(stream) => stream.set_write_timeout(Some(timeout)),
            Stream::Tcp(stream) => stream.set_write_timeout(Some(timeout)),
        }
    }

    /// Reads, waiting as long as was set.
    pub(crate) fn read_some(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => (&mut &*stream).read(bytes),
            Stream::Tcp(stream) => (&mut &*stream).read(bytes),
        }
    }

    /// Writes once.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => (&mut &*stream).write(bytes),
            Stream::Tcp(stream) => (&mut &*stream).write(bytes),
        }
    }

    /// Ends both directions; a read that waits finds the end.
    pub(crate) fn shut(&self) {
        // It may be over already.
        let _ = match self {
            Stream::Unix(stream) => stream.shutdown(Shutdown::Both),
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Both),
        };
    }

    /// Tells a TCP peer that nothing more comes; false if this is no TCP, or the connection is over.
    pub(crate) fn end_of_tcp(&self) -> bool {
        matches!(self, Stream::Tcp(stream) if stream.shutdown(Shutdown::Write).is_ok())
    }
}

impl From<Stream> for OwnedFd {
    fn from(stream: Stream) -> OwnedFd {
        match stream {
            Stream::Unix(stream) => stream.into(),
            Stream::Tcp(stream) => stream.into(),
        }
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

fn tcp(host: &str, port: u16, within: Duration) -> io::Result<Stream> {
    let began = Instant::now();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        // Zero would be an error of its own.
        let left = within.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&address, left).and_then(not_itself) {
            Ok(stream) => {
                // Lines are small, and each is wanted at once.
                stream.set_nodelay(true)?;
                return Ok(Stream::Tcp(stream));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Refuses a connection of a socket to itself: the kernel may choose the very port that is dialled as the
/// one to dial from, if nothing listens there.
fn not_itself(stream: TcpStream) -> io::Result<TcpStream> {
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_is_connected_to_itself_is_refused() {
        use nix::sys::socket::{
            AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, getsockname, socket,
        };
        use std::os::fd::AsRawFd;

        let itself =
            socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        bind(itself.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("a port");
        let address: SockaddrIn = getsockname(itself.as_raw_fd()).expect("an address");
        connect(itself.as_raw_fd(), &address).expect("a connection");
        let refused = not_itself(TcpStream::from(itself)).expect_err("no daemon");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
