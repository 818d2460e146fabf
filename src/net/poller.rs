//! Knows which sockets are ready, edge by edge: what is told once is not told again before it changes, so it has to
//! be remembered above.
//! Never: what is done about it.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

pub use mio::Waker;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::net::alarm::Alarm;
use crate::net::{Listener, Stream};

/// What every connection is watched for.
const ALWAYS: Interest = Interest::READABLE.add(Interest::PRIORITY);

/// Waits for sockets. Tokens are the caller's, and come back as they were given.
#[derive(Debug)]
pub(super) struct Poller {
    poll: Poll,
    events: Events,
    alarm: Alarm,
}

/// What has become of one socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readiness {
    /// As it was registered.
    pub(super) token: usize,
    /// There is something to read or to accept, or an end to be seen.
    pub(super) readable: bool,
    /// There is room to write. It is told if it is awaited.
    pub(super) writable: bool,
    /// The peer has sent urgent bytes: reads end at them, and more may be behind (tcp(7)).
    pub(super) urgent: bool,
    /// The peer writes no more: reading will come to an end.
    pub(super) ends: bool,
    /// The peer reads no more, or the connection is broken: writing is of no use.
    pub(super) broken: bool,
}

impl Poller {
    /// A poller of nothing but the time, with a token for the end of a wait by it.
    pub(super) fn new(alarm_token: usize) -> io::Result<Poller> {
        const EVENTS: usize = 1024;
        let (poll, alarm) = (Poll::new()?, Alarm::new()?);
        poll.registry().register(&mut SourceFd(&alarm.fd()), Token(alarm_token), Interest::READABLE)?;
        Ok(Poller { poll, events: Events::with_capacity(EVENTS), alarm })
    }

    /// A descriptor that stays.
    pub(super) fn any_fd(&self) -> BorrowedFd<'_> {
        self.alarm.as_fd()
    }

    /// Watches a listener for connections.
    pub(super) fn watch_listener(&self, listener: &mut Listener, token: usize) -> io::Result<()> {
        self.poll.registry().register(listener.source(), Token(token), Interest::READABLE)
    }

    /// Watches a connection for everything but room to write.
    pub(super) fn watch_stream(&self, stream: &mut Stream, token: usize) -> io::Result<()> {
        self.poll.registry().register(stream.source(), Token(token), ALWAYS)
    }

    /// Watches it also for room to write, or not any more: a Unix socket tells of room at each read of its
    /// peer, also if it has never been without. Room that there is already is told of.
    pub(super) fn await_room(&self, stream: &mut Stream, token: usize, awaited: bool) -> io::Result<()> {
        let interests = if awaited { ALWAYS | Interest::WRITABLE } else { ALWAYS };
        self.poll.registry().reregister(stream.source(), Token(token), interests)
    }

    /// Watches something else that can be read.
    pub(super) fn watch(&self, source: &mut impl mio::event::Source, token: usize) -> io::Result<()> {
        self.poll.registry().register(source, Token(token), Interest::READABLE)
    }

    /// What other threads end a wait with.
    pub(super) fn waker(&self, token: usize) -> io::Result<Waker> {
        Waker::new(self.poll.registry(), Token(token))
    }

    /// Waits until something is ready or it is `deadline` (none: for ever), by the clock that it is `now`.
    /// A signal may end it early, and so may a deadline of a wait before. What is ready by then is found all the
    /// same.
    pub(super) fn wait(&mut self, deadline: Option<Duration>, now: Duration) -> io::Result<()> {
        let timeout = match deadline {
            Some(deadline) if deadline <= now => Some(Duration::ZERO),
            Some(deadline) => {
                self.alarm.ring_at(deadline, now)?;
                None
            }
            None => None,
        };
        let mut waited = self.poll.poll(&mut self.events, timeout);
        // Also by a stop of the process (signal(7)), during which much may have come.
        while waited.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
            waited = self.poll.poll(&mut self.events, Some(Duration::ZERO));
        }
        waited
    }

    /// What the last wait has found.
    pub(super) fn readiness(&self) -> impl Iterator<Item = Readiness> {
        self.events.iter().map(|event| Readiness {
            token: event.token().0,
            readable: event.is_readable()
                || event.is_priority()
                || event.is_read_closed()
                || event.is_error(),
            writable: event.is_writable(),
            urgent: event.is_priority(),
            ends: event.is_read_closed(),
            broken: event.is_write_closed() || event.is_error(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_wait_ends_at_its_deadline() {
        const SOON: Duration = Duration::from_millis(20);
        const LATE: Duration = Duration::from_secs(20);
        let mut poller = Poller::new(0).expect("a poller");
        let began = Instant::now();
        let mut wait = |deadline| {
            let now = began.elapsed();
            poller.wait(deadline, now).expect("a wait");
            began.elapsed()
        };
        assert!(wait(Some(SOON)) >= SOON);
        assert!(wait(Some(SOON)) < LATE, "what is past is not waited for");
        // An alarm that was set for an earlier deadline may end the wait for a later one, and only the first.
        let next = began.elapsed() + SOON;
        assert!((next..LATE).contains(&wait(Some(next))));
        assert!(wait(Some(next + SOON)) >= next + SOON);
        // One that is set for a later deadline is set anew, and one for an earlier deadline is not.
        poller.alarm.ring_at(LATE, began.elapsed()).expect("an alarm");
        poller.alarm.ring_at(2 * LATE, began.elapsed()).expect("an alarm");
        assert_eq!(poller.alarm.set_for, Some(LATE));
        let next = began.elapsed() + SOON;
        poller.wait(Some(next), began.elapsed()).expect("a wait");
        assert!((next..LATE).contains(&began.elapsed()));
    }
}
