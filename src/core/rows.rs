//! Knows who waits for room in whose queue, in which order, and who goes on when (PROTOCOL.md section 4).
//! Never: what a line says, or where else it could go.

use crate::core::SessionKey;
use crate::core::desk::Desk;
use crate::core::phase::Pause;
use crate::core::row::Row;
use crate::core::session::{Called, Held, Session};
use crate::core::sessions::Sessions;
use crate::core::table::timers::Timer;

/// All rows. Each stands with its receiver.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Rows {
    /// The last ticket.
    tickets: u64,
    /// Sessions that hold a line.
    paused: usize,
    /// Places in rows.
    places: usize,
}

/// How a message stands to the rows: a newcomer's has neither.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    /// Its place among all that ever waited, if it has waited.
    pub(crate) ticket: Option<u64>,
    /// The receiver that called its sender, which had waited for it.
    pub(crate) favoured: Option<SessionKey>,
}

impl Session {
    /// Whether a request or signal may enter its queue now. Newcomers go behind those that wait for it, but
    /// for the one that was called by it, with all that it sent behind its line. A line that has a ticket
    /// came before all with a higher one; if another receiver has called it, this queue need not have
    /// drained to half for it. (A line that needs room in two queues would have to find both at half at
    /// once otherwise.)
    #[inline]
    pub(crate) fn has_room(&self, own_key: SessionKey, most: usize, standing: Standing) -> bool {
        self.outbound.outbox.direct_bytes() < most
            && (self
                .row
                .as_deref()
                .is_none_or(|row| standing.favoured == Some(own_key) || lets_in(row, standing)))
    }
}

/// Whether a row lets a message in that stands so to it.
fn lets_in(row: &Row, Standing { ticket, favoured }: Standing) -> bool {
    ticket.is_some_and(|ticket| row.is_first(ticket)) && (row.relieved || favoured.is_some())
}

impl Rows {
    /// Whether nothing waits for room anywhere.
    pub(crate) fn are_empty(&self) -> bool {
        self.places == 0
    }

    /// How many senders wait.
    pub(crate) fn paused(&self) -> usize {
        self.paused
    }

    /// The memory that all rows take, about.
    pub(crate) fn kept_bytes(&self) -> usize {
        // A place in a map, and a part of its node.
        const PLACE_BYTES: usize = 32;
        self.places * PLACE_BYTES
    }

    /// A new place at the end of the row of all that wait.
    pub(crate) fn next_ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// Makes a sender wait until one of `held.receivers` has room; `is_new` if it has not waited yet.
    pub(crate) fn hold(
        &mut self,
        sessions: &mut Sessions,
        desk: &mut Desk,
        sender: SessionKey,
        held: Held,
        is_new: bool,
    ) {
        let (ticket, receivers) = (held.ticket, held.receivers.clone());
        if let Some(deadline) = held.deadline.filter(|_| is_new) {
            desk.timers.set(deadline, Timer::Held(sender, ticket));
        }
        if let Some(session) = sessions.get_mut(sender) {
            session.inbound.held = Some(Box::new(held));
            session.inbound.pauses.begin(Pause::Room);
            self.paused += 1;
        }
        for receiver in receivers {
            self.enter(sessions, desk, receiver, ticket, sender);
        }
        desk.works(1);
    }

    fn enter(
        &mut self,
        sessions: &mut Sessions,
        desk: &mut Desk,
        receiver: SessionKey,
        ticket: u64,
        sender: SessionKey,
    ) {
        let Some(session) = sessions.get_mut(receiver) else { return };
        let is_full = session.outbound.outbox.direct_bytes() >= desk.limits.max_queue_bytes;
        let row = session.row.get_or_insert_default();
        self.places += usize::from(row.enter(ticket, sender));
        if is_full {
            row.relieved = false;
        }
        session.watch(receiver, desk);
    }

    /// Lets a sender whose line is held go on when its turn comes.
    fn call(&self, sessions: &mut Sessions, desk: &mut Desk, sender: SessionKey, called: Called) {
        let held = sessions.get_mut(sender).and_then(|session| session.inbound.held.as_mut());
        if let Some(held) = held.filter(|held| held.called.is_none()) {
            held.called = Some(called);
            desk.orders.resume(sender);
        }
    }

    /// Takes the held line of a session that was called; none if it has to wait on. Its timer stays.
    pub(crate) fn take_called(&mut self, sessions: &mut Sessions, sender: SessionKey) -> Option<Box<Held>> {
        sessions.get(sender)?.inbound.held.as_ref()?.called?;
        self.take(sessions, sender)
    }

