//! Knows why a message cannot be sent, and how to say it to people.
//! Never: what would be sent in its place.

use std::fmt;

use serde_json::value::RawValue;

use crate::limits::DEPTH_MAX;

/// Why a message cannot be sent; nothing of it was. `Display` is a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsendable {
    /// The body is no JSON that the daemon takes.
    BadBody {
        /// What is wrong with it, and at which line and column or byte.
        why: String,
        /// The first byte at fault, from 0; the length of the body if it ends too early.
        at: usize,
    },
    /// The body of a reply has an `in_reply_to` of its own.
    BadReply,
    /// The `message_type` of a request belongs to another category.
    NotARequest,
    /// Only requests are replied to, and this is none, or lacks `from` or `message_id`.
    NotAnswerable,
    /// The line would be longer than the daemon takes.
    LineTooLong {
        /// The length of the line in bytes, without its LF.
        bytes: usize,
        /// The `max_line_bytes` of the daemon, as far as it is known.
        most: usize,
    },
}

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsendable::BadBody { why, .. } => write!(f, "the body is no JSON: {why}"),
            Unsendable::BadReply => {
                f.write_str("the body of a reply must not have an \"in_reply_to\" of its own")
            }
            Unsendable::NotARequest => f.write_str(
                "the type of a request cannot be empty, \"signal\" or \"error\", nor end in \"_reply\"",
            ),
            Unsendable::NotAnswerable => f.write_str("only requests can be replied to"),
            Unsendable::LineTooLong { bytes, most } => {
                write!(f, "the message has {bytes} bytes, and the daemon takes {most}")
            }
        }
    }
}

impl std::error::Error for Unsendable {}

impl Unsendable {
    /// Says where `body`, which has `depth` objects around it, is at fault; it has been refused at `column` (bytes from 1).
    pub(super) fn bad_body(body: &str, depth: usize, column: usize) -> Unsendable {
        let why = match serde_json::from_str::<&RawValue>(body) {
            Err(error) => error.to_string(),
            Ok(_) => format!(
                "at byte {column} it is nested deeper than {} or has half of a surrogate pair",
                DEPTH_MAX - depth
            ),
        };
        Unsendable::BadBody { why, at: column.saturating_sub(1).min(body.len()) }
    }
}
