//! Knows what the daemon knows of one node, or of one connection.
//! Never: others.

use clap::Args;
use serde_json::{Value, json};

use crate::answer::{Members, ask};
use crate::context::{CONNECT_TIMEOUT, Context, Form};
use crate::exit::Failure;
use crate::output::{Results, age, safe, size};
use crate::process::Process;
use crate::table::Table;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex resolve heating
  telex resolve :7 --json"#;

/// Tell all that is known of a node, or of a connection by its unique id
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Resolve {
    /// NODE or :N
    node: String,
}

impl Resolve {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let reply = context.talk(CONNECT_TIMEOUT, |client| {
            ask(client, "resolve", &json!({"node_id": self.node}))
        })?;
        let mut results = Results::new();
        match context.form() {
            Form::Json => {
                results.line(&Members::of_reply(&reply).map_or_else(String::new, |members| members.to_line()))?;
            }
            Form::Table => write(&reply.body_value(), &mut results)?,
        }
        results.flush()
    }
}

fn write(node: &Value, results: &mut Results) -> Result<(), Failure> {
    let text = |key: &str| node[key].as_str().unwrap_or("-").to_owned();
    let names: Vec<_> = node["node_ids"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let endpoints = node["endpoints"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut lines = vec![
        ("node", text("node_id")),
        ("status", text("status")),
        ("delivery", text("delivery")),
        ("endpoints", endpoints.collect::<Vec<_>>().join(" ")),
        ("meta", if node["meta"].is_null() { String::new() } else { node["meta"].to_string() }),
        ("last seen", format!("{} ago", age(&node["last_seen"]))),
    ];
    if !names.is_empty() {
        lines.insert(1, ("nodes", names.join(" ")));
    }
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        results.line(&format!("{name:>9}: {}", safe(value)))?;
    }
    let instances = node["instances"].as_array().map(Vec::as_slice).unwrap_or_default();
    if instances.is_empty() {
        return Ok(());
    }
    results.line("")?;
    let mut table = Table::new(&["ID", ">PID", "PROCESS", "USER", "UNIT", ">SINCE", ">OPEN", ">QUEUE"]);
    for instance in instances {
        let Process { pid, name, user, unit } = Process::of(instance);
        let id = instance["unique_id"].as_str().unwrap_or("-").to_owned();
        let (open, queue) = (instance["open_requests"].to_string(), size(&instance["queue_bytes"]));
        table.row([id, pid, name, user, unit, age(&instance["since"]), open, queue]);
    }
    table.write(results)
}
