//! Knows how a command is run for each message to a topic.
//! Never: runs it itself.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

use crate::command::Order;
use crate::context::{CONNECT_TIMEOUT, Context};
use crate::exit::Failure;
use crate::given;
use crate::groups::Groups;
use crate::keep::{Bounds, Reconnect};
use crate::serving::{Serving, Wanted};
use crate::stop::Stop;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex on alarm.fire -- ./ring-the-bell
  telex on 'job.*.done' --group mailers --jobs 4 -- sh -c 'mail -s "$TELEX_TO" root'"#;

/// Run a command for each message to a topic
///
/// The body stands on the command's stdin, and the environment says the rest, as for telex serve. Further messages wait in
/// their order.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct On {
    /// The topic, or a pattern of topics
    topic: String,
    /// Share the messages with the others of this group: each message goes to one of them
    #[arg(long)]
    group: Option<String>,
    /// Run at most N at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// Kill a run, with all processes that it has started, after this time
    #[arg(long, value_name = "TIME", value_parser = given::duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    reconnect: Reconnect,
    /// The command
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl On {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let order = Order {
            words: self.command,
            timeout: self.timeout,
            is_text: false,
            is_quiet: context.words.quiet,
            groups: Groups::default(),
        };
        let stop = Stop::watch()?;
        let mut serving = Serving::new(context, &stop, order, usize::from(self.jobs))?;
        let ended = self.reconnect.keep(context, CONNECT_TIMEOUT, Bounds::of(&stop), |client| {
            client.subscribe(&self.topic, self.group.as_deref())?;
            context.words.say(&format!("listening to {}", self.topic));
            serving.run(client, |_| Wanted::Yes)
        });
        serving.finish(ended)
    }
}
