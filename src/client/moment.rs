//! Knows which moment is meant by a time from now on.
//! Never: reads a clock.

use std::time::{Duration, Instant};

/// The moment that is `delay` after `now`; what is too far away to be told is far enough.
pub(crate) fn after(now: Instant, delay: Duration) -> Instant {
    const FOREVER: Duration = Duration::from_secs(365 * 86_400);
    now.checked_add(delay).unwrap_or(now + FOREVER)
}
