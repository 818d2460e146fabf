//! Knows how much peers make the daemon keep, and what is done while that is too much (PROTOCOL.md
//! sections 4 and 10, `max_memory_bytes`).
//! Never: who waits for whom while there is memory.

use crate::core::timers::Timer;
use crate::core::{Core, Event, Level, SessionKey, Subject};
use crate::limits::STALL_BYTES_MIN;

/// The news that may wait for one monitor while memory is short: many may monitor, and one event is
/// a line for each.
const NEWS_BYTES_UNDER_PRESSURE: usize = 64 * 1024;
/// What may wait for one that is still read while memory is short.
const CHOKED_BYTES_UNDER_PRESSURE: usize = 4096;

impl Core {
    /// Whether all that peers make the daemon keep has passed its bound.
    pub(super) fn is_overloaded(&self) -> bool {
        self.kept_bytes() > self.limits.max_memory_bytes
    }

    /// How much is to be read from one connection in one go: it may all have to be kept.
    pub fn read_bytes_max(&self) -> usize {
        const UNDER_PRESSURE: usize = 16 * 1024;
        if self.is_overloaded() { UNDER_PRESSURE } else { usize::MAX }
    }

    /// All that peers make the daemon keep.
    pub(super) fn kept_bytes(&self) -> usize {
        self.memory_bytes + self.requests.kept_bytes() + self.registry.kept_bytes() + self.topics.kept_bytes()
    }

    /// Up to how many bytes of answers somebody is told news.
    pub(super) fn news_bytes_max(&self) -> usize {
        match self.is_overloaded() {
            true => NEWS_BYTES_UNDER_PRESSURE.min(self.limits.max_queue_bytes),
            false => self.limits.max_queue_bytes,
        }
    }

    /// With more than this waiting for it a connection is not read.
    pub(super) fn choked_at(&self) -> usize {
        match self.is_overloaded() {
            true => CHOKED_BYTES_UNDER_PRESSURE.min(self.limits.max_queue_bytes / 2),
            false => self.limits.max_queue_bytes / 2,
        }
    }

    /// Memory is short: from now on everybody waits for those who do not read.
    pub(super) fn watch_pressure(&mut self) {
        if self.under_pressure || !self.is_overloaded() {
            return;
        }
        self.under_pressure = true;
        self.mark_pressure();
        let (kept, most) = (self.kept_bytes(), self.limits.max_memory_bytes);
        let text = format!(
            "peers make the daemon keep {kept} bytes, and max_memory_bytes is {most}: new messages are refused"
        );
        self.note(Level::Warning, Event::Overloaded, Subject::default(), text, |fields| {
            fields.number("memory_bytes", kept).number("max_memory_bytes", most);
        });
    }

    fn mark_pressure(&mut self) {
        for session in self.sessions.values_mut() {
            session.pressure_mark = (!session.outbox.is_empty()).then_some(session.taken);
        }
        self.timers.set(self.now.mono + self.limits.stall_timeout, Timer::Pressure);
    }

    /// Ends those who have taken too little since memory was found short.
    pub(super) fn check_pressure(&mut self) {
        if !self.is_overloaded() {
            self.under_pressure = false;
            return self.tell_all_missed();
        }
        let is_stalled =
            |mark: Option<u64>, taken: u64| mark.is_some_and(|mark| taken - mark < STALL_BYTES_MIN);
        let stalled: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, session)| {
                !session.outbox.is_empty() && is_stalled(session.pressure_mark, session.taken)
            })
            .map(|(key, _)| key)
            .collect();
        for key in stalled {
            self.doomed.push((key, "memory is short, and it does not take what is queued for it".to_owned()));
        }
        self.mark_pressure();
    }

    /// Whoever missed messages for want of memory alone is told now: its queue may be empty, and
    /// nothing else need ever come.
    fn tell_all_missed(&mut self) {
        let missed: Vec<_> =
            self.sessions.iter().filter(|(_, session)| session.missed > 0).map(|(key, _)| key).collect();
        for key in missed {
            self.tell_missed(key);
        }
    }

    /// Brings the count of what a session keeps up to date.
    pub(super) fn account(&mut self, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key) {
            let kept = session.kept_bytes();
            self.memory_bytes = self.memory_bytes - session.counted + kept;
            session.counted = kept;
        }
    }
}
