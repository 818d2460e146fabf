//! Knows how the daemon is made to read its configuration again.
//! Never: what is in it.

use std::time::Duration;

use clap::Args;
use serde_json::Value;
use telex::client::To;

use crate::answer::Members;
use crate::context::{CONNECT_TIMEOUT, Context, Form};
use crate::exit::Failure;
use crate::output::Results;

/// It may wait for plugins and disks.
const TIMEOUT: Duration = Duration::from_secs(300);

pub(super) const EXAMPLES: &str = r#"Examples:
  telex reload
  telex reload --json | jq .restart"#;

/// Have the daemon read its configuration again, and wait until that is in force
///
/// For administrators. Tells what has changed, and what will only after a restart. If the configuration is faulty
/// nothing changes, and the fault is told.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Reload {}

impl Reload {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let reply = context.talk(CONNECT_TIMEOUT, |client| Ok(client.call(To::Daemon, "reload", "", TIMEOUT)?))?;
        let mut results = Results::new();
        if context.form() == Form::Json {
            results.line(&Members::of_reply(&reply).map_or_else(String::new, |members| members.to_line()))?;
            return results.flush();
        }
        let body = reply.body_value();
        for (key, words) in [("applied", "changed now"), ("restart", "after a restart")] {
            let names: Vec<_> = body[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            results.line(&format!("{words}: {names}"))?;
        }
        results.flush()
    }
}
