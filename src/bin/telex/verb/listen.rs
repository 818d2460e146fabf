//! Knows how messages to a node are shown.
//! Never: answers them.

use clap::Args;
use telex::client::{Delivery, Error, Register};

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::hear::Shown;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex listen kitchen
  telex listen kitchen -n 1 -W 5s --format '{from}: {body.lamp}'"#;

/// Become an instance of a node, and print the messages to it, one line each
///
/// Each message is a line of JSON, as it came, and written at once. What the daemon itself says (that messages were missed,
/// that it shuts down) stands on stderr. Requests are printed too, but not answered: telex serve and telex reply do that.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Listen {
    /// The node
    name: String,
    /// Join a node that shares its messages out, and take a part of them
    #[arg(long)]
    join: bool,
    /// telex subscribe PATTERN hears topics
    #[arg(long, hide = true, value_parser = no_topic)]
    topic: Option<String>,
    #[command(flatten)]
    shown: Shown,
}

impl Listen {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let options = Register {
            node_id: Some(self.name.as_str().into()),
            // A node whose instances share its messages is not joined by chance: what is printed here, others do not get.
            delivery: (!self.join).then_some(Delivery::All),
            ..Register::default()
        };
        self.shown.hear(context, |client| {
            let name = match client.register_with(&options) {
                Err(Error::DeliveryMismatch(_)) => return Err(self.shared()),
                registered => registered?,
            };
            context.words.say(&format!("listening as {name}"));
            Ok(())
        })
    }

    fn shared(&self) -> Failure {
        let name = &self.name;
        let words = format!(
            "the instances of \"{name}\" share its messages: listening would take some from them; telex tap --to {name} \
             shows them without that, --join insists"
        );
        Failure::new(Exit::Denied, words)
    }
}

fn no_topic(topic: &str) -> Result<String, String> {
    Err(format!("topics are heard by: telex subscribe '{topic}'"))
}

