//! Knows how lines get into outboxes and out of them (PROTOCOL.md section 4).
//! Never: who the receivers are, or why.

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;

use crate::core::SessionKey;
use crate::core::blocks::Blocks;
use crate::core::desk::Desk;
use crate::core::outbox::{Class, Label, Origin, Outbox, Spare};
use crate::core::own_line::write_signal;
use crate::core::phase::{Pause, Phase};
use crate::core::session::Session;
use crate::core::sessions::Sessions;
use crate::core::tuning::Tuning;
use crate::limits::Limits;
use crate::wire::envelope::Outgoing;

/// Everything on its way into sockets: the outboxes stand with their sessions, what they share stands here.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Post {
    #[cfg_attr(feature = "daemon", serde(skip))]
    tuning: Tuning,
    blocks: Blocks,
    #[cfg_attr(feature = "daemon", serde(skip))]
    spare: Spare,
    /// Scratch for a line that goes to several, without and with the member `sender`.
    #[cfg_attr(feature = "daemon", serde(skip))]
    copies: [Vec<u8>; 2],
    /// Sessions with something to be written, and those of them with much.
    dirty: VecDeque<SessionKey>,
    large: Vec<SessionKey>,
    /// What outboxes keep for themselves, without blocks.
    #[cfg_attr(feature = "daemon", serde(skip))]
    bytes: usize,
    /// The last id of a line of the daemon's own.
    own_ids: u64,
}

/// One line for outboxes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dispatch<'a> {
    pub(crate) origin: Origin,
    pub(crate) class: Class,
    pub(crate) line: &'a Outgoing<'a>,
    /// With more bytes of answers than this a receiver is not read.
    pub(crate) choked_at: usize,
}

impl Post {
    pub(crate) fn new(tuning: Tuning) -> Post {
        Post {
            blocks: Blocks::new(tuning.clone()),
            spare: Spare::default(),
            copies: Default::default(),
            dirty: VecDeque::new(),
            large: Vec::new(),
            bytes: 0,
            own_ids: 0,
            tuning,
        }
    }

