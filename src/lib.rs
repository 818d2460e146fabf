//! telex: a message switch for the processes of a Linux machine.

pub mod address;
pub mod client;
pub mod clock;
#[cfg(feature = "daemon")]
pub mod config;
pub mod core;
#[cfg(feature = "daemon")]
pub mod daemon;
pub mod limits;
pub mod name;
#[cfg(feature = "daemon")]
pub mod net;
#[cfg(feature = "daemon")]
pub mod store;
#[cfg(feature = "daemon")]
pub mod sys;
pub mod topic;
pub mod wire;
