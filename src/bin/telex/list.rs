//! Knows the nodes as a table, as JSON lines and as bare names.
//! Never: how many there are; it asks page by page.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use telex::client::{Client, Message, To};

use crate::args::ListArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Results, safe};

/// How long each page is waited for.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

enum Form {
    Table,
    Json,
    Names,
}

pub(crate) fn run(list: &ListArgs, quiet: bool, client: &mut Client) -> Result<(), Failure> {
    let form = match quiet {
        true => Form::Names,
        false if list.table => Form::Table,
        false if list.json => Form::Json,
        false if std::io::stdout().is_terminal() => Form::Table,
        false => Form::Json,
    };
    let mut results = Results::new();
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let body = body(list, after.as_ref());
        let page = Page::read(&client.call(To::Daemon, "list", &body, PAGE_TIMEOUT)?)?;
        for (raw, node) in &page.nodes {
            match form {
                Form::Json => results.line(raw)?,
                Form::Names => results.line(node["node_id"].as_str().unwrap_or_default())?,
                Form::Table => rows.push(row(node)),
            }
        }
        after = page.last();
        if !page.more || after.is_none() {
            break;
        }
    }
    if let Form::Table = form {
        write_table(&rows, &mut results)?;
    }
    results.flush()
}

fn body(list: &ListArgs, after: Option<&String>) -> String {
    let mut body = serde_json::Map::new();
    if let Some(pattern) = &list.pattern {
        body.insert("match".to_owned(), json!(pattern));
    }
    if list.all {
        body.insert("all".to_owned(), json!(true));
    }
    if let Some(after) = after {
        body.insert("after".to_owned(), json!(after));
    }
    Value::Object(body).to_string()
}

/// One answer: each node as it stands in it and as a tree.
struct Page {
    nodes: Vec<(String, Value)>,
    more: bool,
}

impl Page {
    fn read(reply: &Message) -> Result<Page, Failure> {
        let strange = |error| Failure::new(Exit::Unreachable, format!("the daemon's list is none: {error}"));
        let body = reply.body().unwrap_or("null");
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(body).map_err(strange)?;
        let raw = |name| fields.get(name).map_or("null", |raw: &&RawValue| raw.get());
        let nodes: Vec<&RawValue> = serde_json::from_str(raw("nodes")).map_err(strange)?;
        let node = |raw: &RawValue| Ok((raw.get().to_owned(), serde_json::from_str(raw.get())?));
        let nodes = nodes.into_iter().map(node).collect::<Result<_, _>>().map_err(strange)?;
        Ok(Page { nodes, more: raw("more") == "true" })
    }

    fn last(&self) -> Option<String> {
        self.nodes.last().and_then(|(_, node)| node["node_id"].as_str()).map(str::to_owned)
    }
}

fn row(node: &Value) -> [String; 4] {
    let text = |name: &str| safe(node[name].as_str().unwrap_or("-"));
    let instances = node["instances"].as_array().map_or(0, Vec::len).to_string();
    [text("node_id"), instances, text("delivery"), text("status")]
}

fn write_table(rows: &[[String; 4]], results: &mut Results) -> Result<(), Failure> {
    let head = ["NODE", "INSTANCES", "DELIVERY", "STATUS"].map(str::to_owned);
    let mut widths = [0; 4];
    for row in std::iter::once(&head).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let [node, instances, delivery, _] = widths;
    for [a, b, c, d] in std::iter::once(&head).chain(rows) {
        results.line(&format!("{a:node$}  {b:>instances$}  {c:delivery$}  {d}"))?;
    }
    Ok(())
}
