//! Knows what can go wrong for a client, and how to say it to people.
//! Never: what a caller does about it.

use std::collections::BTreeMap;
use std::time::Duration;
use std::{fmt, io};

use serde_json::value::RawValue;

use crate::address::{Address, BadAddress};
use crate::client::message::Message;
use crate::limits::DEPTH_MAX;
use crate::wire::code::Code;
use crate::wire::message::excerpt;

/// Why something that a client wanted was not had. `Display` is a sentence for people.
#[derive(Debug)]
pub enum Error {
    /// The environment names no usable address.
    Address(BadAddress),
    /// Nobody could be reached there.
    Connect {
        /// Where.
        address: Address,
        /// What the system said; of several addresses of a host, about the last one tried.
        source: io::Error,
    },
    /// The connection failed.
    Io {
        /// `reading` or `writing`.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon has ended the connection. What it said before can still be had from `next`.
    Closed,
    /// The message cannot be sent; nothing of it was.
    Unsendable(Unsendable),
    /// The request was answered by an error.
    Refused(Box<Refused>),
    /// Not even the daemon answered; a timeout that it tells is a [`Error::Refused`].
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// Too much came that nobody has asked `next` for. Nothing is lost: take it, then go on.
    KeptFull,
    /// What came is not the protocol. The next line can be read.
    Fault(Fault),
}

impl Error {
    /// Whether the daemon refused with this code; a timeout on this side counts as `timeout`.
    pub fn is(&self, code: Code) -> bool {
        match self {
            Error::Refused(refused) => refused.by_daemon() && refused.code() == Some(code.word()),
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
            Error::Io { doing, source } => write!(f, "{doing} failed: {source}"),
            Error::Closed => f.write_str("the daemon ended the connection"),
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

/// Why a message cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsendable {
    /// The body is no JSON that the daemon takes.
    BadBody {
        /// What is wrong with it, and where.
        why: String,
    },
    /// The body of a reply is no object, or has an `in_reply_to` of its own.
    BadReply,
    /// The `message_type` of a request belongs to another category.
    NotARequest,
    /// Only requests are replied to, and this is none, or lacks `from` or `message_id`.
    NotAnswerable,
    /// The line would be longer than the daemon takes.
    LineTooLong {
        /// The line's, without LF.
        bytes: usize,
        /// What the daemon takes.
        most: usize,
    },
}

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsendable::BadBody { why } => write!(f, "the body is no JSON: {why}"),
            Unsendable::BadReply => {
                f.write_str("the body of a reply must be a JSON object without \"in_reply_to\"")
            }
            Unsendable::NotARequest => f.write_str(
                "the type of a request cannot be empty, \"signal\" or \"error\", nor end in \"_reply\"",
            ),
            Unsendable::NotAnswerable => f.write_str("only requests can be replied to"),
            Unsendable::LineTooLong { bytes, most } => {
                write!(f, "the message has {bytes} bytes, and the daemon takes {most}")
            }
        }
    }
}

impl Unsendable {
    /// Says where `body` is at fault, which has been refused at `column` (bytes from 1).
    pub(crate) fn bad_body(body: &str, column: usize) -> Unsendable {
        let why = match serde_json::from_str::<&RawValue>(body) {
            Err(error) => error.to_string(),
            Ok(_) => format!(
                "at byte {column} it is nested deeper than {} or has half of a surrogate pair",
                DEPTH_MAX - 1
            ),
        };
        Unsendable::BadBody { why }
    }
}

/// What a peer sent that is not the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A line longer than [`LINE_BYTES_MAX`](crate::client::LINE_BYTES_MAX). It is skipped.
    LineTooLong,
    /// A line that is no message.
    Foreign {
        /// How it begins.
        excerpt: String,
    },
}

impl Fault {
    pub(crate) fn foreign(line: &[u8]) -> Fault {
        // Enough for the excerpt, whatever the characters.
        const LOOKED_AT_BYTES: usize = 256;
        let beginning = String::from_utf8_lossy(&line[..line.len().min(LOOKED_AT_BYTES)]);
        Fault::Foreign { excerpt: excerpt(&beginning).into_owned() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::LineTooLong => f.write_str("a line came that is longer than any daemon sends"),
            Fault::Foreign { excerpt } => write!(f, "what came is no telex message: {excerpt}"),
        }
    }
}

/// An error that was answered, by the daemon or by a node.
#[derive(Clone, Debug)]
pub struct Refused {
    code: Option<String>,
    error: String,
    message: Message,
}

impl Refused {
    /// Gives a reply back, unless it tells an error: any `error` line does, and a reply whose `body.error`
    /// is neither absent nor null.
    pub fn check(message: Message) -> Result<Message, Box<Refused>> {
        let fields: BTreeMap<String, &RawValue> =
            message.body().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default();
        let field = |name| fields.get(name).map(|raw| raw.get()).filter(|raw| *raw != "null");
        let text = |raw| serde_json::from_str::<String>(raw).ok();
        let is_error = message.category() == crate::wire::message::Category::Error;
        let (error, code) = match field("error") {
            // A node may answer with an error that is no string; it is shown as it stands.
            Some(raw) => (text(raw).unwrap_or_else(|| raw.to_owned()), field("code").and_then(text)),
            None if is_error => (message.line().to_owned(), field("code").and_then(text)),
            None => return Ok(message),
        };
        Err(Box::new(Refused { code, error, message }))
    }

    /// `body.code`, the word for programs. The daemon gives one always; what a node gives is its own.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// `body.error`, the sentence for people.
    pub fn error(&self) -> &str {
        &self.error
    }

    /// Whether the daemon itself said so, and not a node.
    pub fn by_daemon(&self) -> bool {
        self.message.from().is_none()
    }

    /// The whole answer.
    pub fn message(&self) -> &Message {
        &self.message
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{} ({code})", self.error),
            None => f.write_str(&self.error),
        }
    }
}
