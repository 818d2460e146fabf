//! Knows the connections that were taken and are not open yet, and which of them have ended already.
//! Never: whether one may be opened.

use std::collections::VecDeque;
use std::os::fd::AsFd;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::net::Stream;

/// A connection that was taken and is not open yet.
#[derive(Debug)]
pub struct Newcomer {
    /// Its stream.
    pub stream: Stream,
    /// Its peer writes no more.
    pub(super) ends: bool,
}

/// All of them, in the order in which they were taken.
#[derive(Debug, Default)]
pub(super) struct Newcomers(VecDeque<Newcomer>);

impl Newcomers {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, stream: Stream) {
        self.0.push_back(Newcomer { stream, ends: false });
    }

    pub(super) fn pop(&mut self) -> Option<Newcomer> {
        self.0.pop_front()
    }

    /// Finds out which have ended. Only one that others are behind has to be known to: of the last one's end the
    /// poller tells in time.
    pub(super) fn look(&mut self) {
        if self.0.len() < 2 {
            return;
        }
        // `nix` has no name for it, and gives none if it is told.
        let watched = PollFlags::from_bits_retain(libc::POLLRDHUP);
        let mut all: Vec<_> =
            self.0.iter().map(|newcomer| PollFd::new(newcomer.stream.as_fd(), watched)).collect();
        // If it fails they are heard in their order all the same.
        if poll(&mut all, PollTimeout::ZERO).is_err() {
            return;
        }
        let ends: Vec<_> = all.iter().map(|one| one.any().unwrap_or(true)).collect();
        for (newcomer, ends) in self.0.iter_mut().zip(ends) {
            newcomer.ends = ends;
        }
    }
}
