//! Knows what every part of the core works with: the time, the bounds, the counters, what is due, what is
//! ordered, what follows.
//! Never: a connection.

use std::time::Duration;

use crate::clock::Now;
use crate::core::after::Consequences;
use crate::core::order::Orders;
use crate::core::stats::Stats;
use crate::core::table::timers::Timers;
use crate::core::tuning::Tuning;
use crate::limits::Limits;

/// What lies at hand for all parts.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Desk {
    pub(crate) now: Now,
    /// The same as queues note it: milliseconds, beginning anew every 49 days.
    queued_at: u32,
    /// The shell was held up: no deadline is over before it has handed in what came meanwhile.
    pub(crate) held_up: bool,
    pub(crate) started: Now,
    #[cfg_attr(feature = "daemon", serde(skip))]
    pub(crate) limits: Limits,
    #[cfg_attr(feature = "daemon", serde(skip))]
    pub(crate) tuning: Tuning,
    pub(crate) stats: Stats,
    pub(crate) timers: Timers,
    #[cfg_attr(feature = "daemon", serde(skip))]
    pub(crate) orders: Orders,
    pub(crate) after: Consequences,
    pub(crate) effort: Effort,
    /// The daemon ends.
    pub(crate) stopping: bool,
    /// Some have been told so: behind that nothing is said to them any more.
    pub(crate) said_shutdown: bool,
    /// Calls since the last check of all sums.
    pub(crate) calls: usize,
}

/// Work beyond the bytes that a call brought, in units of about 100 ns: an entry that is looked at is one.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Effort {
    /// In the call in hand.
    pub(crate) call: usize,
    /// For consequences and time-outs, in the call in hand.
    pub(crate) call_settled: usize,
    /// The same in the turn in hand.
    pub(crate) settled: usize,
    /// Timers that were looked through for stale ones, in the turn in hand.
    pub(crate) timers: usize,
    /// Bytes of a backlog that were handled in the call in hand.
    pub(crate) worked_off: usize,
}

impl Effort {
    pub(crate) fn begin_call(&mut self) {
        *self = Effort { settled: self.settled, timers: self.timers, ..Effort::default() };
    }
}

/// What a line of the daemon's own costs.
pub(crate) const LINE_EFFORT: usize = 6;

/// With less than this for a turn, nothing that takes a line would ever be done.
const SETTLE_EFFORT_MIN: usize = 1 + 2 * LINE_EFFORT;

impl Desk {
    pub(crate) fn new(limits: Limits, tuning: Tuning, now: Now) -> Desk {
        Desk {
            now,
            queued_at: milliseconds(now.mono),
            held_up: false,
            started: now,
            limits,
            stats: Stats::default(),
            timers: Timers::new(tuning.timers_together_max),
            tuning,
            orders: Orders::default(),
            after: Consequences::default(),
            effort: Effort::default(),
            stopping: false,
            said_shutdown: false,
            calls: 0,
        }
    }

    /// Makes anew what is not carried to another process.
    #[cfg(feature = "daemon")]
    pub(crate) fn restored(&mut self, limits: Limits, tuning: Tuning) {
        self.timers.tune(tuning.timers_together_max);
        self.after.restored();
        (self.limits, self.tuning) = (limits, tuning);
    }

    /// Takes note that a turn of the shell begins, and whether that was held up.
    pub(crate) fn begin_turn(&mut self, held_up: bool) {
        (self.effort.settled, self.effort.timers, self.held_up) = (0, 0, held_up);
    }

    /// Takes note of the time. It never goes back: what was due once stays due.
    pub(crate) fn set_now(&mut self, now: Now) {
        debug_assert!(now.mono >= self.now.mono, "time goes back: {:?} after {:?}", now.mono, self.now.mono);
        self.now = Now { mono: now.mono.max(self.now.mono), wall: now.wall };
        self.queued_at = milliseconds(self.now.mono);
    }

    pub(crate) fn mono(&self) -> Duration {
        self.now.mono
    }

    /// The time as queues note it.
    pub(crate) fn queued_at(&self) -> u32 {
        self.queued_at
    }

    /// How long a line has been queued, in milliseconds.
    pub(crate) fn queued_for(&self, at: u32) -> u32 {
        self.queued_at().wrapping_sub(at)
    }

    /// Counts work for the call in hand.
    pub(crate) fn works(&mut self, units: usize) {
        self.effort.call += units;
    }

    /// Counts work for what a call has led to.
    pub(crate) fn settles(&mut self, units: usize) {
        self.effort.call += units;
        self.effort.call_settled += units;
        self.effort.settled += units;
    }

    /// How much of that may still be done in this turn.
    pub(crate) fn left(&self) -> usize {
        self.tuning.settle_effort.max(SETTLE_EFFORT_MIN).saturating_sub(self.effort.settled)
    }

    /// Whether a consequence can be carried out at once: nothing that others hear of stands before it, and there
    /// is time.
    pub(crate) fn is_free(&self) -> bool {
        !self.after.tells_others() && self.left() > 0
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the clock begins anew")]
fn milliseconds(time: Duration) -> u32 {
    time.as_millis() as u32
}
