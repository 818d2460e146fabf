//! Knows how the lines of one connection are written and numbered, and how what comes falls into messages.
//! Never: which lines wait for an answer; sockets, clocks, randomness.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::client::fault::Fault;
use crate::client::message::Message;
use crate::client::unsendable::Unsendable;
use crate::limits::{ADDED_BYTES_MAX, Limits, MAX_LINE_BYTES_MAX, TIMEOUT_MS_MAX};
use crate::wire::envelope::{Broken, Envelope, Field};
use crate::wire::frame::{Deframer, Frame};
use crate::wire::json::Object;
use crate::wire::message::Category;

/// The longest line that a client takes, in bytes: the longest that a daemon sends, however it is
/// configured. That is a tap's, which holds another line as a string; escapes at most double it.
pub const LINE_BYTES_MAX: usize = 2 * (MAX_LINE_BYTES_MAX + ADDED_BYTES_MAX) + ADDED_BYTES_MAX;

/// Where a message goes. A text is a node's address: `NODE`, `NODE#PORT`, `:N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To<'a> {
    /// The daemon itself.
    Daemon,
    /// A node or a connection.
    Node(&'a str),
    /// All that subscribe to this topic.
    Topic(&'a str),
}

impl<'a> From<&'a str> for To<'a> {
    fn from(address: &'a str) -> To<'a> {
        To::Node(address)
    }
}

impl<'a> From<&'a String> for To<'a> {
    fn from(address: &'a String) -> To<'a> {
        To::Node(address)
    }
}

/// One line that a session wrote. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

impl Ticket {
    /// The number of the line, from 1 on.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// The lines that one client writes.
#[derive(Debug)]
pub(super) struct Outgoing {
    prefix: String,
    last: u64,
    /// The longest line in bytes, without its LF.
    pub(super) max_line_bytes: usize,
}

impl Outgoing {
    pub(super) fn new(prefix: String) -> Outgoing {
        Outgoing { prefix, last: 0, max_line_bytes: Limits::default().max_line_bytes }
    }

    /// Appends a signal. An error leaves `out` as it was; so it does below.
    pub(super) fn signal(&mut self, to: To<'_>, body: &str, out: &mut Vec<u8>) -> Result<Ticket, Unsendable> {
        self.write("signal", to, None, body, out)
    }

    /// Appends a request.
    pub(super) fn request(
        &mut self,
        to: To<'_>,
        message_type: &str,
        body: &str,
        timeout: Option<Duration>,
        out: &mut Vec<u8>,
    ) -> Result<Ticket, Unsendable> {
        if message_type.is_empty() || Category::of(message_type) != Category::Request {
            return Err(Unsendable::NotARequest);
        }
        self.write(message_type, to, timeout, body, out)
    }

    /// Appends the reply to `request`, of any body.
    pub(super) fn reply(
        &mut self,
        request: &Message,
        body: &str,
        out: &mut Vec<u8>,
    ) -> Result<Ticket, Unsendable> {
        let (true, Some(from), Some(id)) = (request.is_request(), request.from(), request.id()) else {
            return Err(Unsendable::NotAnswerable);
        };
        let answer = trimmed(body);
        let mut whole = Vec::with_capacity(answer.len() + 64);
        let mut object = Object::begin(&mut whole);
        id.write_to(object.key("in_reply_to"));
        match answer.strip_prefix('{') {
            None => {
                object.null("error");
                if !answer.is_empty() {
                    serde_json::from_str::<&RawValue>(answer).map_err(|_| Unsendable::bad_body(answer, 1))?;
                    object.raw("result", answer.as_bytes());
                }
                object.end();
            }
            Some(members) => {
                let keys: BTreeMap<String, &RawValue> =
                    serde_json::from_str(answer).map_err(|_| Unsendable::bad_body(answer, 1))?;
                if keys.contains_key("in_reply_to") {
                    return Err(Unsendable::BadReply);
                }
                if !keys.contains_key("error") {
                    object.null("error");
                }
                if !keys.is_empty() {
                    whole.push(b',');
                }
                whole.extend_from_slice(members.as_bytes());
            }
        }
        let whole = String::from_utf8_lossy(&whole);
        self.write(&format!("{}_reply", request.message_type()), To::Node(from), None, &whole, out)
    }

    /// The line that `message` answers, or tells the fate of; `None` if it is about none.
    pub(super) fn answered(&self, message: &Message) -> Option<Ticket> {
        let id = message.in_reply_to().filter(|id| !id.integer)?;
        id.text.strip_prefix(self.prefix.as_str())?.strip_prefix('-')?.parse().ok().map(Ticket)
    }

    fn write(
        &mut self,
        message_type: &str,
        to: To<'_>,
        timeout: Option<Duration>,
        body: &str,
        out: &mut Vec<u8>,
    ) -> Result<Ticket, Unsendable> {
        let number = self.last + 1;
        let start = out.len();
        let mut object = Object::begin(out);
        object.string("message_id", &format!("{}-{number}", self.prefix));
        object.string("message_type", message_type);
        match to {
            To::Daemon => {}
            To::Node(address) => drop(object.string("to", address)),
            To::Topic(topic) => drop(object.string("topic", topic)),
        }
        if let Some(timeout) = timeout {
            let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            object.number("timeout_ms", ms.clamp(1, TIMEOUT_MS_MAX));
        }
        let body = trimmed(body);
        if !body.is_empty() {
            object.raw("body", body.as_bytes());
        }
        object.end();
        let most = self.max_line_bytes;
        let checked = match out.len() - start {
            bytes if bytes > most => Err(Unsendable::LineTooLong { bytes, most }),
            _ => check(&out[start..], body),
        };
        if checked.is_err() {
            out.truncate(start);
            return checked.map(|()| Ticket(number));
        }
        // In valid JSON these stand between tokens alone.
        for byte in out[start..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
            *byte = b' ';
        }
        out.push(b'\n');
        self.last = number;
        Ok(Ticket(number))
    }
}

/// What comes over one connection.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    deframer: Deframer,
}

impl Incoming {
    /// What the next line in `input` is. `input` is advanced past that line; `None` when it is used up, and
    /// then an unfinished line at its end is kept for the next call.
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Option<Result<Message, Fault>> {
        Some(match self.deframer.next(input, LINE_BYTES_MAX)? {
            Frame::Whole(line) => Message::read(line.to_vec()),
            Frame::Joined(line) => Message::read(line),
            Frame::TooLong => Err(Fault::LineTooLong),
        })
    }

    /// The last message, if the connection has ended without its LF. A line that was cut off is no fault: the
    /// connection ended, and that is all there is to say.
    pub(super) fn finish(&mut self) -> Option<Message> {
        match self.deframer.finish(LINE_BYTES_MAX)? {
            Frame::Joined(line) => Message::read(line).ok(),
            _ => None,
        }
    }
}

/// Checks a line as the daemon will, and that all of `body`, its last member, is one value: text such as
/// `1,"to":"x"` must not get members into the envelope.
fn check(line: &[u8], body: &str) -> Result<(), Unsendable> {
    let before = line.len() - body.len() - 1;
    match Envelope::scan(line) {
        Ok(envelope) if envelope.raw(Field::Body).unwrap_or_default() == body => Ok(()),
        Ok(_) | Err(Broken::NotAnObject) => Err(Unsendable::bad_body(body, 1)),
        Err(Broken::BadJson { column }) => Err(Unsendable::bad_body(body, column.saturating_sub(before))),
    }
}

/// Without the white space of JSON around it.
fn trimmed(json: &str) -> &str {
    json.trim_matches([' ', '\t', '\r', '\n'])
}
