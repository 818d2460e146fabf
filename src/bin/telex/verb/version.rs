//! Knows the versions of both sides, and whether they fit.
//! Never: what is different in them.

use clap::Args;
use serde_json::json;

use crate::answer::ask;
use crate::context::{CONNECT_TIMEOUT, Context, Form};
use crate::exit::{Exit, Failure};
use crate::output::{Results, safe};

/// The protocol that this command speaks.
const PROTOCOL: u64 = 1;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex version
  telex version --json"#;

/// Tell the versions of this command and of the daemon
///
/// Ends with 1 if they speak different versions of the protocol.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Version {}

impl Version {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        const OWN: &str = env!("CARGO_PKG_VERSION");
        let reply = context.talk(CONNECT_TIMEOUT, |client| ask(client, "whoami", &json!({})))?;
        let daemon = &reply.body_value()["daemon"];
        let (version, protocol) = (daemon["version"].as_str().unwrap_or("-"), daemon["protocol"].as_u64());
        let mut results = Results::new();
        match context.form() {
            Form::Json => {
                let both = json!({"telex": OWN, "telexd": version, "protocol": protocol});
                results.line(&both.to_string())?;
            }
            Form::Table => {
                results.line(&format!("telex {OWN}, protocol {PROTOCOL}"))?;
                let protocol = protocol.map_or_else(|| "-".to_owned(), |number| number.to_string());
                results.line(&format!("telexd {}, protocol {protocol}", safe(version)))?;
            }
        }
        results.flush()?;
        match protocol {
            Some(PROTOCOL) => Ok(()),
            _ => Err(Failure::new(Exit::Refused, format!("this command speaks protocol {PROTOCOL} alone"))),
        }
    }
}
