//! Knows how to wait until nodes are there.
//! Never: what they are for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use telex::duration;

use crate::answer::ask;
use crate::context::{Context, Form};
use crate::exit::{Exit, Failure};
use crate::given;
use crate::output::Results;
use crate::stream::deadline_after;

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
    #[arg(short = 'W', long = "wait", value_name = "TIME", default_value = "30s", value_parser = given::duration)]
    wait: Duration,
}

impl WaitFor {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let deadline = deadline_after(self.wait);
        // The instances that are there, of each node that is waited for.
        let mut nodes: BTreeMap<&str, BTreeSet<String>> =
            self.nodes.iter().map(|node| (node.as_str(), BTreeSet::new())).collect();
        context.talk(self.wait, |client| {
            for node in &self.nodes {
                ask(client, "monitor", &json!({"node_id": node}))?;
            }
            while nodes.values().any(BTreeSet::is_empty) {
                let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                let Some(message) = client.next(left)? else { return Err(self.missing(&nodes)) };
                let body = message.body_value();
                let text = |key: &str| body[key].as_str().unwrap_or_default();
                let is_own = message.from().is_none();
                match nodes.get_mut(text("node_id")).filter(|_| is_own) {
                    Some(instances) if text("event") == "node_up" => {
                        instances.insert(text("unique_id").to_owned());
                    }
                    Some(instances) if text("event") == "node_down" => {
                        instances.remove(text("unique_id"));
                    }
                    _ => {}
                }
            }
            Ok(())
        })?;
        let mut results = Results::new();
        if context.form() == Form::Json {
            for (node, instances) in &nodes {
                results.line(&json!({"node_id": node, "instances": instances}).to_string())?;
            }
        }
        results.flush()
    }

    fn missing(&self, nodes: &BTreeMap<&str, BTreeSet<String>>) -> Failure {
        let missing = nodes.iter().filter(|(_, instances)| instances.is_empty());
        let names: Vec<_> = missing.map(|(name, _)| format!("\"{name}\"")).collect();
        let words = format!("no node {} after {}", names.join(", "), duration::format(self.wait));
        Failure::new(Exit::Timeout, words)
    }
}
