//! Knows which connections there are: by key, by number, and how many of each user. The only place in which
//! keys and numbers meet.
//! Never: what a connection does.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::time::Duration;

use slotmap::SlotMap;

use crate::core::SessionKey;
use crate::core::event::Subject;
use crate::core::peer::{Peer, User};
use crate::core::phase::Phase;
use crate::core::session::Session;
#[cfg(feature = "daemon")]
use crate::core::table::registry::Registry;

/// All connections.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Sessions {
    sessions: SlotMap<SessionKey, Session>,
    #[cfg_attr(feature = "daemon", serde(skip))]
    by_number: BTreeMap<u64, SessionKey>,
    #[cfg_attr(feature = "daemon", serde(skip))]
    users: HashMap<User, usize>,
    /// Those of them that have departed, and how many of each user.
    #[cfg_attr(feature = "daemon", serde(skip))]
    departed: usize,
    #[cfg_attr(feature = "daemon", serde(skip))]
    departed_of: HashMap<User, usize>,
    /// What all of them keep, without their outboxes.
    #[cfg_attr(feature = "daemon", serde(skip))]
    bytes: usize,
}

impl Sessions {
    pub(crate) fn open(&mut self, number: u64, peer: Peer, since: Duration) -> SessionKey {
        *self.users.entry(peer.user()).or_default() += 1;
        let key = self.sessions.insert(Session::new(number, peer, since));
        self.by_number.insert(number, key);
        key
    }

    /// Ends a session for good.
    pub(crate) fn remove(&mut self, key: SessionKey) -> Option<Session> {
        let mut session = self.sessions.remove(key)?;
        session.phase.advance(Phase::Gone);
        self.bytes -= session.counted;
        self.by_number.remove(&session.caller.number);
        let user = session.caller.user();
        count_off(&mut self.users, user.clone());
        if session.departed {
            self.departed -= 1;
            count_off(&mut self.departed_of, user);
        }
        Some(session)
    }

    /// A connection is gone for all others from now on, and acts on.
    pub(crate) fn depart(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key).filter(|session| !session.departed) {
            session.departed = true;
            self.departed += 1;
            *self.departed_of.entry(session.caller.user()).or_default() += 1;
        }
    }

    /// Whether a connection has departed.
    pub(crate) fn has_departed(&self, key: SessionKey) -> bool {
        self.get(key).is_some_and(|session| session.departed)
    }

    #[inline]
    pub(crate) fn get(&self, key: SessionKey) -> Option<&Session> {
        self.sessions.get(key)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.sessions.get_mut(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// How many connections have departed.
    pub(crate) fn departed(&self) -> usize {
        self.departed
    }

    /// How many connections a user has, and how many of these have departed.
    pub(crate) fn of_user(&self, user: &User) -> (usize, usize) {
        let count = |users: &HashMap<User, usize>| users.get(user).copied().unwrap_or(0);
        (count(&self.users), count(&self.departed_of))
    }

    /// The most connections that a user has.
    pub(crate) fn most_of_a_user(&self) -> usize {
        self.users.values().copied().max().unwrap_or(0)
    }

    pub(crate) fn number_of(&self, key: SessionKey) -> Option<u64> {
        self.get(key).map(|session| session.caller.number)
    }

    /// The connection of this number.
    pub(crate) fn of_number(&self, number: u64) -> Option<SessionKey> {
        self.by_number.get(&number).copied()
    }

    /// The connection of this number, if it can be addressed.
    pub(crate) fn here(&self, number: u64) -> Option<SessionKey> {
        self.of_number(number).filter(|&key| self.is_here(key))
    }

    /// Whether others can address this connection.
    pub(crate) fn is_here(&self, key: SessionKey) -> bool {
        self.get(key).is_some_and(Session::is_here)
    }

    /// Every connection, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SessionKey, &Session)> {
        self.sessions.iter()
    }

    /// Every connection, to be changed, in no order that means anything.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (SessionKey, &mut Session)> {
        self.sessions.iter_mut()
    }

    /// Every connection, in the order of the numbers.
    pub(crate) fn in_order(&self) -> Vec<SessionKey> {
        self.by_number.values().copied().collect()
    }

    /// Those whose numbers are beyond `number`, in the order of these.
    pub(crate) fn behind(&self, number: u64) -> impl Iterator<Item = (SessionKey, &Session)> {
        let keys = self.by_number.range((Bound::Excluded(number), Bound::Unbounded));
        keys.filter_map(|(_, &key)| Some((key, self.get(key)?)))
    }

    /// A connection as it is now, for a record.
    pub(crate) fn subject(&self, key: SessionKey) -> Subject {
        self.get(key).map(Session::subject).unwrap_or_default()
    }

    /// Brings the count of what a session keeps up to date.
    pub(crate) fn account(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key) {
            let kept = session.kept_bytes();
            self.bytes = self.bytes - session.counted + kept;
            session.counted = kept;
        }
    }

    /// What all connections keep, without their outboxes.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.bytes
    }

    /// Makes anew what is not carried to another process: numbers, addresses and counts.
    #[cfg(feature = "daemon")]
    pub(crate) fn restored(&mut self, registry: &Registry) {
        for (key, session) in &mut self.sessions {
            session.restored(registry);
            self.by_number.insert(session.caller.number, key);
            self.bytes += session.counted;
            let user = session.caller.user();
            if session.departed {
                self.departed += 1;
                *self.departed_of.entry(user.clone()).or_default() += 1;
            }
            *self.users.entry(user).or_default() += 1;
        }
    }

    /// Panics if keys and numbers, users or bytes do not fit each other.
    pub(crate) fn check(&self) {
        assert_eq!(self.by_number.len(), self.sessions.len());
        for (number, &key) in &self.by_number {
            assert_eq!(self.number_of(key), Some(*number));
        }
        let count = |counts: &dyn Fn(&Session) -> bool| {
            let mut users: HashMap<User, usize> = HashMap::new();
            for session in self.sessions.values().filter(|session| counts(session)) {
                *users.entry(session.caller.user()).or_default() += 1;
            }
            users
        };
        assert_eq!(count(&|_| true), self.users);
        assert_eq!(count(&|session| session.departed), self.departed_of);
        assert_eq!(self.departed_of.values().sum::<usize>(), self.departed);
        let bytes: usize = self.sessions.values().map(|session| session.counted).sum();
        assert_eq!(bytes, self.bytes, "what connections keep");
    }
}

fn count_off(users: &mut HashMap<User, usize>, user: User) {
    if let Entry::Occupied(mut count) = users.entry(user) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}
