//! Knows who waits for room in whose queue, and who goes on when (PROTOCOL.md section 4).
//! Never: where a message goes.

use crate::core::registry::NodeKey;
use crate::core::session::{Called, Congestion, Held};
use crate::core::timers::Timer;
use crate::core::{Core, Effect, SessionKey};
use crate::wire::control::Delivery;

impl Core {
    /// Whether a request or signal may enter a receiver's queue now. Newcomers go behind those who
    /// wait for it, but for who was called by it (`favoured`), with all that he sent behind his line.
    /// A line that has a `ticket` came before all with a higher one; where another receiver has called
    /// it, this queue need not have drained to half for it. (Who needs room in two queues would have to
    /// find both at half at once otherwise.)
    pub(super) fn has_room(
        &self,
        receiver: SessionKey,
        favoured: Option<SessionKey>,
        ticket: Option<u64>,
    ) -> bool {
        self.sessions.get(receiver).is_some_and(|session| {
            let came_first = |congestion: &Congestion| {
                let first = congestion.waiters.keys().next();
                ticket.is_some_and(|ticket| first.is_none_or(|first| ticket < *first))
                    && (congestion.relieved || favoured.is_some())
            };
            session.outbox.direct_bytes() < self.limits.max_queue_bytes
                && (favoured == Some(receiver)
                    || session.congestion.as_ref().is_none_or(|congestion| came_first(congestion)))
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
        // Where it was for want of memory, that is when it will be told.
        self.watch_pressure();
    }

    /// A new place at the end of the row of all who wait.
    pub(super) fn next_ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// Makes a sender wait until one of `held.receivers` has room; `is_new` where it has not waited
    /// yet.
    pub(super) fn hold(&mut self, sender: SessionKey, held: Held, is_new: bool) {
        let (ticket, receivers) = (held.ticket, held.receivers.clone());
        if let Some(deadline) = held.deadline.filter(|_| is_new) {
            self.timers.set(deadline, Timer::Held(sender, ticket));
        }
        if let Some(session) = self.sessions.get_mut(sender) {
            session.held = Some(Box::new(held));
            self.paused += 1;
        }
        for receiver in receivers {
            self.enter_row(receiver, ticket, sender);
        }
    }

    fn enter_row(&mut self, receiver: SessionKey, ticket: u64, sender: SessionKey) {
        let full_at = self.limits.max_queue_bytes;
        let Some(session) = self.sessions.get_mut(receiver) else { return };
        let congestion = session.congestion.get_or_insert_default();
        congestion.waiters.insert(ticket, sender);
        if session.outbox.direct_bytes() >= full_at {
            congestion.relieved = false;
        }
        self.watch_progress(receiver);
    }

    /// Lets a sender whose line is held go on when its turn comes.
    fn call(&mut self, sender: SessionKey, called: Called) {
        let held = self.sessions.get_mut(sender).and_then(|session| session.held.as_mut());
        if let Some(held) = held.filter(|held| held.called.is_none()) {
            held.called = Some(called);
            self.effects.push_back(Effect::Resume(sender));
        }
    }

    /// Takes the held line of a session that was called; none where it has to wait on.
    pub(super) fn take_held(&mut self, sender: SessionKey) -> Option<Box<Held>> {
        self.sessions.get(sender)?.held.as_ref()?.called?;
        self.drop_held(sender)
    }

    /// Takes the held line out of the rows that it waits in, whether it was called or not.
    pub(super) fn drop_held(&mut self, sender: SessionKey) -> Option<Box<Held>> {
        let held = self.sessions.get_mut(sender)?.held.take()?;
        self.paused -= 1;
        for &receiver in &held.receivers {
            if let Some(receiver) = self.sessions.get_mut(receiver)
                && let Some(congestion) = &mut receiver.congestion
            {
                congestion.waiters.remove(&held.ticket);
            }
        }
        if held.deadline.is_some() {
            self.timer_gone_stale();
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

    /// There may be more room now, for other reasons than that somebody has read: whoever waits for it
    /// looks again.
    pub(super) fn look_again_at_all(&mut self) {
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

    /// Somebody who was called has gone on, or waits no more: the next one is called where there is
    /// room. A row in which nobody stands any more ends.
    pub(super) fn pass_on(&mut self, receiver: SessionKey) {
        let Some(session) = self.sessions.get_mut(receiver) else { return };
        let Some(congestion) = &mut session.congestion else { return };
        match congestion.waiters.values().next() {
            None => {
                session.congestion = None;
                self.unwatch_progress(receiver);
            }
            Some(&next) if congestion.relieved => self.call(next, Called::HasRoom(receiver)),
            Some(_) => {}
        }
    }

    /// The same in all rows that a line waited in.
    pub(super) fn pass_on_all(&mut self, receivers: &[SessionKey]) {
        for &receiver in receivers {
            self.pass_on(receiver);
        }
    }

    /// The instances of a node are others now: whoever waits for this one looks again where its line
    /// goes. Who has to wait here again keeps his place.
    pub(super) fn call_waiters(&mut self, receiver: SessionKey) {
        let congestion = self.sessions.get(receiver).and_then(|session| session.congestion.as_ref());
        let waiters: Vec<_> =
            congestion.map_or_else(Vec::new, |congestion| congestion.waiters.values().copied().collect());
        self.effort += waiters.len();
        for waiter in waiters {
            self.call(waiter, Called::LookAgain);
        }
    }

    /// A node that shares its messages out has one more instance, with room.
    pub(super) fn call_waiters_of(&mut self, node: NodeKey) {
        let node = self.registry.get(node).filter(|node| node.delivery == Delivery::One);
        let instances: Vec<_> = node.into_iter().flat_map(|node| &node.instances).cloned().collect();
        for instance in instances {
            self.call_waiters(instance.session);
        }
    }

    /// A receiver is gone: whoever waited for it looks again where its line goes.
    pub(super) fn release_waiters(&mut self, receiver: SessionKey) {
        self.call_waiters(receiver);
        if let Some(session) = self.sessions.get_mut(receiver) {
            session.congestion = None;
        }
    }
}
