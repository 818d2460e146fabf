//! Knows what plugins are told of connections: that they registered, subscribed and left, and what there is now
//! for a plugin that comes later.
//! Never: which plugins there are, or what any of them makes of it.

use crate::core::happening::{Happened, Happening, Party};
use crate::core::order::Order;
use crate::core::{Core, SessionKey};

impl Core {
    /// Whether [`Order::Happened`] is yielded from now on. At first it is not.
    pub fn tell_happenings(&mut self, tells: bool) {
        self.tells_happenings = tells;
    }

    /// Tells what there is now as if it happened, in the order of the unique numbers: of each connection that
    /// it is there, then its node IDs in the order in which it took them, then its subscriptions in the order
    /// in which it made them.
    pub fn replay(&self, tell: &mut dyn FnMut(Happened)) {
        let acts = |key: &SessionKey| self.sessions.get(*key).is_some_and(|session| session.phase.acts());
        for key in self.sessions.in_order().into_iter().filter(acts) {
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

    /// The connection as it is now; none if no plugin wants to know.
    pub(super) fn party_to_tell(&self, key: SessionKey) -> Option<Party> {
        if self.tells_happenings { self.party(key) } else { None }
    }

    fn party(&self, key: SessionKey) -> Option<Party> {
        let session = self.sessions.get(key)?;
        let nodes = session.holdings.names.iter().filter_map(|&name| self.registry.get(name));
        Some(Party {
            number: session.caller.number,
            unique_id: session.caller.unique_id.clone(),
            peer: session.caller.peer.clone(),
            node_ids: nodes.map(|node| node.name.clone()).collect(),
        })
    }

    /// Tells what has just happened to a connection.
    pub(super) fn happened(&mut self, key: SessionKey, what: impl FnOnce() -> Happening) {
        self.happened_to(self.party_to_tell(key), what);
    }

    /// Tells what has happened to a connection as it was a moment ago.
    pub(super) fn happened_to(&mut self, who: Option<Party>, what: impl FnOnce() -> Happening) {
        if let Some(who) = who {
            self.desk.orders.put(Order::Happened(Box::new(Happened { who, what: what() })));
        }
    }
}
