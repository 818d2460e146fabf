//! telex: a message switch for the processes of a Linux machine.
//!
//! `telexd` is the daemon, `telex` the command, and this the library that both are made of. To write a
//! client of your own you need [`client`] and perhaps [`protocol`], the page on what is said over the
//! socket; built without default features the library has nothing else in it but what these stand on.
//!
//! # The rooms
//!
//! Each module is a room that knows one thing, says so in its first line, and says in the next what it
//! must never learn. They stand on floors, and a room imports only from floors below its own:
//!
//! | floor | room | knows |
//! | --- | --- | --- |
//! | words | [`limits`] | every bound, under the name that the protocol gives it |
//! | | [`name`], [`topic`], [`address`] | node IDs, topics, where to listen |
//! | | [`clock`], [`duration`] | time as a value, and how it is written |
//! | | `plugin_settings` | what a configuration says of a plugin |
//! | wire | [`wire`] | bytes into lines, lines into fields, and back |
//! | core | [`core`] | the whole service as a state machine: facts in, orders and bytes out |
//! | | [`client`] | the client's side of a connection, and blocking sockets around it |
//! | edges | `net` | sockets and readiness |
//! | | `store` | what outlives the daemon |
//! | | `sys` | signals, the service manager, credentials, the real clocks |
//! | | `config` | the file and the command line as plain data |
//! | daemon | `daemon` | the order of the steps of a turn |
//!
//! The [`core`] opens nothing, reads no clock, draws no random number and logs nothing. A shell, which is
//! the daemon or a test, hands it what happened and when, and carries out what it orders; so whatever
//! the service does can be played in memory, in any order and at any speed.
//!
//! A line takes one straight way: the daemon reads it into one buffer, [`wire::frame`] finds its end,
//! [`wire::envelope`] its fields, `core` whose it is, who gets it and whether they have room, and it is
//! copied into the outboxes of its receivers, from where the daemon writes it before the turn is over.
//! Its body is never parsed.
//!
//! `tests/house.rs` looks all of this up in the sources.

pub mod address;
pub mod client;
pub mod clock;
#[cfg(feature = "daemon")]
pub mod config;
pub mod core;
#[cfg(feature = "daemon")]
pub mod daemon;
pub mod duration;
pub mod limits;
pub mod name;
#[cfg(feature = "daemon")]
pub mod net;
#[cfg(feature = "daemon")]
pub mod plugin;
#[cfg(feature = "daemon")]
pub mod plugin_settings;
pub mod protocol;
#[cfg(feature = "daemon")]
pub mod store;
#[cfg(feature = "daemon")]
pub mod sys;
pub mod topic;
pub mod wire;
