//! Knows what plugins are told of connections: that they registered, subscribed and left, and what there
//! is now for a plugin that comes later.
//! Never: which plugins there are, or what any of them makes of it.

use std::sync::Arc;

use crate::core::order::Reason;
use crate::core::peer::Peer;

/// Something that a connection did, or that came upon it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// The connection, as it is then: it may be gone when this is read.
    pub who: Party,
    /// What happened.
    pub what: Happening,
}

/// A connection as plugins see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub struct Party {
    /// The number of its unique id.
    pub number: u64,
    /// `:7`.
    pub unique_id: Arc<str>,
    /// The connection.
    pub peer: Peer,
    /// The node IDs that it holds, in the order in which it took them.
    pub node_ids: Vec<Arc<str>>,
}

/// What happens to connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It is there. Told by [`Core::replay`](crate::core::Core::replay) alone: the shell, which opens it, knows.
    Connected,
    /// It holds one more node ID.
    #[expect(missing_docs, reason = "the names are those of the protocol")]
    Registered { node_id: Arc<str> },
    /// It holds one no more, and goes on.
    #[expect(missing_docs, reason = "the names are those of the protocol")]
    Unregistered { node_id: Arc<str>, reason: Reason },
    /// It has one more subscription.
    #[expect(missing_docs, reason = "the names are those of the protocol")]
    Subscribed { topic: Box<str>, group: Option<Box<str>> },
    /// And one less; not told of those that end with it.
    #[expect(missing_docs, reason = "the names are those of the protocol")]
    Unsubscribed { topic: Box<str>, group: Option<Box<str>> },
    /// It is gone, with all its node IDs, which are still named, and all its subscriptions: nothing of it is judged any
    /// more. For its peers it may have been gone before, while lines of it waited.
    #[expect(missing_docs, reason = "the names are those of the protocol")]
    Disconnected { reason: Reason },
}

impl Happening {
    /// The word for an administrator (PROTOCOL.md section 7, `telex.peers`).
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Happening::Connected => "connected",
            Happening::Registered { .. } => "registered",
            Happening::Unregistered { .. } => "unregistered",
            Happening::Subscribed { .. } => "subscribed",
            Happening::Unsubscribed { .. } => "unsubscribed",
            Happening::Disconnected { .. } => "disconnected",
        }
    }
}
