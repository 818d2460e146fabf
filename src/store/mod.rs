//! Knows what outlives the daemon, in its state directory.
//! Never: what it is kept for.

mod numbers;

pub use numbers::Numbers;
