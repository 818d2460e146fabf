//! Knows the client's side of one connection: the lines it writes, which of them wait for an answer,
//! and what each line that comes is to it.
//! Never: sockets, clocks, randomness.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde_json::value::RawValue;

use crate::client::fault::Fault;
use crate::client::message::Message;
use crate::client::refused::Refused;
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
pub struct Ticket(u64);

impl Ticket {
    /// The number of the line, from 1 on.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// What a line that came is.
#[derive(Debug)]
pub enum Event {
    /// The answer to a request of this session, which no longer waits.
    Answer {
        /// The request.
        to: Ticket,
        /// Its reply; or the error that it was answered with, be it by a reply or by an `error` line.
        answer: Result<Message, Box<Refused>>,
    },
    /// A request or signal to this client, or an `error` line about something that was no request.
    Message(Message),
    /// What is not the protocol.
    Fault(Fault),
}

/// One connection as its client sees it, without a socket: for event loops and runtimes of any kind. Lines
/// are appended to buffers of the caller, which writes them to the socket and hands in the bytes that come.
///
/// ```
/// use telex::client::{Event, Session, To};
///
/// let mut session = Session::new("4f1c");
/// let mut out = Vec::new();
/// let asked = session.request(To::Daemon, "ping", "", None, &mut out)?;
/// assert_eq!(out, b"{\"message_id\":\"4f1c-1\",\"message_type\":\"ping\"}\n");
///
/// let mut came: &[u8] =
///     b"{\"message_type\":\"ping_reply\",\"from\":null,\"body\":{\"in_reply_to\":\"4f1c-1\",\"error\":null}}\n";
/// while let Some(event) = session.take(&mut came) {
///     let Event::Answer { to, answer: Ok(_) } = event else { panic!("{event:?}") };
///     assert_eq!(to, asked);
/// }
/// # Ok::<(), telex::client::Unsendable>(())
/// ```
#[derive(Debug)]
pub struct Session {
    prefix: String,
    last: u64,
    pending: HashSet<u64>,
    deframer: Deframer,
    max_line_bytes: usize,
    farewell: Option<Message>,
}

impl Session {
    /// A new connection. `prefix` begins each `message_id` and must be one that no other session has
    /// (clients that share a node ID must not use the same ids), of at most 200 bytes.
    pub fn new(prefix: impl Into<String>) -> Session {
        Session {
            prefix: prefix.into(),
            last: 0,
            pending: HashSet::new(),
            deframer: Deframer::default(),
            max_line_bytes: Limits::default().max_line_bytes,
            farewell: None,
        }
    }

    /// The longest line, in bytes without its LF, that is written: 1 MiB, unless
    /// [`set_max_line_bytes`](Session::set_max_line_bytes) has said otherwise.
    pub fn max_line_bytes(&self) -> usize {
        self.max_line_bytes
    }

    /// Sets the longest line, in bytes without its LF, that is written. What the daemon takes is
    /// `daemon.limits.max_line_bytes` in its answer to `whoami`.
    pub fn set_max_line_bytes(&mut self, bytes: usize) {
        self.max_line_bytes = bytes;
    }

    /// Appends a signal to `out`. An error leaves `out` as it was.
    pub fn signal(&mut self, to: To<'_>, body: &str, out: &mut Vec<u8>) -> Result<Ticket, Unsendable> {
        self.write("signal", to, None, body, out)
    }

    /// Appends a request to `out`, and waits for its answer from now on. `timeout` is what the daemon is told
    /// (1 ms to 1 h; without one it takes its own, of 60 s unless configured); this session has no clock and
    /// never gives a request up. An error leaves `out` as it was.
    pub fn request(
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
        let ticket = self.write(message_type, to, timeout, body, out)?;
        self.pending.insert(ticket.0);
        Ok(ticket)
    }

