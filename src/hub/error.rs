//! Knows why a hub does not do what it is asked for, and how to read that from a line.
//! Never: connections.

use std::error::Error as StdError;
use std::fmt;

use crate::client::{Message, Refused};
use crate::wire::envelope::{Broken, Envelope};
use crate::wire::json::write_on_one_line;
use crate::wire::message;

/// Why the hub did not do what it was asked for. `Display` is a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A connection has this unique id.
    UniqueIdTaken,
    /// The text is no message, or not the one that is needed.
    BadMessage {
        /// What is wrong with it.
        why: String,
    },
    /// The registration was refused. The sender has been told.
    Refused {
        /// The code of the protocol, such as `name_taken`.
        code: String,
        /// The sentence for people.
        error: String,
    },
    /// No connection holds the message's `from`, or there is none in it.
    NoSuchSender,
    /// The new connection's own sender failed, which has ended it.
    SenderFailed {
        /// What it said.
        why: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::UniqueIdTaken => f.write_str("a connection has this unique id"),
            Error::BadMessage { why } => f.write_str(why),
            Error::Refused { code, error } => write!(f, "{error} ({code})"),
            Error::NoSuchSender => f.write_str("no connection holds the \"from\" of the message"),
            Error::SenderFailed { why } => write!(f, "the new connection's sender failed: {why}"),
        }
    }
}

impl StdError for Error {}

pub(super) fn broken(why: Broken) -> Error {
    Error::BadMessage {
        why: match why {
            Broken::BadJson { column } => format!("the message is no JSON at byte {column}"),
            Broken::NotAnObject => "the message is no JSON object".to_owned(),
        },
    }
}

/// Checks that a message asks the hub for a `register`. All else about it is looked at there.
pub(super) fn check_register(text: &str) -> Result<(), Error> {
    let mut line = Vec::new();
    write_on_one_line(&mut line, text);
    let envelope = Envelope::scan(&line).map_err(broken)?;
    let is_one = message::Message::read(&envelope)
        .map_err(|refusal| Error::BadMessage { why: refusal.error })
        .map(|message| message.message_type == "register" && message.target == message::Target::Daemon)?;
    let why = "the first message of a connection must be a \"register\" to the hub";
    if is_one { Ok(()) } else { Err(Error::BadMessage { why: why.to_owned() }) }
}

/// The node ID that the answer to a `register` gives.
pub(super) fn node_id_of(answer: &str) -> Result<String, Error> {
    let message =
        Message::read(answer.into()).map_err(|fault| Error::BadMessage { why: fault.to_string() })?;
    let message = Refused::check(message).map_err(|refused| from_refused(&refused))?;
    Ok(message.body_value()["node_id"].as_str().unwrap_or_default().to_owned())
}

/// What a line says with which a connection is refused.
pub(super) fn refused(line: &[u8]) -> Error {
    node_id_of(String::from_utf8_lossy(line).trim_end()).err().unwrap_or(Error::NoSuchSender)
}

fn from_refused(refused: &Refused) -> Error {
    let code = refused.code().unwrap_or_default().to_owned();
    Error::Refused { code, error: refused.error().to_owned() }
}
