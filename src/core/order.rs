//! Knows what the core tells its shell, and what the shell tells the core.
//! Never: how either is carried out.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::core::SessionKey;
use crate::core::emission::Emission;
use crate::core::event::{Event, Level, Note, Subject};
use crate::core::happening::Happened;
use crate::core::table::requests::RequestKey;
use crate::limits::Limits;
use crate::wire::json::Object;

/// A fact that the shell hands in.
#[derive(Debug)]
pub enum Input<'a> {
    /// These bytes came from the session's peer, in this order.
    Received {
        /// Whose bytes.
        session: SessionKey,
        /// Borrowed for the call; what has to be kept is copied.
        bytes: &'a [u8],
    },
    /// The peer has closed its writing side, or all of it: what is not handed in yet is the last that it
    /// sent. `Ended` follows behind that.
    Ending {
        /// Whose.
        session: SessionKey,
    },
    /// Nothing more will come.
    Ended {
        /// Whose.
        session: SessionKey,
    },
    /// Nothing more can be written: the connection was reset or hung up. `Ended` follows when all
    /// that had come before it has been handed in.
    Broke {
        /// Whose.
        session: SessionKey,
    },
    /// The session's turn after an [`Order::Resume`].
    Resumed {
        /// Whose.
        session: SessionKey,
    },
    /// A turn begins; time may have passed. What earlier calls have led to and is not done goes on.
    TimePassed,
    /// Time has passed, and the shell was held up: what is handed in up to the next `TimePassed` may have come before
    /// what is due now.
    HeldUp,
    /// The answer to [`Order::Measure`].
    Measured {
        /// Whose.
        session: SessionKey,
        /// Bytes that were written for its peer and that the kernel still holds, about.
        unread: usize,
    },
    /// A plugin wants a signal sent in the daemon's name.
    Emitted(&'a Emission),
    /// What was ordered by [`Order::Do`] is done.
    Done {
        /// The order's.
        token: Token,
        /// What came of it.
        outcome: Outcome<'a>,
    },
    /// New bounds hold from now on.
    LimitsChanged(Box<Limits>),
    /// The daemon is to end: everyone is told.
    StopAsked,
}

/// An order to the shell.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    /// Hand in [`Input::Resumed`] when the session's turn comes, and read from it again.
    Resume(SessionKey),
    /// Hand in [`Input::Measured`]: how much of what was written the peer has not read.
    Measure(SessionKey),
    /// Close the connection. The session is over, and its key dead.
    Close(SessionKey),
    /// Do some work that takes its time, beside the loop if need be, and hand in [`Input::Done`] with this
    /// token when it is done. A request waits for the outcome, without a time-out of its own.
    Do(Token, Work),
    /// Something that an administrator may want to read.
    Note(Note),
    /// Something that plugins may want to know
    /// ([`Core::tell_happenings`](crate::core::Core::tell_happenings)).
    Happened(Box<Happened>),
}

/// A request of a peer's that waits for the outcome of an order. It may be over when that comes, because its
/// asker is gone: then the outcome is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(pub(super) RequestKey);

/// What the shell does for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Read the configuration again, and apply it: `reload`.
    Reload,
    /// Tell the settings in force: `settings`.
    Settings,
    /// Log from this level on, for this time if there is one: `log_level`.
    LogLevel(Level, Option<Duration>),
}

/// What came of a [`Work`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// The configuration was read and applied.
    Reloaded(Reloaded<'a>),
    /// What the reply has in its body: members of a JSON object, with its braces, on one line.
    Told(&'a str),
    /// The work failed and nothing has changed: why, for people. The request is answered `bad_field`.
    Failed(&'a str),
}

/// What came of a reload: names of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reloaded<'a> {
    /// Those that are in force now.
    pub applied: &'a [&'a str],
    /// Those that will be after a restart.
    pub restart: &'a [&'a str],
}

/// Orders that the shell has not taken yet, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Orders(VecDeque<Order>);

/// Places for orders that are kept when all have been taken.
const ORDERS_KEPT_MAX: usize = 4096;

impl Orders {
    pub(crate) fn take(&mut self) -> Option<Order> {
        let order = self.0.pop_front();
        if self.0.is_empty() && self.0.capacity() > ORDERS_KEPT_MAX {
            self.0 = VecDeque::new();
        }
        order
    }

    pub(crate) fn put(&mut self, order: Order) {
        self.0.push_back(order);
    }

    pub(crate) fn resume(&mut self, session: SessionKey) {
        self.put(Order::Resume(session));
    }

    /// Yields a record; `fields` writes what is in it for programs.
    pub(crate) fn note(
        &mut self,
        level: Level,
        event: Event,
        about: Subject,
        text: String,
        fields: impl FnOnce(&mut Object<'_>),
    ) {
        let mut bytes = Vec::new();
        let mut object = Object::begin(&mut bytes);
        fields(&mut object);
        object.end();
        let fields = String::from_utf8(bytes).unwrap_or_default();
        self.put(Order::Note(Note { level, event, about, text, fields }));
    }

    /// The memory that the queue takes, without the texts of records: the shell takes these in every turn.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.0.len() * size_of::<Order>()
    }
}

/// Why a connection ends; `Display` is the protocol's word, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub enum Reason {
    /// The node ID was given up, and the connection goes on.
    Unregistered,
    /// The peer ended it: closed, half-closed, reset.
    Lost,
    /// The node ID was taken over, and the connection goes on.
    Replaced,
    /// An administrator closed it.
    Killed,
    /// It read too slowly.
    Stalled,
    /// It sent nothing but broken lines.
    Broken,
    /// The daemon ends.
    Shutdown,
}

impl Reason {
    /// The word in a `node_down` signal.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Unregistered => "unregistered",
            Reason::Lost => "lost",
            Reason::Replaced => "replaced",
            Reason::Killed => "killed",
            Reason::Stalled => "stalled",
            Reason::Broken => "broken",
            Reason::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
