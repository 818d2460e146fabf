//! Knows the client's side of the protocol: a pure [`Session`], a blocking [`Client`] and a [`Handle`] for many.
//! Never: how the daemon does its work.
//!
//! A [`Client`] is for one thread that talks and waits: it starts no threads, has a file descriptor for a poll
//! loop of your own, and does nothing between calls. Take it for a tool, a script, a test.
//!
//! ```no_run
//! use std::time::Duration;
//! use telex::client::{Client, default_address};
//!
//! let mut client = Client::connect(&default_address()?)?;
//! client.register("thermometer")?;
//! client.send("logger", r#"{"text":"here I am"}"#)?;
//! let reply = client.call("heating", "set", r#"{"c":21}"#, Duration::from_secs(5))?;
//! println!("{}", reply.body().unwrap_or("null"));
//! while let Some(message) = client.next(None)? {
//!     if message.is_request() {
//!         client.reply(&message, r#"{"c":20.5}"#)?;
//!     }
//! }
//! # Ok::<(), telex::client::Error>(())
//! ```
//!
//! A [`Handle`] is for all else: many threads and tasks share it, requests overtake each other, answers are
//! waited for, awaited or called back, requests of others are answered by handlers, and a lost connection is
//! made again. Two threads stand behind it.
//!
//! ```no_run
//! use std::time::Duration;
//! use telex::client::{Handle, default_address};
//!
//! # async fn example() -> Result<(), telex::client::Error> {
//! let handle = Handle::connect(&default_address()?)?;
//! handle.register("thermometer").await?;
//! handle.on("read", |_request| Ok::<_, String>(r#"{"c":20.5}"#));
//! let reply = handle.call("heating", "set", r#"{"c":21}"#, Duration::from_secs(5)).await?;
//! println!("{}", reply.body().unwrap_or("null"));
//! # Ok(())
//! # }
//! ```
//!
//! A [`Session`] is for a loop or runtime of your own that reads and writes itself.
//!
//! Bodies are JSON text, both ways: what a caller hands in is checked as the daemon would check it, and
//! what is received is lent out as it stands in the line. An empty text is no body; [`text`] makes a
//! JSON string of any text; a `serde_json::Value` has `to_string()`.
//!
//! The modules inside use each other in one direction only: [`Fault`], [`Message`], [`Refused`], [`Unsendable`],
//! [`Undialled`];
//! then the lines of a connection; then [`Session`]; then [`Error`], the socket, what is kept; [`Client`],
//! [`Handle`] and [`Switches`] on top.

mod ask;
mod attempt;
mod blocking;
mod dial;
mod endpoints;
mod error;
mod fault;
mod handle;
mod kept;
mod lines;
mod link;
mod message;
mod refused;
mod seek;
mod session;
pub mod switches;
#[cfg(test)]
mod testing;
mod undialled;
mod unique;
mod unsendable;

pub use blocking::Client;
pub use error::Error;
pub use fault::Fault;
#[doc(hidden)]
pub use handle::driven::Driven;
pub use handle::{
    Answer, Arrival, Builder, Change, Handle, Instance, List, ListedNode, Next, NodeList, Presence,
    Reconnect, ResolvedNode, Stream, WeakHandle, WhileAway, Whoami,
};
pub use kept::KEPT_BYTES_MAX;
#[cfg(feature = "service")]
pub(crate) use lines::direct_reply;
pub use lines::{LINE_BYTES_MAX, Ticket, To};
pub use message::Message;
pub use refused::Refused;
pub use seek::default_address;
pub use session::{Event, Session};
pub use switches::Switches;
pub use undialled::Undialled;
pub use unsendable::Unsendable;

pub use crate::wire::control::{Delivery, Overflow, Register};
pub use crate::wire::message::{Category, Id};

/// Any text as a JSON string, to be a body.
///
/// ```
/// assert_eq!(telex::client::text("say \"hi\""), r#""say \"hi\"""#);
/// ```
pub fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
