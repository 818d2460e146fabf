//! Knows which connection a message comes from that was handed over without it.
//! Never: whether the message is let in.

use crate::core::{Core, SessionKey};
use crate::name::NodeAddress;
use crate::wire::message::Id;

impl Core {
    /// The connection that speaks for the address `from`, for shells that are handed messages without their
    /// connections: the oldest of those that hold it. An answer comes from the oldest that owes it; `answers`
    /// is its `in_reply_to` and its `to`.
    pub fn speaker(&self, from: &str, answers: Option<(&Id<'_>, &str)>) -> Option<SessionKey> {
        let name = match NodeAddress::parse(from).ok()? {
            NodeAddress::Unique(number) => return self.sessions.here(number),
            NodeAddress::Node(name) => name,
        };
        let holders = &self.registry.get(self.registry.find(name)?)?.instances;
        let owing = answers.and_then(|(id, to)| holders.iter().find(|it| self.owes_to(it.session, to, id)));
        owing.or(holders.first()).map(|instance| instance.session)
    }

    fn owes_to(&self, receiver: SessionKey, to: &str, id: &Id<'_>) -> bool {
        let asker = match NodeAddress::parse(to) {
            Ok(NodeAddress::Unique(number)) => self.sessions.of_number(number),
            _ => None,
        };
        self.requests.find_leg(receiver, to, id).is_some()
            || asker.is_some_and(|asker| self.requests.find_leg_to(receiver, asker, id).is_some())
    }
}
