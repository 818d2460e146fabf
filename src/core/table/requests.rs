//! Knows every open request: who asked, who owes an answer, until when (PROTOCOL.md section 5).
//! Never: how a message is routed, or how an answer is worded.

use std::hash::BuildHasher;
use std::time::Duration;

use slotmap::{SecondaryMap, SlotMap};

use crate::core::SessionKey;
use crate::core::table::spread::Spread;
use crate::wire::message::Id;

slotmap::new_key_type! {
    /// One open request.
    pub(crate) struct RequestKey;
    /// One receiver's debt of an answer to one request.
    pub(crate) struct LegKey;
}

/// All open requests. A request has a leg for each receiver that has neither replied nor left.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Requests {
    requests: SlotMap<RequestKey, Request>,
    legs: SlotMap<LegKey, Leg>,
    /// By asker and id: an asker's ids are unique among its open requests.
    #[cfg_attr(feature = "daemon", serde(skip))]
    by_asker: Spread<RequestKey>,
    /// By receiver, `from` and id: what a reply names.
    #[cfg_attr(feature = "daemon", serde(skip))]
    by_receiver: Spread<LegKey>,
    sessions: SecondaryMap<SessionKey, Ends>,
    bytes: usize,
    /// Keyed anew in each process: peers choose the ids.
    #[cfg_attr(feature = "daemon", serde(skip))]
    hasher: std::hash::RandomState,
}

#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
struct Request {
    what: Asked,
    /// How many receivers it was handed to.
    handed: u32,
    /// How many of them still owe an answer.
    owing: u32,
    replied: bool,
    /// Its newest leg; the others are its siblings.
    leg: Option<LegKey>,
    links: Links<RequestKey>,
    /// Its hash in `by_asker`, so that a table that grows hashes nothing.
    #[cfg_attr(feature = "daemon", serde(skip))]
    hash: u64,
    /// When it is over; none if it waits for an order that is being carried out.
    deadline: Option<Duration>,
}

/// A request as its asker has to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Asked {
    /// The asker.
    pub(crate) asker: SessionKey,
    /// Its `from` as stamped, where the answer goes.
    pub(crate) from: Box<str>,
    /// Its `message_id`.
    pub(crate) id: Id<'static>,
    /// Its `message_type`.
    pub(crate) message_type: Box<str>,
}

#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
struct Leg {
    request: RequestKey,
    receiver: SessionKey,
    /// In the list of the receiver.
    links: Links<LegKey>,
    /// In the list of the request.
    siblings: Links<LegKey>,
    /// Its hash in `by_receiver`.
    #[cfg_attr(feature = "daemon", serde(skip))]
    hash: u64,
}

/// The neighbours in a list.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
struct Links<K> {
    previous: Option<K>,
    next: Option<K>,
}

/// The newest entries of one session's two lists, the oldest of the second, and their sizes.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
struct Ends {
    asked: Option<RequestKey>,
    /// What all its open requests count.
    asked_count: usize,
    owed: Option<LegKey>,
    owed_oldest: Option<LegKey>,
    owed_count: usize,
}

/// What a reply has answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) asker: SessionKey,
    /// Whether this was the last answer that the request waited for.
    pub(crate) closed: bool,
}

impl Requests {
    /// How many requests are open.
    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether the request is still open.
    pub(crate) fn contains(&self, key: RequestKey) -> bool {
        self.requests.contains_key(key)
    }

    /// How many receivers the open requests of `asker` were handed to, in all; one that was handed to
    /// none counts as one.
    pub(crate) fn asked_by(&self, asker: SessionKey) -> usize {
        self.sessions.get(asker).map_or(0, |ends| ends.asked_count)
    }

    /// How many answers `receiver` owes.
    pub(crate) fn owed_by(&self, receiver: SessionKey) -> usize {
        self.sessions.get(receiver).map_or(0, |ends| ends.owed_count)
    }

    /// The open request of `asker` that has this id.
    pub(crate) fn find_open(&self, asker: SessionKey, id: &Id<'_>) -> Option<RequestKey> {
        if self.asked_by(asker) > 0 { self.find_asked(asker, id) } else { None }
    }

