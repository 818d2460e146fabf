//! Knows who waits for room in whose queue, who goes on when, and who is too slow (PROTOCOL.md
//! section 4).
//! Never: where a message goes.

use std::collections::BTreeMap;

use crate::core::session::{Congestion, Held};
use crate::core::timers::Timer;
use crate::core::{Core, Effect, Level, Reason, SessionKey};
use crate::limits::STALL_BYTES_MIN;

impl Core {
    /// Whether all that peers make the daemon keep has passed its bound.
    pub(super) fn is_overloaded(&self) -> bool {
        self.kept_bytes() > self.limits.max_memory_bytes
    }

    /// How much is to be read from one connection in one go: it may all have to be kept.
    pub fn read_bytes_max(&self) -> usize {
        const UNDER_PRESSURE: usize = 16 * 1024;
        if self.is_overloaded() { UNDER_PRESSURE } else { usize::MAX }
    }

    /// All that peers make the daemon keep.
    pub(super) fn kept_bytes(&self) -> usize {
        self.memory_bytes + self.requests.kept_bytes() + self.registry.kept_bytes() + self.topics.kept_bytes()
    }

    /// Whether a request or signal may enter a receiver's queue now. While others wait for it, it
    /// may not, but for the one whose turn it is: `favoured` names the receiver that it waited for,
    /// and `ticket` its place, which may be before all who wait elsewhere too. (Who needs room in
    /// two queues would have to have his turn in both at once otherwise, and chase it for ever.)
    pub(super) fn has_room(
        &self,
        receiver: SessionKey,
        favoured: Option<SessionKey>,
        ticket: Option<u64>,
    ) -> bool {
        self.sessions.get(receiver).is_some_and(|session| {
            let is_its_turn = |congestion: &Congestion| {
                let first = congestion.waiters.keys().next();
                congestion.relieved && ticket.is_some_and(|ticket| first.is_none_or(|first| ticket < *first))
            };
            session.outbox.direct_bytes() < self.limits.max_queue_bytes
                && (favoured == Some(receiver)
                    || session.congestion.as_ref().is_none_or(|congestion| is_its_turn(congestion)))
        })
    }

    /// Whether a topic message may enter a receiver's queue.
    pub(super) fn has_topic_room(&self, receiver: SessionKey) -> bool {
        !self.is_overloaded()
            && self
                .sessions
                .get(receiver)
                .is_some_and(|session| session.outbox.direct_bytes() < self.limits.max_queue_bytes / 2)
    }

    /// Counts a message that found no room.
    pub(super) fn miss(&mut self, subscriber: SessionKey) {
        self.stats.missed += 1;
        if let Some(session) = self.sessions.get_mut(subscriber) {
            session.missed += 1;
        }
    }

    /// A new place at the end of the row of all who wait.
    pub(super) fn next_ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// Makes a sender wait for room at `held.receiver`; `is_new` where it does not wait already, for
    /// another.
    pub(super) fn hold(&mut self, sender: SessionKey, held: Held, is_new: bool) {
        let Held { ticket, receiver, deadline, .. } = held;
        if let Some(session) = self.sessions.get_mut(sender) {
            session.held = Some(Box::new(held));
            self.paused += 1;
        }
        if let Some(deadline) = deadline.filter(|_| is_new) {
            self.timers.set(deadline, Timer::Held(sender, ticket));
        }
        let (now, full_at, patience) =
            (self.now.mono, self.limits.max_queue_bytes, self.limits.stall_timeout);
        let Some(session) = self.sessions.get_mut(receiver) else { return };
        let (taken, due) = (session.taken, now + patience);
        if session.congestion.is_none() {
            self.timers.set(due, Timer::Stall(receiver));
        }
        let congestion = session.congestion.get_or_insert_with(|| {
            Box::new(Congestion { waiters: BTreeMap::new(), relieved: false, due, taken })
        });
        congestion.waiters.insert(ticket, sender);
        if session.outbox.direct_bytes() >= full_at {
            congestion.relieved = false;
        } else if congestion.relieved && congestion.waiters.keys().next() == Some(&ticket) {
            // It came before all who are there: an older line that waited elsewhere first.
            self.effects.push_back(Effect::Resume(sender));
        }
    }

    /// Takes the held line of a session whose turn it is; none where it has to wait on.
    pub(super) fn take_held(&mut self, sender: SessionKey) -> Option<Box<Held>> {
        let held = self.sessions.get(sender)?.held.as_ref()?;
        if let Some(receiver) = self.sessions.get(held.receiver)
            && let Some(congestion) = &receiver.congestion
            && congestion.waiters.contains_key(&held.ticket)
            && !(congestion.relieved && congestion.waiters.keys().next() == Some(&held.ticket))
        {
            return None;
        }
        self.drop_held(sender)
    }

    /// Takes the held line out of the row it waits in, whether its turn has come or not.
    pub(super) fn drop_held(&mut self, sender: SessionKey) -> Option<Box<Held>> {
        let held = self.sessions.get_mut(sender)?.held.take()?;
        self.paused -= 1;
        if let Some(receiver) = self.sessions.get_mut(held.receiver)
            && let Some(congestion) = &mut receiver.congestion
        {
            congestion.waiters.remove(&held.ticket);
        }
        Some(held)
    }

