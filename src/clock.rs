//! Knows time as a value that is handed in.
//! Never: reads a clock.

use std::time::{Duration, Instant};

/// One reading of both clocks, taken once per turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since a fixed moment before the first reading; never goes back.
    pub mono: Duration,
    /// Since 1970-01-01 00:00 UTC; may jump.
    pub wall: Duration,
}

/// The moment that is `delay` after `now`; what is too far away to be told is far enough.
pub(crate) fn after(now: Instant, delay: Duration) -> Instant {
    const FOREVER: Duration = Duration::from_secs(365 * 86_400);
    now.checked_add(delay).unwrap_or(now + FOREVER)
}