    /// The open request of this `from` and id that `receiver` owes an answer to.
    pub(crate) fn find_owed(&self, receiver: SessionKey, from: &str, id: &Id<'_>) -> Option<RequestKey> {
        if self.owed_by(receiver) == 0 {
            return None;
        }
        self.find_leg(receiver, from, id).map(|leg| self.legs[leg].request)
    }

    /// The request that an answer is owed to.
    pub(crate) fn request_of(&self, leg: LegKey) -> Option<RequestKey> {
        self.legs.get(leg).map(|leg| leg.request)
    }

    /// The asker that an answer is owed to.
    pub(crate) fn asker_of(&self, leg: LegKey) -> Option<SessionKey> {
        Some(self.requests.get(self.request_of(leg)?)?.what.asker)
    }

    /// When a request is over; none for one without a time-out, or that is not open.
    pub(crate) fn deadline(&self, key: RequestKey) -> Option<Duration> {
        self.requests.get(key)?.deadline
    }

    /// The open requests of `asker` whose time is over at `now`.
    pub(crate) fn due_of(&self, asker: SessionKey, now: Duration) -> Vec<RequestKey> {
        let newest = self.sessions.get(asker).and_then(|ends| ends.asked);
        std::iter::successors(newest, |&key| self.requests[key].links.previous)
            .filter(|&key| self.requests[key].deadline.is_some_and(|at| at <= now))
            .collect()
    }

    /// Makes anew what is not carried to another process: the tables and their hashes.
    #[cfg(feature = "daemon")]
    pub(crate) fn restored(&mut self) {
        for request in self.requests.values_mut() {
            request.hash = hash_asked(&self.hasher, request.what.asker, &request.what.id);
        }
        for leg in self.legs.values_mut() {
            let Some(request) = self.requests.get(leg.request) else { continue };
            leg.hash = hash_owed(&self.hasher, leg.receiver, &request.what.from, &request.what.id);
        }
        let (requests, legs) = (&self.requests, &self.legs);
        for (key, request) in requests {
            self.by_asker.insert_unique(request.hash, key, |&key| requests[key].hash);
        }
        for (key, leg) in legs {
            self.by_receiver.insert_unique(leg.hash, key, |&key| legs[key].hash);
        }
    }

