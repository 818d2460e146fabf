//! The library's handle against a real daemon: in numbers, on runtimes, through the daemon's end and return.

#![cfg(feature = "daemon")]

mod daemon;
mod fork;
mod many;
mod runtimes;
mod through;
