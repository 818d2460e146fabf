//! Knows what the daemon tells of nodes, of published messages and of itself, as values.
//! Never: how it is asked.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::client::ask;
use crate::client::message::Message;
use crate::wire::control::Delivery;

/// What [`Handle::list`](crate::client::Handle::list) and [`Client::list`](crate::client::Client::list) are to give; by default the first 1000 nodes that are there.
#[derive(Clone, Copy, Debug, Default)]
pub struct List<'a> {
    /// Only node IDs that match this pattern, in which `*` is any run of characters.
    pub pattern: Option<&'a str>,
    /// Also nodes that are gone and remembered.
    pub all: bool,
    /// Only what comes behind this node ID.
    pub after: Option<&'a str>,
    /// So many at most; 1000 is the most there is.
    pub limit: Option<usize>,
}

/// What became of a message to a topic (PROTOCOL.md section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// So many subscribers got it.
    pub receivers: u64,
    /// So many had no room for it.
    pub missed: u64,
}

impl Receipt {
    pub(super) fn read(answer: &Message) -> Receipt {
        let body = answer.body_value();
        let count = |name: &str| body[name].as_u64().unwrap_or_default();
        Receipt { receivers: count("receivers"), missed: count("missed") }
    }
}

/// A page of a [`List`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeList {
    /// The nodes, in the order of their node IDs.
    pub nodes: Vec<ListedNode>,
    /// Whether there are more, behind the last one's node ID.
    pub more: bool,
}

/// A node, as a list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedNode {
    /// Its node ID.
    pub node_id: String,
    /// `up`, or, of those that are remembered, `down` or `lost`.
    pub status: String,
    /// How its instances share messages.
    pub delivery: Delivery,
    /// The unique ids of its instances.
    pub instances: Vec<String>,
}

/// A node, as `resolve` finds it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ResolvedNode {
    /// Its node ID.
    pub node_id: String,
    /// `up`; `down` if it has unregistered, `lost` if its connection has ended.
    pub status: String,
    /// How its instances share messages.
    pub delivery: Delivery,
    /// Its instances.
    pub instances: Vec<Instance>,
    /// Where it can be dialled.
    pub endpoints: Vec<String>,
    /// What it tells of itself, as JSON text; empty if it tells nothing.
    pub meta: String,
    /// When it was last there.
    pub last_seen: Option<SystemTime>,
}

/// One connection that is a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instance {
    /// Its unique id.
    pub unique_id: String,
    /// Its user; `None` over TCP, as are the next two.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
    /// The process that opened it, as a hint.
    pub pid: Option<u32>,
    /// Since when it is an instance.
    pub since: Option<SystemTime>,
    /// How many answers it owes.
    pub open_requests: u64,
    /// How many bytes wait for it.
    pub queue_bytes: u64,
}

/// What `whoami` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Whoami {
    /// The unique id of this connection.
    pub unique_id: String,
    /// Its user; `None` over TCP, as are the next two.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
    /// The process that opened it.
    pub pid: Option<u32>,
    /// The node IDs that it holds.
    pub node_ids: Vec<String>,
    /// Whether it may do what administrators may.
    pub administrator: bool,
    /// `unix` or `tcp`.
    pub transport: String,
    /// The daemon's `name`, `version`, `protocol`, `host` and `limits`, as JSON text.
    pub daemon: String,
}

impl List<'_> {
    /// The body of the request.
    pub(in crate::client) fn body(&self) -> String {
        ask::list(self.pattern, self.all, self.after, self.limit)
    }
}

impl NodeList {
    pub(in crate::client) fn read(message: &Message) -> NodeList {
        let body = message.body_value();
        let node = |node: &Value| ListedNode {
            node_id: text(&node["node_id"]),
            status: text(&node["status"]),
            delivery: delivery(&node["delivery"]),
            instances: texts(&node["instances"]),
        };
        let nodes = body["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        NodeList { nodes: nodes.iter().map(node).collect(), more: body["more"] == true }
    }
}

impl ResolvedNode {
    pub(in crate::client) fn read(message: &Message) -> ResolvedNode {
        let body = message.body_value();
        let instance = |instance: &Value| Instance {
            unique_id: text(&instance["unique_id"]),
            uid: number(&instance["uid"]),
            gid: number(&instance["gid"]),
            pid: number(&instance["pid"]),
            since: time(&instance["since"]),
            open_requests: instance["open_requests"].as_u64().unwrap_or_default(),
            queue_bytes: instance["queue_bytes"].as_u64().unwrap_or_default(),
        };
        let instances = body["instances"].as_array().map(Vec::as_slice).unwrap_or_default();
        ResolvedNode {
            node_id: text(&body["node_id"]),
            status: text(&body["status"]),
            delivery: delivery(&body["delivery"]),
            instances: instances.iter().map(instance).collect(),
            endpoints: texts(&body["endpoints"]),
            meta: if body["meta"].is_null() { String::new() } else { body["meta"].to_string() },
            last_seen: time(&body["last_seen"]),
        }
    }
}

impl Whoami {
    pub(in crate::client) fn read(message: &Message) -> Whoami {
        let body = message.body_value();
        Whoami {
            unique_id: text(&body["unique_id"]),
            uid: number(&body["uid"]),
            gid: number(&body["gid"]),
            pid: number(&body["pid"]),
            node_ids: texts(&body["node_ids"]),
            administrator: body["administrator"] == true,
            transport: text(&body["transport"]),
            daemon: body["daemon"].to_string(),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

fn delivery(value: &Value) -> Delivery {
    if value == Delivery::One.word() { Delivery::One } else { Delivery::All }
}

fn time(value: &Value) -> Option<SystemTime> {
    let seconds = Duration::try_from_secs_f64(value.as_f64()?).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(seconds)
}
