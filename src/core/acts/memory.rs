//! Knows how much peers make the daemon keep, and what is done while that is too much (PROTOCOL.md sections 4
//! and 10, `max_memory_bytes`).
//! Never: what waits while there is memory.

use std::num::NonZeroU32;

use crate::core::after::After;
use crate::core::budget::{Budget, Kept};
use crate::core::desk::LINE_EFFORT;
use crate::core::event::{Event, Level, Subject};
use crate::core::order::Reason;
use crate::core::phase::Pause;
use crate::core::table::timers::Timer;
use crate::core::{Core, SessionKey};
use crate::wire::code::Code;
use crate::wire::message::Refusal;

/// By so many bytes a half line has to grow in each `stall_timeout` while memory is short.
const HALF_LINE_GROWTH_MIN: usize = 64 * 1024;

/// An answer of up to so many bytes is given to everybody while memory is short, as is the body of a `ping`.
pub(super) const SHORT_BYTES: usize = 4096;

impl Core {
    /// All that peers make the daemon keep, by what it is.
    pub(in crate::core) fn kept(&self) -> Kept {
        Kept {
            sessions: self.sessions.kept_bytes(),
            queues: self.post.kept_bytes(),
            rows: self.rows.kept_bytes(),
            nodes: self.registry.kept_bytes(),
            topics: self.topics.kept_bytes(),
            requests: self.requests.kept_bytes(),
            after: self.desk.after.kept_bytes(),
            orders: self.desk.orders.kept_bytes(),
        }
    }

    /// All that peers make the daemon keep, in bytes.
    #[inline]
    pub(in crate::core) fn kept_bytes(&self) -> usize {
        self.kept().total()
    }

    /// Whether that has passed its bound.
    #[inline]
    pub(in crate::core) fn is_overloaded(&self) -> bool {
        Budget::is_passed(self.kept_bytes(), &self.desk.limits)
    }

    /// How much is to be read from one connection in one go, in bytes: it may all have to be kept.
    pub fn read_bytes_max(&self) -> usize {
        const UNDER_PRESSURE: usize = 16 * 1024;
        if self.is_overloaded() { UNDER_PRESSURE } else { usize::MAX }
    }

    /// How many bytes of that are handed in about, before those of [`Core::next_large`] are written to. It may
    /// all be for one subscriber, and with what is added to its lines has to fit into its queue.
    pub fn batch_bytes(&self) -> usize {
        self.desk.limits.max_queue_bytes / 32
    }

    /// With more bytes of answers than this waiting for it a connection is not read.
    #[inline]
    pub(in crate::core) fn choked_at(&self) -> usize {
        Budget::choked_at(self.is_overloaded(), &self.desk.limits, &self.desk.tuning)
    }

    /// Up to how many bytes of answers a connection is told news.
    pub(super) fn news_bytes_max(&self) -> usize {
        Budget::news_bytes_max(self.is_overloaded(), &self.desk.limits, &self.desk.tuning)
    }

    /// Up to how many bytes of answers a roll call fills a queue.
    pub(in crate::core) fn roll_call_room(&self) -> usize {
        // A roll call goes on while less than this part of the second count is used.
        const ROLL_CALL_PART: usize = 4;
        self.news_bytes_max() / ROLL_CALL_PART
    }

    /// What is said of anything that would make the daemon keep more.
    pub(super) fn out_of_memory(&self) -> Refusal {
        let error = format!(
            "the daemon is short of memory: what it keeps for all its peers has passed max_memory_bytes, which is {}",
            self.desk.limits.max_memory_bytes
        );
        Refusal::new(Code::Overloaded, error)
    }

    /// Whether a connection may be given an answer of so many bytes that helps out of a shortage of memory, or
    /// shows where it comes from.
    pub(super) fn check_answer(&self, key: SessionKey, bytes: usize) -> Result<(), Refusal> {
        if !self.is_overloaded() {
            return Ok(());
        }
        let is_administrator = self.is_administrator(key);
        let fits = bytes <= SHORT_BYTES || is_administrator;
        match fits && Budget::has_reserve(self.kept_bytes(), &self.desk.limits, is_administrator) {
            true => Ok(()),
            false => Err(self.out_of_memory()),
        }
    }

    /// Memory is short: from now on all wait for those that do not read.
    pub(super) fn watch_pressure(&mut self) {
        if self.budget.under_pressure || !self.is_still_overloaded() {
            return;
        }
        self.budget.under_pressure = true;
        self.mark_pressure();
        let (kept, most) = (self.kept_bytes(), self.desk.limits.max_memory_bytes);
        let text = format!(
            "peers make the daemon keep {kept} bytes, and max_memory_bytes is {most}: new messages are refused"
        );
        self.desk.orders.note(Level::Warning, Event::Overloaded, Subject::default(), text, |fields| {
            fields.number("memory_bytes", kept).number("max_memory_bytes", most);
        });
    }

