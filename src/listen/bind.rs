//! Knows how listening sockets are bound, or taken over from the service manager.
//! Never: which peer connects.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{self as unix, UnixListener};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    self as sockets, AddressFamily, Backlog, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr,
    getsockname, getsockopt, listen, sockopt,
};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Group, chown};

use crate::address::{Address, Host};

/// A listening, non-blocking socket.
#[derive(Debug)]
pub enum Listener {
    /// A Unix socket.
    Unix(UnixListener),
    /// A TCP socket.
    Tcp(TcpListener),
}

/// A listener and where it listens.
#[derive(Debug)]
pub struct Bound {
    /// The socket.
    pub listener: Listener,
    /// Where it listens.
    pub place: Place,
}

/// Where a listener listens.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub struct Place {
    /// Its address, with the port that the kernel has chosen if 0 was asked for.
    pub address: Address,
    /// The address that was asked for.
    asked: Address,
    /// The service manager has opened it.
    adopted: bool,
    /// Its socket file.
    file: Option<SocketFile>,
}

impl Place {
    /// The address that was asked for: of a host name, and with port 0 if the kernel was to choose.
    pub fn asked(&self) -> &Address {
        &self.asked
    }

    /// Whether the service manager has opened it.
    pub fn is_adopted(&self) -> bool {
        self.adopted
    }

    /// The path of the socket file, if it has one that this process can see.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    /// Whether the socket file is still there, and no other has been put in its place.
    pub fn has_file(&self) -> bool {
        self.file.as_ref().is_some_and(SocketFile::is_there)
    }

    /// Whether this program has made the socket file, and so may make and remove it.
    pub fn is_own(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.made.is_some())
    }

    /// Binds the address of a socket file anew that this program has made, and that is gone. Errors as of [`bind`].
    pub fn bind_again(&self) -> io::Result<Bound> {
        match &self.file {
            Some(SocketFile { made: Some(made), .. }) => bind_file(&self.address, *made),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Removes the socket file, if this program made it and no other has been put in its place.
    pub fn remove_file(&self) -> io::Result<()> {
        match self.file.as_ref().filter(|_| self.is_own() && self.has_file()) {
            Some(file) => fs::remove_file(&file.path),
            None => Ok(()),
        }
    }
}

#[derive(Clone, Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
    /// How this program made it; none: it was handed over.
    made: Option<Made>,
}

/// What a socket file is given when it is made.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
struct Made {
    mode: u32,
    group: Option<u32>,
}

impl SocketFile {
    fn of(path: &Path, made: Option<Made>) -> io::Result<SocketFile> {
        Ok(SocketFile { path: path.to_owned(), identity: identity(path)?, made })
    }

