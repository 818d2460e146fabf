//! Knows one received line: its text, and where in it the envelope's fields stand.
//! Never: what the line answers, or what is to be done about it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::client::fault::Fault;
use crate::limits::{ADDED_BYTES_MAX, MAX_LINE_BYTES_MAX};
use crate::wire::envelope::{Envelope, Field, Value};
use crate::wire::json::unescape;
use crate::wire::message::{Category, Id};

/// The longest line that a client takes, in bytes: the longest that a daemon sends, however it is
/// configured. That is a tap's, which holds another line as a string; escapes at most double it.
pub const LINE_BYTES_MAX: usize = 2 * (MAX_LINE_BYTES_MAX + ADDED_BYTES_MAX) + ADDED_BYTES_MAX;

/// A received message. It owns its line; what the accessors give is lent from it. A field that the line does
/// not have, or has in a form that the protocol does not allow, is `None`.
///
/// ```
/// use telex::client::{Category, Message};
///
/// let line = r#"{"message_id":7,"message_type":"set","from":"hall","to":"heating","body":{"c":21}}"#;
/// let message = Message::read(line.into())?;
/// assert!(message.is_request());
/// assert_eq!((message.from(), message.body()), (Some("hall"), Some(r#"{"c":21}"#)));
/// assert_eq!(message.body_value()["c"], 21);
/// assert_eq!((message.message_type(), message.to()), ("set", Some("heating")));
/// assert!(message.timeout().is_none(), "it says no \"timeout_ms\"");
/// assert_eq!(message.id().map(|id| id.text.into_owned()).as_deref(), Some("7"));
///
/// let line = r#"{"message_type":"signal","from":"hall","topic":"heat","key":"k","sender":{"uid":7},"body":1}"#;
/// let signal = Message::read(line.into())?;
/// assert_eq!((signal.category(), signal.in_reply_to().is_none()), (Category::Signal, true));
/// assert_eq!((signal.topic(), signal.key(), signal.sender()), (Some("heat"), Some("k"), Some(r#"{"uid":7}"#)));
/// assert_eq!(signal.line().len(), signal.into_line().len());
/// # Ok::<(), telex::client::Fault>(())
/// ```
#[derive(Clone, Debug)]
pub struct Message {
    line: String,
    /// The strings that stand in the line with escapes, without them.
    decoded: String,
    message_type: Place,
    id: Place,
    from: Place,
    to: Place,
    topic: Place,
    key: Place,
    body: Place,
    sender: Place,
    in_reply_to: Place,
    timeout: Option<Duration>,
}

/// Where a field stands, in bytes: in the line, or in what is decoded of it. Small, since messages are handed on from
/// thread to thread.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    start: u32,
    length: u32,
}

impl Place {
    /// Of a field that is not there.
    const NONE: Place = Place { start: u32::MAX, length: 0 };
    /// In the start of one in what is decoded. No line is so long.
    const DECODED: u32 = 1 << 31;

    /// Where `part`, which is a slice of `text`, stands in it.
    #[expect(clippy::cast_possible_truncation, reason = "a line is shorter than LINE_BYTES_MAX")]
    fn of(part: &str, text: &str) -> Place {
        let start = part.as_ptr().addr() - text.as_ptr().addr();
        Place { start: start as u32, length: part.len() as u32 }
    }

    /// Where the string of this value stands, with its escapes decoded; none if the value is no string.
    fn of_string(raw: &str, line: &str, decoded: &mut String) -> Place {
        if !raw.starts_with('"') {
            return Place::NONE;
        }
        match unescape(raw) {
            Cow::Borrowed(text) => Place::of(text, line),
            Cow::Owned(text) => {
                let start = decoded.len();
                decoded.push_str(&text);
                let Place { start, length } = Place::of(&decoded[start..], decoded);
                Place { start: start | Place::DECODED, length }
            }
        }
    }
}

impl Message {
    /// Takes a line without its LF. [`Fault::Foreign`] if it is no message of the protocol, [`Fault::LineTooLong`] if it is
    /// longer than [`LINE_BYTES_MAX`].
    pub fn read(line: Vec<u8>) -> Result<Message, Fault> {
        if line.len() > LINE_BYTES_MAX {
            return Err(Fault::LineTooLong);
        }
        let line = String::from_utf8(line).map_err(|error| Fault::foreign(error.as_bytes()))?;
        let foreign = || Fault::foreign(line.as_bytes());
        let envelope = Envelope::scan(line.as_bytes()).map_err(|_| foreign())?;
        let mut decoded = String::new();
        let mut text =
            |field| envelope.raw(field).map_or(Place::NONE, |raw| Place::of_string(raw, &line, &mut decoded));
        let raw = |field| envelope.raw(field).map_or(Place::NONE, |raw| Place::of(raw, &line));
        let message_type = text(Field::MessageType);
        if message_type == Place::NONE {
            return Err(foreign());
        }
        Ok(Message {
            message_type,
            from: text(Field::From),
            to: text(Field::To),
            topic: text(Field::Topic),
            key: text(Field::Key),
            id: raw(Field::MessageId),
            body: raw(Field::Body),
            sender: raw(Field::Sender),
            in_reply_to: envelope.in_reply_to().map_or(Place::NONE, |value| Place::of(value.raw, &line)),
            timeout: envelope.raw(Field::TimeoutMs).and_then(|ms| ms.parse().ok()).map(Duration::from_millis),
            decoded,
            line,
        })
    }

    /// The whole line as it came, without CR and LF.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The whole line, given away.
    pub fn into_line(self) -> String {
        self.line
    }

