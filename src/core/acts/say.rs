//! Knows how lines of the daemon's own are said, and counted (PROTOCOL.md sections 7 and 10).
//! Never: why.

use std::sync::Arc;
use std::time::Duration;

use crate::core::after::After;
use crate::core::event::{Event, Level};
use crate::core::order::Reason;
use crate::core::outbox::Class;
use crate::core::own_line::{AskedBy, write_error, write_reply, write_signal};
use crate::core::{Core, SessionKey};
use crate::wire::json::Object;
use crate::wire::message::{Id, Refusal};
use crate::wire::refuse::write_refusal;

/// How often the log tells of a subscriber that misses messages.
const LAG_LOGGED_EVERY: Duration = Duration::from_secs(60);

impl Core {
    /// Says a line, which `write` writes without its LF; says whether it is on its way.
    fn say(&mut self, to: SessionKey, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let choked_at = self.choked_at();
        let Some(session) = self.sessions.get_mut(to) else { return false };
        self.post.say(to, session, &mut self.desk, Class::Daemon, choked_at, write)
    }

    /// Says an `error` line to `address`, or to where the connection is addressed by default. Says whether it
    /// is on its way.
    pub(super) fn say_error(
        &mut self,
        to: SessionKey,
        address: Option<&str>,
        refusal: &Refusal,
        in_reply_to: Option<&Id<'_>>,
        extra: impl FnOnce(&mut Object<'_>),
    ) -> bool {
        let own = self.address_of(to);
        self.desk.stats.error(refusal.code);
        self.say(to, |out| write_error(out, address.unwrap_or(&own), refusal, in_reply_to, extra))
    }

    /// Says the reply to a request, with what `extra` adds to its body.
    pub(super) fn say_reply(
        &mut self,
        to: SessionKey,
        asked: AskedBy<'_>,
        extra: impl FnOnce(&mut Object<'_>),
    ) {
        let id = self.post.next_id();
        self.say(to, |out| {
            write_reply(out, id, asked, |body| {
                body.null("error");
                extra(body);
            });
        });
    }

    /// Says the error reply to a request. Says whether it is on its way.
    pub(super) fn say_error_reply(&mut self, to: SessionKey, asked: AskedBy<'_>, refusal: &Refusal) -> bool {
        self.desk.stats.error(refusal.code);
        let id = self.post.next_id();
        self.say(to, |out| write_reply(out, id, asked, |body| write_refusal(body, refusal)))
    }

    /// Says a signal, `extra` being what stands in its body behind the event.
    pub(super) fn say_signal(&mut self, to: SessionKey, event: &str, extra: impl FnOnce(&mut Object<'_>)) {
        let (address, id) = (self.address_of(to), self.post.next_id());
        self.say(to, |out| write_signal(out, id, &address, event, extra));
    }

    /// Says a signal under the rule for topics: a receiver without room misses it.
    pub(super) fn say_topic_signal(
        &mut self,
        to: SessionKey,
        event: &str,
        extra: impl FnOnce(&mut Object<'_>),
    ) {
        let (address, id) = (self.address_of(to), self.post.next_id());
        self.say_under_topic_rule(to, |out| write_signal(out, id, &address, event, extra));
    }

    /// Says a line that is written already, without its LF, under the rule for topics.
    pub(super) fn say_topic_line(&mut self, to: SessionKey, line: &[u8]) {
        self.say_under_topic_rule(to, |out| out.extend_from_slice(line));
    }

    fn say_under_topic_rule(&mut self, to: SessionKey, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.has_topic_room(to) {
            return self.miss(to);
        }
        let choked_at = self.choked_at();
        if let Some(session) = self.sessions.get_mut(to) {
            self.post.say(to, session, &mut self.desk, Class::Topic, choked_at, write);
        }
    }

    /// Whether a topic message may enter a receiver's queue.
    pub(super) fn has_topic_room(&self, receiver: SessionKey) -> bool {
        let limits = &self.desk.limits;
        !self.is_overloaded()
            && self.sessions.get(receiver).is_some_and(|session| session.has_topic_room(limits))
    }

    /// Counts a message that found no room. The log tells of the first one of a subscriber, and once a minute while it
    /// goes on.
    pub(super) fn miss(&mut self, subscriber: SessionKey) {
        self.desk.stats.missed += 1;
        let now = self.desk.mono();
        if let Some(session) = self.sessions.get_mut(subscriber) {
            let lag = session.outbound.lag.get_or_insert_default();
            (lag.untold, lag.all) = (lag.untold + 1, lag.all + 1);
            if lag.logged == 0 || now >= lag.logged_at + LAG_LOGGED_EVERY {
                let count = lag.all - lag.logged;
                (lag.logged, lag.logged_at) = (lag.all, now);
                self.note_lag(subscriber, count);
            }
        }
        // If it was for want of memory, that is when it will be told.
        self.watch_pressure();
    }

    #[cold]
    fn note_lag(&mut self, subscriber: SessionKey, count: u64) {
        let Some(session) = self.sessions.get(subscriber) else { return };
        let missed = session.outbound.lag.as_ref().map_or(0, |lag| lag.all);
        let queued = session.outbound.outbox.direct_bytes();
        let text = format!(
            "reads too slowly: it misses messages to topics, {missed} by now, with {queued} bytes queued for it"
        );
        self.desk.orders.note(Level::Warning, Event::Lagged, session.subject(), text, |fields| {
            fields.number("count", count).number("missed", missed).number("queue_bytes", queued);
        });
    }

    /// What a connection's messages are stamped with unless they say otherwise: its first node ID, else its
    /// unique id.
    pub(super) fn address_of(&self, key: SessionKey) -> Arc<str> {
        self.sessions.get(key).map_or_else(|| Arc::from(""), |session| session.caller.address.clone())
    }

    /// Whether the second count of a connection's queue is full.
    pub(super) fn answers_are_full(&self, to: SessionKey) -> bool {
        let most = self.desk.limits.max_queue_bytes;
        self.sessions.get(to).is_none_or(|session| session.outbound.outbox.answer_bytes() >= most)
    }

    /// Ends a connection that there is no room for answers to any more, when the line in hand has been handled.
    pub(super) fn end_for_answers(&mut self, key: SessionKey) {
        let queued = self.sessions.get(key).map_or(0, |session| session.outbound.outbox.answer_bytes());
        let why = format!("{queued} bytes of answers and news wait for it, and there is no room for more");
        self.desk.after.push(After::Doomed { session: key, reason: Reason::Stalled, why });
    }
}
