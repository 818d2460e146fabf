//! Knows what can go wrong for a client, and how to say it to people.
//! Never: what a caller does about it.

use std::time::Duration;
use std::{fmt, io};

use crate::address::{Address, BadAddress};
use crate::client::fault::Fault;
use crate::client::refused::Refused;
use crate::client::undialled::Undialled;
use crate::client::unsendable::Unsendable;
use crate::wire::code::Code;

/// Why a client could not do what it was asked for. `Display` is a sentence for people.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The environment names no usable address.
    Address(BadAddress),
    /// No connection to the daemon could be made.
    Connect {
        /// The address that was tried.
        address: Address,
        /// What the system said; of several addresses of a host, about the last one tried.
        source: io::Error,
    },
    /// A daemon is there, and its socket may not be used by this user.
    NoPermission {
        /// The address that was tried.
        address: Address,
        /// The group whose members may, by its name or, if it has none, its number; `None` if it cannot be
        /// told.
        group: Option<String>,
    },
    /// A service could not be spoken to directly; nothing was asked of it.
    Undialled(Undialled),
    /// The connection failed.
    Io {
        /// `reading` or `writing`.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon has ended the connection. What it said before can still be had from
    /// [`Client::next`](crate::client::Client::next).
    Closed {
        /// The error that was its last word, if it was one: too many connections, a plugin that refuses
        /// this one, an administrator's `kill`.
        why: Option<Box<Refused>>,
    },
    /// The connection was lost while the request was on its way: whether it was carried out is not known.
    /// [`Handle`](crate::client::Handle) alone gives this.
    Lost {
        /// The daemon's last word, if it was an error about the connection.
        why: Option<Box<Refused>>,
    },
    /// There is no connection just now, and nothing was sent. [`Handle`](crate::client::Handle) alone gives this.
    Away,
    /// The node ID that messages of this connection come from was taken by another one while the connection was
    /// lost, and is not regained yet; nothing was sent. [`Handle`](crate::client::Handle) alone gives this.
    NameLost {
        /// The node ID.
        node_id: String,
    },
    /// The message cannot be sent; nothing of it was.
    Unsendable(Unsendable),
    /// The request was answered by an error.
    Refused(Box<Refused>),
    /// Not even the daemon answered; a timeout that it tells is a [`Error::Refused`].
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// More came than is kept ([`KEPT_BYTES_MAX`](crate::client::KEPT_BYTES_MAX)) while something else was
    /// done. None of that is lost: take it by [`Client::next`](crate::client::Client::next), then go on. A
    /// signal or reply that ends so was not sent; a call may have been, and its reply is dropped.
    KeptFull,
    /// What came is not the protocol. The next line can be read.
    Fault(Fault),
}

impl Error {
    /// Whether the daemon told an error with this code, as an answer or as the reason why it ended the
    /// connection. A timeout on this side counts as `timeout`.
    pub fn is(&self, code: Code) -> bool {
        match self {
            Error::Refused(refused)
            | Error::Closed { why: Some(refused) }
            | Error::Lost { why: Some(refused) } => refused.is(code),
            Error::Timeout { .. } => code == Code::Timeout,
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Address(bad) => bad.fmt(f),
            Error::Connect { address, source } => write!(f, "cannot reach {address}: {source}"),
            Error::NoPermission { address, group: Some(group) } => {
                write!(f, "cannot reach {address}: permission denied; its group \"{group}\" may, and root")
            }
            Error::NoPermission { address, group: None } => {
                write!(f, "cannot reach {address}: permission denied")
            }
            Error::Lost { why: None } => f.write_str("the connection was lost before the answer came"),
            Error::Lost { why: Some(why) } => {
                write!(f, "the connection was lost before the answer came: {why}")
            }
            Error::Away => f.write_str("there is no connection to the daemon just now"),
            Error::NameLost { node_id } => write!(f, "the name \"{node_id}\" was lost to another connection"),
            Error::Io { doing, source } => write!(f, "{doing} failed: {source}"),
            Error::Closed { why: None } => f.write_str("the daemon ended the connection"),
            Error::Closed { why: Some(why) } => write!(f, "the daemon ended the connection: {why}"),
            Error::Undialled(why) => why.fmt(f),
            Error::Unsendable(why) => why.fmt(f),
            Error::Refused(refused) => refused.fmt(f),
            Error::Timeout { after } => {
                write!(f, "the daemon did not answer within {} s", after.as_secs_f64())
            }
            Error::KeptFull => f.write_str("too many messages came that were not taken"),
            Error::Fault(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Connect { source, .. } | Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<Unsendable> for Error {
    fn from(why: Unsendable) -> Error {
        Error::Unsendable(why)
    }
}
