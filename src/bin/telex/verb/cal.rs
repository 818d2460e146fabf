//! Knows how a port is asked something.
//! Never: what it answers.

use clap::Args;
use serde_json::Value;

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::Results;
use crate::port::{Peer, Said, Spoken, list, port_id};

pub(super) const EXAMPLES: &str = r#"Examples:
  telex cal 'adder#2a-7.1' add 1 2
  telex cal 'shop#2a-7.1' price tea --timeout 5s"#;

/// Send a message to a port, and print the first one that comes back
///
/// The message is that of telex snd with the ID of a new port at its end, to which the answer goes: a list, printed on one
/// line. Ends with 3 if the port is not there, with 5 if no answer comes in time, with 6 if the port dies or its node goes
/// before.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Cal {
    /// The port, NODE#NAME
    #[arg(value_parser = port_id)]
    port: String,
    /// What the port takes the message by
    tag: String,
    /// JSON or text
    #[arg(value_name = "ARG", allow_negative_numbers = true)]
    args: Vec<String>,
    #[command(flatten)]
    spoken: Spoken,
}

impl Cal {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let mut message = vec![telex::client::text(&self.tag)];
        message.extend(self.spoken.elements(&self.args)?);
        let deadline = self.spoken.deadline();
        let said = context.talk(self.spoken.timeout, |client| {
            let mut peer = Peer::reach(client, &self.port, self.spoken.timeout)?;
            message.push(telex::client::text(&peer.answers_to()));
            peer.send(&list(&message))?;
            peer.next(deadline)
        })?;
        match said {
            Said::Answer(answer) => {
                let mut results = Results::new();
                results.line(&answer)?;
                results.flush()
            }
            Said::Died(reason) if reason.is_empty() => {
                Err(Failure::new(Exit::NodeGone, "the port ended before it answered"))
            }
            Said::Died(reason) => {
                let words = format!("the port died before it answered: {}", Value::from(reason));
                Err(Failure::new(Exit::NodeGone, words))
            }
        }
    }
}
