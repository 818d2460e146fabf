//! Knows how to be a peer that never reads.
//! Never: answers.

use std::os::fd::AsFd;
use std::time::Duration;

use clap::Args;
use nix::poll::PollFlags;

use crate::context::{CONNECT_TIMEOUT, Context};
use crate::exit::Failure;
use crate::given;
use crate::stop::Stop;
use crate::stream::deadline_after;
use crate::wait::wait;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex black-hole sink
  telex black-hole sink --topic 'sensor.>' -W 1m"#;

/// Be a node that never reads, to see what its senders do
///
/// Ends with 0 when the daemon ends the connection, after the time, or at Ctrl-C.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BlackHole {
    /// The node
    name: String,
    /// Subscribe to this, too; may be repeated
    #[arg(long = "topic", value_name = "PATTERN")]
    topics: Vec<String>,
    /// End after this time
    #[arg(short = 'W', long = "wait", value_name = "TIME", value_parser = given::duration)]
    wait: Option<Duration>,
}

impl BlackHole {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let stop = Stop::watch()?;
        context.talk(CONNECT_TIMEOUT, |client| {
            let name = client.register(&self.name)?;
            for topic in &self.topics {
                client.subscribe(topic, None)?;
            }
            context.words.say(&format!("listening as {name}, and never reads"));
            // Only the end is waited for.
            let files = [(client.as_fd(), PollFlags::empty()), (stop.as_fd(), PollFlags::POLLIN)];
            wait(&files, self.wait.and_then(deadline_after)).map(drop)
        })
    }
}
