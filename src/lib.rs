//! telex: a message switch for the processes of a Linux machine.

pub mod address;
pub mod clock;
#[cfg(feature = "daemon")]
pub mod config;
pub mod core;
pub mod limits;
pub mod name;
pub mod topic;
pub mod wire;
