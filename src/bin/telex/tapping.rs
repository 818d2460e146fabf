//! Knows how a tap is asked for.
//! Never: what comes of it.

use clap::Args;
use serde_json::{Value, json};

use crate::answer::object;

/// Which messages are tapped. All filters that are given must match; in those that are patterns * is any run of
/// characters, and a field that a message does not have is an empty text.
#[derive(Args)]
pub(crate) struct Filters {
    /// Sender
    #[arg(long, value_name = "PATTERN")]
    from: Option<String>,
    /// Receiver
    #[arg(long, value_name = "PATTERN")]
    to: Option<String>,
    /// Topic
    #[arg(long, value_name = "PATTERN")]
    topic: Option<String>,
    /// Type
    #[arg(long = "type", value_name = "PATTERN")]
    message_type: Option<String>,
    /// Unique id of the sender's connection
    #[arg(long, value_name = "PATTERN")]
    unique_id: Option<String>,
    /// Only messages from this user
    #[arg(long, value_name = "UID")]
    uid: Option<u32>,
    /// Show at most N bytes of each line
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) snap: Option<u64>,
    /// Show one of every N messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    sample: Option<u64>,
}

impl Filters {
    /// The body of the request for such a tap.
    pub(crate) fn body(&self) -> Value {
        let text = |text: &Option<String>| text.as_ref().map_or(Value::Null, |text| json!(text));
        object([
            ("from", text(&self.from)),
            ("to", text(&self.to)),
            ("topic", text(&self.topic)),
            ("message_type", text(&self.message_type)),
            ("unique_id", text(&self.unique_id)),
            ("uid", json!(self.uid)),
            ("snap_bytes", json!(self.snap)),
            ("sample", json!(self.sample)),
        ])
    }

    /// The body of the request for a tap of the replies to such messages, if they are requests, and maybe to others.
    pub(crate) fn replies(&self) -> Value {
        let text = |text: Option<&String>| text.map_or(Value::Null, |text| json!(text));
        // A connection may have a name that it replies from.
        let from = self.to.as_ref().filter(|to| !to.starts_with(':'));
        let message_type = self.message_type.as_deref().unwrap_or("*");
        object([
            ("from", text(from)),
            ("to", text(self.from.as_ref())),
            ("message_type", json!(format!("{message_type}_reply"))),
        ])
    }
}
