//! Knows how the bodies of what a client asks of the daemon are written.
//! Never: the answers.

use crate::wire::control::{Overflow, Register};
use crate::wire::json::Object;

/// The body of `register`.
pub(super) fn register(options: &Register<'_>) -> String {
    let mut body = Vec::new();
    let mut object = Object::begin(&mut body);
    if let Some(node_id) = &options.node_id {
        object.string("node_id", node_id);
    }
    if let Some(delivery) = options.delivery {
        object.string("delivery", delivery.word());
    }
    if let Some(exclusive) = options.exclusive {
        object.boolean("exclusive", exclusive);
    }
    if options.replace {
        object.boolean("replace", true);
    }
    if let Some(credentials) = options.credentials {
        object.boolean("credentials", credentials);
    }
    if let Some(overflow) = options.overflow {
        object.string("overflow", if overflow == Overflow::Fail { "fail" } else { "wait" });
    }
    if let Some(endpoints) = &options.endpoints {
        object.strings("endpoints", endpoints.iter().map(AsRef::as_ref));
    }
    if let Some(meta) = options.meta {
        object.raw("meta", meta.as_bytes());
    }
    object.end();
    String::from_utf8_lossy(&body).into_owned()
}

/// The body of `subscribe`.
pub(super) fn subscribe(pattern: &str, group: Option<&str>) -> String {
    let mut body = Vec::new();
    let mut object = Object::begin(&mut body);
    object.string("topic", pattern);
    if let Some(group) = group {
        object.string("group", group);
    }
    object.end();
    String::from_utf8_lossy(&body).into_owned()
}

/// A body that names a node, or a pattern of nodes.
pub(super) fn node_id(node_id: &str) -> String {
    let mut body = Vec::new();
    let mut object = Object::begin(&mut body);
    object.string("node_id", node_id);
    object.end();
    String::from_utf8_lossy(&body).into_owned()
}

/// The body of `list`.
pub(super) fn list(pattern: Option<&str>, all: bool, after: Option<&str>, limit: Option<usize>) -> String {
    let mut body = Vec::new();
    let mut object = Object::begin(&mut body);
    if let Some(pattern) = pattern {
        object.string("match", pattern);
    }
    if all {
        object.boolean("all", true);
    }
    if let Some(after) = after {
        object.string("after", after);
    }
    if let Some(limit) = limit {
        object.number("limit", limit);
    }
    object.end();
    String::from_utf8_lossy(&body).into_owned()
}
