//! Knows how a new connection is told what the old one held.
//! Never: how it is made; clocks, threads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::error::Error;
use crate::client::handle::book::{Ended, Request, Waiter};
use crate::client::handle::change::Change;
use crate::client::handle::holdings::Held;
use crate::client::handle::state::{Phase, Restoring, State};
use crate::client::lines::To;
use crate::client::message::Message;
use crate::client::refused::Refused;

/// How long a name that another connection took is left alone.
const NAME_DELAY: Duration = Duration::from_secs(1);

impl State {
    /// Asks a new connection for all that was held. Once all is answered, it is up; if it is not in time, or
    /// the daemon does not say what it is, the connection is broken off.
    pub(super) fn restore(&mut self, tries: u32, now: Instant) {
        let until = now + self.options.connect_timeout;
        self.phase = Phase::Restoring(Restoring { tries, until, left: 0, has_heard: false });
        self.ask_again("whoami", "", None, now);
    }

    fn ask_again(&mut self, what: &str, body: &str, held: Option<Held>, now: Instant) {
        let Phase::Restoring(restoring) = &mut self.phase else { return };
        restoring.left += 1;
        let patience = restoring.until.saturating_duration_since(now);
        let mut line = Vec::new();
        match self.lines.request(To::Daemon, what, body, Some(patience), &mut line) {
            Ok(ticket) => {
                let request = Request::new(&line, Waiter::Restoring(held), patience, now);
                self.book.put_open(ticket.number(), request);
                self.setup.append(&mut line);
            }
            // What was taken once is no longer taken.
            Err(_) => self.break_off(),
        }
    }

    /// Has the connection end. Whoever reads it finds that.
    pub(super) fn break_off(&mut self) {
        self.is_broken = true;
        if let Some(stream) = &self.stream {
            stream.shut();
        }
    }

    /// Takes the answer to what was asked for again. Gives requests that have ended by it.
    pub(super) fn restored(
        &mut self,
        held: Option<Held>,
        answer: Result<Message, Box<Refused>>,
        now: Instant,
    ) -> Ended {
        let ended = match (held, answer) {
            (None, Ok(whoami)) => {
                self.learn_limits(&whoami);
                self.ask_for_all(now);
                Vec::new()
            }
            (None, Err(_)) => {
                self.break_off();
                return Vec::new();
            }
            (Some(Held::Name(node_id)), Ok(_)) => {
                self.hold(&node_id);
                Vec::new()
            }
            (Some(Held::Name(node_id)), Err(why)) => self.lose_name(&node_id, why, now),
            (Some(_), Ok(_)) => Vec::new(),
            (Some(held), Err(why)) => {
                self.holdings.refused(&held);
                let (Held::Name(pattern) | Held::Subscription(pattern, _) | Held::Monitor(pattern)) = held;
                let error = Arc::new(Error::from(why));
                self.tell(|| Change::Ended { pattern: pattern.clone(), error: Arc::clone(&error) });
                Vec::new()
            }
        };
        if let Phase::Restoring(restoring) = &mut self.phase {
            restoring.left -= 1;
            let Restoring { left, tries, .. } = *restoring;
            if left == 0 && !self.is_broken {
                self.holdings.settle();
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
            self.ask_again("register", &body, Some(Held::Name(node_id)), now);
        }
        for held in self.holdings.held() {
            let (what, body) = held.ask();
            self.ask_again(what, &body, Some(held), now);
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
    fn hold(&mut self, node_id: &str) {
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

    /// Takes the answer to that.
    pub(super) fn retried(&mut self, node_id: &str, is_held: bool, now: Instant) {
        match is_held {
            true => self.hold(node_id),
            false => self.names_due = Some(now + NAME_DELAY),
        }
    }

    /// Gives the requests whose time is over.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Request> {
        let mut expired = self.book.expire(now);
        expired.retain_mut(|request| match request.waiter() {
            Waiter::Restoring(_) => {
                self.break_off();
                false
            }
            Waiter::LostName(node_id) => {
                let node_id = std::mem::take(node_id);
                self.retried(&node_id, false, now);
                false
            }
            _ => true,
        });
        expired
    }
}
