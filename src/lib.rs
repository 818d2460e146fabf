//! telex: a message switch for the processes of a Linux machine.
//!
//! `telexd` is the daemon, `telex` the command, and this the library that both are made of. A program connects,
//! takes a name, and then talks to all others by theirs:
//!
//! ```
//! # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
//! use std::time::Duration;
//! use telex::client::{Handle, default_address};
//!
//! let door = Handle::builder().register("door").connect(&default_address()?)?;
//! door.on("open", |request| match request.body_value()["code"].as_u64() {
//!     Some(1234) => Ok(r#"{"open":true}"#),
//!     _ => Err("that is not the code"),
//! });
//!
//! let visitor = Handle::connect(&default_address()?)?;
//! let second = Duration::from_secs(1);
//! let reply = visitor.call("door", "open", r#"{"code":1234}"#, second).wait()?;
//! assert_eq!(reply.body_value()["open"], true);
//! let error = visitor.call("door", "open", r#"{"code":1}"#, second).wait().expect_err("an error");
//! assert_eq!(error.to_string(), "that is not the code");
//! # Ok::<(), telex::client::Error>(())
//! ```
//!
//! | for | there is |
//! | --- | --- |
//! | a tool, a script, a test | [`Client`](client::Client), which blocks |
//! | a program of many threads or tasks | [`Handle`](client::Handle), whose answers are waited for, awaited, or called back |
//! | an event loop or runtime of one's own | [`Session`](client::Session), which is pure |
//! | a program that others find by its name, and dial | [`service`] |
//! | workers that share the messages to one name | [`Delivery::One`](client::Delivery::One) |
//! | ports that send, monitor, supervise each other; groups | [`node`] |
//! | nodes that their users configure by a file | [`profile`] |
//! | requests spread over several switches | [`Switches`](client::Switches); on another wire, [`cluster`] |
//! | a program that is a switch itself | [`hub`] |
//! | any other language | [`protocol`], what is said over the socket |
//! | users of jQluster, Net::Server::Framework, MR::IProto, AnyEvent::MP | [`coming_from`] |
//!
//! Beside these the documentation shows the words that they are written in ([`address`], [`name`], [`limits`]) and
//! those of the wire ([`wire::code`], [`wire::message`]). All else is public only for the programs and tests of
//! this package, and changes as they need it.
//!
//! # Features
//!
//! All are on by default. Without any there are no sockets of the daemon's, no configuration and no plugins, nor
//! the crates that only they need.
//!
//! | feature | for |
//! | --- | --- |
//! | `daemon` | `telexd` |
//! | `cli` | `telex` |
//! | `service` | [`service`] |
//! | `profiles` | the file of [`profile`], which is TOML |
//!
//! # The rooms
//!
//! Each module is a room that knows one thing, says so in its first line, and says in the next what it
//! must never learn. They stand on floors, and a room imports only from floors below its own:
//!
//! | floor | room | knows |
//! | --- | --- | --- |
//! | ground | [`limits`] | every bound, under the name that the protocol gives it |
//! | words | [`name`], `topic` | what node IDs, addresses of nodes and topics look like |
//! | | [`address`] | where a daemon listens and a client dials |
//! | | `clock`, `duration` | time as a value, and how it is written |
//! | | `panics` | what a panic says |
//! | | `plugin_settings` | what a configuration says of a plugin |
//! | | [`protocol`] | the protocol as a page for people |
//! | | [`coming_from`] | where users of the systems that telex carries on find again what they had |
//! | wire | [`wire`] | bytes into lines, lines into fields, and back |
//! | spread | [`cluster`] | how requests are spread over servers, on any wire |
//! | core | `core` | the whole service as a state machine: facts in, orders and bytes out |
//! | | [`client`] | the client's side of a connection, and two ways to use it: blocking, or shared by many |
//! | ports | [`node`] | nodes with ports in them, on top of a client |
//! | | `toml_file` | a file of settings in TOML, its profiles, and how what is wrong in it is told |
//! | | `listen` | listening sockets, the processes that connect to them, what the service manager hands over |
//! | edges | `net` | sockets and readiness |
//! | | `store` | what outlives the daemon |
//! | | `plugin` | plugins: how they are loaded, called and replaced |
//! | | `sys` | signals, the service manager, credentials, descriptors, the real clocks, threads beside the loop |
//! | | `config` | the file and the command line as plain data |
//! | | [`profile`] | how a node is configured from a file |
//! | | [`service`] | programs that answer under a name, directly and through the switch |
//! | | [`hub`] | the core inside a program of another's, without sockets |
//! | daemon | `daemon` | the order of the steps of a turn |
//! | programs | `bin/telexd`, `bin/telex` | the user's words, and the exit status |
//!
//! The `core` opens nothing, reads no clock, draws no random number and logs nothing. A shell, which is
//! the daemon or a test, hands it what happened and when, and carries out what it orders; so whatever
//! the service does can be played in memory, in any order and at any speed.
//!
//! A line takes one straight way: the daemon reads it into one buffer, `wire::frame` finds its end,
//! `wire::envelope` its fields, `core` the sender, the receivers and whether they have room, and it is
//! copied into the outboxes of its receivers, from where the daemon writes it before the turn is over.
//! Of its body no tree is built.
//!
//! `tests/house` looks all of this up in the sources.

pub mod address;
pub mod client;
#[doc(hidden)]
pub mod clock;
pub mod cluster;
pub mod coming_from;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod core;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod daemon;
#[doc(hidden)]
pub mod duration;
pub mod hub;
pub mod limits;
#[cfg(feature = "service")]
#[doc(hidden)]
pub mod listen;
pub mod name;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod net;
pub mod node;
mod panics;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod plugin;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod plugin_settings;
pub mod profile;
pub mod protocol;
#[cfg(feature = "service")]
pub mod service;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod store;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod sys;
#[cfg(any(feature = "daemon", feature = "profiles"))]
#[cfg_attr(not(feature = "daemon"), allow(dead_code, unused_imports, reason = "the daemon needs all of it"))]
mod toml_file;
#[doc(hidden)]
pub mod topic;
pub mod wire;
