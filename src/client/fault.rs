//! Knows what can come that is not the protocol, and how to say it to people.
//! Never: what a message is.

use std::fmt;

use crate::wire::message::excerpt;

/// What a peer sent that is not the protocol. `Display` is a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A line longer than [`LINE_BYTES_MAX`](crate::client::LINE_BYTES_MAX). It is skipped.
    LineTooLong,
    /// A line that is no message.
    Foreign {
        /// The first 60 characters of the line; bytes that are not UTF-8 stand in it as U+FFFD.
        excerpt: String,
    },
}

impl Fault {
    pub(super) fn foreign(line: &[u8]) -> Fault {
        // Enough for the excerpt, whatever the characters.
        const LOOKED_AT_BYTES: usize = 256;
        let beginning = String::from_utf8_lossy(&line[..line.len().min(LOOKED_AT_BYTES)]);
        Fault::Foreign { excerpt: excerpt(&beginning).into_owned() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::LineTooLong => f.write_str("a line came that is longer than any daemon sends"),
            Fault::Foreign { excerpt } => write!(f, "what came is no telex message: {excerpt}"),
        }
    }
}

impl std::error::Error for Fault {}
