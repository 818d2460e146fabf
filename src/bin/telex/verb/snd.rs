//! Knows messages to a port.
//! Never: waits for what comes of them.

use clap::Args;

use crate::context::Context;
use crate::exit::Failure;
use crate::port::{Peer, ToPort, list};

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
    #[command(flatten)]
    message: ToPort,
}

impl Snd {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let (message, timeout) = (self.message.elements()?, self.message.spoken.timeout);
        context.talk(timeout, |client| {
            let mut peer = Peer::reach(client, &self.message.port, timeout)?;
            peer.send(&list(&message))?;
            peer.settle(timeout)
        })
    }
}
