//! Knows what the core asks of the filters, and what they may answer (PROTOCOL.md section 11).
//! Never: which filters there are, or what is done by the answer.

use crate::core::peer::Peer;
use crate::core::session::Session;
use crate::core::table::registry::Registry;
use crate::wire::message::Message;

/// Judges every message of a peer once, before it goes anywhere.
pub trait Gate {
    /// Looks at one message, as it came but for its `from`.
    fn judge(&mut self, judged: &Judged<'_>) -> Verdict;

    /// What would become of a message, without anything coming of that; for `explain`.
    fn explain(&mut self, judged: &Judged<'_>) -> Explained {
        let _ = judged;
        Explained { rulings: Vec::new(), verdict: Verdict::Pass }
    }

    /// What each judge has counted, in their order; for `stats`.
    fn counters(&self) -> Vec<Counters> {
        Vec::new()
    }
}

/// What would become of a message.
#[derive(Debug)]
pub struct Explained {
    /// What each judge that looks at it says, in their order, up to the one that decides.
    pub rulings: Vec<Ruling>,
    /// What that comes to.
    pub verdict: Verdict,
}

/// What one judge says.
#[derive(Debug)]
pub struct Ruling {
    /// Its name.
    pub filter: String,
    /// The word of its verdict; none if it cannot be asked without something coming of it.
    pub verdict: Option<&'static str>,
    /// Why, for people, where there is a reason.
    pub reason: Option<String>,
}

/// What one judge has counted since it was made.
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
    /// The address of that connection: `:7`.
    pub unique_id: &'a str,
    /// Its name.
    pub peer: &'a Peer,
    /// The sender's address, as stamped.
    pub from: &'a str,
    /// The message as it came.
    pub message: &'a Message<'a>,
    session: &'a Session,
    registry: &'a Registry,
}

impl<'a> Judged<'a> {
    pub(crate) fn new(
        session: &'a Session,
        registry: &'a Registry,
        from: &'a str,
        message: &'a Message<'a>,
    ) -> Judged<'a> {
        let caller = &session.caller;
        let (number, unique_id, peer) = (caller.number, &*caller.unique_id, &caller.peer);
        Judged { number, unique_id, peer, from, message, session, registry }
    }

    /// The node IDs that the sender holds, in the order in which it took them.
    pub fn node_ids(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let registry = self.registry;
        self.session.holdings.names.iter().filter_map(|&name| registry.get(name)).map(|node| &*node.name)
    }
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It is gone, and its sender is not told.
    Drop,
    /// This line, without its LF, goes on in its place. [`read_rewritten`](crate::wire::rewrite::read_rewritten) has let it stand there, and it
    /// is at most `max_line_bytes` long: the core looks for itself, but then it is a fault of the
    /// daemon's.
    Replace(Vec<u8>),
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
            Verdict::Replace(_) => "replace",
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
