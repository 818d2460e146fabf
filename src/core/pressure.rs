//! Knows how much peers make the daemon keep, and what is done while that is too much (PROTOCOL.md
//! sections 4 and 10, `max_memory_bytes`).
//! Never: who waits for whom while there is memory.

use crate::core::timers::Timer;
use crate::core::{Core, Event, Level, SessionKey, Subject};

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

    /// How much of that is handed in about, before those of [`Core::next_large`] are written to. It may all be
    /// for one subscriber, and with what is added to its lines has to fit into his queue.
    pub fn batch_bytes(&self) -> usize {
        self.limits.max_queue_bytes / 32
    }

    /// All that peers make the daemon keep.
    pub(super) fn kept_bytes(&self) -> usize {
        self.memory_bytes
            + self.blocks.kept_bytes()
            + self.requests.kept_bytes()
            + self.registry.kept_bytes()
            + self.topics.kept_bytes()
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
        if self.under_pressure || !self.is_still_overloaded() {
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

    /// Whoever has something waiting for it has to read on now.
    fn mark_pressure(&mut self) {
        let owed = self.sessions.iter().filter(|(_, session)| !session.outbox.is_empty());
        for key in owed.map(|(key, _)| key).collect::<Vec<_>>() {
            self.watch_progress(key);
        }
        self.timers.set(self.now.mono + self.limits.stall_timeout, Timer::Pressure);
    }

    /// Whether memory is short without the nodes that are gone. These are the first to go: nobody who is
    /// there loses anything by it.
    pub(super) fn is_still_overloaded(&mut self) -> bool {
        if self.is_overloaded() {
            self.registry.forget_gone(self.kept_bytes() - self.limits.max_memory_bytes);
        }
        self.is_overloaded()
    }

    /// Looks whether memory is still short.
    pub(super) fn check_pressure(&mut self) {
        if self.is_still_overloaded() {
            return self.mark_pressure();
        }
        self.under_pressure = false;
        self.look_again_at_all();
        self.tell_all_missed();
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
