//! telex: a message switch for the processes of a Linux machine.

pub mod address;
pub mod client;
pub mod clock;
pub mod limits;
pub mod name;
pub mod topic;
pub mod wire;
