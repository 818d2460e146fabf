//! Knows the nodes, with what is known of the processes behind them.
//! Never: how many there are; it asks page by page.

use clap::Args;
use serde_json::{Value, json};

use crate::answer::{ask_pages, object};
use crate::context::{CONNECT_TIMEOUT, Context, Form};
use crate::exit::Failure;
use crate::output::{Results, age, size};
use crate::process::Process;
use crate::table::Table;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex list
  telex list 'web-*' --json
  telex list --all --names"#;

/// List the nodes
///
/// A row for each instance on a terminal, else a line of JSON for each node. What the system does not tell, or tells
/// of another process by now, is a dash.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct List {
    /// Only nodes whose names match, where * is any run of characters
    pattern: Option<String>,
    /// Also nodes that are known but gone
    #[arg(long)]
    all: bool,
    /// The names alone, one on a line
    #[arg(long)]
    names: bool,
}

impl List {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let form = context.form();
        let mut results = Results::new();
        let mut table =
            Table::new(&["NODE", "=ID", ">PID", "PROCESS", "USER", "?UNIT", ">SINCE", ">OPEN", ">QUEUE"])
            .with_names(0, context.colours());
        let body = object([
            ("match", json!(self.pattern)),
            ("all", json!(self.all)),
            ("details", json!(!self.names)),
        ]);
        context.talk(CONNECT_TIMEOUT, |client| {
            ask_pages(client, "list", body, ("nodes", "node_id"), |raw, node| {
                match (self.names, form) {
                    (true, _) => results.line(node["node_id"].as_str().unwrap_or_default()),
                    (false, Form::Json) => results.line(raw),
                    (false, Form::Table) => {
                        add(&mut table, node);
                        Ok(())
                    }
                }
            })
        })?;
        if form == Form::Table && !self.names {
            table.write(&mut results)?;
        }
        results.flush()
    }
}

fn add(table: &mut Table, node: &Value) {
    let name = node["node_id"].as_str().unwrap_or_default();
    let instances = node["instances"].as_array().map(Vec::as_slice).unwrap_or_default();
    for instance in instances {
        let Process { pid, name: process, user, unit } = Process::of(instance);
        let text = |key: &str| instance[key].as_str().unwrap_or("-").to_owned();
        let open = instance["open_requests"].to_string();
        let (since, queue) = (age(&instance["since"]), size(&instance["queue_bytes"]));
        table.row([name.to_owned(), text("unique_id"), pid, process, user, unit, since, open, queue]);
    }
    if instances.is_empty() {
        let status = node["status"].as_str().unwrap_or("-").to_owned();
        let none = || "-".to_owned();
        table.row([name.to_owned(), status, none(), none(), none(), none(), none(), none(), none()]);
    }
}
