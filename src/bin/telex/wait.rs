//! Knows how to wait for several files at the same time.
//! Never: what any of them has to say.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::exit::{Exit, Failure};

/// Waits until one of the files has one of its events or is broken; which one, or none at the deadline.
pub(crate) fn wait(
    files: &[(BorrowedFd<'_>, PollFlags)],
    deadline: Option<Instant>,
) -> Result<Option<usize>, Failure> {
    let mut fds: Vec<_> = files.iter().map(|(file, events)| PollFd::new(*file, *events)).collect();
    loop {
        // The kernel counts in milliseconds, and rounds down.
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left.as_millis() + u128::from(!left.is_zero())).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, left) {
            Ok(0) if left != PollTimeout::MAX => return Ok(None),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(fds.iter().position(|fd| fd.any().unwrap_or(true))),
            Err(errno) => return Err(Failure::new(Exit::Refused, format!("poll: {errno}"))),
        }
    }
}
