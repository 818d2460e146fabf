//! Knows how connections come and go, and how the daemon ends (PROTOCOL.md sections 4, 5 and 7).
//! Never: why somebody leaves; that is handed in.

use crate::core::delivery::{AskedBy, write_error};
use crate::core::peer::Peer;
use crate::core::registry::Status;
use crate::core::session::Backlog;
use crate::core::{Core, Effect, Event, Happening, Level, Reason, SessionKey, Subject};
use crate::wire::code::Code;
use crate::wire::message::Refusal;

impl Core {
    pub(super) fn admit_connection(&self, peer: &Peer) -> Result<(), Refusal> {
        let of_user = self.users.get(&peer.user()).copied().unwrap_or(0);
        let (all, mine) = (self.limits.max_connections, self.limits.max_connections_per_uid);
        let error = if self.stopping {
            "the daemon is ending".to_owned()
        } else if self.sessions.len() >= all {
            format!("there are {all} connections already, which is max_connections")
        } else if of_user >= mine {
            format!("this user has {mine} connections already, which is max_connections_per_uid")
        } else {
            return Ok(());
        };
        Err(Refusal::new(Code::Overloaded, error))
    }

    /// Counts a connection that is not opened. Gives the line for its peer.
    pub(super) fn refuse_connection(&mut self, number: u64, peer: &Peer, refusal: &Refusal) -> Vec<u8> {
        self.stats.connections_refused += 1;
        self.stats.error(refusal.code);
        if let Some(count) = self.refusals.count(self.now.mono) {
            let (about, who) = match count {
                1 => (Subject::new(number, peer), "a connection was refused".to_owned()),
                _ => (Subject::default(), format!("{count} more connections were refused")),
            };
            let text = format!("{who}: {}", refusal.error);
            self.note(Level::Warning, Event::Refused, about, text, |fields| {
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
    pub(super) fn broke(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.broke = true;
        session.roll_call = None;
        self.give_up(key);
        // Nobody waits for a queue that nothing can stay in.
        self.relieve(key);
        self.effects.push_back(Effect::Resume(key));
        self.leaving.push(key);
    }

    /// Ends a session that reads too slowly: what it has not taken is given up, before anybody hears of
    /// it.
    pub(super) fn end_now(&mut self, key: SessionKey, reason: Reason, why: &str) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        // Not even the fates of its messages to itself can be told any more.
        session.broke = true;
        let queued = session.outbox.queue_bytes();
        let (about, text) = (self.subject(key), format!("is disconnected: {why}"));
        self.note(Level::Warning, Event::Stalled, about, text, |fields| {
            fields.number("queue_bytes", queued);
        });
        self.give_up(key);
        self.leave(key, reason);
        self.close(key);
    }

    /// Takes a session away from everybody else. It stays until it has got what it is owed.
    pub(super) fn leave(&mut self, key: SessionKey, reason: Reason) {
        let now = self.now.wall;
        let (about, party) = (self.subject(key), self.party_to_tell(key));
        let Some(session) = self.sessions.get_mut(key) else { return };
        if std::mem::replace(&mut session.leaving, true) {
            return;
        }
        let is_owed = !session.outbox.is_empty();
        session.backlog = Backlog::default();
        session.roll_call = None;
        session.holdings = 0;
        session.subscriptions = 0;
        let number = session.number;
        let names = std::mem::take(&mut session.names);
        if is_owed {
            self.watch_progress(key);
        }
        if let Some(held) = self.drop_held(key) {
            self.stats.untold += 1;
            self.pass_on_all(&held.receivers);
        }
        let mut node_ids: Vec<std::rc::Rc<str>> = Vec::new();
        for node in names {
            node_ids.extend(self.registry.get(node).map(|node| node.name.clone()));
            self.registry.unregister(node, key, Status::Lost, now);
        }
        self.topics.session_left(key, number);
        self.watch.session_left(key, number);
        let gone = Refusal::new(Code::NodeGone, "all who could have answered have left");
        for (asked, replied) in self.requests.receiver_left(key) {
            self.end_request(&asked, replied, &gone);
        }
        self.release_waiters(key);
        for node_id in &node_ids {
            self.tell_down(node_id, number, reason);
        }
        self.note_left(about, &node_ids, reason);
        self.happened_to(party, || Happening::Disconnected { reason });
        self.account(key);
        match reason {
            Reason::Killed => self.at_once.push(key),
            _ => self.leaving.push(key),
        }
    }

    fn note_left(&mut self, about: Subject, node_ids: &[std::rc::Rc<str>], reason: Reason) {
        let level = if node_ids.is_empty() { Level::Debug } else { Level::Info };
        let names = node_ids.join(", ");
        let text =
            if names.is_empty() { format!("left ({reason})") } else { format!("left ({reason}): {names}") };
        self.note(level, Event::Left, about, text, |fields| {
            fields.string("reason", reason.word()).strings("node_ids", node_ids.iter().map(|name| &**name));
        });
    }

    /// Closes a session that is leaving, where it has got all that it is owed or can be given no
    /// more.
    pub(super) fn close_if_settled(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        let is_settled = session.outbox.is_empty() && self.requests.asked_by(key) == 0;
        if session.leaving && (session.broke || is_settled) {
            self.close(key);
        }
    }

    /// Closes those that were to have one more try to write, which the shell has made by now.
    pub fn reap(&mut self) {
        for key in std::mem::take(&mut self.at_once) {
            self.close(key);
        }
        self.settle();
    }

    pub(super) fn close(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.broke = true;
        }
        self.give_up(key);
        for _ in 0..self.requests.asker_left(key) {
            self.request_closed(key);
        }
        let Some(session) = self.sessions.remove(key) else { return };
        self.memory_bytes -= session.counted;
        self.by_number.remove(&session.number);
        if let Some(count) = self.users.get_mut(&session.peer.user()) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&session.peer.user());
            }
        }
        let about = Subject::new(session.number, &session.peer);
        self.note(Level::Debug, Event::Closed, about, "is closed".to_owned(), |_| {});
        self.effects.push_back(Effect::Close(key));
    }

    /// Ends the service: whoever waits for anything is told, and everybody of the end. What is
    /// queued can still be written.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        let gone = Refusal::new(Code::NodeGone, "the daemon is ending");
        let mut all: Vec<_> = self.sessions.iter().map(|(key, session)| (session.number, key)).collect();
        all.sort_unstable();
        for &(_, key) in &all {
            if let Some(held) = self.drop_held(key) {
                self.refuse_held(key, &held, &gone);
            }
        }
        // Nobody waits any more, so nobody can be too slow for anybody.
        for session in self.sessions.values_mut() {
            session.congestion = None;
            session.watch = None;
        }
        for key in self.requests.keys() {
            if let Some((asked, replied)) = self.requests.expire(key) {
                self.end_request(&asked, replied, &gone);
            }
        }
        let nodes = self.registry.nodes_after(None, "");
        let nodes: Vec<_> = nodes.map(|(_, node)| (node.name.clone(), node.instances.clone())).collect();
        for (node_id, instances) in nodes {
            for instance in instances {
                self.tell_down(&node_id, instance.number, Reason::Shutdown);
            }
        }
        for &(_, key) in &all {
            let roll_call = self.sessions.get_mut(key).and_then(|session| session.roll_call.take());
            if let Some(roll_call) = roll_call {
                let asked =
                    AskedBy { from: &roll_call.from, id: Some(&roll_call.id), message_type: "monitor" };
                self.say_error_reply(key, asked, &gone);
            }
            self.say_signal(key, "shutdown", |_| {});
        }
    }

    /// The time for draining queues is over: what has not been taken is given up. Its senders are told,
    /// but for those who have not taken what they were owed themselves. Says how many messages that
    /// were.
    pub fn end_drain(&mut self) -> u64 {
        let before = self.stats.delivered;
        let mut slow = Vec::new();
        for (key, session) in self.sessions.iter_mut().filter(|(_, session)| !session.outbox.is_empty()) {
            session.broke = true;
            slow.push(key);
        }
        for key in slow {
            self.give_up(key);
        }
        before - self.stats.delivered
    }
}
