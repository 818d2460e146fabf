//! Knows how a port is asked something.
//! Never: what it answers.

use clap::Args;
use serde_json::Value;

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::Results;
use crate::port::{Peer, Said, ToPort, list};

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
    #[command(flatten)]
    message: ToPort,
}

impl Cal {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let (mut message, timeout) = (self.message.elements()?, self.message.spoken.timeout);
        let deadline = self.message.spoken.deadline();
        let said = context.talk(timeout, |client| {
            let mut peer = Peer::reach(client, &self.message.port, timeout)?;
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
