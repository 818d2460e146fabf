//! Knows who watches: monitors of node IDs, and taps of messages (PROTOCOL.md section 7).
//! Never: what is told to them, or by whom.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::core::SessionKey;
use crate::name::matches;
use crate::wire::control::Patterns;

/// All monitors and taps.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Monitors of one node ID, each with its connection's number: the news of a node must not
    /// cost a look at everybody else's monitors.
    exact: HashMap<Box<str>, BTreeMap<u64, SessionKey>>,
    /// Monitors of patterns, ordered by number.
    patterns: BTreeMap<(u64, Box<str>), SessionKey>,
    /// The node IDs that each connection monitors exactly, to end them with it.
    exact_of: BTreeSet<(u64, Box<str>)>,
    taps: Vec<Tap>,
}

#[derive(Debug)]
struct Tap {
    number: u64,
    session: SessionKey,
    patterns: Patterns<'static>,
}

/// What of a message a tap looks at; an absent field is an empty text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tapped<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) message_type: &'a str,
}

impl Watch {
    /// Adds a monitor; false where the connection has it already.
    pub(crate) fn monitor(&mut self, session: SessionKey, number: u64, pattern: &str) -> bool {
        if pattern.contains('*') {
            return self.patterns.insert((number, pattern.into()), session).is_none();
        }
        self.exact.entry(pattern.into()).or_default().insert(number, session);
        self.exact_of.insert((number, pattern.into()))
    }

    /// Ends a monitor; false where there is no such one.
    pub(crate) fn unmonitor(&mut self, number: u64, pattern: &str) -> bool {
        if pattern.contains('*') {
            return self.patterns.remove(&(number, Box::from(pattern))).is_some();
        }
        let there = self.exact_of.remove(&(number, Box::from(pattern)));
        if there {
            self.remove_exact(number, pattern);
        }
        there
    }

    fn remove_exact(&mut self, number: u64, name: &str) {
        if let Some(watchers) = self.exact.get_mut(name) {
            watchers.remove(&number);
            if watchers.is_empty() {
                self.exact.remove(name);
            }
        }
    }

    /// Who monitors this node ID, each once, in the order of their numbers.
    pub(crate) fn monitors_of(&self, node_id: &str) -> Vec<SessionKey> {
        let mut found: BTreeMap<u64, SessionKey> = self.exact.get(node_id).cloned().unwrap_or_default();
        for ((number, pattern), &session) in &self.patterns {
            if matches(pattern, node_id) {
                found.insert(*number, session);
            }
        }
        found.into_values().collect()
    }

    /// Whether this connection monitors `node_id` by anything but `except`.
    pub(crate) fn monitors_beside(&self, number: u64, node_id: &str, except: &str) -> bool {
        let exactly = except != node_id && self.exact_of.contains(&(number, Box::from(node_id)));
        let of_number =
            self.patterns.range((number, Box::from(""))..).take_while(|((of, _), _)| *of == number);
        exactly
            || of_number
                .map(|((_, pattern), _)| pattern)
                .any(|pattern| **pattern != *except && matches(pattern, node_id))
    }

    /// How many monitors there are that cost a look at each name.
    pub(crate) fn pattern_count(&self) -> usize {
        self.patterns.len()
    }

    /// Whether anybody taps.
    pub(crate) fn has_taps(&self) -> bool {
        !self.taps.is_empty()
    }

    /// Adds a tap that the connection does not have yet.
    pub(crate) fn tap(&mut self, session: SessionKey, number: u64, patterns: Patterns<'static>) {
        self.taps.push(Tap { number, session, patterns });
    }

    /// Whether the connection has this tap already.
    pub(crate) fn is_tapping(&self, session: SessionKey, patterns: &Patterns<'_>) -> bool {
        self.taps.iter().any(|tap| tap.session == session && tap.patterns == *patterns)
    }

    /// Ends the tap with these patterns, or all of the connection where there is none in them.
    /// Gives how many.
    pub(crate) fn untap(&mut self, session: SessionKey, patterns: &Patterns<'_>) -> usize {
        let before = self.taps.len();
        self.taps.retain(|tap| tap.session != session || !(patterns.is_empty() || tap.patterns == *patterns));
        before - self.taps.len()
    }

