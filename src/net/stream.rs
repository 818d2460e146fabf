//! Knows one connection's socket.
//! Never: closes it by itself.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};

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

    /// Reads once. 0 is the end of what the peer sends.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        retry(|| match self {
            Stream::Unix(stream) => stream.read(buffer),
            Stream::Tcp(stream) => stream.read(buffer),
        })
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
                if !matches!(self.read(&mut rest), Ok(1..)) {
                    return;
                }
            }
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

fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
