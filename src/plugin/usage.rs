//! Knows how long a call takes, and what the thread has used of the machine meanwhile, so that one that is
//! slow is told from one that others held up.
//! Never: which plugin was called.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

/// The time as of the kernel's last tick, a few milliseconds ago (`CLOCK_MONOTONIC_COARSE`,
/// clock_gettime(2)). Two looks at this clock cost half of one at the exact one, and every message that is
/// judged needs them.
#[inline]
pub(super) fn last_tick() -> TimeSpec {
    // It fails only for want of a right argument.
    clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).unwrap_or(TimeSpec::new(0, 0))
}

/// What the calling thread has used since it began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    processor: Duration,
    /// How often it has waited for something.
    waits: i64,
}

impl Usage {
    /// The processor's time is read from a clock: that of getrusage(2) is as of the kernel's last tick, and so
    /// would count work from before a call.
    pub(super) fn now() -> Usage {
        let processor = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
        let waits = getrusage(UsageWho::RUSAGE_THREAD).map(|usage| usage.voluntary_context_switches());
        // Both fail only for want of a right argument.
        Usage { processor: processor.unwrap_or_default(), waits: waits.unwrap_or_default() }
    }

    /// Whether what has been done since `before`, which took longer than `budget`, did so by itself: by
    /// working, or by waiting. If not, other threads had the processor meanwhile.
    pub(super) fn is_to_blame(self, before: Usage, budget: Duration) -> bool {
        self.waits > before.waits || self.processor.saturating_sub(before.processor) > budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_waiting_are_to_blame_and_nothing_else() {
        let budget = Duration::from_millis(2);
        let before = Usage::now();
        assert!(!Usage::now().is_to_blame(before, budget));
        std::thread::sleep(Duration::from_millis(1));
        assert!(Usage::now().is_to_blame(before, budget));
        let before = Usage::now();
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !Usage::now().is_to_blame(before, budget) {
            assert!(std::time::Instant::now() < deadline, "it works all the time");
        }
    }
}