    /// Who taps this message of `sender`'s, each once, in the order of their numbers.
    pub(crate) fn taps_of(&self, sender: SessionKey, message: Tapped<'_>) -> Vec<SessionKey> {
        let looks_at = |tap: &&Tap| tap.session != sender && message.matches(&tap.patterns);
        let found: BTreeMap<u64, SessionKey> =
            self.taps.iter().filter(looks_at).map(|tap| (tap.number, tap.session)).collect();
        found.into_values().collect()
    }

    /// Ends all monitors and taps of a connection.
    pub(crate) fn session_left(&mut self, session: SessionKey, number: u64) {
        let exact = self.exact_of.range((number, Box::from(""))..).take_while(|(of, _)| *of == number);
        for (number, name) in exact.cloned().collect::<Vec<_>>() {
            self.remove_exact(number, &name);
            self.exact_of.remove(&(number, name));
        }
        let patterns =
            self.patterns.range((number, Box::from(""))..).take_while(|((of, _), _)| *of == number);
        for key in patterns.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.patterns.remove(&key);
        }
        self.taps.retain(|tap| tap.session != session);
    }

    /// Whether nothing is watched at all.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.exact_of.is_empty() && self.patterns.is_empty() && self.taps.is_empty()
    }
}

impl Tapped<'_> {
    fn matches(&self, patterns: &Patterns<'_>) -> bool {
        let one = |pattern: &Option<std::borrow::Cow<'_, str>>, text| {
            pattern.as_ref().is_none_or(|pattern| matches(pattern, text))
        };
        one(&patterns.from, self.from)
            && one(&patterns.to, self.to)
            && one(&patterns.topic, self.topic)
            && one(&patterns.message_type, self.message_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmap::SlotMap;

    fn sessions() -> [SessionKey; 2] {
        let mut sessions: SlotMap<SessionKey, ()> = SlotMap::with_key();
        std::array::from_fn(|_| sessions.insert(()))
    }

    #[test]
    fn monitors() {
        let [a, b] = sessions();
        let mut watch = Watch::default();
        assert!(watch.monitor(a, 1, "web.*"));
        assert!(watch.monitor(a, 1, "web.x"));
        assert!(watch.monitor(b, 2, "web.x"));
        assert!(!watch.monitor(b, 2, "web.x"));
        assert_eq!(watch.monitors_of("web.x"), [a, b]);
        assert_eq!(watch.monitors_of("web.y"), [a]);
        assert_eq!(watch.monitors_of("db"), []);
        assert!(watch.monitors_beside(1, "web.x", "web.*"));
        assert!(watch.monitors_beside(1, "web.x", "web.x"));
        assert!(!watch.monitors_beside(1, "web.y", "web.*"));
        assert!(!watch.monitors_beside(2, "web.x", "web.x"));
        assert!(watch.unmonitor(2, "web.x"));
        assert!(!watch.unmonitor(2, "web.x"));
        watch.session_left(a, 1);
        assert!(watch.is_empty());
    }

    #[test]
    fn taps() {
        let [a, b] = sessions();
        let mut watch = Watch::default();
        let patterns = |to: &str| Patterns { to: Some(to.to_owned().into()), ..Patterns::default() };
        watch.tap(a, 1, patterns("web*"));
        assert!(watch.is_tapping(a, &patterns("web*")) && !watch.is_tapping(b, &patterns("web*")));
        watch.tap(a, 1, Patterns { from: Some("x".into()), ..patterns("*") });
        let message = Tapped { from: "x", to: "", topic: "", message_type: "ping" };
        assert_eq!(watch.taps_of(b, message), [a], "a request to the daemon has an empty to");
        assert_eq!(watch.taps_of(a, message), [], "never its own");
        assert_eq!(watch.taps_of(b, Tapped { from: "y", ..message }), []);
        assert_eq!(watch.taps_of(b, Tapped { to: "web.1", ..message }), [a], "once");
        assert_eq!(watch.untap(b, &Patterns::default()), 0);
        assert_eq!(watch.untap(a, &patterns("web*")), 1);
        assert_eq!(watch.untap(a, &Patterns::default()), 1);
        assert!(!watch.has_taps());
    }
}
