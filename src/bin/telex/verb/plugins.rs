//! Knows how the daemon's plugins fare.
//! Never: what they are for.

use clap::Args;
use serde_json::json;

use crate::answer::ask;
use crate::context::{CONNECT_TIMEOUT, Context, Form};
use crate::exit::Failure;
use crate::output::Results;
use crate::table::Table;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex plugins
  telex plugins --json | jq 'select(.strikes > 0)'"#;

/// List the plugins in their order, with their verdicts, strikes and the time that a message takes
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Plugins {}

impl Plugins {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let body = context.talk(CONNECT_TIMEOUT, |client| ask(client, "stats", &json!({})))?.body_value();
        let plugins = body["plugins"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut results = Results::new();
        if context.form() == Form::Json {
            for plugin in plugins {
                results.line(&plugin.to_string())?;
            }
            return results.flush();
        }
        let mut table = Table::new(&[
            "PLUGIN", ">CALLS", ">PASS", ">DROP", ">REJECT", ">REPLACE", ">NS/CALL", ">STRIKES",
        ]);
        for plugin in plugins {
            let count = |key: &str| plugin[key].to_string();
            let (calls, time) = (plugin["calls"].as_u64(), plugin["nanoseconds"].as_u64());
            let each = match (calls, time) {
                (Some(calls), Some(time)) if calls > 0 => (time / calls).to_string(),
                _ => "-".to_owned(),
            };
            let name = plugin["name"].as_str().unwrap_or_default().to_owned();
            let (pass, drop, reject) = (count("pass"), count("drop"), count("reject"));
            table.row([name, count("calls"), pass, drop, reject, count("replace"), each, count("strikes")]);
        }
        table.write(&mut results)?;
        results.flush()
    }
}
