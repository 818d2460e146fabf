//! Knows what outlives the daemon, in its state directory.
//! Never: what it is kept for.

mod directory;
mod numbers;

pub use directory::make_directory;
pub use numbers::Numbers;
