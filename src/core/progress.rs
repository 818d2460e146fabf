//! Knows whose peers have to read on, and who reads too slowly (PROTOCOL.md sections 4, 5 and 10).
//! Never: how far a peer has read; the shell measures that.

use std::fmt;

use crate::core::session::ProgressWatch;
use crate::core::timers::Timer;
use crate::core::{Core, Effect, Reason, SessionKey};
use crate::limits::STALL_BYTES_MIN;

impl Core {
    /// Looks from now on whether a peer reads enough, where it has to. What the kernel has taken for it
    /// says little: a socket takes nothing for a long time, and then much at once.
    pub(super) fn watch_progress(&mut self, key: SessionKey) {
        let due = self.now.mono + self.limits.stall_timeout;
        if let Some(session) = self.sessions.get_mut(key)
            && session.watch.is_none()
            && !session.broke
        {
            session.watch = Some(Box::new(ProgressWatch { due, read: None, is_due: false }));
            self.timers.set(due, Timer::Progress(key));
            self.effects.push_back(Effect::Measure(key));
        }
    }

    /// Looks no more where the peer need not read on. While its queue is full the next one may wait for it
    /// at once, and that is no new beginning.
    pub(super) fn unwatch_progress(&mut self, key: SessionKey) {
        let half = self.limits.max_queue_bytes / 2;
        if self.sessions.get(key).is_some_and(|session| session.outbox.direct_bytes() <= half) {
            self.end_watch(key);
        }
    }

    fn end_watch(&mut self, key: SessionKey) {
        if self.sessions.get(key).is_some_and(|session| session.watch.is_some())
            && self.has_to_read(key).is_none()
            && let Some(session) = self.sessions.get_mut(key)
        {
            session.watch = None;
            self.timer_gone_stale();
        }
    }

    /// Why a peer has to read on, where it has to.
    fn has_to_read(&self, key: SessionKey) -> Option<Pressing> {
        let session = self.sessions.get(key).filter(|session| !session.broke)?;
        let waiting = session.congestion.as_ref().map_or(0, |congestion| congestion.waiters.len());
        if waiting > 0 {
            Some(Pressing::Senders(waiting))
        } else if session.outbox.answer_bytes() >= self.limits.max_queue_bytes {
            Some(Pressing::Answers)
        } else if session.outbox.is_empty() {
            None
        } else if self.is_overloaded() {
            Some(Pressing::Memory)
        } else {
            (session.leaving || session.ending).then_some(Pressing::Leaving)
        }
    }

    /// It is time to look how far a peer has read.
    pub(super) fn progress_is_due(&mut self, key: SessionKey) {
        let now = self.now.mono;
        let Some(watch) = self.sessions.get_mut(key).and_then(|session| session.watch.as_mut()) else {
            return;
        };
        // It may have ended and begun anew since the timer was set; then it has one of its own.
        if now >= watch.due {
            watch.is_due = true;
            self.effects.push_back(Effect::Measure(key));
        }
    }

    /// Of what the kernel has taken for a peer, so much is not read yet.
    pub(super) fn measured(&mut self, key: SessionKey, unread: usize) {
        let due = self.now.mono + self.limits.stall_timeout;
        let Some(session) = self.sessions.get_mut(key) else { return };
        let read = session.taken.saturating_sub(unread as u64);
        let Some(watch) = &mut session.watch else { return };
        let before = *watch.read.get_or_insert(read);
        if !std::mem::take(&mut watch.is_due) {
            return;
        }
        (watch.due, watch.read) = (due, Some(read));
        match self.has_to_read(key) {
            None => self.end_watch(key),
            Some(why) if read < before + why.bytes_min() => self.end_for_reading(key, &why),
            Some(_) => self.timers.set(due, Timer::Progress(key)),
        }
    }

    fn end_for_reading(&mut self, key: SessionKey, why: &Pressing) {
        let Some(session) = self.sessions.get(key) else { return };
        if session.leaving {
            return self.close(key);
        }
        let text = format!(
            "{why}, and it read less than {} bytes in {} s; {} are queued for it",
            why.bytes_min(),
            self.limits.stall_timeout.as_secs_f64(),
            session.outbox.queue_bytes()
        );
        let reason = match why {
            Pressing::Leaving => Reason::Lost,
            _ => Reason::Stalled,
        };
        self.doom(key, reason, text);
    }

    /// Ends a session that reads too slowly, when the line in hand has been handled.
    pub(super) fn doom(&mut self, key: SessionKey, reason: Reason, why: String) {
        if let Some(session) = self.sessions.get_mut(key)
            && !std::mem::replace(&mut session.is_doomed, true)
        {
            self.doomed.push((key, reason, why));
        }
    }
}

/// Why a peer has to read on.
#[derive(Debug)]
enum Pressing {
    /// So many senders wait for room in its queue.
    Senders(usize),
    /// Its second count is full.
    Answers,
    /// Peers make the daemon keep too much.
    Memory,
    /// It is gone, or sends nothing more, and gets what it is still owed as long as it takes any of it.
    Leaving,
}

impl Pressing {
    /// What it has to read in each `stall_timeout`.
    fn bytes_min(&self) -> u64 {
        match self {
            Pressing::Leaving => 1,
            _ => STALL_BYTES_MIN,
        }
    }
}

impl fmt::Display for Pressing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pressing::Senders(1) => f.write_str("a sender waits for it"),
            Pressing::Senders(several) => write!(f, "{several} senders wait for it"),
            Pressing::Answers => f.write_str("no more answers and news have room in its queue"),
            Pressing::Memory => f.write_str("memory is short"),
            Pressing::Leaving => f.write_str("it is owed something"),
        }
    }
}
