//! Knows how a lost connection is made again.
//! Never: what it is for.

use std::hash::{BuildHasher, RandomState};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use clap::Args;
use nix::poll::PollFlags;
use telex::client::{self, Backoff, Client};
use telex::duration;

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::stop::Stop;
use crate::wait::wait;

/// A connection that has lasted so long counts as a good one: the next loss begins with the first delay again.
const GOOD_AFTER: Duration = Duration::from_secs(1);

/// Whether a lost connection is made again.
#[derive(Args)]
pub(crate) struct Reconnect {
    /// When the connection is lost, connect again for as long as it takes, and go on
    #[arg(long)]
    reconnect: bool,
}

/// What ends the wait for the next attempt.
#[derive(Clone, Copy)]
pub(crate) struct Bounds<'a> {
    pub(crate) deadline: Option<Instant>,
    pub(crate) stop: Option<&'a Stop>,
    /// The reader of stdout goes away.
    pub(crate) by_reader: bool,
}

impl<'a> Bounds<'a> {
    /// The wish of the user alone.
    pub(crate) fn of(stop: &'a Stop) -> Bounds<'a> {
        Bounds { deadline: None, stop: Some(stop), by_reader: false }
    }
}

impl Reconnect {
    /// Talks to the daemon, over one connection after the other if that is wanted: `run` begins anew with each. The first
    /// connection has to be made at once, and what ends for another reason than a loss has ended.
    pub(crate) fn keep(
        &self,
        context: &Context,
        within: Duration,
        bounds: Bounds<'_>,
        mut run: impl FnMut(&mut Client) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut client = context.connect(within)?;
        let mut delays = Delays::new();
        loop {
            let began = Instant::now();
            let failure = match context.talk_over(&mut client, &mut run) {
                Err(failure) if self.reconnect && failure.is_loss() => failure,
                ended => return ended,
            };
            drop(client);
            context.words.fail(&failure.words);
            context.words.say("connecting again; what is sent until then is missed here");
            if began.elapsed() >= GOOD_AFTER {
                delays = Delays::new();
            }
            client = delays.connect(context, within, bounds)?;
        }
    }
}

/// Delays that grow, and vary by chance.
struct Delays(Backoff);

impl Delays {
    fn new() -> Delays {
        let library = client::Reconnect::default();
        Delays(Backoff::new(library.first_delay, library.longest_delay))
    }

    /// Tries until it works.
    fn connect(
        &mut self,
        context: &Context,
        within: Duration,
        bounds: Bounds<'_>,
    ) -> Result<Client, Failure> {
        let lost = Instant::now();
        let mut tries = 0_u64;
        loop {
            tries += 1;
            pause(self.0.next(RandomState::new().hash_one(tries)), bounds)?;
            match context.connect(within) {
                Ok(client) => {
                    let away = Duration::from_millis(lost.elapsed().as_millis() as u64);
                    let times = if tries == 1 { "attempt" } else { "attempts" };
                    let words = format!("connected again after {}, {tries} {times}", duration::format(away));
                    context.words.say(&words);
                    return Ok(client);
                }
                Err(failure) if failure.exit == Exit::Unreachable => {}
                Err(failure) => return Err(failure),
            }
        }
    }
}

/// Waits for the next attempt, or fails if the bounds end it.
fn pause(delay: Duration, bounds: Bounds<'_>) -> Result<(), Failure> {
    let next = Instant::now() + delay;
    let until = bounds.deadline.map_or(next, |deadline| deadline.min(next));
    match bounds.stop {
        None => std::thread::sleep(until.saturating_duration_since(Instant::now())),
        Some(stop) => {
            let stdout = std::io::stdout();
            let files = [(stop.as_fd(), PollFlags::POLLIN), (stdout.as_fd(), PollFlags::empty())];
            let watched = if bounds.by_reader { &files[..] } else { &files[..1] };
            if let Some(1) = wait(watched, Some(until))? {
                return Err(Failure::reader_gone());
            }
            stop.check()?;
        }
    }
    if until < next {
        return Err(Failure::new(Exit::Timeout, "the daemon did not come back in time"));
    }
    Ok(())
}