    /// A queue has been drained by some: where it has come to half, the first who waits goes on.
    pub(super) fn relieve(&mut self, receiver: SessionKey) {
        let half = self.limits.max_queue_bytes / 2;
        let Some(session) = self.sessions.get_mut(receiver) else { return };
        if let Some(congestion) = &mut session.congestion
            && !congestion.relieved
            && session.outbox.direct_bytes() <= half
        {
            congestion.relieved = true;
            self.pass_on(receiver);
        }
    }

    /// Queues may be longer from now on: whoever waits for room looks again.
    pub(super) fn use_new_room(&mut self) {
        let choked_at = self.choked_at();
        let mut all: Vec<_> = self.sessions.iter().map(|(key, session)| (session.number, key)).collect();
        all.sort_unstable();
        for (_, key) in all {
            self.relieve(key);
            if let Some(session) = self.sessions.get_mut(key)
                && session.choked
                && session.outbox.answer_bytes() <= choked_at
            {
                session.choked = false;
                self.effects.push_back(Effect::Resume(key));
            }
        }
    }

    /// The one whose turn it was has gone on: it is the next one's turn, while there is room.
    pub(super) fn pass_on(&mut self, receiver: SessionKey) {
        let Some(session) = self.sessions.get_mut(receiver) else { return };
        let Some(congestion) = &mut session.congestion else { return };
        match congestion.waiters.values().next() {
            None => session.congestion = None,
            Some(&next) if congestion.relieved => self.effects.push_back(Effect::Resume(next)),
            Some(_) => {}
        }
    }

    /// A receiver is gone, or holds a node ID no more: whoever waited for it looks again where its
    /// line goes. Who has to wait here again keeps his place.
    pub(super) fn release_waiters(&mut self, receiver: SessionKey) {
        let congestion = self.sessions.get_mut(receiver).and_then(|session| session.congestion.take());
        for (_, waiter) in congestion.into_iter().flat_map(|congestion| congestion.waiters) {
            self.effects.push_back(Effect::Resume(waiter));
        }
    }

    /// Looks whether a receiver that senders wait for has taken enough.
    pub(super) fn check_stall(&mut self, receiver: SessionKey) {
        let (now, patience) = (self.now.mono, self.limits.stall_timeout);
        let Some(session) = self.sessions.get_mut(receiver) else { return };
        let Some(congestion) = &mut session.congestion else { return };
        // The row may have ended and begun anew since the timer was set; then it has one of its own.
        if now < congestion.due {
            return;
        }
        if session.taken - congestion.taken < STALL_BYTES_MIN {
            let number = session.number;
            let waiting = congestion.waiters.len();
            let queued = session.outbox.queue_bytes();
            let text = format!(
                "is disconnected: {waiting} senders wait for it, and it took less than {STALL_BYTES_MIN} of the {queued} bytes queued for it in {} s",
                patience.as_secs_f64()
            );
            self.note(Level::Warning, "stalled", Some(number), text);
            self.doomed.push((receiver, Reason::Stalled));
            return;
        }
        congestion.due = now + patience;
        congestion.taken = session.taken;
        self.timers.set(congestion.due, Timer::Stall(receiver));
    }

    /// Memory is short: from now on everybody waits for those who do not read.
    pub(super) fn watch_pressure(&mut self) {
        if self.under_pressure || !self.is_overloaded() {
            return;
        }
        self.under_pressure = true;
        self.mark_pressure();
        let text = format!(
            "peers make the daemon keep {} bytes, and max_memory_bytes is {}: new messages are refused",
            self.kept_bytes(),
            self.limits.max_memory_bytes
        );
        self.note(Level::Warning, "overloaded", None, text);
    }

    fn mark_pressure(&mut self) {
        for session in self.sessions.values_mut() {
            session.pressure_mark = (!session.outbox.is_empty()).then_some(session.taken);
        }
        self.timers.set(self.now.mono + self.limits.stall_timeout, Timer::Pressure);
    }

    /// Ends those who have taken too little since memory was found short.
    pub(super) fn check_pressure(&mut self) {
        if !self.is_overloaded() {
            self.under_pressure = false;
            return;
        }
        let is_stalled =
            |mark: Option<u64>, taken: u64| mark.is_some_and(|mark| taken - mark < STALL_BYTES_MIN);
        let stalled: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, session)| {
                !session.outbox.is_empty() && is_stalled(session.pressure_mark, session.taken)
            })
            .map(|(key, session)| (key, session.number))
            .collect();
        for (key, number) in stalled {
            let text =
                "is disconnected: memory is short, and it does not take what is queued for it".to_owned();
            self.note(Level::Warning, "stalled", Some(number), text);
            self.doomed.push((key, Reason::Stalled));
        }
        self.mark_pressure();
    }

    /// Brings the count of what a session keeps up to date.
    pub(super) fn account(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key) {
            let kept = session.kept_bytes();
            self.memory_bytes = self.memory_bytes - session.counted + kept;
            session.counted = kept;
        }
    }
}
