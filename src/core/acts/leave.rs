//! Knows how connections come and go (PROTOCOL.md sections 4, 5 and 7).
//! Never: why one leaves; that is handed in.

use crate::core::after::{After, Leaver, News};
use crate::core::desk::LINE_EFFORT;
use crate::core::event::{Event, Level, Subject};
use crate::core::happening::Happening;
use crate::core::order::{Order, Reason};
use crate::core::own_line::{write_error, write_signal};
use crate::core::peer::{Peer, User};
use crate::core::phase::{Pause, Phase};
use crate::core::session::Backlog;
use crate::core::table::node::Status;
use crate::core::{Core, SessionKey};
use crate::wire::code::Code;
use crate::wire::message::Refusal;

impl Core {
    /// Whether there is room for one more connection of this peer's.
    pub(in crate::core) fn admit_connection(&self, peer: &Peer) -> Result<(), Refusal> {
        let limits = &self.desk.limits;
        let (all, mine) = (limits.max_connections, limits.max_connections_per_uid);
        let user = peer.user();
        let (of_user, departed_of_user) = self.sessions.of_user(&user);
        // Those that have departed count only beyond as many again: each still has a descriptor.
        let counts = |count: usize, departed: usize, most: usize| count - departed.min(most);
        let in_all = counts(self.sessions.len(), self.sessions.departed(), all);
        let in_users = counts(of_user, departed_of_user, mine);
        let error = if in_all.saturating_sub(self.kept_back.len()) >= all {
            format!("there are {all} connections already, which is max_connections")
        } else if in_users.saturating_sub(self.kept_back_of(&user)) >= mine {
            format!("this user has {mine} connections already, which is max_connections_per_uid")
        } else {
            return Ok(());
        };
        Err(Refusal::new(Code::Overloaded, error))
    }

