//! Knows how to get from an address to a connected socket, and which address is meant if none is named.
//! Never: what is said over it.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use crate::address::{Address, Host};
use crate::client::error::Error;

/// How long each address of a TCP host is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The address of the daemon that is meant if none is named: what the environment variable
/// `TELEX_ADDRESS` says; else `unix:/run/telexd/telex.sock` for root, and `unix:$XDG_RUNTIME_DIR/telex.sock`
/// for others, with `/run/user/UID` for a variable that is not set. [`Error::Address`] if `TELEX_ADDRESS` is
/// no address.
///
/// ```
/// use telex::client::default_address;
///
/// println!("the daemon should be at {}", default_address()?);
/// # Ok::<(), telex::client::Error>(())
/// ```
pub fn default_address() -> Result<Address, Error> {
    // Without /proc the uid is unknown, and the system's daemon is the better guess.
    let uid = std::fs::metadata("/proc/self").map_or(0, |process| process.uid());
    choose(std::env::var_os("TELEX_ADDRESS"), uid, std::env::var_os("XDG_RUNTIME_DIR"))
}

fn choose(named: Option<OsString>, uid: u32, runtime_dir: Option<OsString>) -> Result<Address, Error> {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        return Address::parse(&named.to_string_lossy()).map_err(Error::Address);
    }
    Ok(Address::Unix(match (uid, runtime_dir.map(PathBuf::from).filter(|dir| dir.is_absolute())) {
        (0, _) => PathBuf::from("/run/telexd/telex.sock"),
        (_, Some(dir)) => dir.join("telex.sock"),
        // Where systemd puts it, for those without their environment (cron, sudo), and where `telexd` looks, too.
        (uid, None) => PathBuf::from(format!("/run/user/{uid}/telex.sock")),
    }))
}

/// A connected socket.
#[derive(Debug)]
pub(super) enum Stream {
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
    pub(super) fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match self {
            Stream::Unix(_) => Ok(()),
            Stream::Tcp(stream) => stream.set_nodelay(nodelay),
        }
    }

    /// Ends the connection for all that hold it, whatever they wait for.
    pub(super) fn shut(&self) {
        // It may be over already.
        let _ = match self {
            Stream::Unix(stream) => stream.shutdown(Shutdown::Both),
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Stream {
    /// Connects. Of a TCP host all addresses are tried, in the resolver's order; `*` is this machine.
    pub(super) fn connect(address: &Address) -> io::Result<Stream> {
        match address {
            Address::Unix(path) => UnixStream::connect(path).map(Stream::Unix),
            Address::Abstract(name) => {
                UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?).map(Stream::Unix)
            }
            Address::Tcp(Host::Any, port) => tcp("localhost", *port),
            Address::Tcp(Host::Name(host), port) => tcp(host, *port),
        }
    }

    /// Reads, waiting so long at most; nothing is forever. The kernel waits in steps of some milliseconds,
    /// so that zero is a case of its own.
    pub(super) fn read(&mut self, bytes: &mut [u8], timeout: Option<Duration>) -> io::Result<usize> {
        if timeout == Some(Duration::ZERO) {
            self.set_nonblocking(true)?;
            let read = self.read_some(bytes);
            self.set_nonblocking(false)?;
            return read;
        }
        match self {
            Stream::Unix(stream) => stream.set_read_timeout(timeout)?,
            Stream::Tcp(stream) => stream.set_read_timeout(timeout)?,
        }
        self.read_some(bytes)
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
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

    fn read_some(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.read(bytes),
            Stream::Tcp(stream) => stream.read(bytes),
        }
    }

    /// Writes once.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Unix(stream) => stream.write(bytes),
            Stream::Tcp(stream) => stream.write(bytes),
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

fn tcp(host: &str, port: u16) -> io::Result<Stream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).and_then(not_itself) {
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

    #[test]
    fn the_address_that_is_meant() {
        let chosen = |named: &str, uid, dir: &str| {
            let text = |text: &str| (text != "-").then(|| OsString::from(text));
            choose(text(named), uid, text(dir)).map(|address| address.to_string()).map_err(|e| e.to_string())
        };
        assert_eq!(chosen("-", 0, "/run/user/0").as_deref(), Ok("unix:/run/telexd/telex.sock"));
        assert_eq!(chosen("-", 7, "/tmp/x").as_deref(), Ok("unix:/tmp/x/telex.sock"));
        assert_eq!(chosen("", 7, "").as_deref(), Ok("unix:/run/user/7/telex.sock"));
        assert_eq!(chosen("h:1", 0, "-").as_deref(), Ok("tcp:h:1"));
        assert!(chosen("nowhere", 0, "-").expect_err("no address").contains("lacks a port"));
    }
}
