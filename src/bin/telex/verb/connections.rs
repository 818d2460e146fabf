//! Knows all connections, named or not.
//! Never: how many there are; it asks page by page.

use clap::Args;
use serde_json::{Value, json};

use crate::answer::ask_pages;
use crate::context::{CONNECT_TIMEOUT, Context, Form};
use crate::exit::Failure;
use crate::output::{Results, age, size, waited};
use crate::process::Process;
use crate::table::Table;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex connections
  telex connections --json | jq 'select(.paused)'"#;

/// List the connections, named or not
///
/// Administrators see all, others those of their own user. PAUSED says why nothing more of what a connection sent is
/// handled for now: room (a line of it waits for room in a queue), answers (it does not read its answers), turn.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Connections {}

impl Connections {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let form = context.form();
        let mut results = Results::new();
        let mut table = Table::new(&[
            "=ID", "NODES", ">?PID", "PROCESS", "USER", "?OVER", ">SINCE", ">?IN", ">?OUT", ">QUEUE", ">OLDEST",
            ">MISSED", "PAUSED",
        ])
        .with_names(1, context.colours());
        context.talk(CONNECT_TIMEOUT, |client| {
            ask_pages(client, "connections", json!({}), ("connections", "unique_id"), |raw, entry| {
                match form {
                    Form::Json => results.line(raw),
                    Form::Table => {
                        add(&mut table, entry);
                        Ok(())
                    }
                }
            })
        })?;
        if form == Form::Table {
            table.write(&mut results)?;
        }
        results.flush()
    }
}

fn add(table: &mut Table, entry: &Value) {
    let Process { pid, name, user, .. } = Process::of(entry);
    let text = |key: &str| entry[key].as_str().unwrap_or("-").to_owned();
    let names = entry["node_ids"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let names = names.collect::<Vec<_>>().join(",");
    let names = if names.is_empty() { "-".to_owned() } else { names };
    let paused = match entry["leaving"] == json!(true) {
        true => "leaving".to_owned(),
        false => text("paused"),
    };
    table.row([
        text("unique_id"),
        names,
        pid,
        name,
        user,
        text("transport"),
        age(&entry["since"]),
        entry["lines_in"].to_string(),
        entry["lines_out"].to_string(),
        size(&entry["queue_bytes"]),
        waited(entry["oldest_ms"].as_f64().unwrap_or_default()),
        entry["missed"].to_string(),
        paused,
    ]);
}
