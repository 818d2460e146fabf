//! Knows how a connection is taken, and who is at its other end.
//! Never: what is said over it.

use std::io;

use crate::listen::{Listener, Peer, identify};

/// A connected socket; here it never makes its thread wait.
pub(super) use crate::client::Socket as Stream;

/// Takes a connection that waits; `WouldBlock` if none does.
pub(super) fn accept(listener: &Listener) -> io::Result<Stream> {
    let stream = match listener {
        Listener::Unix(listener) => Stream::Unix(listener.accept()?.0),
        Listener::Tcp(listener) => Stream::Tcp(listener.accept()?.0),
    };
    stream.set_nonblocking(true)?;
    // Each answer is wanted at once.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The process at the other end; none over TCP.
pub(super) fn process(stream: &Stream) -> io::Result<Option<Peer>> {
    match stream {
        Stream::Unix(stream) => identify(stream).map(Some),
        Stream::Tcp(_) => Ok(None),
    }
}
