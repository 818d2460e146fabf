//! Knows how to wait for the daemon and for files of the command's own at the same time.
//! Never: what they have to say.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::exit::{Exit, Failure};

/// What came first.
pub(crate) enum Ready {
    Client,
    /// The other one of this place.
    Other(usize),
    /// The deadline.
    Nothing,
}

/// Waits until the client's socket can be read, or one of the others has an event that is wanted, or is broken.
pub(crate) fn wait(
    client: BorrowedFd<'_>,
    others: &[(BorrowedFd<'_>, PollFlags)],
    deadline: Option<Instant>,
) -> Result<Ready, Failure> {
    let others = others.iter().map(|(other, events)| PollFd::new(*other, *events));
    let mut fds: Vec<_> = std::iter::once(PollFd::new(client, PollFlags::POLLIN)).chain(others).collect();
    loop {
        // The kernel counts in milliseconds, and rounds down.
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left.as_millis() + u128::from(!left.is_zero())).unwrap_or(PollTimeout::MAX)
        });
        let ready = match poll(&mut fds, left) {
            Err(Errno::EINTR) => continue,
            ready => ready.map_err(|errno| Failure::new(Exit::Refused, format!("poll: {errno}")))?,
        };
        return Ok(match fds.iter().position(|fd| fd.any().unwrap_or(true)) {
            Some(0) => Ready::Client,
            Some(place) => Ready::Other(place - 1),
            None if ready == 0 && left != PollTimeout::MAX => Ready::Nothing,
            None => continue,
        });
    }
}
