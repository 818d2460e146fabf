//! Knows who watches: monitors of node IDs, and taps of messages (PROTOCOL.md section 7).
//! Never: what is told to them, or by whom.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::core::SessionKey;
use crate::name::matches;
use crate::wire::control::{Patterns, Tap};

/// All monitors and taps.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Watchers {
    /// Monitors of one node ID, each with its connection's number: the news of a node must not
    /// cost a look at everybody else's monitors.
    exact: HashMap<Box<str>, BTreeMap<u64, SessionKey>>,
    /// Monitors of patterns, ordered by number.
    patterns: BTreeMap<(u64, Box<str>), SessionKey>,
    /// The node IDs that each connection monitors exactly, to end them with it.
    exact_of: BTreeSet<(u64, Box<str>)>,
    taps: Vec<Tapping>,
}

#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
struct Tapping {
    number: u64,
    session: SessionKey,
    tap: Tap<'static>,
    /// How many messages have matched.
    matched: u64,
}

/// A tap that is to be told of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) to: SessionKey,
    /// The longest part of the line that it gets, in bytes.
    pub(crate) snap_bytes: usize,
}

/// What of a message a tap looks at; an absent field is an empty text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tapped<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) message_type: &'a str,
    /// Of its sender.
    pub(crate) unique_id: &'a str,
    pub(crate) uid: Option<u32>,
}

impl Watchers {
    /// Adds a monitor; false if the connection has it already.
    pub(crate) fn monitor(&mut self, session: SessionKey, number: u64, pattern: &str) -> bool {
        if pattern.contains('*') {
            return self.patterns.insert((number, pattern.into()), session).is_none();
        }
        self.exact.entry(pattern.into()).or_default().insert(number, session);
        self.exact_of.insert((number, pattern.into()))
    }

    /// Ends a monitor; false if there is no such one.
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

