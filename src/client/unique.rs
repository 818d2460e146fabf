//! Knows how to get random numbers from the standard library.
//! Never: what they are for.

use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

/// A number that no other process has: the standard library seeds its hashers from the system's randomness,
/// and what a fork would repeat is told apart by process and time.
pub(super) fn random() -> u64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    RandomState::new().hash_one((std::process::id(), now))
}

/// Sixteen hexadecimal digits that no other session has.
pub(crate) fn prefix() -> String {
    format!("{:016x}", random())
}
