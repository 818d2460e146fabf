//! Knows how a port is killed.
//! Never: a connection; telex kill ends those.

use clap::Args;

use crate::context::Context;
use crate::exit::Failure;
use crate::port::{Peer, Said, Spoken, list, port_id};

pub(super) const EXAMPLES: &str = r#"Examples:
  telex kil 'shop#2a-7.1'
  telex kil 'worker#2a-7.1' overheated 80"#;

/// Kill a port, and wait until it is dead
///
/// Without a reason it ends normally, and ports that are linked to it live. Ends with 3 if the port is not there, with 5 if
/// it is not dead in time.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Kil {
    /// The port, NODE#NAME
    #[arg(value_parser = port_id)]
    port: String,
    /// What it dies of: JSON or text
    #[arg(allow_negative_numbers = true)]
    reason: Vec<String>,
    #[command(flatten)]
    spoken: Spoken,
}

impl Kil {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let reason = list(&self.spoken.elements(&self.reason)?);
        let deadline = self.spoken.deadline();
        context.talk(self.spoken.timeout, |client| {
            let mut peer = Peer::reach(client, &self.port, self.spoken.timeout)?;
            peer.kill(&reason)?;
            while !matches!(peer.next(deadline)?, Said::Died(_)) {}
            Ok(())
        })
    }
}
