//! Knows how to go on with what comes until it is enough.
//! Never: what comes.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use telex::client::{Client, Message};

use crate::exit::{Exit, Failure};
use crate::wait::{Ready, wait};

/// When it is enough.
pub(crate) struct Enough {
    /// After so many.
    pub(crate) count: Option<u64>,
    /// Then, and that is a time-out.
    pub(crate) deadline: Option<Instant>,
}

/// Hands each message that comes to `each`, which says whether it counts, until it is enough.
pub(crate) fn stream(
    client: &mut Client,
    enough: &Enough,
    mut each: impl FnMut(&Message) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let mut count = 0;
    while enough.count.is_none_or(|most| count < most) {
        match next(client, enough.deadline)? {
            Some(message) => count += u64::from(each(&message)?),
            None => return Err(Failure::new(Exit::Timeout, format!("{count} messages came in time"))),
        }
    }
    Ok(())
}

/// The next message; none if it does not come in time. It ends, too, if the reader of stdout goes away meanwhile.
pub(crate) fn next(client: &mut Client, deadline: Option<Instant>) -> Result<Option<Message>, Failure> {
    loop {
        if let Some(message) = client.next(Some(Duration::ZERO))? {
            return Ok(Some(message));
        }
        let stdout = std::io::stdout();
        match wait(client.as_fd(), stdout.as_fd(), PollFlags::empty(), deadline)? {
            Ready::Client => {}
            Ready::Other => return Err(Failure::reader_gone()),
            Ready::Nothing => return Ok(None),
        }
    }
}
