//! Knows what nodes say to each other about ports, and how it is written.
//! Never: what comes of it.

use serde_json::{Value, json};

/// What a node tells another by a signal.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    /// A monitored port is dead.
    Down { port: String, reason: Vec<Value> },
    /// A port is to be killed.
    Kill { port: String, reason: Vec<Value> },
    /// Whether a monitored port is still there, and that it is.
    Beat { port: String },
    /// A port has joined the group that the topic names.
    Join { port: String },
    /// It is no member any more.
    Leave { port: String },
}

impl Event {
    pub(super) fn write(&self) -> String {
        let body = match self {
            Event::Down { port, reason } => json!({"event": "port_down", "port": port, "reason": reason}),
            Event::Kill { port, reason } => json!({"event": "port_kill", "port": port, "reason": reason}),
            Event::Beat { port } => json!({"event": "port_beat", "port": port}),
            Event::Join { port } => json!({"event": "port_join", "port": port}),
            Event::Leave { port } => json!({"event": "port_leave", "port": port}),
        };
        body.to_string()
    }

    /// `None` if it is nothing of the kind.
    pub(super) fn read(body: &Value) -> Option<Event> {
        let port = body["port"].as_str()?.to_owned();
        let reason = || body["reason"].as_array().cloned();
        Some(match body["event"].as_str()? {
            "port_down" => Event::Down { port, reason: reason()? },
            "port_kill" => Event::Kill { port, reason: reason()? },
            "port_beat" => Event::Beat { port },
            "port_join" => Event::Join { port },
            "port_leave" => Event::Leave { port },
            _ => return None,
        })
    }
}

/// The node in an address or a port ID.
pub(super) fn node_of(id: &str) -> &str {
    id.split_once('#').map_or(id, |(node, _)| node)
}

/// The name of a port in its node; `None` for the address of a node.
pub(super) fn name_of(id: &str) -> Option<&str> {
    id.split_once('#').map(|(_, name)| name)
}

/// The elements of a message; what is no list is a message of one element.
pub(crate) fn elements(message: Value) -> Vec<Value> {
    match message {
        Value::Array(elements) => elements,
        other => vec![other],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let port = || "n#1".to_owned();
        let reason = vec![Value::Null, "".into()];
        for event in [
            Event::Down { port: port(), reason: reason.clone() },
            Event::Kill { port: port(), reason },
            Event::Beat { port: port() },
            Event::Join { port: port() },
            Event::Leave { port: port() },
        ] {
            let body = serde_json::from_str(&event.write()).expect("JSON");
            assert_eq!(Event::read(&body), Some(event));
        }
    }

    #[test]
    fn what_is_no_event() {
        for body in [
            json!(null),
            json!(["port_down"]),
            json!({"event": "port_down", "port": 1, "reason": []}),
            json!({"event": "port_down", "port": "n#1", "reason": "x"}),
            json!({"event": "port_up", "port": "n#1"}),
        ] {
            assert_eq!(Event::read(&body), None, "{body}");
        }
    }

    #[test]
    fn the_parts_of_ids() {
        assert_eq!((node_of("a/b#c#d"), name_of("a/b#c#d")), ("a/b", Some("c#d")));
        assert_eq!((node_of("a"), name_of("a")), ("a", None));
    }
}
