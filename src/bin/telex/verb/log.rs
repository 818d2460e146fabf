//! Knows how the daemon's log is followed.
//! Never: where else it goes.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;
use telex::duration;

use crate::context::{CONNECT_TIMEOUT, Context, Form};
use crate::exit::Failure;
use crate::notice::notice;
use crate::output::{Results, clock, safe};
use crate::stream::{Enough, stream};

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
    /// End with 0 after so many records
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End with 5 after this time
    #[arg(short = 'W', long = "wait", value_name = "TIME", value_parser = duration::parse)]
    wait: Option<Duration>,
}

impl Log {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let _ = self.follow;
        let form = context.form();
        let enough = Enough { count: self.count, deadline: self.wait.map(|wait| Instant::now() + wait) };
        let mut results = Results::new();
        context.talk(self.wait.unwrap_or(CONNECT_TIMEOUT), |client| {
            client.subscribe("telex.log", None)?;
            stream(client, &enough, |message| {
                if message.topic() != Some("telex.log") {
                    if let Some(notice) = notice(message) {
                        context.words.say(&notice);
                    }
                    return Ok(false);
                }
                match form {
                    Form::Json => results.line(message.body().unwrap_or("null"))?,
                    Form::Table => results.line(&told(&message.body_value()))?,
                }
                results.flush()?;
                Ok(true)
            })
        })
    }
}

fn told(body: &Value) -> String {
    let text = |key: &str| safe(body[key].as_str().unwrap_or("-"));
    let who = body["unique_id"].as_str().map_or_else(String::new, |id| format!("{} ", safe(id)));
    format!("{} {}: {who}{}", clock(&body["time"]), text("level"), text("message"))
}
