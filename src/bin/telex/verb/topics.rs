//! Knows which topics are busy.
//! Never: what is published to them.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use telex::client::Client;

use crate::answer::ask;
use crate::context::{CONNECT_TIMEOUT, Context, Form};
use crate::exit::Failure;
use crate::given;
use crate::output::{Results, size};
use crate::table::Table;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex topics
  telex topics -W 5s --json"#;

/// List the topics with the most messages of the last 10 seconds
///
/// For administrators. They are counted from the first time that this is asked, and for a minute after the last; so it is
/// waited until some have been.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Topics {
    /// List at most N topics
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    /// Wait until messages of so much time have been counted
    #[arg(short = 'W', long = "wait", value_name = "TIME", default_value = "2s", value_parser = given::duration)]
    wait: Duration,
}

impl Topics {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let body = context.talk(CONNECT_TIMEOUT, |client| self.ask(client))?;
        let topics = body["topics"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut results = Results::new();
        if context.form() == Form::Json {
            for topic in topics {
                results.line(&topic.to_string())?;
            }
            return results.flush();
        }
        let seconds = body["seconds"].as_f64().unwrap_or_default().max(0.001);
        let mut table = Table::new(&["TOPIC", ">MESSAGES/S", ">BYTES/S", ">SUBSCRIBERS", ">MISSED"]);
        for topic in topics {
            let rate = |key: &str| topic[key].as_f64().unwrap_or_default() / seconds;
            table.row([
                topic["topic"].as_str().unwrap_or_default().to_owned(),
                format!("{:.1}", rate("messages")),
                size(&json!(rate("bytes") as u64)),
                topic["subscribers"].to_string(),
                topic["missed"].to_string(),
            ]);
        }
        table.write(&mut results)?;
        if body["others"].as_u64().unwrap_or_default() > 0 {
            context.words.say(&format!("{} messages went to other topics", body["others"]));
        }
        results.flush()
    }

    fn ask(&self, client: &mut Client) -> Result<Value, Failure> {
        const LOOK_EVERY: Duration = Duration::from_millis(200);
        // It counts no longer than this.
        const COUNTED_MAX: Duration = Duration::from_secs(10);
        let wait = self.wait.min(COUNTED_MAX);
        let deadline = Instant::now() + wait;
        loop {
            let body = ask(client, "topics", &json!({"limit": self.limit}))?.body_value();
            let counted = body["seconds"].as_f64().unwrap_or_default();
            if counted >= wait.as_secs_f64() || Instant::now() >= deadline {
                return Ok(body);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}
