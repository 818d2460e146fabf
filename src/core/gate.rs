//! Knows what the core asks of whoever judges messages, and what can be answered.
//! Never: who judges, or why.

use crate::core::peer::Peer;
use crate::wire::message::Message;

/// Judges every message of a peer once, before it goes anywhere.
pub trait Gate {
    /// Looks at one message, as it came but for its `from`.
    fn judge(&mut self, judged: &Judged<'_>) -> Verdict;
}

/// A message at the door.
#[derive(Debug)]
pub struct Judged<'a> {
    /// The unique number of the connection it came from.
    pub number: u64,
    /// Who that is.
    pub peer: &'a Peer,
    /// The sender's address, as stamped.
    pub from: &'a str,
    /// The message as it came.
    pub message: &'a Message<'a>,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It is gone, and nobody is told.
    Drop,
    /// It is refused, and its sender is told.
    Reject {
        /// The filter that said so.
        filter: String,
        /// Why, for people.
        reason: String,
    },
}

impl Verdict {
    /// The word for a tap.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Drop => "drop",
            Verdict::Reject { .. } => "reject",
        }
    }
}

/// The gate of a daemon without filters.
#[derive(Debug)]
pub struct OpenGate;

impl Gate for OpenGate {
    fn judge(&mut self, _: &Judged<'_>) -> Verdict {
        Verdict::Pass
    }
}
