//! Knows messages to a port.
//! Never: waits for what comes of them.

use clap::Args;

use crate::context::Context;
use crate::exit::Failure;
use crate::port::{Peer, Spoken, list, port_id};

pub(super) const EXAMPLES: &str = r#"Examples:
  telex snd 'shop#2a-7.1' pay 17
  telex snd 'hall#2a-9.4' say '"17"' '{"loud":true}'"#;

/// Send a message to a port of a node
///
/// The message is a list: the tag, a text, and the arguments. An argument that is JSON is taken as it is, any other as
/// text: 17 is a number, '"17"' and seventeen are texts. Ends with 0 when the node's queue has the message, with 3 if the
/// port is not there.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Snd {
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

impl Snd {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let mut message = vec![telex::client::text(&self.tag)];
        message.extend(self.spoken.elements(&self.args)?);
        context.talk(self.spoken.timeout, |client| {
            let mut peer = Peer::reach(client, &self.port, self.spoken.timeout)?;
            peer.send(&list(&message))?;
            peer.settle(self.spoken.timeout)
        })
    }
}
