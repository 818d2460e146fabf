//! Knows the client's side of the protocol: a pure [`Session`], a blocking [`Client`] and a [`Handle`] for many.
//! Never: how the daemon does its work.
//!
//! A [`Client`] is for one thread that talks and waits: it starts no threads, has a file descriptor for a poll
//! loop of your own, and does nothing between calls. Take it for a tool, a script, a test.
//!
//! ```
//! # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
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
//! #   break;
//! }
//! # Ok::<(), telex::client::Error>(())
//! ```
//!
//! A [`Handle`] is for all else: many threads and tasks share it, requests overtake each other, answers are
//! waited for, awaited or called back, requests of others are answered by handlers, and a lost connection is
//! made again. Two threads stand behind it.
//!
//! ```
//! # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
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
//! # smol::block_on(example()).unwrap();
//! ```
//!
//! A [`Session`] is for a loop or runtime of your own that reads and writes itself.
//!
//! # Topics
//!
//! What is published to a topic reaches all that subscribe to a pattern that it matches.
//!
//! ```
//! # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
//! use telex::client::{Arrival, Handle, default_address};
//!
//! let handle = Handle::connect(&default_address()?)?;
//! let mut news = handle.subscribe("sensor.>", None).wait()?;
//! handle.publish("sensor.hall", r#"{"c":20.5}"#)?;
//! let first = news.wait(None)?.and_then(Arrival::message).expect("a message");
//! assert_eq!((first.topic(), first.body_value()["c"].as_f64()), (Some("sensor.hall"), Some(20.5)));
//! handle.unsubscribe("sensor.>", None).wait()?;
//! # Ok::<(), telex::client::Error>(())
//! ```
//!
//! # Who is there
//!
//! ```
//! # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
//! use telex::client::{Handle, Presence, Register, default_address};
//!
//! let handle = Handle::connect(&default_address()?)?;
//! println!("this is {}", handle.whoami().wait()?.unique_id);
//! let mut presence = handle.monitor("therm*").wait()?;
//! let terms = Register {
//!     node_id: Some("thermometer".into()),
//!     endpoints: Some(vec!["unix:/run/thermometer.sock".into()]),
//!     ..Register::default()
//! };
//! handle.register_with(&terms).wait()?;
//! assert!(matches!(presence.wait(None)?, Some(Presence::Up { node_id, .. }) if node_id == "thermometer"));
//!
//! let thermometer = handle.resolve("thermometer").wait()?;
//! assert_eq!((&*thermometer.status, &*thermometer.endpoints[0]), ("up", "unix:/run/thermometer.sock"));
//! handle.unregister("thermometer").wait()?;
//! assert!(matches!(presence.wait(None)?, Some(Presence::Down { reason, .. }) if reason == "unregistered"));
//! handle.unmonitor("therm*").wait()?;
//! # Ok::<(), telex::client::Error>(())
//! ```
//!
//! # Answering later
//!
//! A handler answers at once, on the thread that reads. What no handler takes comes to an inbox, from where any
//! thread answers when it likes.
//!
//! ```
//! # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
//! use std::time::Duration;
//! use telex::client::{Arrival, Handle, default_address};
//!
//! let clerk = Handle::builder().register("clerk").connect(&default_address()?)?;
//! let mut inbox = clerk.inbox();
//! let visitor = Handle::connect(&default_address()?)?;
//! let answers = ["open", "burn"].map(|what| visitor.call("clerk", what, "", Duration::from_secs(5)));
//! for request in inbox.iter().filter_map(Arrival::message).take(2) {
//!     match request.message_type() {
//!         "open" => clerk.reply(&request, r#"{"file":17}"#)?,
//!         _ => clerk.reply_error(&request, "that is not done here")?,
//!     }
//! }
//! let [open, burn] = answers;
//! assert_eq!(open.wait()?.body_value()["file"], 17);
//! assert_eq!(burn.wait().expect_err("an error").to_string(), "that is not done here");
//! # Ok::<(), telex::client::Error>(())
//! ```
//!
//! # What becomes of a connection
//!
//! A lost one is made again, and tells so. What could not be delivered is told, too; a barrier, such as
//! [`ping`](Handle::ping), says that there is no such word still to come.
//!
//! ```
//! # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
//! use std::time::Duration;
//! use telex::client::{Change, Handle, default_address};
//!
//! let handle = Handle::connect(&default_address()?)?;
//! handle.on_signal(|signal| println!("{}", signal.line()));
//! let mut changes = handle.changes();
//! let sent = handle.send("nowhere", "1")?;
//! handle.ping().wait()?;
//! let change = changes.wait(Some(Duration::ZERO))?;
//! assert!(matches!(change, Some(Change::Undelivered { ticket, .. }) if ticket == Some(sent)));
//!
//! // A handler that is to use the handle holds a weak one: any other would keep the connection from ending.
//! let weak = handle.downgrade();
//! assert!(weak.upgrade().is_some_and(|handle| !handle.is_closed()));
//! handle.close();
//! assert!(handle.is_closed());
//! # Ok::<(), telex::client::Error>(())
//! ```
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
pub(crate) mod moment;
mod refused;
mod seek;
mod session;
pub mod switches;
#[cfg(test)]
mod testing;
mod told;
mod undialled;
pub(crate) mod unique;
mod unsendable;

pub use blocking::Client;
#[doc(hidden)]
pub use blocking::socket;
#[cfg(feature = "service")]
pub(crate) use dial::Stream as Socket;
pub use error::Error;
pub use fault::Fault;
#[doc(hidden)]
pub use handle::Backoff;
#[doc(hidden)]
pub use handle::driven::Driven;
pub use handle::{
    Answer, Arrival, Builder, Change, Handle, Next, Presence, Reconnect, Stream, WeakHandle, WhileAway,
};
pub use kept::KEPT_BYTES_MAX;
#[cfg(feature = "service")]
pub(crate) use lines::direct_reply;
pub use lines::{Ticket, To};
pub use message::{LINE_BYTES_MAX, Message};
pub use refused::Refused;
pub use seek::{connect_default, default_address};
pub use session::{Event, Session};
pub use switches::Switches;
pub use told::{Instance, List, ListedNode, NodeList, Receipt, ResolvedNode, Whoami};
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