    fn is_there(&self) -> bool {
        identity(&self.path).is_ok_and(|found| found == self.identity)
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Binds an address: one listener, or one for each IP address that a host name stands for. `mode`
/// and `group` are for socket files. Errors say what is wrong, not with which address.
pub fn bind(address: &Address, mode: u32, group: Option<&str>) -> io::Result<Vec<Bound>> {
    match address {
        Address::Unix(_) => {
            let group = group.map(find_group).transpose()?;
            let made = Made { mode, group: group.map(Gid::as_raw) };
            Ok(vec![bind_file(address, made)?])
        }
        Address::Abstract(name) => {
            let name = unix::SocketAddr::from_abstract_name(name)?;
            let listener = UnixListener::bind_addr(&name).map_err(explain_in_use)?;
            Ok(vec![finish_unix(listener, address.clone(), None)?])
        }
        Address::Tcp(host, port) => bind_tcp(address, host, *port),
    }
}

fn finish_unix(listener: UnixListener, address: Address, file: Option<SocketFile>) -> io::Result<Bound> {
    listener.set_nonblocking(true)?;
    // The standard library's queue of 128 would make a crowd of clients wait that come at once.
    listen(&listener, Backlog::MAXCONN)?;
    let asked = address.clone();
    Ok(Bound { listener: Listener::Unix(listener), place: Place { address, asked, adopted: false, file } })
}

fn bind_file(address: &Address, made: Made) -> io::Result<Bound> {
    let Address::Unix(path) = address else { return Err(io::ErrorKind::Unsupported.into()) };
    remove_stale(path)?;
    let socket = bind_closed(path).map_err(explain_in_use)?;
    if let Err(error) = give_away(path, made) {
        // A file that cannot be removed is stale to the next program that listens there.
        let _ = fs::remove_file(path);
        return Err(error);
    }
    let file = SocketFile::of(path, Some(made))?;
    finish_unix(socket.into(), address.clone(), Some(file))
}

/// Binds a socket whose file is for its owner alone. The file gets the mode that the socket has by then, less
/// the umask (bind(2) in the kernel's af_unix.c); so the umask, which all threads share, stays as it is.
fn bind_closed(path: &Path) -> io::Result<OwnedFd> {
    let socket = sockets::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    sockets::bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}

fn give_away(path: &Path, made: Made) -> io::Result<()> {
    if let Some(group) = made.group {
        chown(path, None, Some(Gid::from_raw(group))).map_err(|error| {
            let error = io::Error::from(error);
            io::Error::new(error.kind(), format!("cannot give it to the group of socket_group: {error}"))
        })?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(made.mode))
}

fn find_group(name: &str) -> io::Result<Gid> {
    match Group::from_name(name)? {
        Some(group) => Ok(group.gid),
        None => Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no group \"{name}\" (socket_group)"),
        )),
    }
}

/// A socket file without a listener is left over from a program that was killed.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        let text = "there is a file of this name that is no socket; it is left alone";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    // A process that takes no connections would have one that waits for it wait for ever.
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = sockets::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match sockets::connect(socket.as_raw_fd(), &UnixAddr::new(path)?) {
        Err(Errno::ECONNREFUSED) => fs::remove_file(path),
        Err(Errno::EAGAIN) => {
            let text =
                "another process listens there already, and takes no connections: it is stopped, or hangs";
            Err(io::Error::new(io::ErrorKind::AddrInUse, text))
        }
        Err(error) => Err(error.into()),
        Ok(()) => Err(explain_in_use(io::ErrorKind::AddrInUse.into())),
    }
}

fn explain_in_use(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::AddrInUse => io::Error::new(error.kind(), "another process listens there already"),
        _ => error,
    }
}

fn bind_tcp(address: &Address, host: &Host, port: u16) -> io::Result<Vec<Bound>> {
    let exposed =
        |error: crate::address::Exposed| io::Error::new(io::ErrorKind::PermissionDenied, error.to_string());
    address.check_local().map_err(exposed)?;
    let Host::Name(name) = host else { return Ok(Vec::new()) };
    let mut bound: Vec<Bound> = Vec::new();
    for ip in (name.as_str(), port).to_socket_addrs()?.map(|found| found.ip()) {
        address.check_local_ip(ip).map_err(exposed)?;
        // With a port of the kernel's choice, all addresses of one host name get the same one.
        let port = match bound.first().map(|first| &first.place.address) {
            Some(Address::Tcp(_, port)) => *port,
            _ => port,
        };
        match TcpListener::bind(SocketAddr::new(ip, port)) {
            Ok(listener) => {
                let mut finished = finish_tcp(listener)?;
                finished.place.asked = address.clone();
                bound.push(finished);
            }
            // `localhost` has an IPv6 address in /etc/hosts even if the kernel has none.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable && !bound.is_empty() => {}
            Err(error) => return Err(explain_in_use(error)),
        }
    }
    Ok(bound)
}

fn finish_tcp(listener: TcpListener) -> io::Result<Bound> {
    listener.set_nonblocking(true)?;
    listen(&listener, Backlog::MAXCONN)?;
    let local = listener.local_addr()?;
    let address = Address::Tcp(Host::Name(local.ip().to_string()), local.port());
    let asked = address.clone();
    Ok(Bound {
        listener: Listener::Tcp(listener),
        place: Place { address, asked, adopted: false, file: None },
    })
}