    /// Takes the held line of a session that is not to wait any more, and its timer with it.
    pub(crate) fn drop_held(
        &mut self,
        sessions: &mut Sessions,
        desk: &mut Desk,
        sender: SessionKey,
    ) -> Option<Box<Held>> {
        let held = self.take(sessions, sender)?;
        if held.deadline.is_some() {
            desk.timers.gone_stale();
        }
        Some(held)
    }

    /// Takes the held line out of the rows that it waits in, whether it was called or not.
    fn take(&mut self, sessions: &mut Sessions, sender: SessionKey) -> Option<Box<Held>> {
        let inbound = &mut sessions.get_mut(sender)?.inbound;
        let held = inbound.held.take()?;
        inbound.pauses.end(Pause::Room);
        self.paused -= 1;
        for &receiver in &held.receivers {
            let row = sessions.get_mut(receiver).and_then(|receiver| receiver.row.as_mut());
            self.places -= usize::from(row.is_some_and(|row| row.leave(held.ticket)));
        }
        Some(held)
    }

    /// A queue has been drained by some: if it has come to half, the first that waits goes on.
    pub(crate) fn relieve(
        &mut self,
        sessions: &mut Sessions,
        desk: &mut Desk,
        receiver: SessionKey,
        memory_is_short: bool,
    ) {
        let half = desk.limits.half_queue();
        let Some(session) = sessions.get_mut(receiver) else { return };
        if let Some(row) = &mut session.row
            && !row.relieved
            && session.outbound.outbox.direct_bytes() <= half
        {
            row.relieved = true;
            self.pass_on(sessions, desk, receiver, memory_is_short);
        }
    }

    /// A sender that was called has gone on, or waits no more: the next one is called if there is room. A row
    /// in which none stands any more ends.
    pub(crate) fn pass_on(
        &mut self,
        sessions: &mut Sessions,
        desk: &mut Desk,
        receiver: SessionKey,
        memory_is_short: bool,
    ) {
        let Some(session) = sessions.get_mut(receiver) else { return };
        let Some(row) = &mut session.row else { return };
        match row.first() {
            None => {
                session.row = None;
                session.unwatch(desk, memory_is_short);
            }
            Some(next) if row.relieved => self.call(sessions, desk, next, Called::HasRoom(receiver)),
            Some(_) => {}
        }
    }

    /// The instances of a node are others now: the lines that wait for this one are looked at again, for
    /// where they go. One that has to wait here again keeps its place.
    pub(crate) fn call_waiters(&mut self, sessions: &mut Sessions, desk: &mut Desk, receiver: SessionKey) {
        let row = sessions.get(receiver).and_then(|session| session.row.as_ref());
        let waiters: Vec<_> =
            row.map_or_else(Vec::new, |row| row.places().map(|(_, sender)| sender).collect());
        desk.works(waiters.len());
        for waiter in waiters {
            self.call(sessions, desk, waiter, Called::LookAgain);
        }
    }

    /// A receiver is gone: so is its row, and the lines that waited in it are looked at again.
    pub(crate) fn release(&mut self, sessions: &mut Sessions, desk: &mut Desk, receiver: SessionKey) {
        self.call_waiters(sessions, desk, receiver);
        if let Some(row) = sessions.get_mut(receiver).and_then(|session| session.row.take()) {
            self.places -= row.len();
        }
    }

    /// Ends all rows: the daemon ends, and none waits any more.
    pub(crate) fn end_all(&mut self, sessions: &mut Sessions) {
        for (_, session) in sessions.iter_mut() {
            session.row = None;
        }
        self.places = 0;
    }

    /// Panics if held lines and rows do not fit each other.
    pub(crate) fn check(&self, sessions: &Sessions) {
        let (mut paused, mut places) = (0, 0);
        for (key, session) in sessions.iter() {
            let held = session.inbound.held.as_deref();
            assert_eq!(held.is_some(), session.inbound.pauses.contains(Pause::Room));
            paused += usize::from(held.is_some());
            for &receiver in held.iter().flat_map(|held| &held.receivers) {
                let row = sessions.get(receiver).and_then(|receiver| receiver.row.as_ref());
                let ticket = held.map(|held| held.ticket).unwrap_or_default();
                // The row of one that has left is gone; then the line has been called.
                let stands = row.is_some_and(|row| row.at(ticket) == Some(key));
                assert!(stands || held.is_some_and(|held| held.called.is_some()), "a line stands nowhere");
            }
            for (ticket, sender) in session.row.iter().flat_map(|row| row.places()) {
                places += 1;
                let held = sessions.get(sender).and_then(|sender| sender.inbound.held.as_ref());
                assert!(held.is_some_and(|held| held.ticket == ticket), "a place without a line");
            }
        }
        assert_eq!((paused, places), (self.paused, self.places));
    }
}
