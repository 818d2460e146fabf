//! Knows how to wait until nodes are there.
//! Never: what they are for.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use telex::duration;

use crate::answer::ask;
use crate::context::{Context, Form};
use crate::exit::{Exit, Failure};
use crate::output::Results;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex wait-for heating
  telex wait-for db cache -W 2m && exec ./server"#;

/// Wait until nodes are there
///
/// Ends at once if they are, with 5 if they have not come in time.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WaitFor {
    /// The nodes
    #[arg(required = true, value_name = "NODE")]
    nodes: Vec<String>,
    /// How long to wait
    #[arg(short = 'W', long = "wait", value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    wait: Duration,
}

impl WaitFor {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let deadline = Instant::now() + self.wait;
        let mut missing: BTreeSet<String> = self.nodes.iter().cloned().collect();
        let mut results = Results::new();
        context.talk(self.wait, |client| {
            for node in &self.nodes {
                ask(client, "monitor", &json!({"node_id": node}))?;
            }
            while !missing.is_empty() {
                let left = deadline.saturating_duration_since(Instant::now());
                let Some(message) = client.next(Some(left))? else {
                    let names: Vec<_> = missing.iter().map(|name| format!("\"{name}\"")).collect();
                    let words = format!("no node {} after {}", names.join(", "), duration::format(self.wait));
                    return Err(Failure::new(Exit::Timeout, words));
                };
                let body = message.body_value();
                let node = body["node_id"].as_str().unwrap_or_default();
                if message.from().is_none() && body["event"] == "node_down" {
                    // It was there, and is there no more.
                    if self.nodes.iter().any(|name| name == node) && body["reason"] != "replaced" {
                        missing.insert(node.to_owned());
                    }
                } else if message.from().is_none()
                    && body["event"] == "node_up"
                    && missing.remove(node)
                    && context.form() == Form::Json
                {
                    let line = json!({"node_id": node, "unique_id": body["unique_id"]});
                    results.line(&line.to_string())?;
                    results.flush()?;
                }
            }
            Ok(())
        })
    }
}
