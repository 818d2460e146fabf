//! Knows what a handle tells its owner by itself, and what comes over it, as values.
//! Never: when that happens.

use std::sync::Arc;

use crate::client::error::Error;
use crate::client::lines::Ticket;
use crate::client::message::Message;
use crate::client::refused::Refused;

/// What became of a connection, told by [`Handle::changes`](crate::client::Handle::changes).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// The connection was lost. What was on its way has ended with [`Error::Lost`].
    Lost {
        /// How: [`Error::Closed`], [`Error::Io`] or [`Error::Fault`].
        error: Arc<Error>,
    },
    /// The connection stands again, its names, subscriptions and monitors too, but for names of which a
    /// [`Change::NameLost`] came just before. Messages that were sent to this handle meanwhile may be missing:
    /// subscriptions tell it in their place, and monitors tell what is different now.
    Restored {
        /// How many times it was tried.
        tries: u32,
    },
    /// A node ID was taken by another connection meanwhile. It is tried again and again.
    NameLost {
        /// The node ID.
        node_id: String,
        /// What the daemon says.
        why: Box<Refused>,
    },
    /// A node ID is held again.
    NameRegained {
        /// The node ID.
        node_id: String,
    },
    /// A subscription or a monitor was refused when the connection was restored: it has ended.
    Ended {
        /// Its pattern.
        pattern: String,
        /// What went wrong.
        error: Arc<Error>,
    },
    /// The daemon could not deliver something that was no request, or found it at fault.
    Undelivered {
        /// What [`Handle::send`](crate::client::Handle::send) gave for it, if the daemon names it.
        ticket: Option<Ticket>,
        /// What the daemon says.
        why: Box<Refused>,
    },
    /// So many changes were not taken in time, and are missing here.
    Missed(u64),
}

/// What comes by a subscription, or an inbox.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Arrival {
    /// A message.
    Message(Message),
    /// Messages are missing here: so many, or, if the connection was lost, `None`, since nothing counted them.
    /// The daemon counts what a connection missed, not which subscription: its numbers are told to all
    /// subscriptions of a handle.
    Missed(Option<u64>),
}

impl Arrival {
    /// The message, if it is one.
    pub fn message(self) -> Option<Message> {
        match self {
            Arrival::Message(message) => Some(message),
            Arrival::Missed(_) => None,
        }
    }
}

/// What a monitor tells of an instance of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Presence {
    /// It is there.
    Up {
        /// The node.
        node_id: String,
        /// The connection that is its instance.
        unique_id: String,
    },
    /// It is there no more.
    Down {
        /// The node.
        node_id: String,
        /// The connection that was its instance.
        unique_id: String,
        /// Why, in the daemon's words (`unregistered`, `lost`, `replaced`, `killed`, `stalled`, `broken`,
        /// `shutdown`); `unknown` if it went while this handle had no connection.
        reason: String,
    },
    /// So many words were not taken in time, and are missing here.
    Missed(u64),
}
