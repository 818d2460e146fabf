//! Knows how to wait for the daemon and for one of the command's own files at the same time.
//! Never: what either has to say.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::exit::{Exit, Failure};

/// What came first.
pub(crate) enum Ready {
    Client,
    Other,
    /// The deadline.
    Nothing,
}

/// Waits until the client's socket can be read, or `other` has one of `events` or is broken.
pub(crate) fn wait(
    client: BorrowedFd<'_>,
    other: BorrowedFd<'_>,
    events: PollFlags,
    deadline: Option<Instant>,
) -> Result<Ready, Failure> {
    let mut fds = [PollFd::new(client, PollFlags::POLLIN), PollFd::new(other, events)];
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
        return Ok(match fds.each_ref().map(|fd| fd.any().unwrap_or(true)) {
            _ if ready == 0 && left != PollTimeout::MAX => Ready::Nothing,
            [true, _] => Ready::Client,
            [_, true] => Ready::Other,
            _ => continue,
        });
    }
}
