//! Knows the settings of the running daemon.
//! Never: sets one.

use clap::Args;
use serde_json::{Value, json};

use crate::answer::ask;
use crate::context::{CONNECT_TIMEOUT, Context, Form};
use crate::exit::Failure;
use crate::output::Results;
use crate::table::Table;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex config
  telex config --json | jq 'select(.source != "default")'"#;

/// Tell the settings of the running daemon, where each comes from, and what waits for a restart
///
/// For administrators.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Config {}

impl Config {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let body = context.talk(CONNECT_TIMEOUT, |client| ask(client, "settings", &json!({})))?.body_value();
        let settings = body["settings"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut results = Results::new();
        if context.form() == Form::Json {
            for setting in settings {
                results.line(&setting.to_string())?;
            }
            return results.flush();
        }
        let mut table = Table::new(&["SETTING", "VALUE", "SOURCE", "APPLIES", "NEXT"]);
        for setting in settings {
            let text = |key: &str| setting[key].as_str().unwrap_or("-").to_owned();
            let value = |key: &str| match &setting[key] {
                Value::Null => "-".to_owned(),
                value => value.to_string(),
            };
            table.row([text("name"), value("value"), text("source"), text("applies"), value("next")]);
        }
        table.write(&mut results)?;
        results.flush()
    }
}
