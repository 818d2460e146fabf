//! Knows whose peers have to read on, and how far they have read (PROTOCOL.md sections 4, 5 and 10).
//! Never: what becomes of one that reads too slowly.

use std::fmt;
use std::time::Duration;

use crate::core::SessionKey;
use crate::core::desk::Desk;
use crate::core::order::Order;
use crate::core::phase::Phase;
use crate::core::session::Session;
use crate::core::table::timers::Timer;
use crate::limits::{Limits, STALL_BYTES_MIN};

/// How far a peer had read when it began to be watched.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Watch {
    /// When it is looked at again; the timer for that is set.
    due: Duration,
    /// The bytes that it had read; none before they were measured.
    read: Option<u64>,
    /// The time has come, and they are being measured.
    is_due: bool,
}

/// Why a peer has to read on.
#[derive(Debug)]
pub(crate) enum Pressing {
    /// So many senders wait for room in its queue.
    Senders(usize),
    /// Its second count is full.
    Answers,
    /// Peers make the daemon keep too much.
    Memory,
    /// It is gone, or sends nothing more, and gets what it is still owed as long as it takes any of it.
    Leaving,
}

/// By so much what is measured may lag behind what a peer has read: the kernel counts a buffer as unread until
/// all of it is read, and its largest on a Unix stream has 36 KiB (TIOCOUTQ, unix(7)).
const MEASURE_LAG_BYTES: u64 = 36 * 1024;

impl Pressing {
    /// The bytes that it has to read in each `stall_timeout`.
    pub(crate) fn bytes_min(&self) -> u64 {
        match self {
            Pressing::Leaving => 1,
            _ => STALL_BYTES_MIN,
        }
    }

    /// How many of them have to be seen: what the measure may lack counts in the reader's favour. A peer that
    /// reads nothing is never seen to have read.
    fn seen_min(&self) -> u64 {
        self.bytes_min().saturating_sub(MEASURE_LAG_BYTES).max(1)
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

impl Session {
    /// Whether it is being watched how much its peer reads.
    pub(crate) fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// Whether it is being measured now how much its peer has read.
    pub(crate) fn is_being_measured(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.is_due)
    }

    /// Whether something is done at `at` about how much its peer reads.
    pub(crate) fn is_watched_at(&self, at: Duration) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.due == at)
    }

    /// Looks from now on whether a peer reads enough, if it has to. What the kernel has taken for it says
    /// little: a socket takes nothing for a long time, and then much at once.
    pub(crate) fn watch(&mut self, key: SessionKey, desk: &mut Desk) {
        if self.watch.is_none() && !self.outbound.broken {
            let due = desk.mono() + desk.limits.stall_timeout;
            self.watch = Some(Box::new(Watch { due, read: None, is_due: false }));
            desk.timers.set(due, Timer::Progress(key));
            desk.orders.put(Order::Measure(key));
        }
    }

    /// Looks no more if the peer need not read on. While its queue is full the next one may wait for it at
    /// once, and that is no new beginning.
    pub(crate) fn unwatch(&mut self, desk: &mut Desk, memory_is_short: bool) {
        if self.outbound.outbox.direct_bytes() <= desk.limits.half_queue() {
            self.end_watch(desk, memory_is_short);
        }
    }

    fn end_watch(&mut self, desk: &mut Desk, memory_is_short: bool) {
        if self.watch.is_some() && self.has_to_read(&desk.limits, memory_is_short).is_none() {
            self.forget_watch();
            desk.timers.gone_stale();
        }
    }

    /// Looks no more, whatever waits for it.
    pub(crate) fn forget_watch(&mut self) {
        self.watch = None;
    }

    /// Why the peer has to read on, if it has to.
    fn has_to_read(&self, limits: &Limits, memory_is_short: bool) -> Option<Pressing> {
        let outbox = &self.outbound.outbox;
        if self.outbound.broken {
            return None;
        }
        let waiting = self.row.as_ref().map_or(0, |row| row.len());
        if waiting > 0 {
            Some(Pressing::Senders(waiting))
        } else if outbox.answer_bytes() >= limits.max_queue_bytes {
            Some(Pressing::Answers)
        } else if outbox.is_empty() {
            None
        } else if memory_is_short {
            Some(Pressing::Memory)
        } else {
            (self.phase >= Phase::Ending).then_some(Pressing::Leaving)
        }
    }

    /// It is time to look how far a peer has read.
    pub(crate) fn look_at_progress(&mut self, key: SessionKey, desk: &mut Desk) {
        // The watch may have ended and begun anew since the timer was set; then it has one of its own.
        if let Some(watch) = self.watch.as_mut().filter(|watch| desk.mono() >= watch.due) {
            watch.is_due = true;
            desk.orders.put(Order::Measure(key));
        }
    }

    /// Of what the kernel has taken for the peer, `unread` bytes are not read yet. Says why it had to read
    /// more than it did, if it had.
    pub(crate) fn measured(
        &mut self,
        key: SessionKey,
        unread: usize,
        desk: &mut Desk,
        memory_is_short: bool,
    ) -> Option<Pressing> {
        let due = desk.mono() + desk.limits.stall_timeout;
        let read = self.outbound.taken.saturating_sub(unread as u64);
        let watch = self.watch.as_mut()?;
        let before = *watch.read.get_or_insert(read);
        if !std::mem::take(&mut watch.is_due) {
            return None;
        }
        (watch.due, watch.read) = (due, Some(read));
        match self.has_to_read(&desk.limits, memory_is_short) {
            None => {
                self.end_watch(desk, memory_is_short);
                None
            }
            Some(why) if read < before + why.seen_min() => {
                // It is to be ended, and no timer is set for it any more.
                self.forget_watch();
                Some(why)
            }
            Some(_) => {
                desk.timers.set(due, Timer::Progress(key));
                None
            }
        }
    }
}