    /// Appends the reply to `request` to `out`. `body` is an object (or empty) whose members stand in the
    /// reply's body beside `in_reply_to`; `"error":null` is added if it has no `error`. An error leaves `out`
    /// as it was.
    pub fn reply(&mut self, request: &Message, body: &str, out: &mut Vec<u8>) -> Result<Ticket, Unsendable> {
        let (true, Some(from), Some(id)) = (request.is_request(), request.from(), request.id()) else {
            return Err(Unsendable::NotAnswerable);
        };
        let fields = trimmed(body);
        let fields = if fields.is_empty() { "{}" } else { fields };
        let Some(members) = fields.strip_prefix('{') else {
            return Err(Unsendable::BadReply);
        };
        let keys: BTreeMap<String, &RawValue> =
            serde_json::from_str(fields).map_err(|_| Unsendable::bad_body(fields, 1))?;
        if keys.contains_key("in_reply_to") {
            return Err(Unsendable::BadReply);
        }
        let mut whole = Vec::with_capacity(fields.len() + 64);
        let mut object = Object::begin(&mut whole);
        id.write_to(object.key("in_reply_to"));
        if !keys.contains_key("error") {
            object.null("error");
        }
        if !keys.is_empty() {
            whole.push(b',');
        }
        whole.extend_from_slice(members.as_bytes());
        let whole = String::from_utf8_lossy(&whole);
        self.write(&format!("{}_reply", request.message_type()), To::Node(from), None, &whole, out)
    }

    /// Waits no longer for the answer to `request`: what still comes to answer it is dropped.
    pub fn forget(&mut self, request: Ticket) {
        self.pending.remove(&request.0);
    }

    /// How many requests wait for their answers.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What the next line in `input` is. `input` is advanced past that line; `None` when it is used up, and
    /// then an unfinished line at its end is kept for the next call.
    pub fn take(&mut self, input: &mut &[u8]) -> Option<Event> {
        while let Some(frame) = self.deframer.next(input, LINE_BYTES_MAX) {
            let event = match frame {
                Frame::Whole(line) => self.sort(line.to_vec()),
                Frame::Joined(line) => self.sort(line),
                Frame::TooLong => Some(Event::Fault(Fault::LineTooLong)),
            };
            if event.is_some() {
                return event;
            }
        }
        None
    }

    /// What the last line is, if the connection has ended without its LF. A line that was cut off is no
    /// fault: the connection ended, and that is all there is to say.
    pub fn finish(&mut self) -> Option<Event> {
        match self.deframer.finish(LINE_BYTES_MAX)? {
            Frame::Joined(line) => self.sort(line).filter(|event| !matches!(event, Event::Fault(_))),
            _ => None,
        }
    }

    /// The error that came last, if it was the daemon's and about nothing that was sent: why the connection
    /// ended, once it has.
    pub fn farewell(&self) -> Option<Box<Refused>> {
        Refused::check(self.farewell.clone()?).err()
    }

    /// The line of this session that `message` answers, or tells the fate of; `None` if it is about none.
    pub fn answered(&self, message: &Message) -> Option<Ticket> {
        let id = message.in_reply_to().filter(|id| !id.integer)?;
        id.text.strip_prefix(self.prefix.as_str())?.strip_prefix('-')?.parse().ok().map(Ticket)
    }

    fn sort(&mut self, line: Vec<u8>) -> Option<Event> {
        self.farewell = None;
        let message = match Message::read(line) {
            Ok(message) => message,
            Err(fault) => return Some(Event::Fault(fault)),
        };
        let category = message.category();
        if matches!(category, Category::Reply | Category::Error)
            && let Some(to) = self.answered(&message)
        {
            if self.pending.remove(&to.0) {
                return Some(Event::Answer { to, answer: Refused::check(message) });
            }
            // Another instance has answered before, or the request was given up.
            if category == Category::Reply {
                return None;
            }
        }
        if category == Category::Error && message.from().is_none() && message.in_reply_to().is_none() {
            self.farewell = Some(message.clone());
        }
        Some(Event::Message(message))
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

#[cfg(test)]
mod tests;
