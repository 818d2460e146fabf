//! Knows how consequences are carried out, in their order and as far as there is time, and what time alone
//! brings about.
//! Never: what led to them.

use crate::core::after::After;
use crate::core::desk::LINE_EFFORT;
use crate::core::order::Reason;
use crate::core::phase::Pause;
use crate::core::stalls::Pressing;
use crate::core::table::timers::Timer;
use crate::core::{Core, SessionKey};

impl Core {
    /// Carries out what has been decided, until nothing is left of it or the time for that is up.
    #[inline]
    pub(in crate::core) fn settle(&mut self) {
        // Most lines lead to nothing beyond themselves.
        if !self.desk.after.is_empty() {
            self.carry_on();
        }
    }

    fn carry_on(&mut self) {
        while self.desk.left() > 0
            && let Some(after) = self.desk.after.take()
        {
            self.desk.settles(1);
            if let Some(rest) = self.carry_out(after) {
                self.desk.after.put_back(rest);
                break;
            }
        }
        while let Some(key) = self.desk.after.next_ready() {
            if let Some(session) = self.sessions.get_mut(key) {
                session.inbound.pauses.end(Pause::Consequences);
                self.desk.orders.resume(key);
            }
        }
        if !self.desk.after.has_news() {
            for key in std::mem::take(&mut self.desk.after.behind_news) {
                self.desk.orders.resume(key);
            }
        }
    }

    /// Carries out one, and gives what is left of it when the time is up.
    fn carry_out(&mut self, after: After) -> Option<After> {
        match after {
            After::News(news) => self.spread(news).map(After::News),
            After::Doomed { session, reason, why } => {
                self.end_now(session, reason, &why);
                None
            }
            After::Settled(session) => {
                self.close_if_settled(session);
                None
            }
            After::Left(leaver) => self.tell_leaving(leaver).map(After::Left),
            After::Departed(mut leaver) => (!self.tell_going(&mut leaver)).then_some(After::Departed(leaver)),
            After::Undelivered(undelivered) => self.tell_fates(undelivered).map(After::Undelivered),
            After::Publication(publication) => self.go_on_publishing(publication).map(After::Publication),
            After::Emission(emission) => {
                if !self.desk.stopping {
                    self.emit(&emission);
                }
                None
            }
            After::Stop(stop) => self.go_on_stopping(stop).map(After::Stop),
        }
    }

    /// Carries out what is due, and what is left from before: as much as there is time for in a turn.
    pub(in crate::core) fn time_passed(&mut self) {
        // Neither can keep the other waiting.
        let half = self.desk.tuning.settle_effort.div_ceil(2);
        while self.desk.effort.settled < half
            && let Some(timer) = self.desk.timers.due(self.desk.mono())
        {
            self.desk.settles(LINE_EFFORT);
            match timer {
                Timer::Request(key) => self.request_expired(key),
                Timer::Held(session, ticket) => self.held_expired(session, ticket),
                Timer::Progress(key) => {
                    if let Some(session) = self.sessions.get_mut(key) {
                        session.look_at_progress(key, &mut self.desk);
                    }
                }
                Timer::KeptBack(key) => self.end_kept_back(key),
                Timer::Pressure => self.check_pressure(),
            }
            self.settle();
        }
        self.settle();
    }

    /// Of what the kernel has taken for a peer, `unread` bytes are not read yet. A peer that has read too little
    /// of what it had to read is ended.
    pub(in crate::core) fn measured(&mut self, key: SessionKey, unread: usize) {
        let is_short = self.is_overloaded();
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(why) = session.measured(key, unread, &mut self.desk, is_short) else { return };
        if !session.phase.acts() {
            return self.close_unread(key);
        }
        let text = format!(
            "{why}, and it read less than {} bytes in {} s; {} are queued for it",
            why.bytes_min(),
            self.desk.limits.stall_timeout.as_secs_f64(),
            session.outbound.outbox.queue_bytes()
        );
        let reason = match why {
            Pressing::Leaving => Reason::Lost,
            _ => Reason::Stalled,
        };
        self.desk.after.push(After::Doomed { session: key, reason, why: text });
    }

    /// The time for draining queues is over: what has not been taken is given up. Its senders are told, but for
    /// those that have not taken what they were owed themselves. Says how many messages that were.
    pub fn end_drain(&mut self) -> u64 {
        let before = self.desk.stats.delivered;
        let mut slow = Vec::new();
        self.end_last_tries();
        for (key, session) in self.sessions.iter_mut() {
            if !session.outbound.outbox.is_empty() {
                session.outbound.broken = true;
                slow.push(key);
            }
        }
        for key in slow {
            self.give_up(key);
        }
        // Nothing comes after this that could wait for it.
        while !self.desk.after.is_empty() {
            self.desk.effort.settled = 0;
            self.settle();
        }
        // What was still on its way to subscribers counts as delivered only now.
        before.saturating_sub(self.desk.stats.delivered)
    }
}
