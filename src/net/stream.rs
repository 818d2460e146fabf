//! Knows one connection's socket.
//! Never: closes it by itself.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use nix::sys::socket::{MsgFlags, recvmsg};

/// A connected, non-blocking stream socket.
#[derive(Debug)]
pub enum Stream {
    /// Of the Unix kind.
    Unix(UnixStream),
    /// Of the TCP kind.
    Tcp(TcpStream),
}

impl Stream {
    pub(super) fn source(&mut self) -> &mut dyn Source {
        match self {
            Stream::Unix(stream) => stream,
            Stream::Tcp(stream) => stream,
        }
    }

    /// Reads once.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Taken> {
        let (count, cut) = retry(|| match self {
            Stream::Unix(stream) => read_unix(stream, buffer),
            Stream::Tcp(stream) => stream.read(buffer).map(|count| (count, false)),
        })?;
        Ok(Taken { count, is_all: count < buffer.len() && !cut })
    }

    /// Writes once, as much as the kernel takes.
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        retry(|| match (&mut *self, slices) {
            (Stream::Unix(stream), [slice]) => stream.write(slice),
            (Stream::Tcp(stream), [slice]) => stream.write(slice),
            (Stream::Unix(stream), slices) => stream.write_vectored(slices),
            (Stream::Tcp(stream), slices) => stream.write_vectored(slices),
        })
    }

    /// Closes the connection so that the peer can still read what was written: TCP resets a
    /// connection that is closed with unread bytes, and what the peer had not read is lost.
    pub fn close(mut self) {
        if let Stream::Tcp(stream) = &self {
            const READS_MAX: usize = 16;
            // Both fail only where there is nobody left who could read.
            let _ = stream.shutdown(Shutdown::Write);
            let mut rest = [0; 65_536];
            for _ in 0..READS_MAX {
                if !self.read(&mut rest).is_ok_and(|taken| taken.count > 0) {
                    return;
                }
            }
        }
    }
}

/// What a read has given.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// How many bytes; 0 is the end of what the peer sends.
    pub count: usize,
    /// There was nothing more (epoll(7)), but for what is behind urgent bytes, of which the poller tells; what
    /// comes then will be told.
    pub is_all: bool,
}

/// Reads once, and says whether that has ended at file descriptors that the peer has passed: more may be
/// behind them (unix(7)). The kernel closes them, for there is no room to put them.
fn read_unix(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
    let mut room = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut room, None, MsgFlags::empty())?;
    Ok((message.bytes, message.flags.contains(MsgFlags::MSG_CTRUNC)))
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Unix(stream) => stream.as_fd(),
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