    /// The memory that all open requests take.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.bytes
    }

    /// Opens a request that is handed to `receivers` (none twice) and is over at `deadline`, if at any time.
    pub(crate) fn open(
        &mut self,
        what: Asked,
        receivers: &[SessionKey],
        deadline: Option<Duration>,
    ) -> RequestKey {
        let asker = what.asker;
        let hash = hash_asked(&self.hasher, asker, &what.id);
        self.bytes += footprint(&what, receivers.len());
        let ends = entry(&mut self.sessions, asker);
        let (previous, handed) = (ends.asked, receivers.len());
        ends.asked_count += weight(handed);
        let key = self.requests.insert(Request {
            what,
            handed: handed as u32,
            owing: handed as u32,
            replied: false,
            leg: None,
            links: Links { previous, next: None },
            hash,
            deadline,
        });
        ends.asked = Some(key);
        if let Some(previous) = previous {
            self.requests[previous].links.next = Some(key);
        }
        let requests = &self.requests;
        self.by_asker.insert_unique(hash, key, |&key| requests[key].hash);
        for &receiver in receivers {
            self.open_leg(key, receiver);
        }
        key
    }

    fn open_leg(&mut self, request: RequestKey, receiver: SessionKey) {
        let ends = entry(&mut self.sessions, receiver);
        let previous = ends.owed;
        ends.owed_count += 1;
        let Request { what, leg: sibling, .. } = &self.requests[request];
        let hash = hash_owed(&self.hasher, receiver, &what.from, &what.id);
        let sibling = *sibling;
        let links = Links { previous, next: None };
        let siblings = Links { previous: sibling, next: None };
        let key = self.legs.insert(Leg { request, receiver, links, siblings, hash });
        if let Some(sibling) = sibling {
            self.legs[sibling].siblings.next = Some(key);
        }
        ends.owed = Some(key);
        match previous {
            Some(previous) => self.legs[previous].links.next = Some(key),
            None => ends.owed_oldest = Some(key),
        }
        self.requests[request].leg = Some(key);
        let legs = &self.legs;
        self.by_receiver.insert_unique(hash, key, |&key| legs[key].hash);
    }

    /// Takes the answer to what [`Requests::find_leg`] or [`Requests::find_leg_to`] has just found.
    pub(crate) fn answer(&mut self, leg: LegKey) -> Option<Answered> {
        let key = self.remove_leg(leg)?;
        let request = &mut self.requests[key];
        request.replied = true;
        let (asker, closed) = (request.what.asker, request.owing == 0);
        if closed {
            self.remove(key);
        }
        Some(Answered { asker, closed })
    }

    /// Strikes `receiver` off up to `most` requests, the oldest first. Gives those that are over by this, each
    /// with whether any receiver had replied.
    pub(crate) fn strike_off(&mut self, receiver: SessionKey, most: usize) -> Vec<(Asked, bool)> {
        let mut over = Vec::new();
        for _ in 0..most {
            let Some(leg) = self.sessions.get(receiver).and_then(|ends| ends.owed_oldest) else { break };
            let Some(key) = self.remove_leg(leg) else { break };
            let request = &self.requests[key];
            if request.owing == 0 {
                let replied = request.replied;
                over.extend(self.remove(key).map(|what| (what, replied)));
            }
        }
        over
    }

    /// Forgets the requests of an asker that is gone for good, and says how many there were.
    pub(crate) fn asker_left(&mut self, asker: SessionKey) -> usize {
        let mut forgotten = 0;
        while let Some(key) = self.sessions.get(asker).and_then(|ends| ends.asked) {
            self.remove(key);
            forgotten += 1;
        }
        self.sessions.remove(asker);
        forgotten
    }

    /// Ends a request. Gives it, and whether any receiver had replied.
    pub(crate) fn close(&mut self, key: RequestKey) -> Option<(Asked, bool)> {
        let replied = self.requests.get(key)?.replied;
        self.remove(key).map(|what| (what, replied))
    }

    /// Every open request, in no order that means anything.
    pub(crate) fn keys(&self) -> Vec<RequestKey> {
        self.requests.keys().collect()
    }

    /// Panics if lists, tables and sums do not fit each other.
    pub(crate) fn check(&self) {
        assert_eq!(self.by_asker.len(), self.requests.len());
        assert_eq!(self.by_receiver.len(), self.legs.len());
        let bytes: usize =
            self.requests.values().map(|request| footprint(&request.what, request.handed as usize)).sum();
        assert_eq!(bytes, self.bytes, "what open requests keep");
        let owing: usize = self.requests.values().map(|request| request.owing as usize).sum();
        assert_eq!(owing, self.legs.len());
        let (mut asked, mut owed) = (0, 0);
        for ends in self.sessions.values() {
            let list = std::iter::successors(ends.asked, |&key| self.requests[key].links.previous);
            asked += list.count();
            let list = std::iter::successors(ends.owed, |&key| self.legs[key].links.previous);
            let list: Vec<_> = list.collect();
            assert_eq!((list.len(), list.last().copied()), (ends.owed_count, ends.owed_oldest));
            owed += list.len();
        }
        assert_eq!((asked, owed), (self.requests.len(), self.legs.len()));
    }

    fn remove_leg(&mut self, key: LegKey) -> Option<RequestKey> {
        let leg = self.legs.remove(key)?;
        self.by_receiver.remove(leg.hash, |&other| other == key);
        if let Some(next) = leg.links.next {
            self.legs[next].links.previous = leg.links.previous;
        }
        if let Some(previous) = leg.links.previous {
            self.legs[previous].links.next = leg.links.next;
        }
        if let Some(ends) = self.sessions.get_mut(leg.receiver) {
            ends.owed_count -= 1;
            if ends.owed == Some(key) {
                ends.owed = leg.links.previous;
            }
            if ends.owed_oldest == Some(key) {
                ends.owed_oldest = leg.links.next;
            }
        }
        if let Some(next) = leg.siblings.next {
            self.legs[next].siblings.previous = leg.siblings.previous;
        }
        if let Some(previous) = leg.siblings.previous {
            self.legs[previous].siblings.next = leg.siblings.next;
        }
        let request = &mut self.requests[leg.request];
        request.owing -= 1;
        if request.leg == Some(key) {
            request.leg = leg.siblings.previous;
        }
        Some(leg.request)
    }

    fn remove(&mut self, key: RequestKey) -> Option<Asked> {
        while let Some(leg) = self.requests.get(key).and_then(|request| request.leg) {
            self.remove_leg(leg);
        }
        let request = self.requests.remove(key)?;
        self.by_asker.remove(request.hash, |&other| other == key);
        self.bytes -= footprint(&request.what, request.handed as usize);
        if let Some(next) = request.links.next {
            self.requests[next].links.previous = request.links.previous;
        }
        if let Some(previous) = request.links.previous {
            self.requests[previous].links.next = request.links.next;
        }
        if let Some(ends) = self.sessions.get_mut(request.what.asker) {
            ends.asked_count -= weight(request.handed as usize);
            if ends.asked == Some(key) {
                ends.asked = request.links.previous;
            }
        }
        Some(request.what)
    }

    fn find_asked(&self, asker: SessionKey, id: &Id<'_>) -> Option<RequestKey> {
        let is_it = |&key: &RequestKey| {
            let what = &self.requests[key].what;
            what.asker == asker && what.id == *id
        };
        self.by_asker.find(hash_asked(&self.hasher, asker, id), is_it).copied()
    }

    /// What `receiver` owes to an address: `from` of a request, as it was stamped.
    pub(crate) fn find_leg(&self, receiver: SessionKey, from: &str, id: &Id<'_>) -> Option<LegKey> {
        let is_it = |&key: &LegKey| {
            let leg = &self.legs[key];
            let what = &self.requests[leg.request].what;
            leg.receiver == receiver && *what.from == *from && what.id == *id
        };
        self.by_receiver.find(hash_owed(&self.hasher, receiver, from, id), is_it).copied()
    }

    /// What `receiver` owes to the connection `asker`.
    pub(crate) fn find_leg_to(&self, receiver: SessionKey, asker: SessionKey, id: &Id<'_>) -> Option<LegKey> {
        let request = self.find_asked(asker, id)?;
        let leg = self.find_leg(receiver, &self.requests[request].what.from, id)?;
        // Another asker of the same `from` may have used the id towards this receiver.
        (self.legs[leg].request == request).then_some(leg)
    }
}

