//! Knows at which listeners connections wait, and when they cannot be taken.
//! Never: which peer connects.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use crate::listen::{is_file_shortage, is_shortage};
use crate::net::reserve::Reserve;
use crate::net::{Bound, Stream};

/// Connections taken from one listener in one round.
const ACCEPTS_MAX: usize = 64;
/// When it is tried again to take connections after that has failed, unless a connection is closed before.
const RETRY: Duration = Duration::from_secs(1);

/// The listeners, and how far the round of taking connections has come.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    pub(super) bound: Vec<Bound>,
    /// Which of them have connections waiting.
    waiting: Vec<bool>,
    /// Something was short: when to try again.
    retry_at: Option<Duration>,
    /// Connections that waited at a listener that has been replaced.
    left_behind: VecDeque<Stream>,
    round: Option<Round>,
}

/// One round of taking connections from all listeners.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// The listener that it has come to.
    at: usize,
    /// Connections that may be taken from it yet.
    left: usize,
    /// One of them has failed.
    has_failed: bool,
}

impl Round {
    fn at(at: usize) -> Round {
        Round { at, left: ACCEPTS_MAX, has_failed: false }
    }
}

impl Listeners {
    pub(super) fn new(bound: Vec<Bound>) -> Listeners {
        Listeners { waiting: vec![true; bound.len()], bound, ..Listeners::default() }
    }

    /// Puts another listener in the place of one that cannot be reached any more. What waits there is not lost.
    pub(super) fn replace(&mut self, at: usize, fresh: Bound) {
        let (Some(bound), Some(waits)) = (self.bound.get_mut(at), self.waiting.get_mut(at)) else { return };
        let old = std::mem::replace(bound, fresh);
        self.left_behind.extend(std::iter::from_fn(|| old.listener.accept().ok()));
        *waits = true;
    }

    pub(super) fn connection_waits(&mut self, listener: usize) {
        if let Some(waits) = self.waiting.get_mut(listener) {
            *waits = true;
        }
    }

    /// No more connections are taken.
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

    /// Connections that wait are tried again later, as if there were a shortage.
    pub(super) fn put_off(&mut self, now: Duration) {
        self.retry_at = Some(now + RETRY);
    }

    /// Whether connections wait that were not taken.
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting.contains(&true)
    }

    /// When there is something to do here: at once, or later, or not before an event.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.has_waiting().then(|| self.retry_at.unwrap_or(Duration::ZERO))
    }

    /// The next connection that waits, in one round over all listeners; none at its end. For lack of a descriptor one
    /// of the `reserve` is given up.
    pub(super) fn accept(&mut self, now: Duration, reserve: &mut Reserve) -> Option<io::Result<Stream>> {
        if let Some(stream) = self.left_behind.pop_front() {
            return Some(Ok(stream));
        }
        if self.round.is_none() && self.deadline().is_none_or(|at| at > now) {
            return None;
        }
        let mut round = self.round.take().unwrap_or(Round::at(0));
        while let (Some(bound), Some(waits)) = (self.bound.get(round.at), self.waiting.get_mut(round.at)) {
            if !*waits || round.left == 0 {
                if *waits && round.has_failed {
                    self.retry_at = Some(now + RETRY);
                }
                round = Round::at(round.at + 1);
                continue;
            }
            round.left -= 1;
            let mut taken = bound.listener.accept();
            if taken.as_ref().is_err_and(is_file_shortage) && reserve.give_up() {
                taken = bound.listener.accept();
            }
            match &taken {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    *waits = false;
                    continue;
                }
                Err(error) if is_shortage(error) => {
                    self.retry_at = Some(now + RETRY);
                    round.left = 0;
                }
                // That one connection has failed before it was taken (accept(2)); the next may not.
                Err(_) => round.has_failed = true,
                Ok(_) => {}
            }
            self.round = Some(round);
            return Some(taken);
        }
        // A descriptor that one connection gives back and the next one takes does not end a shortage.
        if !self.has_waiting() {
            self.retry_at = None;
        }
        None
    }
}
