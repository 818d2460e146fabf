//! Knows how to go on with what comes until it is enough.
//! Never: what comes.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use clap::Args;
use nix::poll::PollFlags;
use telex::client::{Client, Message};
use telex::duration;

use crate::context::CONNECT_TIMEOUT;
use crate::exit::{Exit, Failure};
use crate::notice::notice;
use crate::output::Words;
use crate::wait::{Ready, wait};

/// When it is enough.
#[derive(Args)]
pub(crate) struct Until {
    /// End with 0 after so many
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End with 5 after this time
    #[arg(short = 'W', long = "wait", value_name = "TIME", value_parser = duration::parse)]
    wait: Option<Duration>,
}

/// What a message was to a verb.
pub(crate) enum Heard {
    /// It was shown, and counts.
    Shown,
    /// It belongs to something that will be shown.
    Kept,
    /// It is for others; if it is the daemon's, its words are said.
    Other,
}

impl Until {
    /// How long a connection is waited for.
    pub(crate) fn patience(&self) -> Duration {
        self.wait.unwrap_or(CONNECT_TIMEOUT)
    }

    /// Hands each message that comes to `each` until it is enough.
    pub(crate) fn stream(
        &self,
        client: &mut Client,
        words: Words,
        mut each: impl FnMut(&Message) -> Result<Heard, Failure>,
    ) -> Result<(), Failure> {
        let deadline = self.wait.and_then(deadline_after);
        let mut count = 0;
        while self.count.is_none_or(|most| count < most) {
            let Some(message) = next(client, deadline)? else {
                return Err(Failure::new(Exit::Timeout, format!("{count} messages came in time")));
            };
            match each(&message)? {
                Heard::Shown => count += 1,
                Heard::Kept => {}
                Heard::Other => notice(&message).into_iter().for_each(|notice| words.say(&notice)),
            }
        }
        Ok(())
    }
}

/// The end of a wait that begins now; none if it is too far away to come.
pub(crate) fn deadline_after(wait: Duration) -> Option<Instant> {
    Instant::now().checked_add(wait)
}

/// The next message; none if it does not come in time. It ends, too, if the reader of stdout goes away meanwhile.
fn next(client: &mut Client, deadline: Option<Instant>) -> Result<Option<Message>, Failure> {
    loop {
        if let Some(message) = client.next(Some(Duration::ZERO))? {
            return Ok(Some(message));
        }
        let stdout = std::io::stdout();
        match wait(client.as_fd(), &[(stdout.as_fd(), PollFlags::empty())], deadline)? {
            Ready::Client => {}
            Ready::Other(_) => return Err(Failure::reader_gone()),
            Ready::Nothing => return Ok(None),
        }
    }
}
