//! Knows what clients and servers say to each other, in each server's own words.
//! Never: who is there, or how much is sent.

mod dbus;
mod mqtt;
mod nats;
mod redis;
mod relay;
mod telex;

use crate::frame::Body;

pub(crate) use dbus::Dbus;
pub(crate) use mqtt::Mqtt;
pub(crate) use nats::Nats;
pub(crate) use redis::Redis;
pub(crate) use relay::Relay;
pub(crate) use telex::Telex;

/// A client.
#[derive(Clone, Debug)]
pub(crate) struct Party {
    /// Its address, where it takes messages.
    pub(crate) name: String,
    /// A topic that it takes messages of, in place of those to its name.
    pub(crate) topic: Option<&'static str>,
    /// Where all its messages go.
    pub(crate) to: String,
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Signal,
    /// A signal to a topic.
    News,
    Request,
    Reply,
}

/// What a server says beside the messages, and what it has to be told then.
#[derive(Clone, Debug)]
pub(crate) struct Aside {
    pub(crate) heard: Vec<u8>,
    pub(crate) answer: &'static [u8],
}

/// How one speaks to a server.
pub(crate) trait Dialect {
    /// What a client says first.
    fn hello(&self, party: &Party) -> Vec<u8>;

    /// Whether that has been answered to its end, and well.
    fn is_ready(&self, heard: &[u8]) -> bool;

    /// Takes note of what the server has told a client that has joined.
    fn joined(&self, _party: &Party, _heard: &[u8]) {}

    /// A message, as it is sent by a client that has joined.
    fn sent(&self, kind: Kind, party: &Party, body: Body) -> Vec<u8>;

    /// The same, as it comes to its receivers.
    fn received(&self, kind: Kind, party: &Party, body: Body) -> Vec<u8>;

    /// What comes beside messages to a client each of whose messages goes to so many others.
    fn asides(&self, _copies: usize) -> Vec<Aside> {
        Vec::new()
    }
}
