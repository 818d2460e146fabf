//! Knows what the core asks of whoever judges messages, and what can be answered.
//! Never: who judges, or why.

use crate::core::peer::Peer;
use crate::core::registry::Registry;
use crate::core::session::Session;
use crate::wire::message::Message;

/// Judges every message of a peer once, before it goes anywhere.
pub trait Gate {
    /// Looks at one message, as it came but for its `from`.
    fn judge(&mut self, judged: &Judged<'_>) -> Verdict;

    /// What each of those who judge has counted, in their order; for `stats`.
    fn counters(&self) -> Vec<Counters> {
        Vec::new()
    }
}

/// What one of those who judge has counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the protocol")]
pub struct Counters {
    pub name: String,
    pub calls: u64,
    pub pass: u64,
    pub drop: u64,
    pub reject: u64,
    pub replace: u64,
    pub nanoseconds: u64,
    pub strikes: u64,
}

/// A message at the door.
#[derive(Debug)]
pub struct Judged<'a> {
    /// The unique number of the connection it came from.
    pub number: u64,
    /// The same as an address: `:7`.
    pub unique_id: &'a str,
    /// Who that is.
    pub peer: &'a Peer,
    /// The sender's address, as stamped.
    pub from: &'a str,
    /// The message as it came.
    pub message: &'a Message<'a>,
    pub(super) session: &'a Session,
    pub(super) registry: &'a Registry,
}

impl<'a> Judged<'a> {
    /// The node IDs that the sender holds, in the order in which it took them.
    pub fn node_ids(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let registry = self.registry;
        self.session.names.iter().filter_map(|&name| registry.get(name)).map(|node| &*node.name)
    }
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