    /// A connection that has something waiting for it has to read on now, and one that has sent a part of a line to
    /// send on.
    fn mark_pressure(&mut self) {
        self.desk.settles(self.sessions.len() / 4);
        for (key, session) in self.sessions.iter_mut() {
            if !session.outbound.outbox.is_empty() {
                session.watch(key, &mut self.desk);
            }
            // What the daemon itself does not read now cannot grow.
            let bytes = session.inbound.frame.partial().len();
            session.inbound.half_line_seen = NonZeroU32::new(bytes as u32).filter(|_| !session.is_blocked());
        }
        let at = self.desk.mono() + self.desk.limits.stall_timeout;
        self.desk.timers.set(at, Timer::Pressure);
    }

    /// Ends connections whose half lines have not grown since they were last looked at, the largest first, until
    /// they have given up as much as is needed: what is too much, and what was refused.
    fn end_idle_half_lines(&mut self, mut needed: usize) {
        if needed == 0 {
            return;
        }
        let mut idle = Vec::new();
        for (key, session) in self.sessions.iter() {
            let bytes = session.inbound.frame.partial().len();
            let grew = session.inbound.half_line_seen.map(|seen| bytes.saturating_sub(seen.get() as usize));
            if bytes > 0 && session.is_here() && grew.is_some_and(|grew| grew < HALF_LINE_GROWTH_MIN) {
                idle.push((bytes, key));
            }
        }
        idle.sort_unstable_by(|one, other| other.cmp(one));
        for (bytes, session) in idle {
            if needed == 0 {
                break;
            }
            needed = needed.saturating_sub(bytes);
            let why = format!(
                "memory is short, and of a line of which {bytes} bytes are here less than {HALF_LINE_GROWTH_MIN} \
                 came in {} s",
                self.desk.limits.stall_timeout.as_secs_f64()
            );
            self.desk.after.push(After::Doomed { session, reason: Reason::Stalled, why });
        }
    }

    /// Whether memory is short without the nodes that are gone. These are the first to go: none that is there
    /// loses anything by it.
    pub(super) fn is_still_overloaded(&mut self) -> bool {
        if self.is_overloaded() {
            let looked_at = self.registry.forget_gone(self.kept_bytes() - self.desk.limits.max_memory_bytes);
            self.desk.works(looked_at);
        }
        self.is_overloaded()
    }

    /// Looks whether memory is still short.
    pub(super) fn check_pressure(&mut self) {
        let refused = std::mem::take(&mut self.budget.refused_bytes);
        let wanted = self.kept_bytes() + refused;
        self.end_idle_half_lines(wanted.saturating_sub(self.desk.limits.max_memory_bytes));
        if self.is_still_overloaded() {
            return self.mark_pressure();
        }
        self.budget.under_pressure = false;
        self.look_again_at_all();
        self.tell_all_missed();
    }

    /// There may be more room now, for other reasons than that a peer has read: all that wait for it look again.
    pub(in crate::core) fn look_again_at_all(&mut self) {
        let (choked_at, is_short) = (self.choked_at(), self.is_overloaded());
        self.desk.settles(self.sessions.len() / 4);
        for key in self.sessions.in_order() {
            self.rows.relieve(&mut self.sessions, &mut self.desk, key, is_short);
            if let Some(session) = self.sessions.get_mut(key)
                && session.outbound.outbox.answer_bytes() <= choked_at
                && session.inbound.pauses.end(Pause::Answers)
            {
                self.desk.orders.resume(key);
            }
        }
    }

    /// A subscriber that missed messages for want of memory alone is told now: its queue may be empty, and
    /// nothing else need ever come.
    fn tell_all_missed(&mut self) {
        let missed = self.sessions.iter().filter(|(_, session)| session.untold() > 0);
        for key in missed.map(|(key, _)| key).collect::<Vec<_>>() {
            self.tell_missed(key);
            self.desk.settles(LINE_EFFORT);
        }
    }

    /// Tells a subscriber how many messages it has missed as soon as its queue is below half again. None is
    /// ended for reading: if there is no room for it yet, it comes later.
    pub(in crate::core) fn tell_missed(&mut self, to: SessionKey) {
        let most = self.desk.limits.max_queue_bytes;
        let Some(session) = self.sessions.get(to).filter(|session| session.untold() > 0) else {
            return;
        };
        let outbox = &session.outbound.outbox;
        if outbox.direct_bytes() < most / 2 && outbox.answer_bytes() < most {
            self.tell_missed_now(to);
        }
    }

    /// Tells a subscriber how many messages it has missed, if any.
    pub(super) fn tell_missed_now(&mut self, to: SessionKey) {
        if self.sessions.get(to).is_some_and(|session| session.untold() > 0) {
            let choked_at = self.choked_at();
            if let Some(session) = self.sessions.get_mut(to) {
                self.post.tell_missed(to, session, &mut self.desk, choked_at);
            }
        }
    }
}
