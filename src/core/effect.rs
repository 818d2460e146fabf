//! Knows what the core tells its shell, and what the shell tells the core.
//! Never: how either is carried out.

use std::fmt;

use crate::core::SessionKey;
use crate::core::event::Note;
use crate::core::happened::Happened;
use crate::core::reload::{Reloaded, Token};

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
    /// The session's turn after an [`Effect::Resume`].
    Resumed {
        /// Whose.
        session: SessionKey,
    },
    /// Nothing but that time has passed.
    TimePassed,
    /// The answer to [`Effect::Measure`].
    Measured {
        /// Whose.
        session: SessionKey,
        /// Bytes that were written for its peer and that the kernel still holds, about.
        unread: usize,
    },
    /// A plugin wants a signal sent in the daemon's name.
    Emitted(&'a crate::core::Emission),
    /// What came of an [`Effect::Reload`]. Where the configuration was faulty and nothing has changed, the
    /// text says where.
    #[expect(missing_docs, reason = "the line above says it")]
    Reloaded { token: Token, outcome: Result<Reloaded<'a>, &'a str> },
    /// New bounds hold from now on.
    LimitsChanged(Box<crate::limits::Limits>),
    /// The daemon is to end: everyone is told.
    StopAsked,
}

/// An order to the shell.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Hand in [`Input::Resumed`] when the session's turn comes, and read from it again.
    Resume(SessionKey),
    /// Hand in [`Input::Measured`]: how much of what was written the peer has not read.
    Measure(SessionKey),
    /// Close the connection. The session is over, and its key dead.
    Close(SessionKey),
    /// Read the configuration again, and hand in [`Input::Reloaded`] with this when that is done.
    Reload(Token),
    /// Something that an administrator may want to read.
    Note(Note),
    /// Something that plugins may want to know
    /// ([`Core::tell_happenings`](crate::core::Core::tell_happenings)).
    Happened(Box<Happened>),
}

/// Why a connection ends; `Display` is the protocol's word, where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
