//! Knows how the daemon's log is followed.
//! Never: where else it goes.

use clap::Args;
use serde_json::Value;

use crate::context::{Context, Form};
use crate::exit::Failure;
use crate::output::{Results, clock, safe};
use crate::stream::{Heard, Until};

pub(super) const EXAMPLES: &str = r#"Examples:
  telex log
  telex log --json -W 1m | jq 'select(.level == "warning")'"#;

/// Follow the daemon's log from now on
///
/// For administrators. What was logged before is where the daemon logs to (journalctl -u telexd).
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Log {
    /// Go on for ever; it always does
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    until: Until,
}

impl Log {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let _ = self.follow;
        let form = context.form();
        let mut results = Results::new();
        self.until.hear(
            context,
            |client| Ok(client.subscribe("telex.log", None)?),
            |message| {
                if message.topic() != Some("telex.log") {
                    return Ok(Heard::Other);
                }
                match form {
                    Form::Json => results.line(message.body().unwrap_or("null"))?,
                    Form::Table => results.line(&told(&message.body_value()))?,
                }
                results.flush()?;
                Ok(Heard::Shown)
            },
        )
    }
}

fn told(body: &Value) -> String {
    let text = |key: &str| safe(body[key].as_str().unwrap_or("-"));
    let who = body["unique_id"].as_str().map_or_else(String::new, |id| format!("{} ", safe(id)));
    format!("{} {}: {who}{}", clock(&body["time"]), text("level"), text("message"))
}