    /// The memory that all queued lines take. What is kept for the next ones is no part of it: it is bounded by
    /// itself, and is there for all.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.bytes + self.blocks.kept_bytes()
    }

    /// An id for a line of the daemon's own.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.own_ids += 1;
        self.own_ids
    }

    /// Puts one line into the outbox of each of `receivers`, which are there and have room. Says whether any of
    /// them is broken.
    pub(crate) fn deliver(
        &mut self,
        sessions: &mut Sessions,
        desk: &mut Desk,
        receivers: &[SessionKey],
        what: Dispatch<'_>,
    ) -> bool {
        let Dispatch { origin, class, line, .. } = what;
        let label = Label { origin, class, at: desk.queued_at() };
        if let [receiver] = *receivers
            && let Some(session) = sessions.get_mut(receiver)
            && !session.outbound.wants_sender
        {
            return self.put(receiver, session, desk, &what, |outbox, _, tuning| {
                outbox.push(label, line, tuning);
            });
        }
        // What several get is put together once, without and with the member `sender`.
        let is_shared = receivers.len() > 1 && self.blocks.begin_line(receivers, line.len());
        let mut copies = std::mem::take(&mut self.copies);
        let mut places = [None; 2];
        let mut any_broken = false;
        for &receiver in receivers {
            let Some(mut session) = sessions.get_mut(receiver) else { continue };
            let wants_sender = session.outbound.wants_sender;
            let (copy, place) =
                (&mut copies[usize::from(wants_sender)], &mut places[usize::from(wants_sender)]);
            if copy.is_empty() && place.is_none() {
                let member = if wants_sender { what.sender_member(sessions) } else { None };
                let line = line.with_sender(member.as_deref().map_or(&[], Vec::as_slice));
                match is_shared {
                    true => *place = Some(self.blocks.append(&line, wants_sender)),
                    false => line.write_to(copy),
                }
                let Some(same) = sessions.get_mut(receiver) else { continue };
                session = same;
            }
            any_broken |= self.put(receiver, session, desk, &what, |outbox, blocks, tuning| match *place {
                Some(place) => outbox.push_shared(label, place, blocks),
                None => outbox.push_copy(label, copy, tuning),
            });
        }
        copies.iter_mut().for_each(Vec::clear);
        self.copies = copies;
        any_broken
    }

    /// Puts a line into one outbox, behind what its receiver has missed; says whether that is broken.
    #[inline]
    fn put(
        &mut self,
        receiver: SessionKey,
        session: &mut Session,
        desk: &mut Desk,
        what: &Dispatch<'_>,
        put: impl FnOnce(&mut Outbox, &mut Blocks, &Tuning),
    ) -> bool {
        self.tell_missed(receiver, session, desk, what.choked_at);
        self.push(receiver, session, desk, (what.class, what.choked_at), put);
        desk.stats.delivered += u64::from(what.origin != Origin::Daemon);
        session.outbound.broken
    }

    /// Says a line of the daemon's own, which `write` writes without its LF; says whether it is on its way.
    /// What is owed may be due all at once, to a peer that reads: beyond the second count it is said too, and a
    /// receiver that reads it too slowly then is ended. A connection that asks without reading is not read,
    /// and none is owed more than it has open, or than happens.
    pub(crate) fn say(
        &mut self,
        to: SessionKey,
        session: &mut Session,
        desk: &mut Desk,
        class: Class,
        choked_at: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        if session.outbound.broken {
            return false;
        }
        self.tell_missed(to, session, desk, choked_at);
        let label = Label { origin: Origin::Daemon, class, at: desk.queued_at() };
        self.push(to, session, desk, (class, choked_at), |outbox, _, tuning| {
            outbox.push_written(label, tuning, write);
        });
        true
    }

    /// Tells a subscriber how many messages it has missed, if any, ahead of what comes next.
    #[inline]
    pub(crate) fn tell_missed(
        &mut self,
        to: SessionKey,
        session: &mut Session,
        desk: &mut Desk,
        choked_at: usize,
    ) {
        if session.untold() > 0 {
            self.say_lagged(to, session, desk, choked_at);
        }
    }

    #[cold]
    fn say_lagged(&mut self, to: SessionKey, session: &mut Session, desk: &mut Desk, choked_at: usize) {
        let count = session.outbound.lag.as_mut().map_or(0, |lag| std::mem::take(&mut lag.untold));
        let id = self.next_id();
        if session.outbound.broken {
            return;
        }
        let address = session.caller.address.clone();
        let label = Label { origin: Origin::Daemon, class: Class::Daemon, at: desk.queued_at() };
        self.push(to, session, desk, (Class::Daemon, choked_at), |outbox, _, tuning| {
            outbox.push_written(label, tuning, |out| {
                write_signal(out, id, &address, "lagged", |body| {
                    body.number("count", count);
                });
            });
        });
    }

    #[inline]
    fn push(
        &mut self,
        to: SessionKey,
        session: &mut Session,
        desk: &mut Desk,
        (class, choked_at): (Class, usize),
        push: impl FnOnce(&mut Outbox, &mut Blocks, &Tuning),
    ) {
        let outbound = &mut session.outbound;
        let outbox = &mut outbound.outbox;
        let before = outbox.footprint();
        outbox.borrow(&mut self.spare);
        push(outbox, &mut self.blocks, &self.tuning);
        self.bytes = self.bytes + outbox.footprint() - before;
        let queued = outbox.queue_bytes();
        outbound.lines += 1;
        desk.stats.lines_out += 1;
        desk.stats.queue_bytes_max = desk.stats.queue_bytes_max.max(queued);
        if !outbound.dirty {
            outbound.dirty = true;
            self.dirty.push_back(to);
        }
        // Before its queue is full, which may be ahead of the end of the turn.
        let early = desk.limits.max_queue_bytes / 4;
        if queued >= self.tuning.early_write_bytes.min(early) && !outbound.large {
            outbound.large = true;
            self.large.push(to);
        }
        let answers = if class.is_answer() { outbox.answer_bytes() } else { 0 };
        if answers > choked_at && !outbound.broken {
            session.inbound.pauses.begin(Pause::Answers);
        }
        if session.phase >= Phase::Ending || answers >= desk.limits.max_queue_bytes {
            session.watch(to, desk);
        }
    }

    /// The next session that has something to be written.
    pub(crate) fn next_dirty(&mut self, sessions: &mut Sessions) -> Option<SessionKey> {
        loop {
            let key = self.dirty.pop_front()?;
            if let Some(session) = sessions.get_mut(key) {
                session.outbound.dirty = false;
                return Some(key);
            }
        }
    }

    pub(crate) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The next session with so much to be written that it should not wait for the end of the turn.
    pub(crate) fn next_large(&mut self) -> Option<SessionKey> {
        self.large.pop()
    }

    /// Puts what is to be written next of an outbox into `slices`, and says how many it filled.
    pub(crate) fn transmit<'a>(&'a self, outbox: &'a Outbox, slices: &mut [IoSlice<'a>]) -> usize {
        outbox.transmit(&self.blocks, slices, self.tuning.gathered_bytes)
    }

    /// Takes note that `count` bytes of what [`Post::transmit`] gave have been written.
    pub(crate) fn wrote(&mut self, session: &mut Session, count: usize, limits: &Limits) {
        // What is kept for later is no more than a small part of what may be kept at all.
        const SPARE_PART: usize = 64;
        let outbound = &mut session.outbound;
        let before = outbound.outbox.footprint();
        outbound.outbox.wrote(count, &mut self.blocks);
        outbound.taken += count as u64;
        outbound.large = false;
        let spare_max = self.tuning.spare_bytes_max.min(limits.max_memory_bytes / SPARE_PART);
        outbound.outbox.give_back(&mut self.spare, self.tuning.spare_bytes_each_max, spare_max);
        // A buffer only ever shrinks here.
        self.bytes -= before - outbound.outbox.footprint();
    }

    /// Takes all that waits for a session, to be gone through by [`Post::take_lost`].
    pub(crate) fn take_outbox(&mut self, session: &mut Session) -> Outbox {
        let mut outbox = std::mem::take(&mut session.outbound.outbox);
        outbox.rewind(&self.blocks);
        outbox
    }

    /// Goes through lines of an outbox that was taken until that has cost `most` units of effort; `lost` is told of
    /// each, and gives what that costs. Says how many there were, and what they cost. When the outbox is empty its
    /// memory is free.
    pub(crate) fn take_lost(
        &mut self,
        outbox: &mut Outbox,
        most: usize,
        lost: impl FnMut(Origin, Class, &[u8]) -> usize,
    ) -> (usize, usize) {
        let taken = outbox.take_lines(&mut self.blocks, most, lost);
        if outbox.is_empty() {
            self.bytes -= outbox.footprint();
            *outbox = Outbox::default();
        }
        taken
    }

    /// The blocks, to be saved or restored.
    #[cfg(feature = "daemon")]
    pub(crate) fn blocks(&mut self) -> &mut Blocks {
        &mut self.blocks
    }

    /// Takes over an outbox that has been carried from another process.
    #[cfg(feature = "daemon")]
    pub(crate) fn take_over(&mut self, outbox: &Outbox) {
        self.bytes += outbox.footprint();
    }

    /// Makes anew what is not carried to another process.
    #[cfg(feature = "daemon")]
    pub(crate) fn restored(&mut self, tuning: &Tuning) {
        self.tuning = tuning.clone();
        self.blocks.tune(tuning);
    }

    /// Panics if sums, marks or blocks do not fit the outboxes: those of sessions, and those that were `taken`.
    pub(crate) fn check<'a>(&self, sessions: &'a Sessions, taken: impl Iterator<Item = &'a Outbox>) {
        let outboxes = sessions.iter().map(|(_, session)| &session.outbound.outbox);
        let (mut bytes, mut holders) = (0, HashMap::new());
        for outbox in outboxes.chain(taken) {
            outbox.check();
            bytes += outbox.footprint();
            outbox.count_holders(&mut holders);
        }
        assert_eq!(bytes, self.bytes, "what outboxes keep");
        let held: HashMap<_, _> = self.blocks.holders().filter(|(_, count)| *count > 0).collect();
        assert_eq!(holders, held, "runs that are made of blocks");
        self.blocks.check();
        for (key, session) in sessions.iter() {
            assert_eq!(session.outbound.dirty, self.dirty.contains(&key), "dirty marks");
        }
    }
}

impl Dispatch<'_> {
    fn sender_member(&self, sessions: &mut Sessions) -> Option<Arc<Vec<u8>>> {
        sessions.get_mut(self.origin.peer()?).map(|session| session.caller.sender_member())
    }
}
