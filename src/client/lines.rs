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
use crate::wire::message::{Category, Id};

/// The longest line that a client takes, in bytes: the longest that a daemon sends, however it is
/// configured. That is a tap's, which holds another line as a string; escapes at most double it.
pub const LINE_BYTES_MAX: usize = 2 * (MAX_LINE_BYTES_MAX + ADDED_BYTES_MAX) + ADDED_BYTES_MAX;

/// Where a message goes. A text is a node's address: `NODE`, `NODE#PORT`, `:N`.
///
/// ```
/// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
/// use std::time::Duration;
/// use telex::client::{Handle, To, default_address};
///
/// let handle = Handle::connect(&default_address()?)?;
/// // All that is said of one account is done by one instance, while there are the same instances.
/// let worker = To::Keyed { node: "accounts", key: "account 17" };
/// handle.call(worker, "add", "100", Duration::from_secs(5)).wait()?;
/// # Ok::<(), telex::client::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To<'a> {
    /// The daemon itself.
    Daemon,
    /// A node or a connection.
    Node(&'a str),
    /// A node whose instances share messages: one that depends on `key` gets it.
    Keyed {
        /// Its address.
        node: &'a str,
        /// 1 to 255 bytes.
        key: &'a str,
    },
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
    ///
    /// ```
    /// let mut session = telex::client::Session::new("4f1c");
    /// let sent = session.signal("logger".into(), "1", &mut Vec::new())?;
    /// assert_eq!(sent.number(), 1);
    /// # Ok::<(), telex::client::Unsendable>(())
    /// ```
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
        self.write(&Head::new("signal", to), body, out)
    }

    /// Appends a signal to a topic that the daemon answers when all have it.
    pub(super) fn publish_for_receipt(
        &mut self,
        topic: &str,
        body: &str,
        out: &mut Vec<u8>,
    ) -> Result<Ticket, Unsendable> {
        self.write(&Head { receipt: true, ..Head::new("signal", To::Topic(topic)) }, body, out)
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
        self.write(&Head { timeout, ..Head::new(message_type, to) }, body, out)
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
        let whole = reply_body(&id, body)?;
        self.write(&Head::new(&format!("{}_reply", request.message_type()), To::Node(from)), &whole, out)
    }

    /// The line that `message` answers, or tells the fate of; `None` if it is about none.
    pub(super) fn answered(&self, message: &Message) -> Option<Ticket> {
        let id = message.in_reply_to().filter(|id| !id.integer)?;
        id.text.strip_prefix(self.prefix.as_str())?.strip_prefix('-')?.parse().ok().map(Ticket)
    }

    fn write(&mut self, head: &Head<'_>, body: &str, out: &mut Vec<u8>) -> Result<Ticket, Unsendable> {
        let number = self.last + 1;
        write_line(&format!("{}-{number}", self.prefix), head, body, self.max_line_bytes, out)?;
        self.last = number;
        Ok(Ticket(number))
    }
}

/// What stands in a line before its body.
struct Head<'a> {
    message_type: &'a str,
    /// Written by those alone that speak without a daemon.
    from: Option<&'a str>,
    to: To<'a>,
    timeout: Option<Duration>,
    /// Whether its publisher wants to be told how many got it.
    receipt: bool,
}

impl<'a> Head<'a> {
    fn new(message_type: &'a str, to: To<'a>) -> Head<'a> {
        Head { message_type, from: None, to, timeout: None, receipt: false }
    }
}

/// The line, with its LF, of the reply to a request that came to the node `from` without a daemon. It has `most` bytes
/// at most.
#[cfg(feature = "service")]
pub(crate) fn direct_reply(
    message_id: &str,
    from: &str,
    request: &Message,
    body: &str,
    most: usize,
) -> Result<Vec<u8>, Unsendable> {
    let id = request.id().ok_or(Unsendable::NotAnswerable)?;
    let whole = reply_body(&id, body)?;
    let message_type = format!("{}_reply", request.message_type());
    let head = Head { from: Some(from), ..Head::new(&message_type, To::Daemon) };
    let mut line = Vec::new();
    write_line(message_id, &head, &whole, most, &mut line)?;
    Ok(line)
}

/// The body of a reply: what answers the request `id`, with what belongs to a reply.
fn reply_body(id: &Id<'_>, answer: &str) -> Result<String, Unsendable> {
    let answer = trimmed(answer);
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
    Ok(String::from_utf8_lossy(&whole).into_owned())
}

/// Appends a line of at most `most` bytes, its LF not counted. An error leaves `out` as it was.
fn write_line(
    message_id: &str,
    head: &Head<'_>,
    body: &str,
    most: usize,
    out: &mut Vec<u8>,
) -> Result<(), Unsendable> {
    let start = out.len();
    let mut object = Object::begin(out);
    object.string("message_id", message_id);
    object.string("message_type", head.message_type);
    if let Some(from) = head.from {
        object.string("from", from);
    }
    match head.to {
        To::Daemon => {}
        To::Node(address) => drop(object.string("to", address)),
        To::Keyed { node, key } => drop(object.string("to", node).string("key", key)),
        To::Topic(topic) => drop(object.string("topic", topic)),
    }
    if let Some(timeout) = head.timeout {
        let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        object.number("timeout_ms", ms.clamp(1, TIMEOUT_MS_MAX));
    }
    if head.receipt {
        object.boolean("receipt", true);
    }
    let body = trimmed(body);
    if !body.is_empty() {
        object.raw("body", body.as_bytes());
    }
    object.end();
    let checked = match out.len() - start {
        bytes if bytes > most => Err(Unsendable::LineTooLong { bytes, most }),
        _ => check(&out[start..], body),
    };
    if checked.is_err() {
        out.truncate(start);
        return checked;
    }
    // In valid JSON these stand between tokens alone.
    for byte in out[start..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    out.push(b'\n');
    Ok(())
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
