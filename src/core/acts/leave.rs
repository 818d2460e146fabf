//! Knows how connections come and go (PROTOCOL.md sections 4, 5 and 7).
//! Never: why one leaves; that is handed in.

use std::sync::Arc;

use crate::core::after::{After, Leaver, News};
use crate::core::desk::LINE_EFFORT;
use crate::core::event::{Event, Level, Subject};
use crate::core::happening::Happening;
use crate::core::order::{Order, Reason};
use crate::core::own_line::write_error;
use crate::core::peer::{Peer, User};
use crate::core::phase::{Pause, Phase};
use crate::core::session::Backlog;
use crate::core::table::registry::Status;
use crate::core::{Core, SessionKey};
use crate::wire::code::Code;
use crate::wire::message::Refusal;

/// Why a daemon that ends takes no connection.
pub(in crate::core) const ENDING: &str = "the daemon is ending";

impl Core {
    /// Whether there is room for one more connection of this peer's.
    pub(in crate::core) fn admit_connection(&self, peer: &Peer) -> Result<(), Refusal> {
        let limits = &self.desk.limits;
        let (all, mine) = (limits.max_connections, limits.max_connections_per_uid);
        let error = if self.desk.stopping {
            ENDING.to_owned()
        } else if self.sessions.len() - self.kept_back.len() >= all {
            format!("there are {all} connections already, which is max_connections")
        } else if self.sessions.of_user(&peer.user()) - self.kept_back_of(&peer.user()) >= mine {
            format!("this user has {mine} connections already, which is max_connections_per_uid")
        } else {
            return Ok(());
        };
        Err(Refusal::new(Code::Overloaded, error))
    }

    /// How many of a user's connections are there beyond all bounds.
    fn kept_back_of(&self, user: &User) -> usize {
        let is_own = |key| self.sessions.get(key).is_some_and(|session| session.caller.user() == *user);
        self.kept_back.keys().filter(|&key| is_own(key)).count()
    }

    /// Counts a connection that is not opened. Gives the line for its peer.
    pub(in crate::core) fn refuse_connection(
        &mut self,
        number: u64,
        peer: &Peer,
        refusal: &Refusal,
    ) -> Vec<u8> {
        self.desk.stats.connections_refused += 1;
        self.desk.stats.error(refusal.code);
        if let Some(count) = self.refusals.count(self.desk.mono()) {
            let (about, who) = match count {
                1 => (Subject::new(number, peer), "a connection was refused".to_owned()),
                _ => (Subject::default(), format!("{count} more connections were refused")),
            };
            let text = format!("{who}: {}", refusal.error);
            self.desk.orders.note(Level::Warning, Event::Refused, about, text, |fields| {
                fields.string("code", refusal.code.word()).number("count", count);
                if let Some(filter) = &refusal.filter {
                    fields.string("filter", filter);
                }
            });
        }
        let mut line = Vec::new();
        write_error(&mut line, &format!(":{number}"), refusal, None, |_| {});
        line
    }

    /// Nothing can be written to the peer any more. What it sent before is handled still.
    pub(in crate::core) fn break_off(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.outbound.broken = true;
        session.inbound.walk = None;
        session.inbound.pauses.end(Pause::Walk);
        session.inbound.pauses.end(Pause::Answers);
        self.give_up(key);
        // None waits for a queue that nothing can stay in.
        let is_short = self.is_overloaded();
        self.rows.relieve(&mut self.sessions, &mut self.desk, key, is_short);
        self.desk.orders.resume(key);
        self.desk.after.push(After::Settled(key));
    }

    /// Ends a session that reads too slowly: what it has not taken is given up, before any other hears of it.
    pub(super) fn end_now(&mut self, key: SessionKey, reason: Reason, why: &str) {
        let about = self.sessions.subject(key);
        let Some(session) = self.sessions.get_mut(key).filter(|session| session.phase.is_here()) else {
            return;
        };
        // Not even the fates of its messages to itself can be told any more.
        session.outbound.broken = true;
        let queued = session.outbound.outbox.queue_bytes();
        let text = format!("is disconnected: {why}");
        self.desk.orders.note(Level::Warning, Event::Stalled, about, text, |fields| {
            fields.number("queue_bytes", queued);
        });
        self.give_up(key);
        self.leave(key, reason);
    }

