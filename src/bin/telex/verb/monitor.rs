//! Knows how the coming and going of nodes is shown.
//! Never: what they say.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use telex::duration;

use crate::answer::ask;
use crate::context::{CONNECT_TIMEOUT, Context, Form};
use crate::exit::Failure;
use crate::notice::notice;
use crate::output::{Results, safe};
use crate::stream::{Enough, stream};

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
    /// End with 0 after so many
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End with 5 after this time
    #[arg(short = 'W', long = "wait", value_name = "TIME", value_parser = duration::parse)]
    wait: Option<Duration>,
}

impl Monitor {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let form = context.form();
        let enough = Enough { count: self.count, deadline: self.wait.map(|wait| Instant::now() + wait) };
        let mut results = Results::new();
        context.talk(self.wait.unwrap_or(CONNECT_TIMEOUT), |client| {
            ask(client, "monitor", &json!({"node_id": self.pattern}))?;
            stream(client, &enough, |message| {
                let body = message.body_value();
                if message.from().is_some() || !matches!(body["event"].as_str(), Some("node_up" | "node_down")) {
                    if let Some(notice) = notice(message) {
                        context.words.say(&notice);
                    }
                    return Ok(false);
                }
                match form {
                    Form::Json => results.line(message.body().unwrap_or("null"))?,
                    Form::Table => results.line(&told(&body))?,
                }
                results.flush()?;
                Ok(true)
            })
        })
    }
}

fn told(body: &Value) -> String {
    let text = |key: &str| safe(body[key].as_str().unwrap_or("-"));
    match body["event"].as_str() {
        Some("node_up") => format!("+ {} {}", text("node_id"), text("unique_id")),
        _ => format!("- {} {} ({})", text("node_id"), text("unique_id"), text("reason")),
    }
}