/// What an open request counts: one for each receiver, and one if a filter let it come to none.
fn weight(handed: usize) -> usize {
    handed.max(1)
}

/// About what a request takes: its record and texts, its timer, which may be stale for a while, and for each
/// receiver a leg, with their places in the tables.
fn footprint(what: &Asked, handed: usize) -> usize {
    const TABLE_BYTES: usize = 24;
    const TIMER_BYTES: usize = 96;
    let texts = what.from.len() + what.id.text.len() + what.message_type.len();
    size_of::<Request>() + TABLE_BYTES + TIMER_BYTES + texts + handed * (size_of::<Leg>() + TABLE_BYTES)
}

fn entry(sessions: &mut SecondaryMap<SessionKey, Ends>, key: SessionKey) -> &mut Ends {
    if !sessions.contains_key(key) {
        sessions.insert(key, Ends::default());
    }
    &mut sessions[key]
}

fn hash_asked(hasher: &std::hash::RandomState, asker: SessionKey, id: &Id<'_>) -> u64 {
    hasher.hash_one((asker, id.integer, &*id.text))
}

fn hash_owed(hasher: &std::hash::RandomState, receiver: SessionKey, from: &str, id: &Id<'_>) -> u64 {
    hasher.hash_one((receiver, from, id.integer, &*id.text))
}

#[cfg(test)]
mod tests;