    /// Whether connections that depart may be what keeps another one out.
    pub(in crate::core) fn is_crowded(&self) -> bool {
        self.sessions.len() >= self.desk.limits.max_connections
            || self.sessions.most_of_a_user() >= self.desk.limits.max_connections_per_uid
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

    /// Counts a connection that came as the daemon was told to end, and so is not opened. Gives the line for its peer,
    /// which is the last one of every other connection, too.
    pub(in crate::core) fn refuse_at_the_end(&mut self, number: u64) -> Vec<u8> {
        self.desk.stats.connections_refused += 1;
        let mut line = Vec::new();
        write_signal(&mut line, self.post.next_id(), &format!(":{number}"), "shutdown", |_| {});
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
        self.depart_if_due(key);
    }

    /// A connection that has ended on both sides, and of which a line waits for room, is gone for everybody else. Its
    /// lines are handled still, as from one that holds what it held.
    pub(super) fn depart_if_due(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        if !session.outbound.broken || session.inbound.held.is_none() || !session.is_here() {
            return;
        }
        let mut leaver = self.leaver(key, Reason::Lost);
        for &node in &session.holdings.names {
            self.registry.depart(node, key, self.desk.now.wall);
        }
        self.sessions.depart(key);
        self.withdraw(key);
        if !self.desk.is_free() || !self.tell_going(&mut leaver) {
            self.desk.after.push(After::Departed(leaver));
        }
    }

    /// Ends a session that reads too slowly: what it has not taken is given up, before any other hears of it.
    pub(super) fn end_now(&mut self, key: SessionKey, reason: Reason, why: &str) {
        let about = self.sessions.subject(key);
        let Some(session) = self.sessions.get_mut(key).filter(|session| session.is_here()) else {
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
        if !self.sessions.get(key).is_some_and(|session| session.phase.acts()) {
            return;
        }
        // What it missed for want of memory would be told when there is some, but it will be closed by then.
        self.tell_missed_now(key);
        let mut leaver = self.leaver(key, reason);
        leaver.party = self.party_to_tell(key);
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.phase.advance(Phase::Leaving);
        session.inbound.backlog = Backlog::default();
        session.inbound.walk = None;
        session.inbound.pauses.end(Pause::Walk);
        session.caller.address = session.caller.unique_id.clone();
        let (names, departed) = (std::mem::take(&mut session.holdings.names), session.departed);
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
        if departed {
            // That has been told and recorded.
            (leaver.about, leaver.node_ids) = (None, Vec::new());
        }
        for node in names {
            match departed {
                true => self.registry.release(node, key),
                false => self.registry.unregister(node, key, Status::Lost, self.desk.now.wall),
            };
        }
        self.withdraw(key);
        if reason == Reason::Killed {
            self.desk.after.condemned.push(key);
        }
        let rest = if self.desk.is_free() { self.tell_leaving(leaver) } else { Some(leaver) };
        if let Some(rest) = rest {
            self.desk.after.push(After::Left(rest));
        }
    }

    /// A connection as it is now, for what is told of its end.
    fn leaver(&self, key: SessionKey, reason: Reason) -> Box<Leaver> {
        let session = self.sessions.get(key);
        let names = session.map_or(&[][..], |session| &session.holdings.names);
        let nodes = names.iter().filter_map(|&node| self.registry.get(node));
        Box::new(Leaver {
            session: key,
            number: self.sessions.number_of(key).unwrap_or_default(),
            reason,
            about: Some(self.sessions.subject(key)),
            party: None,
            undelivered: None,
            node_ids: nodes.map(|node| node.name.clone()).collect(),
            told: 0,
            news: None,
        })
    }

    /// Takes from a session what it watches, and lets those go on that wait for it.
    fn withdraw(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let number = session.caller.number;
        self.desk.works(session.holdings.subscriptions as usize);
        (session.holdings.subscriptions, session.holdings.subscription_bytes) = (0, 0);
        self.topics.session_left(key, number);
        self.watchers.session_left(key, number);
        self.sessions.account(key);
        self.rows.release(&mut self.sessions, &mut self.desk, key);
    }

    /// Tells what a leaver has not taken if nothing can be written to it any more, strikes it off what it owes
    /// answers to, then tells that it is gone; gives what is left of that when the time is up. All that is decided
    /// behind a kill waits with it for the last try to write.
    pub(super) fn tell_leaving(&mut self, mut leaver: Box<Leaver>) -> Option<Box<Leaver>> {
        let gone = Refusal::new(Code::NodeGone, "all that could have answered have left");
        let key = leaver.session;
        if self.is_tried_once_more(&leaver) {
            return Some(leaver);
        }
        if let Some(session) = self.sessions.get_mut(key) {
            session.outbound.broken |= leaver.reason == Reason::Killed;
            if leaver.undelivered.is_none() && session.outbound.broken {
                leaver.undelivered = self.take_undelivered(key);
            }
        }
        leaver.undelivered = leaver.undelivered.take().and_then(|undelivered| self.tell_fates(undelivered));
        if leaver.undelivered.is_some() {
            return Some(leaver);
        }
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
        if !self.tell_going(&mut leaver) {
            return Some(leaver);
        }
        let reason = leaver.reason;
        self.happened_to(leaver.party, || Happening::Disconnected { reason });
        if let Some(session) = self.sessions.get_mut(key) {
            session.phase.advance(Phase::Owed);
        }
        self.desk.after.push(After::Settled(key));
        None
    }

    /// Tells monitors that a connection is no instance any more, and makes the record; false if there is no time for
    /// all of that now.
    pub(super) fn tell_going(&mut self, leaver: &mut Leaver) -> bool {
        let Leaver { number, reason, .. } = *leaver;
        while let Some(node_id) = leaver.node_ids.get(leaver.told) {
            let fresh = || News { node_id: node_id.clone(), number, reason: Some(reason), told: 0 };
            let news = leaver.news.take().unwrap_or_else(fresh);
            leaver.news = self.spread(news);
            if leaver.news.is_some() {
                return false;
            }
            leaver.told += 1;
        }
        self.note_left(leaver);
        true
    }

    /// Whether it is still tried to write to a killed connection what is queued for it.
    pub(in crate::core) fn is_tried_once_more(&self, leaver: &Leaver) -> bool {
        let Some(session) = self.sessions.get(leaver.session) else { return false };
        let outbound = &session.outbound;
        leaver.reason == Reason::Killed && !outbound.broken && !outbound.outbox.is_empty()
    }

    /// It has been tried: what killed connections have not taken by now is given up.
    pub(in crate::core) fn end_last_tries(&mut self) {
        for key in std::mem::take(&mut self.desk.after.condemned) {
            if let Some(session) = self.sessions.get_mut(key) {
                session.outbound.broken = true;
            }
        }
    }

    fn note_left(&mut self, leaver: &mut Leaver) {
        // A connection may hold very many; programs find all of them in the fields.
        const NAMED_MAX: usize = 8;
        let Some(about) = leaver.about.take() else { return };
        let Leaver { reason, node_ids, .. } = leaver;
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