    /// `message_type`, decoded.
    pub fn message_type(&self) -> &str {
        self.at(self.message_type).unwrap_or_default()
    }

    /// What kind of message this is, by its `message_type`.
    pub fn category(&self) -> Category {
        Category::of(self.message_type())
    }

    /// Whether its sender waits for a reply.
    pub fn is_request(&self) -> bool {
        self.category() == Category::Request
    }

    /// `message_id`.
    pub fn id(&self) -> Option<Id<'_>> {
        Id::read("message_id", Value::new(self.at(self.id)?)).ok()
    }

    /// `from`, decoded: where an answer goes. `None` means that the daemon itself sent it.
    pub fn from(&self) -> Option<&str> {
        self.at(self.from)
    }

    /// `to`, decoded.
    pub fn to(&self) -> Option<&str> {
        self.at(self.to)
    }

    /// `topic`, decoded.
    pub fn topic(&self) -> Option<&str> {
        self.at(self.topic)
    }

    /// `key`, decoded.
    pub fn key(&self) -> Option<&str> {
        self.at(self.key)
    }

    /// `timeout_ms`: how long the sender of a request waits for its answer.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// `body`: JSON text as it stands in the line.
    pub fn body(&self) -> Option<&str> {
        self.at(self.body)
    }

    /// `body` as a tree; null if there is none, and if a number in it is too large for an `f64` (`1e999`),
    /// which the protocol allows.
    pub fn body_value(&self) -> serde_json::Value {
        self.body().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default()
    }

    /// `body.result`, as JSON text: the answer of a reply that is no JSON object. `None` if there is none.
    ///
    /// ```
    /// use telex::client::Message;
    ///
    /// let line = r#"{"message_type":"sum_reply","from":"x","body":{"in_reply_to":1,"error":null,"result":[3]}}"#;
    /// assert_eq!(Message::read(line.into())?.result(), Some("[3]"));
    /// # Ok::<(), telex::client::Fault>(())
    /// ```
    pub fn result(&self) -> Option<&str> {
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(self.body()?).ok()?;
        fields.get("result").map(|raw| raw.get())
    }

    /// `sender`: who the sender is, as the kernel or the daemon vouches for it, as JSON text. Only messages to
    /// connections that registered with `credentials` have it.
    pub fn sender(&self) -> Option<&str> {
        self.at(self.sender)
    }

    /// `body.in_reply_to`: the `message_id` of the message that this answers, or is about.
    pub fn in_reply_to(&self) -> Option<Id<'_>> {
        Id::read("body.in_reply_to", Value::new(self.at(self.in_reply_to)?)).ok()
    }

    fn at(&self, place: Place) -> Option<&str> {
        if place == Place::NONE {
            return None;
        }
        let text = if place.start & Place::DECODED == 0 { &self.line } else { &self.decoded };
        let start = (place.start & !Place::DECODED) as usize;
        Some(&text[start..start + place.length as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Message, Fault> {
        Message::read(line.as_bytes().to_vec())
    }

    #[test]
    fn the_fields_of_a_line() {
        let line = r#"{"message_id":7,"message_type":"ask","from":"a\u0062","to":"me#p","key":"k","timeout_ms":50,"sender":{"uid":0}, "body": {"x": 1} }"#;
        let message = read(line).expect("a message");
        assert_eq!(message.line(), line);
        assert_eq!(message.id(), Some(Id { integer: true, text: "7".into() }));
        assert!(message.is_request());
        assert_eq!(
            (message.from(), message.to(), message.topic(), message.key()),
            (Some("ab"), Some("me#p"), None, Some("k"))
        );
        assert_eq!(message.body(), Some(r#"{"x": 1}"#));
        assert_eq!(message.body_value()["x"], 1);
        assert_eq!(message.sender(), Some(r#"{"uid":0}"#));
        assert_eq!((message.in_reply_to(), message.timeout()), (None, Some(Duration::from_millis(50))));
    }

    #[test]
    fn replies_and_what_is_absent() {
        let message = read(r#"{"message_type":"a_r\u0065ply","from":null,"body":{"in_reply_to":"x"}}"#)
            .expect("a message");
        assert_eq!(message.category(), Category::Reply);
        assert_eq!((message.id(), message.from()), (None, None));
        assert_eq!(message.in_reply_to().expect("an id").text, "x");
        let message = read(r#"{"message_type":"signal"}"#).expect("a message");
        assert_eq!((message.body(), message.body_value()), (None, serde_json::Value::Null));
        let message = read(r#"{"message_type":"signal","body":[1e999]}"#).expect("a message");
        assert_eq!((message.body(), message.body_value()), (Some("[1e999]"), serde_json::Value::Null));
    }

    #[test]
    fn fields_with_escapes_and_empty_ones() {
        let line = r#"{"message_type":"\u0061sk","from":"\"b\"","to":"","topic":"plain","key":"\u006b\\"}"#;
        let message = read(line).expect("a message");
        assert_eq!((message.message_type(), message.from()), ("ask", Some("\"b\"")));
        assert_eq!((message.to(), message.topic(), message.key()), (Some(""), Some("plain"), Some("k\\")));
        assert!(size_of::<Message>() <= 136, "{} bytes are handed on", size_of::<Message>());
    }

    #[test]
    fn what_is_no_message() {
        for line in
            ["HTTP/1.1 400 Bad Request", "{}", "[]", r#"{"message_type":1}"#, r#"{"message_type":"a""#]
        {
            assert!(matches!(read(line), Err(Fault::Foreign { .. })), "{line}");
        }
        assert!(Message::read(b"\xff\xfe".to_vec()).is_err());
    }
}
