//! Knows signals to a node.
//! Never: how they are sent.

use clap::Args;
use telex::client::To;

use crate::body::Sent;
use crate::context::Context;
use crate::exit::Failure;
use crate::sending::Sending;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex send kitchen '{"lamp":"on"}'
  journalctl -f -o json | telex send --from journal logger"#;

/// Send signals to a node
///
/// A signal expects no answer. The command ends with 0 only when the daemon has taken every one of them and reported no
/// error.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Send {
    /// The receiver: NODE, NODE#PORT or :N
    node: String,
    /// JSON, or any text with --text; '' is the empty string. Without a body, or with "-", each line of stdin is one
    #[arg(allow_negative_numbers = true)]
    body: Option<String>,
    /// telex publish TOPIC sends to the subscribers of a topic
    #[arg(long, hide = true, value_parser = no_topic)]
    topic: Option<String>,
    #[command(flatten)]
    sent: Sent,
}

impl Send {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        context.talk(self.sent.timeout, |client| {
            self.sent.register(client)?;
            Sending::new(client, To::Node(&self.node), &self.sent, context.words).run(self.body.as_deref())
        })
    }
}

fn no_topic(topic: &str) -> Result<String, String> {
    Err(format!("to a topic it is: telex publish {topic} [BODY]"))
}
