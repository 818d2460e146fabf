//! Knows the file descriptors that are kept back for when the process can get no more.
//! Never: what they are given up for.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Descriptors that are good for nothing but being given up.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    kept: Vec<OwnedFd>,
    wanted: usize,
}

impl Reserve {
    /// Keeps so many from now on, as far as they can be had. Those beyond are given up.
    pub(super) fn keep(&mut self, wanted: usize) {
        self.wanted = wanted;
        self.kept.truncate(wanted);
    }

    /// Whether some have been given up.
    pub(super) fn is_short(&self) -> bool {
        self.kept.len() < self.wanted
    }

    /// Gives one up; false if there is none.
    pub(super) fn give_up(&mut self) -> bool {
        self.kept.pop().is_some()
    }

    /// Makes it whole again, with copies of `any`; says whether it was not. The error says why it cannot be.
    pub(super) fn refill(&mut self, any: BorrowedFd<'_>) -> io::Result<bool> {
        let was_short = self.is_short();
        while self.kept.len() < self.wanted {
            self.kept.push(any.try_clone_to_owned()?);
        }
        Ok(was_short)
    }
}
