//! Knows how the coming and going of nodes is shown.
//! Never: what they say.

use clap::Args;
use serde_json::{Value, json};

use crate::answer::ask;
use crate::colour::{Colours, Hue};
use crate::context::{Context, Form};
use crate::exit::Failure;
use crate::output::{Results, safe};
use crate::stream::{Heard, Until};

pub(super) const EXAMPLES: &str = r#"Examples:
  telex monitor
  telex monitor 'web-*' -n 1 -W 10s"#;

/// Show which nodes are there, and which come and go from then on
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Monitor {
    /// Only nodes whose names match, where * is any run of characters
    #[arg(default_value = "*")]
    pattern: String,
    #[command(flatten)]
    until: Until,
}

impl Monitor {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let (form, colours) = (context.form(), context.colours());
        let mut results = Results::new();
        self.until.hear(
            context,
            |client| ask(client, "monitor", &json!({"node_id": self.pattern})).map(drop),
            |message| {
                let body = message.body_value();
                if message.from().is_some() || !matches!(body["event"].as_str(), Some("node_up" | "node_down")) {
                    return Ok(Heard::Other);
                }
                match form {
                    Form::Json => results.line(message.body().unwrap_or("null"))?,
                    Form::Table => results.painted(&told(&body, colours))?,
                }
                results.flush()?;
                Ok(Heard::Shown)
            },
        )
    }
}

fn told(body: &Value, colours: Colours) -> String {
    let text = |key: &str| safe(body[key].as_str().unwrap_or("-"));
    let name = colours.paint(Hue::Name, &text("node_id"));
    match body["event"].as_str() {
        Some("node_up") => format!("{} {name} {}", colours.paint(Hue::Good, "+"), text("unique_id")),
        _ => format!("{} {name} {} ({})", colours.paint(Hue::Bad, "-"), text("unique_id"), text("reason")),
    }
}
