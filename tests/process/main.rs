//! The daemon from outside: a real process, real sockets, real signals.
//!
//! What takes longer or needs much of the machine can be left out by name: `ten_thousand`,
//! `real_lines`.

#![cfg(feature = "daemon")]

mod limits;
mod start;
mod stop;
#[path = "../support/mod.rs"]
mod support;
