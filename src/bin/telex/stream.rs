//! Knows how to go on with what comes until it is enough.
//! Never: what comes.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use clap::Args;
use nix::poll::PollFlags;
use telex::client::{Client, Message};

use crate::context::{CONNECT_TIMEOUT, Context};
use crate::exit::{Exit, Failure, until_told};
use crate::given;
use crate::keep::{Bounds, Reconnect};
use crate::notice::{missed, notice};
use crate::output::counted;
use crate::stop::Stop;
use crate::wait::wait;

/// When it is enough.
#[derive(Args)]
pub(crate) struct Until {
    /// End with 0 after N messages
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End with 5 after this time
    #[arg(short = 'W', long = "wait", value_name = "TIME", value_parser = given::duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    reconnect: Reconnect,
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

    /// Connects, does `begin`, and hands each message that comes to `each` until it is enough. With `--reconnect` it
    /// connects and begins anew when the connection is lost. Ctrl-C and SIGTERM end it with a summary: as it was to be,
    /// unless a count was to be reached.
    pub(crate) fn hear(
        &self,
        context: &Context,
        mut begin: impl FnMut(&mut Client) -> Result<(), Failure>,
        mut each: impl FnMut(&Message) -> Result<Heard, Failure>,
    ) -> Result<(), Failure> {
        let stop = Stop::watch()?;
        let deadline = self.wait.and_then(deadline_after);
        let bounds = Bounds { deadline, stop: Some(&stop), by_reader: true };
        let mut tally = Tally::default();
        let ended = self.reconnect.keep(context, self.patience(), bounds, |client| {
            tally.connections += 1;
            begin(client)?;
            while self.count.is_none_or(|most| tally.came < most) {
                let Some(message) = next(client, &stop, bounds.deadline)? else {
                    return Err(Failure::new(
                        Exit::Timeout,
                        format!("{} came in time", counted(tally.came, "message")),
                    ));
                };
                match each(&message)? {
                    Heard::Shown => tally.came += 1,
                    Heard::Kept => {}
                    Heard::Other => {
                        tally.missed += missed(&message);
                        notice(&message).into_iter().for_each(|notice| context.words.say(&notice));
                    }
                }
            }
            Ok(())
        });
        match ended {
            Err(stopped) if stopped.is_stop() => {
                context.words.say(&tally.told());
                if self.count.is_some() { Err(stopped) } else { until_told(Err(stopped)) }
            }
            ended => ended,
        }
    }
}

/// What came of it so far.
#[derive(Default)]
struct Tally {
    came: u64,
    missed: u64,
    connections: u64,
}

impl Tally {
    fn told(&self) -> String {
        let losses = self.connections.saturating_sub(1);
        let lost = if losses > 0 { format!("; connections lost: {losses}") } else { String::new() };
        format!("messages: {}, missed: {}{lost}", self.came, self.missed)
    }
}

/// The end of a wait that begins now; none if it is too far away to come.
pub(crate) fn deadline_after(wait: Duration) -> Option<Instant> {
    Instant::now().checked_add(wait)
}

/// The next message; none if it does not come in time. It ends, too, if the command is told to end, or the reader of
/// stdout goes away meanwhile.
fn next(client: &mut Client, stop: &Stop, deadline: Option<Instant>) -> Result<Option<Message>, Failure> {
    let stdout = std::io::stdout();
    loop {
        stop.check()?;
        if let Some(message) = client.next(Some(Duration::ZERO))? {
            return Ok(Some(message));
        }
        let files = [
            (client.as_fd(), PollFlags::POLLIN),
            (stop.as_fd(), PollFlags::POLLIN),
            (stdout.as_fd(), PollFlags::empty()),
        ];
        match wait(&files, deadline)? {
            Some(2) => return Err(Failure::reader_gone()),
            Some(_) => {}
            None => return Ok(None),
        }
    }
}