/// Takes a listening socket that was opened for this program. Its file, if it has one, is not this program's to
/// remove. Fails if it is no Unix or TCP socket that listens, or if others than this machine could connect.
pub fn adopt(socket: OwnedFd) -> io::Result<Bound> {
    let mut bound = adopt_any(socket)?;
    bound.place.adopted = true;
    Ok(bound)
}

fn adopt_any(socket: OwnedFd) -> io::Result<Bound> {
    check_stream(&socket)?;
    let name: SockaddrStorage = getsockname(socket.as_raw_fd())?;
    match name.family() {
        Some(AddressFamily::Unix) => {
            let listener = UnixListener::from(socket);
            let local = listener.local_addr()?;
            let address = match (local.as_pathname(), local.as_abstract_name()) {
                (Some(path), _) => Address::Unix(path.to_owned()),
                (None, name) => {
                    Address::Abstract(String::from_utf8_lossy(name.unwrap_or_default()).into_owned())
                }
            };
            // It may lie where this process does not see it (PrivateTmp=, a container).
            let file = match &address {
                Address::Unix(path) => SocketFile::of(path, None).ok(),
                _ => None,
            };
            finish_unix(listener, address, file)
        }
        Some(AddressFamily::Inet | AddressFamily::Inet6) => {
            let bound = finish_tcp(TcpListener::from(socket))?;
            bound
                .place
                .address
                .check_local()
                .map_err(|why| io::Error::new(io::ErrorKind::PermissionDenied, why.to_string()))?;
            Ok(bound)
        }
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "it is neither a Unix socket nor TCP")),
    }
}

/// Whether a stream socket listens; none: it is no stream socket.
#[cfg(feature = "daemon")]
pub fn is_listening(socket: &OwnedFd) -> Option<bool> {
    match getsockopt(socket, sockopt::SockType) {
        Ok(SockType::Stream) => getsockopt(socket, sockopt::AcceptConn).ok(),
        _ => None,
    }
}

/// Takes a listening socket over that another process of this program has bound for `place`.
#[cfg(feature = "daemon")]
pub fn take_over(socket: OwnedFd, place: Place) -> io::Result<Bound> {
    check_stream(&socket)?;
    let listener = match place.address {
        Address::Unix(_) | Address::Abstract(_) => Listener::Unix(socket.into()),
        Address::Tcp(..) => Listener::Tcp(socket.into()),
    };
    Ok(Bound { listener, place })
}

/// Fails if a socket can have no connections to be taken; the error names the setting of systemd.socket(5) that makes
/// such a one.
fn check_stream(socket: &OwnedFd) -> io::Result<()> {
    let kind = match getsockopt(socket, sockopt::SockType) {
        Ok(SockType::Stream) if sockets::getpeername::<SockaddrStorage>(socket.as_raw_fd()).is_ok() => {
            "a connection (Accept=yes); right is a socket that listens: ListenStream= with Accept=no"
        }
        Ok(SockType::Stream) => return Ok(()),
        Ok(SockType::Datagram) => "a datagram socket (ListenDatagram=); right is ListenStream=",
        Ok(SockType::SeqPacket) => "a SEQPACKET socket (ListenSequentialPacket=); right is ListenStream=",
        Ok(_) => "no stream socket; right is ListenStream=",
        Err(_) => "no socket (ListenFIFO= or ListenSpecial=); right is ListenStream=",
    };
    Err(io::Error::new(io::ErrorKind::Unsupported, format!("descriptor {} is {kind}", socket.as_raw_fd())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_file_is_closed_to_others_until_it_has_its_group_and_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let mode = || fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o7777;
        let bound = bind_closed(&path).unwrap();
        assert_eq!(mode(), 0o600);
        let refused = unix::UnixStream::connect(&path).expect_err("it does not listen");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        drop(bound);
        let address = Address::Unix(path.clone());
        let bound = bind(&address, 0o666, None).unwrap();
        assert_eq!((bound.len(), mode()), (1, 0o666));
        unix::UnixStream::connect(&path).expect("it listens");
    }
}
