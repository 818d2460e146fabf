//! Knows how connections are taken, and when they are not.
//! Never: what comes over them.

use std::io::{self, IoSlice};
use std::time::Duration;

use crate::core::{Identity, Peer, Repeats, SessionKey, Transport};
use crate::daemon::Daemon;
use crate::daemon::conns::{Conn, token_of};
use crate::net::{Stream, is_shortage};
use crate::plugin::TurnedAway;
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
    shortages: Repeats,
    /// The log has it that no connections are taken.
    is_told: bool,
    failures: Repeats,
}

impl Accepting {
    pub(super) fn new(listeners: usize) -> Accepting {
        Accepting {
            waiting: vec![true; listeners],
            retry_at: None,
            shortages: Repeats::default(),
            is_told: false,
            failures: Repeats::default(),
        }
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

    /// Puts off what cannot be taken for now, with this many connections open. What to log of it, if
    /// anything: where connections come and go at the limit, every one of them is a shortage and its end.
    fn shortage(&mut self, error: &io::Error, open: usize, now: Duration) -> Option<String> {
        self.retry_at = Some(now + RETRY);
        if self.is_told {
            return None;
        }
        self.shortages.count(now)?;
        self.is_told = true;
        Some(format!("no more connections are taken, with {open} open: {error}"))
    }

    /// What to log of a connection that could not be served, if anything.
    fn failure(&mut self, error: &io::Error, now: Duration) -> Option<String> {
        Some(match self.failures.count(now)? {
            1 => format!("a connection failed before it was served: {error}"),
            count => format!("{count} more connections failed before they were served: {error}"),
        })
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
        if !self.accepting.waiting.contains(&true) {
            self.accepting.retry_at = None;
            if std::mem::take(&mut self.accepting.is_told) {
                self.log.notice("connections are taken again");
            }
        }
    }

    fn accept_from(&mut self, at: usize, now: Duration) {
        let mut failed = false;
        for _ in 0..ACCEPTS_MAX {
            match self.listeners[at].listener.accept() {
                Ok(stream) => self.welcome(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.accepting.waiting[at] = false;
                    return;
                }
                Err(error) if is_shortage(&error) => {
                    let open = self.core.connections();
                    if let Some(text) = self.accepting.shortage(&error, open, now) {
                        self.log.warn(&text);
                    }
                    return;
                }
                // That one connection has failed before it was taken (accept(2)); the next may not.
                Err(error) => {
                    failed = true;
                    self.fail(&error);
                }
            }
        }
        if failed {
            self.accepting.retry_at = Some(now + RETRY);
        }
    }

    fn fail(&mut self, error: &io::Error) {
        if let Some(text) = self.accepting.failure(error, self.clock.now().mono) {
            self.log.error(&text);
        }
    }

    fn welcome(&mut self, mut stream: Stream) {
        let Some((number, peer)) = self.introduce(&stream) else { return };
        let session = match self.open(number, peer) {
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
                self.fail(&error);
                self.lose(session);
            }
        }
    }

    /// Opens a connection, where there is room for it and no plugin is against it.
    fn open(&mut self, number: u64, peer: Peer) -> Result<SessionKey, Vec<u8>> {
        let now = self.clock.now();
        if self.core.would_open(&peer)
            && let Err(TurnedAway { plugin, reason }) = self.plugins.connected(number, &peer)
        {
            return Err(self.core.turn_away(number, &peer, &plugin, &reason, now));
        }
        self.core.open(number, peer, now)
    }

    fn introduce(&mut self, stream: &Stream) -> Option<(u64, Peer)> {
        let (transport, identity) = match stream {
            Stream::Tcp(_) => (Transport::Tcp, Ok(Identity::Anonymous)),
            Stream::Unix(stream, _) => (Transport::Unix, sys::identify(stream)),
        };
        match (self.numbers.take(), identity) {
            (Ok(number), Ok(identity)) => {
                let administrator =
                    matches!(identity, Identity::Kernel { uid, .. } if uid == 0 || uid == sys::own_uid());
                Some((number, Peer { transport, identity, administrator }))
            }
            (Err(error), _) | (_, Err(error)) => {
                self.fail(&error);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn connections_that_fail_one_after_the_other_are_told_together() {
        let mut accepting = Accepting::new(1);
        let error = io::Error::from(io::ErrorKind::ConnectionAborted);
        let first = accepting.failure(&error, SECOND);
        assert_eq!(first.as_deref(), Some("a connection failed before it was served: connection aborted"));
        for n in 0..999 {
            assert_eq!(accepting.failure(&error, SECOND + Duration::from_millis(n)), None);
        }
        let later = accepting.failure(&error, 2 * SECOND).expect("a second later");
        assert!(later.starts_with("1000 more connections failed before they were served: "), "{later}");
    }

    #[test]
    fn a_shortage_that_stays_is_told_though_one_before_was_told_just_now() {
        let mut accepting = Accepting::new(1);
        let error = io::Error::from(io::ErrorKind::OutOfMemory);
        assert!(accepting.shortage(&error, 7, SECOND).is_some());
        assert_eq!(accepting.shortage(&error, 7, 3 * SECOND), None, "it is the same one");
        accepting.is_told = false;
        assert!(accepting.shortage(&error, 7, 3 * SECOND).is_some());
        accepting.is_told = false;
        assert_eq!(accepting.shortage(&error, 7, 3 * SECOND + SECOND / 2), None);
        assert_eq!(accepting.deadline(), Some(4 * SECOND + SECOND / 2));
        assert!(accepting.shortage(&error, 7, 4 * SECOND + SECOND / 2).is_some());
    }
}
