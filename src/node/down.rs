//! Knows how the life of a port can end for those that watch it, and what a `cal` can fail of.
//! Never: who watches.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

/// What a monitor tells, once.
///
/// ```
/// use telex::node::{Down, Value};
///
/// let down = Down::Killed(vec!["overheated".into(), 80.into()]);
/// assert_eq!(down.reason(), [Value::from("overheated"), Value::from(80)]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Down {
    /// The port was killed, with this reason: empty, if it was to end normally; `"die"` and a text, if a
    /// handler panicked.
    Killed(Vec<Value>),
    /// The node is there, and has no such port.
    NoSuchPort {
        /// The port ID.
        port: String,
    },
    /// The node is not there, or messages between it and this one were lost.
    NodeLost {
        /// The node ID.
        node: String,
        /// A sentence for people.
        why: String,
    },
}

impl Down {
    /// The same as a list, which is what linked ports die of and what is appended to messages:
    /// `["no_such_port", TEXT, PORT]` and `["transport_error", NODE, TEXT]` stand for what is no kill.
    pub fn reason(&self) -> Vec<Value> {
        match self {
            Down::Killed(reason) => reason.clone(),
            Down::NoSuchPort { port } => {
                vec!["no_such_port".into(), "there is no such port".into(), port.as_str().into()]
            }
            Down::NodeLost { node, why } => {
                vec!["transport_error".into(), node.as_str().into(), why.as_str().into()]
            }
        }
    }
}

/// Why a `cal` has no answer.
///
/// ```
/// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
/// use std::time::Duration;
/// use telex::client::default_address;
/// use telex::node::{CalError, Node, json};
///
/// let node = Node::connect(&default_address()?, "asker")?;
/// let (told, failures) = std::sync::mpsc::channel();
/// let ask = |port: &str, within| {
///     let told = told.clone();
///     node.cal(port, "ask", within, move |_, answer| drop(told.send(answer.expect_err("no answer"))));
/// };
/// let silent = node.port();
/// silent.rcv_default(|_, _| {});
/// ask(silent.id(), Duration::from_millis(10));
/// let after = Duration::from_millis(10);
/// assert_eq!(failures.recv().unwrap(), CalError::TimedOut { after });
/// ask("asker#none", Duration::from_secs(5));
/// assert_eq!(failures.recv().unwrap(), CalError::NoSuchPort { port: "asker#none".to_owned() });
/// let broken = node.port();
/// broken.rcv_default(|port, _| port.node().kil_with(port, json!(["no ink"])));
/// ask(broken.id(), Duration::from_secs(5));
/// assert_eq!(failures.recv().unwrap(), CalError::Died { reason: vec![json!("no ink")] });
/// # Ok::<(), telex::client::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum CalError {
    /// It did not come in time; the port may live.
    TimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// The port was dead before.
    NoSuchPort {
        /// The port ID.
        port: String,
    },
    /// The port died before it answered.
    Died {
        /// What it died of; empty, if it ended normally.
        reason: Vec<Value>,
    },
    /// The port's node is not there, or was lost.
    NodeLost {
        /// The node ID.
        node: String,
        /// A sentence for people.
        why: String,
    },
}

impl fmt::Display for CalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CalError::TimedOut { after } => write!(f, "no answer came within {} s", after.as_secs_f64()),
            CalError::NoSuchPort { port } => write!(f, "there is no port \"{port}\""),
            CalError::Died { reason } => {
                write!(f, "the port died before it answered: {}", Value::from(reason.clone()))
            }
            CalError::NodeLost { node, why } => write!(f, "the node \"{node}\" is lost: {why}"),
        }
    }
}

impl std::error::Error for CalError {}

impl From<Down> for CalError {
    fn from(down: Down) -> CalError {
        match down {
            Down::Killed(reason) => CalError::Died { reason },
            Down::NoSuchPort { port } => CalError::NoSuchPort { port },
            Down::NodeLost { node, why } => CalError::NodeLost { node, why },
        }
    }
}
