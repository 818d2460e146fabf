//! Knows how long a call takes, and what the thread has used of the machine meanwhile, so that one that is
//! slow is told from one that others held up.
//! Never: whose call it was.

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
    pub(super) fn now() -> Usage {
        // It fails only for want of a right argument (getrusage(2)).
        let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else { return Usage::default() };
        let time = |time: nix::sys::time::TimeVal| {
            Duration::from_micros(
                u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or_default(),
            )
        };
        Usage {
            processor: time(usage.user_time()) + time(usage.system_time()),
            waits: usage.voluntary_context_switches(),
        }
    }

    /// Whether what has been done since `before`, which took longer than `budget`, did so by itself: by
    /// working, or by waiting. What it did not is to be laid at the door of those who had the processor
    /// meanwhile.
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
