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
    /// User of the sender's
    #[arg(long, value_name = "UID")]
    uid: Option<u32>,
    /// No more of a line than so many bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) snap: Option<u64>,
    /// One message of so many
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
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
}
