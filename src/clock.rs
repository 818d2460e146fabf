//! Knows time as a value that is handed in.
//! Never: reads a clock.

use std::time::Duration;

/// One reading of both clocks, taken once per turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub struct Now {
    /// Since a fixed moment before the first reading; never goes back.
    pub mono: Duration,
    /// Since 1970-01-01 00:00 UTC; may jump.
    pub wall: Duration,
}
