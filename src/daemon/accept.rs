//! Knows how connections are taken, and when they are not.
//! Never: what comes over them.

use std::io::{self, IoSlice};
use std::time::Duration;

use crate::core::{Effect, Identity, Peer, Transport};
use crate::daemon::Daemon;
use crate::daemon::conns::{Conn, token_of};
use crate::net::{Stream, is_shortage};
use crate::sys;

/// Connections taken from one listener in one turn.
const ACCEPTS_MAX: usize = 64;
/// When to look again whether there are descriptors, where no connection closes before.
const RETRY: Duration = Duration::from_secs(1);

/// Which listeners have connections waiting, and whether they can be taken.
#[derive(Debug)]
pub(super) struct Accepting {
    waiting: Vec<bool>,
    /// Out of descriptors: when to try again.
    retry_at: Option<Duration>,
}

impl Accepting {
    pub(super) fn new(listeners: usize) -> Accepting {
        Accepting { waiting: vec![true; listeners], retry_at: None }
    }

    pub(super) fn connection_waits(&mut self, listener: usize) {
        if let Some(waits) = self.waiting.get_mut(listener) {
            *waits = true;
        }
    }

    pub(super) fn stop(&mut self) {
        self.waiting.clear();
        self.retry_at = None;
    }

    /// A descriptor has become free.
    pub(super) fn descriptor_freed(&mut self) {
        if self.retry_at.is_some() {
            self.retry_at = Some(Duration::ZERO);
        }
    }

    /// When there is something to do here: at once, or later, or not before an event.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let is_waiting = self.waiting.contains(&true);
        is_waiting.then(|| self.retry_at.unwrap_or(Duration::ZERO))
    }
}

impl Daemon {
    /// Takes the connections that wait.
    pub(super) fn accept(&mut self, now: Duration) {
        if self.accepting.deadline().is_none_or(|at| at > now) {
            return;
        }
        for at in 0..self.accepting.waiting.len() {
            if self.accepting.waiting[at] {
                self.accept_from(at, now);
            }
        }
        // A descriptor that one connection gives back and the next one takes is no end of it.
        if !self.accepting.waiting.contains(&true) && self.accepting.retry_at.take().is_some() {
            self.log.notice("connections are taken again");
        }
    }

    fn accept_from(&mut self, at: usize, now: Duration) {
        let mut failed = None;
        for _ in 0..ACCEPTS_MAX {
            match self.listeners[at].listener.accept() {
                Ok(stream) => self.welcome(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.accepting.waiting[at] = false;
                    return;
                }
                Err(error) if is_shortage(&error) => {
                    if self.accepting.retry_at.is_none() {
                        let open = self.core.connections();
                        self.log.warn(&format!("no more connections are taken, with {open} open: {error}"));
                    }
                    self.accepting.retry_at = Some(now + RETRY);
                    return;
                }
                // That one connection has failed before it was taken (accept(2)); the next may not.
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            self.log.warn(&format!("some connections could not be taken: {error}"));
            self.accepting.retry_at = Some(now + RETRY);
        }
    }

    fn welcome(&mut self, mut stream: Stream) {
        let Some((number, peer)) = self.introduce(&stream) else { return };
        let session = match self.core.open(number, peer, self.clock.now()) {
            Ok(session) => session,
            Err(line) => {
                // A new socket has room for a line; a peer that has gone already needs none.
                let _ = stream.write(&[IoSlice::new(&[&line[..], b"\n"].concat())]);
                return stream.close();
            }
        };
        match self.poller.watch_stream(&mut stream, token_of(session)) {
            Ok(()) => {
                self.conns.insert(session, Conn::new(stream));
                self.enqueue(session);
            }
            Err(error) => {
                self.log.warn(&format!(":{number} cannot be watched: {error}"));
                self.lose(session);
            }
        }
    }

    fn introduce(&mut self, stream: &Stream) -> Option<(u64, Peer)> {
        let (transport, identity) = match stream {
            Stream::Tcp(_) => (Transport::Tcp, Ok(Identity::Anonymous)),
            Stream::Unix(stream) => (Transport::Unix, sys::identify(stream)),
        };
        match (self.numbers.take(), identity) {
            (Ok(number), Ok(identity)) => {
                let administrator =
                    matches!(identity, Identity::Kernel { uid, .. } if uid == 0 || uid == sys::own_uid());
                Some((number, Peer { transport, identity, administrator }))
            }
            (Err(error), _) | (_, Err(error)) => {
                self.log.error(&format!("a connection was closed: {error}"));
                None
            }
        }
    }

    /// Carries out what the core has ordered.
    pub(super) fn obey(&mut self) {
        while let Some(effect) = self.core.next_effect() {
            match effect {
                Effect::Note(note) => self.log.note(&note),
                Effect::Reload(token) => self.reloads.push(token),
                // Nobody has asked for these yet.
                Effect::Happened(_) => {}
                Effect::Resume(session) => {
                    if let Some(conn) = self.conns.get_mut(session) {
                        conn.resumes = true;
                        self.enqueue(session);
                    }
                }
                Effect::Close(session) => {
                    if let Some(conn) = self.conns.remove(session) {
                        conn.stream.close();
                        self.accepting.descriptor_freed();
                    }
                }
            }
        }
    }
}
