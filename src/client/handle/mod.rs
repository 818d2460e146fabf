//! Knows the modules of a connection that many threads share: what is waited for ([`Answer`], [`Stream`]); the
//! books that are kept of it; the two threads; and [`Handle`] on top.
//! Never: what the messages of an application mean.

mod answer;
mod backoff;
mod book;
mod builder;
mod change;
mod connection;
mod direct;
pub(super) mod driven;
mod holdings;
mod intake;
mod options;
mod output;
mod pump;
mod queue;
mod reader;
mod restore;
mod shared;
mod slot;
mod state;
mod stream;
mod writer;

pub use answer::Answer;
#[doc(hidden)]
pub use backoff::Backoff;
pub use builder::Builder;
pub use change::{Arrival, Change, Presence};
pub use connection::{Handle, WeakHandle};
pub use options::{Reconnect, WhileAway};
pub use stream::{Next, Stream};

#[cfg(test)]
mod tests;
