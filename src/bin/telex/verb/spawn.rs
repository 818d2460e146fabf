//! Knows how another node is asked to make a port.
//! Never: what the port does.

use std::time::SystemTime;

use clap::Args;
use telex::client::{Error, text};

use crate::body::unsendable;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::Results;
use crate::port::{Spoken, become_node, list};

pub(super) const EXAMPLES: &str = r#"Examples:
  telex spawn factory worker
  telex spawn shop till 17 '"17"' '{"open":true}'"#;

/// Make a port on a node, by a function that it offers, and print the ID of the port
///
/// The arguments are JSON or text, as for telex snd. A function that is not offered, or fails, is an error: status 1.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Spawn {
    /// The node
    node: String,
    /// The function
    function: String,
    /// JSON or text
    #[arg(value_name = "ARG", allow_negative_numbers = true)]
    args: Vec<String>,
    #[command(flatten)]
    spoken: Spoken,
}

impl Spawn {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let args = list(&self.spoken.elements(&self.args)?);
        let port = context.talk(self.spoken.timeout, |client| {
            let own = become_node(client)?;
            // The number in the own name is never used again, unless the daemon has lost its state.
            let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros();
            let port = format!("{}#{}-{now:x}", self.node, own.trim_start_matches("telex/"));
            let function = text(&self.function);
            let body = format!(r#"{{"port":{},"function":{function},"args":{args}}}"#, text(&port));
            match client.call(&*self.node, "port_spawn", &body, self.spoken.timeout) {
                Ok(_) => Ok(port),
                Err(Error::Unsendable(why)) => Err(unsendable(&why, &body, None, true)),
                Err(error) => Err(error.into()),
            }
        })?;
        let mut results = Results::new();
        results.line(&port)?;
        results.flush()
    }
}
