//! Knows what plugins are told of connections: that they registered, subscribed and left, and what there
//! is now for a plugin that comes later.
//! Never: which plugins there are, or what any of them makes of it.

use std::rc::Rc;

use crate::core::peer::Peer;
use crate::core::{Core, Effect, Reason, SessionKey};

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
pub struct Party {
    /// The number of its unique id.
    pub number: u64,
    /// `:7`.
    pub unique_id: Rc<str>,
    /// Who it is.
    pub peer: Peer,
    /// The node IDs that it holds, in the order in which it took them.
    pub node_ids: Vec<Rc<str>>,
}

/// What happens to connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It is there. Told by [`Core::replay`] alone: whoever opens a connection knows.
    Connected,
    /// It holds one more node ID.
    #[expect(missing_docs, reason = "the names are those of the protocol")]
    Registered { node_id: Rc<str> },
    /// It holds one no more, and goes on.
    #[expect(missing_docs, reason = "the names are those of the protocol")]
    Unregistered { node_id: Rc<str>, reason: Reason },
    /// It has one more subscription.
    #[expect(missing_docs, reason = "the names are those of the protocol")]
    Subscribed { topic: Box<str>, group: Option<Box<str>> },
    /// And one less; not told of those that end with it.
    #[expect(missing_docs, reason = "the names are those of the protocol")]
    Unsubscribed { topic: Box<str>, group: Option<Box<str>> },
    /// It is gone, with all its node IDs, which are still named, and all its subscriptions.
    #[expect(missing_docs, reason = "the names are those of the protocol")]
    Disconnected { reason: Reason },
}

impl Core {
    /// Whether [`Effect::Happened`] is yielded from now on. At first it is not.
    pub fn tell_happenings(&mut self, tells: bool) {
        self.tells_happenings = tells;
    }

    /// Tells what there is now as if it happened, in the order of the unique numbers: of each connection
    /// that it is there, then its node IDs in the order in which it took them, then its subscriptions
    /// in the order in which it made them.
    pub fn replay(&self, tell: &mut dyn FnMut(Happened)) {
        let here = self.sessions.iter().filter(|(_, session)| session.is_here());
        let mut all: Vec<_> = here.map(|(key, session)| (session.number, key)).collect();
        all.sort_unstable();
        for (_, key) in all {
            let Some(who) = self.party(key) else { continue };
            let mut tell = |what| tell(Happened { who: who.clone(), what });
            tell(Happening::Connected);
            for node_id in &who.node_ids {
                tell(Happening::Registered { node_id: node_id.clone() });
            }
            for (topic, group) in self.topics.of_session(key) {
                tell(Happening::Subscribed { topic: topic.into(), group: group.map(Box::from) });
            }
        }
    }

    /// The connection as it is now; none where nobody wants to know.
    pub(super) fn party_to_tell(&self, key: SessionKey) -> Option<Party> {
        if self.tells_happenings { self.party(key) } else { None }
    }

    fn party(&self, key: SessionKey) -> Option<Party> {
        let session = self.sessions.get(key)?;
        let nodes = session.names.iter().filter_map(|&name| self.registry.get(name));
        Some(Party {
            number: session.number,
            unique_id: session.unique_id.clone(),
            peer: session.peer.clone(),
            node_ids: nodes.map(|node| node.name.clone()).collect(),
        })
    }

    /// Tells what has just happened to a connection.
    pub(super) fn happened(&mut self, key: SessionKey, what: impl FnOnce() -> Happening) {
        self.happened_to(self.party_to_tell(key), what);
    }

    /// The same of a connection as it was a moment ago.
    pub(super) fn happened_to(&mut self, who: Option<Party>, what: impl FnOnce() -> Happening) {
        if let Some(who) = who {
            self.effects.push_back(Effect::Happened(Box::new(Happened { who, what: what() })));
        }
    }
}
