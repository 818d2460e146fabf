//! Knows how messages to topics are shown.
//! Never: answers them.

use clap::Args;

use crate::context::Context;
use crate::exit::Failure;
use crate::hear::Shown;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex subscribe 'sensor.*.temp' --body
  telex subscribe 'job.done.>' --group loggers -n 1 -W 5s"#;

/// Print the messages to topics, one line each
///
/// In a pattern * is any one token, and > at the end one or more. What was missed for want of room is told on stderr.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Subscribe {
    /// The topics, or patterns of them
    #[arg(required = true, value_name = "PATTERN")]
    topics: Vec<String>,
    /// Share the messages with the others of this group: each message goes to one of them
    #[arg(long)]
    group: Option<String>,
    #[command(flatten)]
    shown: Shown,
}

impl Subscribe {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        self.shown.hear(context, |client| {
            for topic in &self.topics {
                client.subscribe(topic, self.group.as_deref())?;
            }
            context.words.say(&format!("listening to {}", self.topics.join(", ")));
            Ok(())
        })
    }
}
