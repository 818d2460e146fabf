//! Knows how the end of a port is waited for.
//! Never: brings it about.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::context::{CONNECT_TIMEOUT, Context, Form};
use crate::exit::{Exit, Failure};
use crate::given;
use crate::output::{Results, safe};
use crate::port::{Peer, Said, port_id};
use crate::stream::deadline_after;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex mon 'shop#2a-7.1'
  telex mon 'worker#2a-7.1' -W 1m && echo 'it has done its work'"#;

/// Wait until a port dies, and print of what
///
/// The reason is a list, which is empty if the port ended normally: the status is 0 then, else 1. It is 3 if the port is not
/// there, and 6 if its node goes.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Mon {
    /// The port, NODE#NAME
    #[arg(value_parser = port_id)]
    port: String,
    /// End with 5 after this time
    #[arg(short = 'W', long = "wait", value_name = "TIME", value_parser = given::duration)]
    wait: Option<Duration>,
}

impl Mon {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let within = self.wait.unwrap_or(CONNECT_TIMEOUT);
        let deadline = self.wait.and_then(deadline_after);
        let said = context.talk(within, |client| {
            let mut peer = Peer::reach(client, &self.port, within.clamp(Duration::from_secs(1), CONNECT_TIMEOUT))?;
            loop {
                if let Said::Died(reason) = peer.next(deadline)? {
                    return Ok(reason);
                }
            }
        })?;
        let is_normal = said.is_empty();
        let reason = Value::from(said).to_string();
        let mut results = Results::new();
        results.line(&match context.form() {
            Form::Json => reason,
            Form::Table if is_normal => "it ended normally".to_owned(),
            Form::Table => safe(&format!("it died of {reason}")),
        })?;
        results.flush()?;
        if is_normal { Ok(()) } else { Err(Failure::new(Exit::Refused, "")) }
    }
}
