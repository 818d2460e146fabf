//! Knows one connection's socket.
//! Never: closes it by itself.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockaddrLike, SockaddrStorage, getsockname, recvmsg, setsockopt,
};
use nix::{setsockopt_impl, sockopt_impl};

/// A connected, non-blocking stream socket.
#[derive(Debug)]
pub enum Stream {
    /// A Unix socket, and what its peer may have passed.
    Unix(UnixStream, Descriptors),
    /// A TCP socket.
    Tcp(TcpStream),
}

/// The file descriptors that a peer passes over a Unix socket (unix(7)). They are not wanted, and a read ends
/// at them, in the middle of what is there.
#[derive(Clone, Copy, Debug)]
pub enum Descriptors {
    /// They may be anywhere: this kernel cannot refuse them.
    MayCome,
    /// They are refused, but some may have come before that.
    MayBeThere,
    /// There are none, and none will come.
    None,
}

sockopt_impl!(PassRights, SetOnly, libc::SOL_SOCKET, SO_PASSRIGHTS, bool);
/// Whether descriptors can be passed to this socket; else a peer that tries it gets EPERM. Since Linux 6.16
/// (include/uapi/asm-generic/socket.h).
const SO_PASSRIGHTS: libc::c_int = 83;

impl Stream {
    /// A Unix connection that has just been taken.
    pub(super) fn unix(stream: UnixStream) -> Stream {
        let refused = setsockopt(&stream, PassRights, &false).is_ok();
        Stream::Unix(stream, if refused { Descriptors::MayBeThere } else { Descriptors::MayCome })
    }

    /// A connection that another process has passed on. Fails if it is none of a Unix socket or TCP.
    pub fn passed(descriptor: OwnedFd) -> io::Result<Stream> {
        let name: SockaddrStorage = getsockname(descriptor.as_raw_fd())?;
        match name.family() {
            Some(AddressFamily::Unix) => Ok(Stream::unix(UnixStream::from_std(descriptor.into()))),
            Some(AddressFamily::Inet | AddressFamily::Inet6) => {
                Ok(Stream::Tcp(TcpStream::from_std(descriptor.into())))
            }
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "it is neither a Unix socket nor TCP")),
        }
    }

    pub(super) fn source(&mut self) -> &mut dyn Source {
        match self {
            Stream::Unix(stream, _) => stream,
            Stream::Tcp(stream) => stream,
        }
    }

    /// Reads once.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Taken> {
        let (count, cut) = retry(|| match self {
            Stream::Unix(stream, Descriptors::None) => stream.read(buffer).map(|count| (count, false)),
            Stream::Unix(stream, _) => read_to_descriptors(stream, buffer),
            Stream::Tcp(stream) => stream.read(buffer).map(|count| (count, false)),
        })?;
        let is_all = count < buffer.len() && !cut;
        if let Stream::Unix(_, descriptors @ Descriptors::MayBeThere) = self
            && is_all
        {
            *descriptors = Descriptors::None;
        }
        Ok(Taken { count, is_all })
    }

    /// Writes once, as much as the kernel takes.
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        retry(|| match (&mut *self, slices) {
            (Stream::Unix(stream, _), [slice]) => stream.write(slice),
            (Stream::Tcp(stream), [slice]) => stream.write(slice),
            (Stream::Unix(stream, _), slices) => stream.write_vectored(slices),
            (Stream::Tcp(stream), slices) => stream.write_vectored(slices),
        })
    }

    /// Closes the connection so that the peer can still read what was written. A connection that is closed with unread
    /// bytes is reset: over TCP what the peer had not read is lost, and a Unix socket has an error pending (ECONNRESET,
    /// POLLERR), at which a program such as nc(1) ends without having looked for more.
    pub fn close(mut self) {
        const READS_MAX: usize = 16;
        // Both fail only if no peer is left that could read.
        let _ = match &self {
            // Nothing comes behind this, so that what there is can be read to its end.
            Stream::Unix(stream, _) => stream.shutdown(Shutdown::Both),
            // Shut down for reading, TCP would go on to take what comes.
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
        };
        let mut rest = [0; 65_536];
        for _ in 0..READS_MAX {
            if !self.read(&mut rest).is_ok_and(|taken| taken.count > 0) {
                return;
            }
        }
    }
}

/// What a read has given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// How many bytes; 0 is the end of what the peer sends.
    pub(super) count: usize,
    /// There was nothing more (epoll(7)), but for what is behind urgent bytes, of which the poller tells; what
    /// comes then will be told.
    pub(super) is_all: bool,
}

/// Reads once, and says whether that has ended at descriptors: more may be behind them. The kernel closes them,
/// for there is no room to put them. A plain read costs less, but does not say so.
fn read_to_descriptors(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
    let mut room = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut room, None, MsgFlags::empty())?;
    Ok((message.bytes, message.flags.contains(MsgFlags::MSG_CTRUNC)))
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Unix(stream, _) => stream.as_fd(),
            Stream::Tcp(stream) => stream.as_fd(),
        }
    }
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
