//! Knows which sockets are ready, edge by edge: what is told once is not told again before it
//! changes, so whoever is told has to remember it.
//! Never: what is done about it.

use std::io;
use std::time::Duration;

pub use mio::Waker;
use mio::{Events, Interest, Poll, Token};

use crate::net::{Listener, Stream};

/// Waits for sockets. Tokens are the caller's, and come back as they were given.
#[derive(Debug)]
pub struct Poller {
    poll: Poll,
    events: Events,
}

/// What has become of one socket.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// As it was registered.
    pub token: usize,
    /// There is something to read or to accept, or an end to be seen.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// The peer writes no more: reading will come to an end.
    pub ends: bool,
    /// The peer reads no more, or the connection is broken: writing is of no use.
    pub broke: bool,
}

impl Poller {
    /// A poller of nothing.
    pub fn new() -> io::Result<Poller> {
        const EVENTS: usize = 1024;
        Ok(Poller { poll: Poll::new()?, events: Events::with_capacity(EVENTS) })
    }

    /// Watches a listener for connections.
    pub fn watch_listener(&self, listener: &mut Listener, token: usize) -> io::Result<()> {
        self.poll.registry().register(listener.source(), Token(token), Interest::READABLE)
    }

    /// Watches a connection for everything, once and for all.
    pub fn watch_stream(&self, stream: &mut Stream, token: usize) -> io::Result<()> {
        self.poll.registry().register(stream.source(), Token(token), Interest::READABLE | Interest::WRITABLE)
    }

    /// Watches something else that can be read.
    pub fn watch(&self, source: &mut impl mio::event::Source, token: usize) -> io::Result<()> {
        self.poll.registry().register(source, Token(token), Interest::READABLE)
    }

    /// What other threads end a wait with.
    pub fn waker(&self, token: usize) -> io::Result<Waker> {
        Waker::new(self.poll.registry(), Token(token))
    }

    /// Waits until something is ready or the time is over (none: for ever). A signal may end it
    /// early. Linux waits in whole milliseconds, which are rounded up.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// What the last wait has found.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        self.events.iter().map(|event| Event {
            token: event.token().0,
            readable: event.is_readable() || event.is_read_closed() || event.is_error(),
            writable: event.is_writable(),
            ends: event.is_read_closed(),
            broke: event.is_write_closed() || event.is_error(),
        })
    }
}
