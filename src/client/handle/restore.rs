//! Knows how a new connection is told what the old one held.
//! Never: how it is made; clocks, threads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::error::Error;
use crate::client::handle::book::{Again, Ended, Reply, Request, Waiter};
use crate::client::handle::change::Change;
use crate::client::handle::state::{Phase, Restoring, State};
use crate::client::lines::To;
use crate::client::moment::after;
use crate::client::refused::Refused;

/// How long a name that another connection took is left alone.
const NAME_DELAY: Duration = Duration::from_secs(1);

impl State {
    /// Asks a new connection for all that was held. Once all is answered, it is up; if it is not in time, or
    /// the daemon does not say what it is, the connection is broken off.
    pub(super) fn restore(&mut self, tries: u32, now: Instant) {
        let until = after(now, self.options.connect_timeout);
        self.phase = Phase::Restoring(Restoring { tries, until, left: 0, has_heard: false });
        self.ask_again("whoami", "", Again::Whoami, now);
    }

    fn ask_again(&mut self, what: &str, body: &str, again: Again, now: Instant) {
        let Phase::Restoring(restoring) = &mut self.phase else { return };
        restoring.left += 1;
        let patience = restoring.until.saturating_duration_since(now);
        match self.lines.draft(To::Daemon, what, body, patience) {
            Ok(draft) => {
                self.setup.extend_from_slice(&draft.line);
                let request = Request::new(draft.line, Waiter::Restoring(again), patience, now);
                self.book.put_open(draft.number, request);
            }
            // What was taken once is no longer taken.
            Err(_) => self.break_off(),
        }
    }

    /// Breaks the connection off; the reader then finds its end.
    pub(super) fn break_off(&mut self) {
        self.is_broken = true;
        if let Some(stream) = &self.stream {
            stream.shut();
        }
    }

    /// Takes the answer to what was asked for again. Gives requests that have ended by it.
    pub(super) fn restored(&mut self, again: &Again, answer: Reply, now: Instant) -> Ended {
        let mut ended = Vec::new();
        match (again, answer) {
            (Again::Whoami, Ok(whoami)) => {
                self.learn_limits(&whoami);
                self.ask_for_all(now);
            }
            (Again::Whoami, Err(_)) => {
                self.break_off();
                return ended;
            }
            (Again::Name(node_id), Ok(_)) => self.hold(node_id),
            (Again::Name(node_id), Err(why)) => ended = self.lose_name(node_id, why, now),
            (Again::Held(held), Ok(_)) => self.holdings.granted(held),
            (Again::Held(held), Err(why)) => {
                self.holdings.refused(held);
                let error = Arc::new(Error::from(why));
                let pattern = || held.pattern().to_owned();
                self.tell(|| Change::Ended { pattern: pattern(), error: Arc::clone(&error) });
            }
        }
        if let Phase::Restoring(restoring) = &mut self.phase {
            restoring.left -= 1;
            let Restoring { left, tries, .. } = *restoring;
            if left == 0 && !self.is_broken {
                self.phase = Phase::Up;
                self.release();
                self.tell(|| Change::Restored { tries });
            }
        }
        ended
    }

    fn ask_for_all(&mut self, now: Instant) {
        let names: Vec<_> =
            self.holdings.names().iter().map(|name| (name.node_id.clone(), name.body())).collect();
        for (node_id, body) in names {
            self.ask_again("register", &body, Again::Name(node_id), now);
        }
        for held in self.holdings.held() {
            let (what, body) = held.ask();
            self.ask_again(what, &body, Again::Held(held), now);
        }
    }

    /// A name is another connection's. If messages come from it, all that waits to be sent is given up.
    fn lose_name(&mut self, node_id: &str, why: Box<Refused>, now: Instant) -> Ended {
        self.names_due = Some(now + NAME_DELAY);
        for name in self.holdings.names().iter_mut().filter(|name| name.node_id == node_id) {
            name.is_lost = true;
        }
        self.tell(|| Change::NameLost { node_id: node_id.to_owned(), why: why.clone() });
        if self.holdings.lost_name() != Some(node_id) {
            return Vec::new();
        }
        let written = self.output.cut(true);
        let lost = self.book.give_up_unwritten(written).into_iter();
        lost.map(|request| (request, Error::NameLost { node_id: node_id.to_owned() })).collect()
    }

    /// A name is this connection's.
    pub(super) fn hold(&mut self, node_id: &str) {
        let mut is_regained = false;
        for name in self.holdings.names().iter_mut().filter(|name| name.node_id == node_id) {
            is_regained |= std::mem::take(&mut name.is_lost);
        }
        if is_regained {
            self.tell(|| Change::NameRegained { node_id: node_id.to_owned() });
        }
    }

    /// Tries to get lost names again, if it is time to.
    pub(super) fn retry_names(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Up) || self.names_due.is_none_or(|due| due > now) {
            return;
        }
        self.names_due = None;
        let lost = self.holdings.names().iter().filter(|name| name.is_lost);
        let lost: Vec<_> = lost.map(|name| (name.node_id.clone(), name.body())).collect();
        for (node_id, body) in lost {
            let patience = self.options.connect_timeout;
            // What was taken once is taken again.
            let _ = self.put(To::Daemon, "register", &body, patience, Waiter::LostName(node_id), now);
        }
    }

    /// A request is answered, and not to be put back.
    pub(super) fn answered(&mut self, request: &mut Request, reply: &Reply, now: Instant) {
        let Ok(message) = reply else { return self.failed(request, now) };
        match request.waiter() {
            Waiter::One(_, note) => {
                let Some(note) = note.take() else { return };
                self.holdings.note(note, message);
                self.hold(message.body_value()["node_id"].as_str().unwrap_or_default());
            }
            Waiter::LostName(node_id) => self.hold(node_id),
            Waiter::Many(_) | Waiter::Restoring(_) => {}
        }
    }

    /// A request was refused, or its time is over.
    pub(super) fn failed(&mut self, request: &mut Request, now: Instant) {
        match request.waiter() {
            Waiter::One(_, note) => note.take().into_iter().for_each(|note| self.holdings.ended(&note)),
            Waiter::LostName(_) => self.names_due = Some(now + NAME_DELAY),
            Waiter::Many(_) => {}
            Waiter::Restoring(_) => self.break_off(),
        }
    }

    /// Ends the requests whose time is over, and sends those whose turn has come by that.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Request> {
        let mut expired = self.book.expire(now);
        if !expired.is_empty() {
            expired.iter_mut().for_each(|request| self.failed(request, now));
            self.release();
        }
        expired
    }
}