    /// The monitors of this node ID whose numbers are beyond `behind`, each once, in the order of their numbers.
    /// When about `most` (at least 1) have been looked at it stops, and gives the number up to which it got. The
    /// last is how many it looked at.
    pub(crate) fn monitors_of(
        &self,
        node_id: &str,
        behind: u64,
        most: usize,
    ) -> (Vec<(u64, SessionKey)>, Option<u64>, usize) {
        let (mut found, mut stop, mut looked_at) = (BTreeMap::new(), None, 0);
        let mut last = behind;
        for ((number, pattern), &session) in self.patterns.range((behind + 1, Box::from(""))..) {
            if looked_at >= most && *number != last {
                stop = Some(last);
                break;
            }
            (last, looked_at) = (*number, looked_at + 1);
            if matches(pattern, node_id) {
                found.insert(*number, session);
            }
        }
        if let Some(exact) = self.exact.get(node_id) {
            for (nth, (&number, &session)) in exact.range(behind + 1..=stop.unwrap_or(u64::MAX)).enumerate() {
                if nth >= most {
                    stop = Some(number - 1);
                    break;
                }
                found.insert(number, session);
                looked_at += 1;
            }
        }
        let upto = stop.unwrap_or(u64::MAX);
        (found.into_iter().take_while(|(number, _)| *number <= upto).collect(), stop, looked_at)
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

    /// Whether anybody taps.
    pub(crate) fn has_taps(&self) -> bool {
        !self.taps.is_empty()
    }

    /// Adds a tap that the connection does not have yet.
    pub(crate) fn tap(&mut self, session: SessionKey, number: u64, tap: Tap<'static>) {
        self.taps.push(Tapping { number, session, tap, matched: 0 });
    }

    /// Whether the connection has a tap with these patterns already; then it has this one in its place now.
    pub(crate) fn retap(&mut self, session: SessionKey, new: &Tap<'_>) -> bool {
        let is_it = |of: &&mut Tapping| of.session == session && of.tap.patterns == new.patterns;
        match self.taps.iter_mut().find(is_it) {
            Some(of) => {
                (of.tap.snap_bytes, of.tap.sample) = (new.snap_bytes, new.sample);
                true
            }
            None => false,
        }
    }

    /// Ends the tap with these patterns, or all of the connection if there is none in them.
    /// Gives them.
    pub(crate) fn untap(&mut self, session: SessionKey, patterns: &Patterns<'_>) -> Vec<Patterns<'static>> {
        let ends =
            |of: &mut Tapping| of.session == session && (patterns.is_empty() || of.tap.patterns == *patterns);
        self.taps.extract_if(.., ends).map(|of| of.tap.patterns).collect()
    }

    /// The taps that are told of this message of `sender`'s, each connection once and with the longest part that
    /// it wants, in the order of their numbers.
    pub(crate) fn taps_of(&mut self, sender: SessionKey, message: Tapped<'_>) -> Vec<Copied> {
        let mut found: BTreeMap<u64, Copied> = BTreeMap::new();
        for of in &mut self.taps {
            if of.session == sender || !message.matches(&of.tap.patterns) {
                continue;
            }
            of.matched += 1;
            if (of.matched - 1) % of.tap.sample == 0 {
                let snap_bytes = of.tap.snap_bytes.unwrap_or(usize::MAX);
                let copied = found.entry(of.number).or_insert(Copied { to: of.session, snap_bytes });
                copied.snap_bytes = copied.snap_bytes.max(snap_bytes);
            }
        }
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
            && one(&patterns.unique_id, self.unique_id)
            && patterns.uid.is_none_or(|uid| self.uid == Some(uid))
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
        let mut watchers = Watchers::default();
        assert!(watchers.monitor(a, 1, "web.*"));
        assert!(watchers.monitor(a, 1, "web.x"));
        assert!(watchers.monitor(b, 2, "web.x"));
        assert!(!watchers.monitor(b, 2, "web.x"));
        assert_eq!(watchers.monitors_of("web.x", 0, 9).0, [(1, a), (2, b)]);
        assert_eq!(watchers.monitors_of("web.x", 0, 1), (vec![(1, a)], Some(1), 2));
        assert_eq!(watchers.monitors_of("web.x", 1, 1).0, [(2, b)]);
        assert_eq!(watchers.monitors_of("web.y", 0, 9).0, [(1, a)]);
        assert_eq!(watchers.monitors_of("db", 0, 9).0, []);
        assert!(watchers.monitors_beside(1, "web.x", "web.*"));
        assert!(watchers.monitors_beside(1, "web.x", "web.x"));
        assert!(!watchers.monitors_beside(1, "web.y", "web.*"));
        assert!(!watchers.monitors_beside(2, "web.x", "web.x"));
        assert!(watchers.unmonitor(2, "web.x"));
        assert!(!watchers.unmonitor(2, "web.x"));
        watchers.session_left(a, 1);
        assert!(watchers.is_empty());
    }

    #[test]
    fn taps() {
        let [a, b] = sessions();
        let mut watchers = Watchers::default();
        let patterns = |to: &str| Patterns { to: Some(to.to_owned().into()), ..Patterns::default() };
        let whole = |patterns| Tap { patterns, snap_bytes: None, sample: 1 };
        watchers.tap(a, 1, whole(patterns("web*")));
        assert!(watchers.retap(a, &whole(patterns("web*"))) && !watchers.retap(b, &whole(patterns("web*"))));
        watchers.tap(a, 1, whole(Patterns { from: Some("x".into()), ..patterns("*") }));
        let message =
            Tapped { from: "x", to: "", topic: "", message_type: "ping", unique_id: ":2", uid: None };
        let copied = [Copied { to: a, snap_bytes: usize::MAX }];
        assert_eq!(watchers.taps_of(b, message), copied, "a request to the daemon has an empty to");
        assert_eq!(watchers.taps_of(a, message), [], "never its own");
        assert_eq!(watchers.taps_of(b, Tapped { from: "y", ..message }), []);
        assert_eq!(watchers.taps_of(b, Tapped { to: "web.1", ..message }), copied, "once");
        assert_eq!(watchers.untap(b, &Patterns::default()), []);
        assert_eq!(watchers.untap(a, &patterns("web*")), [patterns("web*")]);
        assert_eq!(watchers.untap(a, &Patterns::default()).len(), 1);
        assert!(!watchers.has_taps());
    }

    #[test]
    fn a_tap_looks_at_its_senders_and_takes_samples() {
        let [a, b] = sessions();
        let mut watchers = Watchers::default();
        let patterns = Patterns { uid: Some(7), unique_id: Some(":2*".into()), ..Patterns::default() };
        let tap = Tap { patterns, snap_bytes: Some(5), sample: 3 };
        watchers.tap(a, 1, tap.clone());
        let message =
            Tapped { from: "x", to: "y", topic: "", message_type: "t", unique_id: ":23", uid: Some(7) };
        let mut told = |message| watchers.taps_of(b, message).len();
        assert_eq!(told(Tapped { uid: Some(8), ..message }) + told(Tapped { uid: None, ..message }), 0);
        assert_eq!(told(Tapped { unique_id: ":3", ..message }), 0);
        let all: Vec<_> = (0..6).map(|_| told(message)).collect();
        assert_eq!(all, [1, 0, 0, 1, 0, 0]);
        assert!(watchers.retap(a, &Tap { snap_bytes: None, sample: 1, ..tap }));
        assert_eq!(watchers.taps_of(b, message), [Copied { to: a, snap_bytes: usize::MAX }]);
    }
}
