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
//! ```
//! # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
//! use std::sync::mpsc::channel;
//! use std::time::Duration;
//! use telex::client::default_address;
//! use telex::node::{Down, Node, NodeChange, json, node_of};
//!
//! let shop = Node::connect(&default_address()?, "shop")?;
//! let (told, news) = channel();
//! shop.mon_nodes(move |_, change| {
//!     if let NodeChange::Up { node } = change {
//!         let _ = told.send(node.clone());
//!     }
//! });
//!
//! // What a port takes is decided by the first element of a message.
//! let customer = Node::connect(&default_address()?, "customer")?;
//! assert!(news.iter().any(|node| node == customer.id()));
//! let till = shop.port();
//! till.rcv("pay", |till, message| {
//!     till.node().snd(message[1].as_str().unwrap_or_default(), json!(["paid", message[0]]));
//! });
//! till.rcv("riot", |_, _| panic!("help!"));
//! assert_eq!((node_of(till.id()), shop.node_is_up("shop")), (shop.id(), true));
//!
//! let (told, receipts) = channel();
//! let purse = customer.port();
//! purse.rcv_default(move |_, message| drop(told.send(message.to_vec())));
//! customer.snd(&till, json!(["pay", 17, purse.id()]));
//! assert_eq!(receipts.recv().unwrap(), [json!("paid"), json!(17)]);
//!
//! // A panic in a handler kills its port, which those that monitor it are told.
//! let (told, ends) = channel();
//! customer.mon(&till).beat(Duration::from_secs(5)).call(move |_, down| drop(told.send(down.clone())));
//! customer.snd(&till, "riot");
//! assert_eq!(ends.recv().unwrap(), Down::Killed(vec![json!("die"), json!("help!")]));
//! # Ok::<(), telex::client::Error>(())
//! ```
//!
//! The switch sees lines of its [protocol](crate::protocol), section 15, so nodes can be made in any
//! language.
//!
//! # Ping-pong
//!
//! One node offers a function, the other spawns a port by it and plays with that.
//!
//! ```
#![doc = include_str!("../../tests/ports/ping_pong.rs")]
//! # fn main() -> Result<(), Error> {
//! #     let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
//! #     assert_eq!(ping_pong(&telex::client::default_address()?, 3)?, [1, 2, 3]);
//! #     Ok(())
//! # }
//! ```
//!
//! # A supervised worker
//!
//! A handler that panics kills its port, and the monitor starts a new one.
//!
//! ```
#![doc = include_str!("../../tests/ports/supervisor.rs")]
//! # fn main() -> Result<(), Error> {
//! #     let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
//! #     assert_eq!(supervised(&telex::client::default_address()?)?.len(), 4);
//! #     Ok(())
//! # }
//! ```
//!
//! # A chat
//!
//! Ports of two nodes are in a group, and are told who comes and goes.
//!
//! ```
#![doc = include_str!("../../tests/ports/chat.rs")]
//! # fn main() -> Result<(), Error> {
//! #     let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
//! #     assert_eq!(chat(&telex::client::default_address()?)?.len(), 3);
//! #     Ok(())
//! # }
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
pub(crate) use said::elements;
pub use serde_json::{Value, json};
