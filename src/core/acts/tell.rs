//! Knows what plugins and administrators are told of connections: that they registered, subscribed and left, and
//! what there is now for a plugin that comes later.
//! Never: which plugins there are, or what any of them makes of it.

use crate::core::after::After;
use crate::core::emission::Emission;
use crate::core::happening::{Happened, Happening, Party};
use crate::core::order::Order;
use crate::core::{Core, SessionKey};
use crate::wire::code::Code;
use crate::wire::json::Object;
use crate::wire::message::beginning;

/// The topic of connections, node IDs and subscriptions that come and go.
const PEERS: &str = "telex.peers";
/// The topic of what is logged.
const LOG: &str = "telex.log";
/// The topic of lines that were not delivered.
const UNDELIVERED: &str = "telex.undelivered";
/// More of such a line is not told.
const UNDELIVERED_BYTES_MAX: usize = 64 * 1024;

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

    /// The connection as it is now; none if no plugin and no administrator wants to know.
    pub(super) fn party_to_tell(&self, key: SessionKey) -> Option<Party> {
        if self.tells_happenings || self.topics.has_own(PEERS) { self.party(key) } else { None }
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
        let Some(who) = who else { return };
        let what = what();
        self.publish_happening(&who, &what);
        if self.tells_happenings {
            self.desk.orders.put(Order::Happened(Box::new(Happened { who, what })));
        }
    }

    /// Tells administrators alone what has just happened to a connection.
    pub(in crate::core) fn tell_peers(&mut self, key: SessionKey, what: &Happening) {
        if self.topics.has_own(PEERS)
            && let Some(who) = self.party(key)
        {
            self.publish_happening(&who, what);
        }
    }

    fn publish_happening(&mut self, who: &Party, what: &Happening) {
        let time = self.desk.now.wall;
        self.publish_own(PEERS, what.word(), |body| {
            body.seconds("time", time).string("unique_id", &who.unique_id);
            who.peer.write_identity(body);
            body.string("transport", who.peer.transport.word());
            body.strings("node_ids", who.node_ids.iter().map(|name| &**name));
            match what {
                Happening::Connected => {}
                Happening::Registered { node_id } => drop(body.string("node_id", node_id)),
                Happening::Unregistered { node_id, reason } => {
                    body.string("node_id", node_id).string("reason", reason.word());
                }
                Happening::Subscribed { topic, group } | Happening::Unsubscribed { topic, group } => {
                    body.string("topic", topic);
                    match group {
                        Some(group) => body.string("group", group),
                        None => body.null("group"),
                    };
                }
                Happening::Disconnected { reason } => drop(body.string("reason", reason.word())),
            }
        });
    }

    /// Publishes a signal to one of the daemon's own topics when its turn comes, if any administrator subscribes to it.
    /// While memory is short there is none.
    pub(super) fn publish_own(&mut self, topic: &str, event: &str, fill: impl FnOnce(&mut Object<'_>)) {
        if self.topics.has_own(topic) && !self.is_overloaded() {
            self.desk.after.push(After::Emission(Box::new(Emission::own(topic, event, fill))));
        }
    }

    /// Tells administrators of a line that was not delivered.
    pub(super) fn tell_undeliverable(&mut self, code: Code, line: &[u8]) {
        let time = self.desk.now.wall;
        let text = String::from_utf8_lossy(line);
        let part = beginning(&text, UNDELIVERED_BYTES_MAX);
        self.publish_own(UNDELIVERED, "undelivered", |body| {
            body.seconds("time", time).string("code", code.word()).string("line", part);
            if part.len() < text.len() {
                body.number("line_bytes", text.len());
            }
        });
    }

    /// Whether administrators want to know of lines that are not delivered.
    pub(super) fn tells_undeliverable(&self) -> bool {
        self.topics.has_own(UNDELIVERED)
    }

    /// Whether administrators subscribe to `telex.log`, so that
    /// [`Emission::of_record`](crate::core::Emission::of_record) is wanted.
    pub fn publishes_log(&self) -> bool {
        self.topics.has_own(LOG)
    }
}
