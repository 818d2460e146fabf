//! Knows how the lines of one connection are written and numbered, and how what comes falls into messages.
//! Never: which lines wait for an answer; sockets, clocks, randomness.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use serde_json::value::RawValue;

use crate::client::fault::Fault;
use crate::client::message::{LINE_BYTES_MAX, Message};
use crate::client::unsendable::Unsendable;
use crate::limits::{Limits, TIMEOUT_MS_MAX};
use crate::wire::envelope::check_value;
use crate::wire::frame::{Deframer, Frame};
use crate::wire::json::{Object, write_integer, write_on_one_line, write_string};
use crate::wire::message::{Category, Id};

/// What usually is enough for what stands around a body.
pub(super) const HEAD_BYTES: usize = 192;

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

/// A request that has its line and its number, and is to be sent.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) number: u64,
    pub(super) line: Vec<u8>,
    pub(super) timeout: Duration,
    pub(super) is_to_daemon: bool,
}

/// The lines that one client writes. It is shared by its threads: what a line costs is spent outside of their locks.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// What its ids begin with: a prefix and a hyphen; and the same as JSON, with the quote in front of it.
    prefix: String,
    quoted_prefix: Vec<u8>,
    last: AtomicU64,
    /// The longest line in bytes, without its LF.
    pub(super) max_line_bytes: AtomicUsize,
}

impl Outgoing {
    pub(super) fn new(mut prefix: String) -> Outgoing {
        prefix.push('-');
        let mut quoted_prefix = Vec::new();
        write_string(&mut quoted_prefix, &prefix);
        quoted_prefix.pop();
        Outgoing {
            prefix,
            quoted_prefix,
            last: AtomicU64::new(0),
            max_line_bytes: AtomicUsize::new(Limits::default().max_line_bytes),
        }
    }

    /// Appends a signal. An error leaves `out` as it was; so it does below.
    pub(super) fn signal(&self, to: To<'_>, body: &str, out: &mut Vec<u8>) -> Result<Ticket, Unsendable> {
        self.write(&Head::new("signal", to), checked(body, 1)?, out)
    }

    /// Appends a signal to a topic that the daemon answers when all have it.
    pub(super) fn publish_for_receipt(
        &self,
        topic: &str,
        body: &str,
        out: &mut Vec<u8>,
    ) -> Result<Ticket, Unsendable> {
        self.write(&Head { receipt: true, ..Head::new("signal", To::Topic(topic)) }, checked(body, 1)?, out)
    }

    /// A request with a line of its own.
    pub(super) fn draft(
        &self,
        to: To<'_>,
        message_type: &str,
        body: &str,
        timeout: Duration,
    ) -> Result<Draft, Unsendable> {
        let mut line = Vec::with_capacity(body.len() + HEAD_BYTES);
        let number = self.request(to, message_type, body, Some(timeout), &mut line)?.number();
        Ok(Draft { number, line, timeout, is_to_daemon: to == To::Daemon })
    }

    /// A signal to a topic that the daemon answers, with a line of its own.
    pub(super) fn draft_for_receipt(
        &self,
        topic: &str,
        body: &str,
        timeout: Duration,
    ) -> Result<Draft, Unsendable> {
        let mut line = Vec::with_capacity(body.len() + HEAD_BYTES);
        let number = self.publish_for_receipt(topic, body, &mut line)?.number();
        Ok(Draft { number, line, timeout, is_to_daemon: false })
    }

    /// Appends a request.
    pub(super) fn request(
        &self,
        to: To<'_>,
        message_type: &str,
        body: &str,
        timeout: Option<Duration>,
        out: &mut Vec<u8>,
    ) -> Result<Ticket, Unsendable> {
        if message_type.is_empty() || Category::of(message_type) != Category::Request {
            return Err(Unsendable::NotARequest);
        }
        self.write(&Head { timeout, ..Head::new(message_type, to) }, checked(body, 1)?, out)
    }

    /// Appends the reply to `request`, of any body.
    pub(super) fn reply(
        &self,
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
        id.text.strip_prefix(self.prefix.as_str())?.parse().ok().map(Ticket)
    }

    /// Appends a line with a body that has been checked.
    fn write(&self, head: &Head<'_>, body: &str, out: &mut Vec<u8>) -> Result<Ticket, Unsendable> {
        // One that is too long leaves a gap.
        let number = self.last.fetch_add(1, Relaxed) + 1;
        let write_id = |out: &mut Vec<u8>| {
            out.extend_from_slice(&self.quoted_prefix);
            write_integer(out, number);
            out.push(b'"');
        };
        write_line(write_id, head, body, self.max_line_bytes.load(Relaxed), out)?;
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
    write_line(|out| write_string(out, message_id), &head, &whole, most, &mut line)?;
    Ok(line)
}

/// The body of a reply, which needs no other check: what answers the request `id`, with what belongs to a reply.
fn reply_body(id: &Id<'_>, answer: &str) -> Result<String, Unsendable> {
    // What is no object stands in one.
    let answer = checked(answer, if trimmed(answer).starts_with('{') { 1 } else { 2 })?;
    let mut whole = Vec::with_capacity(answer.len() + 64);
    let mut object = Object::begin(&mut whole);
    id.write_to(object.key("in_reply_to"));
    match answer.strip_prefix('{') {
        None => {
            object.null("error");
            if !answer.is_empty() {
                object.raw("result", answer.as_bytes());
            }
            object.end();
        }
        Some(members) => {
            let keys: BTreeMap<String, &RawValue> =
                serde_json::from_str(answer).map_err(|_| Unsendable::bad_body(answer, 1, 1))?;
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

/// Appends a line of at most `most` bytes, its LF not counted, with a body that has been checked. An error leaves
/// `out` as it was.
fn write_line(
    write_id: impl FnOnce(&mut Vec<u8>),
    head: &Head<'_>,
    body: &str,
    most: usize,
    out: &mut Vec<u8>,
) -> Result<(), Unsendable> {
    let start = out.len();
    let mut object = Object::begin(out);
    write_id(object.key("message_id"));
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
    if !body.is_empty() {
        write_on_one_line(object.key("body"), body);
    }
    object.end();
    let bytes = out.len() - start;
    if bytes > most {
        out.truncate(start);
        return Err(Unsendable::LineTooLong { bytes, most });
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

/// A body without the space around it. If there is any, it is one value that the daemon will take with `depth` objects
/// around it: text such as `1,"to":"x"` must not get members into the envelope.
fn checked(body: &str, depth: usize) -> Result<&str, Unsendable> {
    let value = trimmed(body);
    if !value.is_empty() {
        let space = value.as_ptr().addr() - body.as_ptr().addr();
        check_value(value, depth).map_err(|column| Unsendable::bad_body(body, depth, space + column))?;
    }
    Ok(value)
}

/// Without the white space of JSON around it.
fn trimmed(json: &str) -> &str {
    json.trim_matches([' ', '\t', '\r', '\n'])
}