    /// Takes a session away from everybody else. It stays until they have been told and it has got what it is
    /// owed.
    pub(super) fn leave(&mut self, key: SessionKey, reason: Reason) {
        let (about, party) = (self.sessions.subject(key), self.party_to_tell(key));
        let Some(session) = self.sessions.get_mut(key) else { return };
        if !session.phase.is_here() {
            return;
        }
        session.phase.advance(Phase::Leaving);
        session.inbound.backlog = Backlog::default();
        session.inbound.walk = None;
        session.inbound.pauses.end(Pause::Walk);
        self.desk.works(session.holdings.subscriptions);
        session.holdings.subscription_bytes = 0;
        session.holdings.subscriptions = 0;
        session.caller.address = session.caller.unique_id.clone();
        let number = session.caller.number;
        let names = std::mem::take(&mut session.holdings.names);
        if !session.outbound.outbox.is_empty() {
            session.watch(key, &mut self.desk);
        }
        let is_short = self.is_overloaded();
        if let Some(held) = self.rows.drop_held(&mut self.sessions, &mut self.desk, key) {
            self.desk.stats.untold += 1;
            for &receiver in &held.receivers {
                self.rows.pass_on(&mut self.sessions, &mut self.desk, receiver, is_short);
            }
        }
        let mut node_ids: Vec<Arc<str>> = Vec::new();
        for node in names {
            node_ids.extend(self.registry.get(node).map(|node| node.name.clone()));
            self.registry.unregister(node, key, Status::Lost, self.desk.now.wall);
        }
        self.topics.session_left(key, number);
        self.watchers.session_left(key, number);
        self.sessions.account(key);
        self.rows.release(&mut self.sessions, &mut self.desk, key);
        let leaver =
            Box::new(Leaver { session: key, number, reason, about, party, node_ids, told: 0, news: None });
        let rest = if self.desk.is_free() { self.tell_leaving(leaver) } else { Some(leaver) };
        if let Some(rest) = rest {
            self.desk.after.push(After::Left(rest));
        }
    }

    /// Strikes a leaver off what it owes answers to, then tells that it is gone; gives what is left of that
    /// when the time is up.
    pub(super) fn tell_leaving(&mut self, mut leaver: Box<Leaver>) -> Option<Box<Leaver>> {
        let gone = Refusal::new(Code::NodeGone, "all that could have answered have left");
        let key = leaver.session;
        while self.requests.owed_by(key) > 0 {
            let most = self.desk.left() / LINE_EFFORT;
            if most == 0 {
                return Some(leaver);
            }
            let owed = self.requests.owed_by(key);
            let over = self.requests.strike_off(key, most);
            let struck = owed - self.requests.owed_by(key);
            self.desk.settles(struck + over.len() * LINE_EFFORT);
            for (asked, replied) in over {
                self.end_request(&asked, replied, &gone);
            }
        }
        let Leaver { number, reason, .. } = *leaver;
        while let Some(node_id) = leaver.node_ids.get(leaver.told) {
            let fresh = || News { node_id: node_id.clone(), number, reason: Some(reason), told: 0 };
            let news = leaver.news.take().unwrap_or_else(fresh);
            leaver.news = self.spread(news);
            if leaver.news.is_some() {
                return Some(leaver);
            }
            leaver.told += 1;
        }
        self.note_left(leaver);
        if let Some(session) = self.sessions.get_mut(key) {
            session.phase.advance(Phase::Owed);
        }
        match reason {
            Reason::Killed => self.desk.after.condemned.push(key),
            _ => self.desk.after.push(After::Settled(key)),
        }
        None
    }

    fn note_left(&mut self, leaver: Box<Leaver>) {
        // A connection may hold very many; programs find all of them in the fields.
        const NAMED_MAX: usize = 8;
        let Leaver { reason, about, party, node_ids, .. } = *leaver;
        let level = if node_ids.is_empty() { Level::Debug } else { Level::Info };
        let mut text = format!("left ({reason})");
        if !node_ids.is_empty() {
            text += ": ";
            text += &node_ids[..node_ids.len().min(NAMED_MAX)].join(", ");
        }
        if node_ids.len() > NAMED_MAX {
            text += &format!(" and {} more", node_ids.len() - NAMED_MAX);
        }
        self.desk.orders.note(level, Event::Left, about, text, |fields| {
            fields.string("reason", reason.word()).strings("node_ids", node_ids.iter().map(|name| &**name));
        });
        self.happened_to(party, || Happening::Disconnected { reason });
    }

    /// Closes a session that is gone for all others, if it has got all that it is owed or can be given no more.
    pub(super) fn close_if_settled(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        let is_settled = session.outbound.outbox.is_empty() && self.requests.asked_by(key) == 0;
        if session.phase == Phase::Owed && (session.outbound.broken || is_settled) {
            self.close(key);
        }
    }

    /// Gives up what a session is owed: it takes nothing of it. It is closed as soon as all have been told that
    /// it is gone.
    pub(super) fn close_unread(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.outbound.broken = true;
        }
        self.give_up(key);
        self.close_if_settled(key);
    }

    /// Closes a session.
    pub(in crate::core) fn close(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.outbound.broken = true;
        }
        self.give_up(key);
        let forgotten = self.requests.asker_left(key);
        self.desk.settles(forgotten);
        (0..forgotten).for_each(|_| self.desk.timers.gone_stale());
        if self.sessions.get(key).is_some_and(|session| session.is_watched()) {
            self.desk.timers.gone_stale();
        }
        let Some(session) = self.sessions.remove(key) else { return };
        self.kept_back.remove(key);
        let about = Subject::new(session.caller.number, &session.caller.peer);
        self.desk.orders.note(Level::Debug, Event::Closed, about, "is closed".to_owned(), |_| {});
        self.desk.orders.put(Order::Close(key));
    }
}
