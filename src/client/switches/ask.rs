//! Knows what goes to a cluster of switches, and what comes of it.
//! Never: how.

use std::fmt;

use crate::client::message::Message;
use crate::client::refused::Refused;
use crate::cluster::{self, Error};

/// What a node is asked over a server of a cluster: the content of a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub(super) to: Option<String>,
    pub(super) message_type: String,
    pub(super) body: String,
}

impl Ask {
    /// A request of `message_type` to the node `to`. `body` is JSON text; an empty one is no body.
    pub fn new(to: &str, message_type: &str, body: &str) -> Ask {
        Ask { to: Some(to.to_owned()), message_type: message_type.to_owned(), body: body.to_owned() }
    }

    /// A request of `message_type` to whichever service listens at the server itself. A switch would take it for itself.
    ///
    /// ```
    /// use telex::client::switches::Ask;
    ///
    /// let read = Ask::direct("read", "");
    /// ```
    pub fn direct(message_type: &str, body: &str) -> Ask {
        Ask { to: None, message_type: message_type.to_owned(), body: body.to_owned() }
    }

    /// A signal to the node `to`, which is not answered.
    ///
    /// ```
    /// use telex::client::switches::Ask;
    ///
    /// let here = Ask::signal("logger", "\"here I am\"");
    /// ```
    pub fn signal(to: &str, body: &str) -> Request {
        cluster::Message::new(Ask::new(to, "signal", body)).no_reply()
    }
}

/// A reply; or the error that the asked node itself replied with, which is an answer, too.
pub type Answer = Result<Message, Box<Refused>>;

/// A request to a cluster of switches. With [`no_reply`](cluster::Message::no_reply) it is sent as a signal.
pub type Request = cluster::Message<Ask, Answer>;

/// What came of a request: the reply, `None` if none is wanted.
pub type Outcome = Result<Option<Message>, SendError>;

/// Why a request has no reply. `Display` is a sentence for people.
///
/// ```
/// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
/// use telex::client::default_address;
/// use telex::client::switches::{Ask, SendError, Switches};
/// use telex::cluster::{ErrorKind, Message, Settings};
///
/// let switches = Switches::new(Settings::of(&default_address()?.to_string())?)?;
/// let error = |node, message_type| {
///     switches.send(Message::new(Ask::new(node, message_type, ""))).expect_err("no reply")
/// };
/// // The node has said so.
/// assert!(matches!(error("heating", "dance"), SendError::Refused(_)));
/// // No switch has such a node.
/// assert!(matches!(error("cellar", "read"), SendError::Failed(why) if why.kind == ErrorKind::Refused));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The node that was asked replied with an error.
    Refused(Box<Refused>),
    /// The cluster gave it up.
    Failed(Error),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Refused(why) => why.fmt(f),
            SendError::Failed(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for SendError {}

/// Why a typed call has no reply. `Display` is a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError<E> {
    /// The cluster gave it up.
    Failed(Error),
    /// The answer is none of its replies.
    Answer(E),
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Failed(why) => why.fmt(f),
            CallError::Answer(why) => why.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for CallError<E> {}
