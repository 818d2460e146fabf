//! The daemon from outside: a real process, real sockets, real signals.
//!
//! What takes longer or needs much of the machine can be left out by name: `ten_thousand`,
//! `real_lines`.

#![cfg(feature = "daemon")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "figures and the daemon's log")]

mod bad_peers;
mod comebacks;
mod crowd;
mod fairness;
mod hand_over;
mod held_up;
mod limits;
mod memory;
mod modes;
mod no_room;
mod plugins;
mod reach;
mod real_lines;
mod reload;
mod signals;
mod start;
mod stop;
mod stuck;
#[path = "../support/mod.rs"]
mod support;
mod unmapped;
mod watching;
mod ways;
mod web;
