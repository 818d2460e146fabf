//! Knows nodes with ports in them: messages between ports of all nodes, monitors, links, groups.
//! Never: how the switch carries them.
//!
//! A [`Node`] is a connection to the switch with any number of ports in it. A [`Port`] takes messages, which
//! are lists of JSON values, and lives until it is killed. Its ID, `NODE#NAME`, is a text that can be sent to
//! other nodes. From any node a port can be sent to ([`Node::snd`]), asked ([`Node::cal`]), killed
//! ([`Node::kil`]) and monitored ([`Node::mon`]); a monitor tells that a port died, and of what, or that
//! messages to or from it may have been lost. Ports are linked by monitors that kill, so that what belongs
//! together dies together. [`Node::spawn`] makes a port on another node, and groups ([`Node::grp_reg`]) are
//! how ports find each other.
//!
//! The switch sees lines of its [protocol](crate::protocol), section 15, so nodes can be made in any
//! language.
//!
//! # Ping-pong
//!
//! One node offers a function, the other spawns a port by it and plays with that.
//!
//! ```no_run
#![doc = include_str!("../../tests/ports/ping_pong.rs")]
//! ```
//!
//! # A supervised worker
//!
//! A handler that panics kills its port, and the monitor starts a new one.
//!
//! ```no_run
#![doc = include_str!("../../tests/ports/supervisor.rs")]
//! ```
//!
//! # A chat
//!
//! Ports of two nodes are in a group, and are told who comes and goes.
//!
//! ```no_run
#![doc = include_str!("../../tests/ports/chat.rs")]
//! ```
//!
//! # Coming from AnyEvent::MP
//!
//! The functions have their names; [a table](crate::coming_from#anyeventmp) tells what differs.

mod base;
mod cal;
mod carry;
mod connect;
mod directory;
mod down;
mod hear;
mod monitor;
mod port;
mod ports;
mod queue;
mod said;
mod turn;

pub(crate) use base::Function;
pub use base::{GroupChange, Node, NodeChange, Port};
pub use down::{CalError, Down};
pub use monitor::{Guard, Mon, Monitor};
pub(crate) use port::as_function;
pub use port::node_of;
pub use serde_json::{Value, json};
