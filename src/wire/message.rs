//! Knows the form that PROTOCOL.md section 2 asks of the envelope's fields.
//! Never: whether what a sender claims is true, or where a message goes.

use std::borrow::Cow;
use std::time::Duration;

use crate::limits::{ADDRESS_BYTES_MAX, NAME_BYTES_MAX, REPLY_TYPE_BYTES_MAX, TIMEOUT_MS_MAX};
use crate::topic::check_topic;
use crate::wire::code::Code;
use crate::wire::envelope::{Envelope, Field, Value};
use crate::wire::json::write_string;

/// A fault in what a peer said, for the peer: a word for programs and a sentence for people.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The fixed word.
    pub code: Code,
    /// What was wrong, which field, which value, and what would be right.
    pub error: String,
    /// Of `bad_json`: the first byte at fault, counted from 1.
    pub column: Option<usize>,
    /// Of `denied`: the filter that said so.
    pub filter: Option<String>,
}

impl Refusal {
    /// A refusal with its sentence.
    pub fn new(code: Code, error: impl Into<String>) -> Refusal {
        Refusal { code, error: error.into(), column: None, filter: None }
    }

    /// `bad_field`: the field, its value as it stood in the line, and what would be right.
    pub fn bad_field(field: &str, raw: &str, right: &str) -> Refusal {
        Refusal::new(Code::BadField, format!("\"{field}\" is {}; it must be {right}", excerpt(raw)))
    }

    /// `missing_field`, and what it should have been.
    pub fn missing_field(field: &str, right: &str) -> Refusal {
        Refusal::new(Code::MissingField, format!("\"{field}\" is missing; it must be {right}"))
    }
}

/// The beginning of a value, for an error text.
#[doc(hidden)]
pub fn excerpt(raw: &str) -> Cow<'_, str> {
    const SHOWN_CHARS: usize = 60;
    match raw.char_indices().nth(SHOWN_CHARS) {
        None => Cow::Borrowed(raw),
        Some((end, _)) => Cow::Owned(format!("{}… ({} bytes)", &raw[..end], raw.len())),
    }
}

/// As much of a text as takes `bytes` bytes at most.
#[doc(hidden)]
pub fn beginning(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A `message_id`: a string or an integer. Two are equal if both their JSON type and their text are.
///
/// ```
/// use telex::client::Message;
///
/// let line = r#"{"message_id":"\u0037","message_type":"ask","from":"hall","to":"heating"}"#;
/// let message = Message::read(line.into())?;
/// let id = message.id().expect("an id");
/// assert_eq!((id.integer, &*id.text), (false, "7"));
/// let mut json = Vec::new();
/// id.write_to(&mut json);
/// assert_eq!(json, b"\"7\"");
/// // Kept for longer than its message.
/// let kept = id.into_owned();
/// drop(message);
/// assert_eq!(kept.borrowed(), kept);
/// # Ok::<(), telex::client::Fault>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub struct Id<'a> {
    /// Whether it stands without quotes.
    pub integer: bool,
    /// The decoded text, or the digits.
    pub text: Cow<'a, str>,
}

impl<'a> Id<'a> {
    /// Reads the `value` of a `message_id` or `in_reply_to`: a string of 1 to 255 bytes, or an integer of up to
    /// 255 digits. For anything else `bad_field`, in which it is called `field`.
    #[doc(hidden)]
    pub fn read(field: &str, value: Value<'a>) -> Result<Id<'a>, Refusal> {
        let raw = value.raw;
        if raw.starts_with('"') {
            return Ok(Id { integer: false, text: string(field, value, NAME_BYTES_MAX)? });
        }
        let digits = raw.strip_prefix('-').unwrap_or(raw);
        if (1..=NAME_BYTES_MAX).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Id { integer: true, text: Cow::Borrowed(raw) });
        }
        Err(Refusal::bad_field(field, raw, "a string of 1 to 255 bytes or an integer of up to 255 digits"))
    }

    /// This id, borrowed.
    pub fn borrowed(&self) -> Id<'_> {
        Id { integer: self.integer, text: Cow::Borrowed(&self.text) }
    }

    /// This id, with a text of its own.
    pub fn into_owned(self) -> Id<'static> {
        Id { integer: self.integer, text: Cow::Owned(self.text.into_owned()) }
    }

    /// Appends the id as it stands in JSON.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match self.integer {
            true => out.extend_from_slice(self.text.as_bytes()),
            false => write_string(out, &self.text),
        }
    }
}

/// The categories but for `error`, which no client may send.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// Expects an answer, or a `timeout`.
    Request,
    /// Expects nothing.
    Signal,
    /// Answers the request with this id.
    Reply(Id<'a>),
}

/// Where a message is to go.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `to` is null or absent, and there is no `topic`.
    Daemon,
    /// `to`: the decoded address, not yet taken apart.
    Address(Cow<'a, str>),
    /// `topic`, which has been checked.
    Topic(Cow<'a, str>),
}

/// One line's envelope, its fields in the right form.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// The places of the fields.
    pub envelope: &'a Envelope<'a>,
    /// `message_id`, if the sender gave one.
    pub id: Option<Id<'a>>,
    /// The category.
    pub kind: Kind<'a>,
    /// `message_type`, decoded.
    pub message_type: Cow<'a, str>,
    /// `from`, decoded; `None` if it is null or absent.
    pub from: Option<Cow<'a, str>>,
    /// `to` or `topic`.
    pub target: Target<'a>,
    /// `timeout_ms`.
    pub timeout: Option<Duration>,
    /// `key`, decoded.
    pub key: Option<Cow<'a, str>>,
}

impl<'a> Message<'a> {
    /// Checks the fields of a scanned line.
    pub fn read(envelope: &'a Envelope<'a>) -> Result<Message<'a>, Refusal> {
        let id = match envelope.plain(Field::MessageId, NAME_BYTES_MAX) {
            Some(text) => Some(Id { integer: false, text: Cow::Borrowed(text) }),
            None => envelope.get(Field::MessageId).map(|value| Id::read("message_id", value)).transpose()?,
        };
        let message_type = match envelope.plain(Field::MessageType, NAME_BYTES_MAX) {
            Some(text) => Cow::Borrowed(text),
            None => read_type(envelope)?,
        };
        for field in [Field::Sender, Field::SpoolId] {
            if envelope.has(field) {
                let error = format!("\"{}\" is written by the daemon alone; leave it out", field.name());
                return Err(Refusal::new(Code::NotYours, error));
            }
        }
        let from = match envelope.plain(Field::From, ADDRESS_BYTES_MAX) {
            Some(text) => Some(Cow::Borrowed(text)),
            None => read_address(envelope, Field::From)?,
        };
        let target = match envelope.plain(Field::To, ADDRESS_BYTES_MAX) {
            Some(text) if !envelope.has(Field::Topic) => Target::Address(Cow::Borrowed(text)),
            _ => read_target(envelope)?,
        };
        let timeout = envelope.raw(Field::TimeoutMs).map(read_timeout).transpose()?;
        let key = envelope.get(Field::Key).map(|value| string("key", value, NAME_BYTES_MAX)).transpose()?;
        let kind = match Category::of(&message_type) {
            Category::Request => Kind::Request,
            Category::Signal => Kind::Signal,
            Category::Reply => Kind::Reply(read_in_reply_to(envelope)?),
            Category::Error => {
                let error = "\"message_type\" is \"error\", which only the daemon sends; use a request, a reply or a signal";
                return Err(Refusal::new(Code::NotYours, error));
            }
        };
        Ok(Message { envelope, id, kind, message_type, from, target, timeout, key })
    }
}

/// What can be told of a line whose fields are at fault, so that its sender knows which one it was.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Told<'a> {
    /// `message_id`: absent, at fault, or read.
    pub id: Option<Result<Id<'a>, Refusal>>,
    /// The `message_type`, if it is a request's.
    pub request_type: Option<Cow<'a, str>>,
    /// `from` as given, in the right form or not.
    pub from: Option<Cow<'a, str>>,
}

impl<'a> Told<'a> {
    /// Reads what can be read.
    pub fn of(envelope: &Envelope<'a>) -> Told<'a> {
        let request_type = read_type(envelope).ok().filter(|text| Category::of(text) == Category::Request);
        let id = envelope.get(Field::MessageId).map(|value| Id::read("message_id", value));
        Told { id, request_type, from: read_address(envelope, Field::From).ok().flatten() }
    }
}

/// What kind of message a line is, told by its `message_type` alone (PROTOCOL.md section 2).
///
/// ```
/// use telex::wire::message::Category;
///
/// assert_eq!(Category::of("set"), Category::Request);
/// assert_eq!(Category::of("set_reply"), Category::Reply);
/// assert_eq!(Category::of("signal"), Category::Signal);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Expects a reply.
    Request,
    /// Expects nothing.
    Signal,
    /// Answers a request.
    Reply,
    /// A fault told by the daemon.
    Error,
}

impl Category {
    /// The category of a decoded `message_type`.
    pub fn of(message_type: &str) -> Category {
        match message_type {
            "signal" => Category::Signal,
            "error" => Category::Error,
            _ if message_type.ends_with("_reply") => Category::Reply,
            _ => Category::Request,
        }
    }
}

fn read_type<'a>(envelope: &Envelope<'a>) -> Result<Cow<'a, str>, Refusal> {
    let value = envelope
        .get(Field::MessageType)
        .ok_or_else(|| Refusal::missing_field("message_type", "a string of 1 to 255 bytes"))?;
    let text = string("message_type", value, REPLY_TYPE_BYTES_MAX)?;
    if text.len() > NAME_BYTES_MAX && Category::of(&text) != Category::Reply {
        return Err(Refusal::bad_field(
            "message_type",
            value.raw,
            "a string of 1 to 255 bytes (a reply's: 261)",
        ));
    }
    Ok(text)
}

fn read_address<'a>(envelope: &Envelope<'a>, field: Field) -> Result<Option<Cow<'a, str>>, Refusal> {
    match envelope.get(field) {
        None | Some(Value { raw: "null", .. }) => Ok(None),
        Some(value) => string(field.name(), value, ADDRESS_BYTES_MAX).map(Some),
    }
}

fn read_target<'a>(envelope: &Envelope<'a>) -> Result<Target<'a>, Refusal> {
    let to = read_address(envelope, Field::To)?;
    let Some(value) = envelope.get(Field::Topic) else {
        return Ok(to.map_or(Target::Daemon, Target::Address));
    };
    let topic = string("topic", value, NAME_BYTES_MAX)?;
    if to.is_some() {
        return Err(Refusal::new(
            Code::BadField,
            "\"to\" and \"topic\" are both given; a message has one of them",
        ));
    }
    check_topic(&topic).map_err(|why| {
        Refusal::new(
            Code::BadField,
            format!("\"topic\" is {}, which {why}; right is sensor.kitchen.temp", excerpt(value.raw)),
        )
    })?;
    Ok(Target::Topic(topic))
}

fn read_timeout(raw: &str) -> Result<Duration, Refusal> {
    match raw.parse::<u64>() {
        Ok(ms @ 1..=TIMEOUT_MS_MAX) => Ok(Duration::from_millis(ms)),
        _ => Err(Refusal::bad_field("timeout_ms", raw, "an integer from 1 to 3600000")),
    }
}

fn read_in_reply_to<'a>(envelope: &Envelope<'a>) -> Result<Id<'a>, Refusal> {
    let value = envelope.in_reply_to().ok_or_else(|| {
        Refusal::missing_field("body.in_reply_to", "the message_id of the request that is answered")
    })?;
    Id::read("body.in_reply_to", value)
}

/// A string of 1 to `most` bytes of decoded UTF-8.
pub(crate) fn string<'a>(field: &str, value: Value<'a>, most: usize) -> Result<Cow<'a, str>, Refusal> {
    match value.text() {
        Some(text) if (1..=most).contains(&text.len()) => Ok(text),
        _ => Err(Refusal::bad_field(field, value.raw, &format!("a string of 1 to {most} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Message<'_>, Refusal> {
        // The message borrows it; a test's few are not worth giving back.
        Message::read(Box::leak(Box::new(Envelope::scan(line.as_bytes()).expect(line))))
    }

    #[test]
    fn fields_in_the_right_form() {
        let message = read(
            r#"{"message_id":-7,"message_type":"ask","from":null,"to":"a#b","timeout_ms":5,"key":"k","body":1}"#,
        )
        .expect("right");
        assert_eq!(message.id, Some(Id { integer: true, text: "-7".into() }));
        assert_eq!(message.kind, Kind::Request);
        assert_eq!(message.from, None);
        assert_eq!(message.target, Target::Address("a#b".into()));
        assert_eq!(message.timeout, Some(Duration::from_millis(5)));
        assert_eq!(message.key.as_deref(), Some("k"));

        let message =
            read(r#"{"message_type":"x_reply","to":null,"body":{"in_reply_to":"1"}}"#).expect("right");
        assert_eq!(message.kind, Kind::Reply(Id { integer: false, text: "1".into() }));
        assert_eq!(message.target, Target::Daemon);
        let message = read(r#"{"message_type":"sign\u0061l","topic":"a.b"}"#).expect("right");
        assert_eq!(message.kind, Kind::Signal);
        assert_eq!(message.target, Target::Topic("a.b".into()));
    }

    #[test]
    fn wrong_forms_are_named() {
        let long = |n: usize| "x".repeat(n);
        for (line, code, field) in [
            (r#"{}"#.to_owned(), Code::MissingField, "message_type"),
            (r#"{"message_type":7}"#.into(), Code::BadField, "message_type"),
            (r#"{"message_type":""}"#.into(), Code::BadField, "message_type"),
            (r#"{"message_type":null}"#.into(), Code::BadField, "message_type"),
            (format!(r#"{{"message_type":"{}"}}"#, long(256)), Code::BadField, "message_type"),
            (format!(r#"{{"message_type":"{}_reply"}}"#, long(256)), Code::BadField, "message_type"),
            (r#"{"message_type":"error"}"#.into(), Code::NotYours, "message_type"),
            (r#"{"message_type":"a","message_id":null}"#.into(), Code::BadField, "message_id"),
            (r#"{"message_type":"a","message_id":1.0}"#.into(), Code::BadField, "message_id"),
            (r#"{"message_type":"a","message_id":1e3}"#.into(), Code::BadField, "message_id"),
            (r#"{"message_type":"a","message_id":""}"#.into(), Code::BadField, "message_id"),
            (
                format!(r#"{{"message_type":"a","message_id":1{}}}"#, "0".repeat(255)),
                Code::BadField,
                "message_id",
            ),
            (r#"{"message_type":"a","from":1}"#.into(), Code::BadField, "from"),
            (r#"{"message_type":"a","to":""}"#.into(), Code::BadField, "to"),
            (format!(r#"{{"message_type":"a","to":"{}"}}"#, long(512)), Code::BadField, "to"),
            (r#"{"message_type":"a","topic":null}"#.into(), Code::BadField, "topic"),
            (r#"{"message_type":"a","topic":"a.*"}"#.into(), Code::BadField, "topic"),
            (r#"{"message_type":"a","topic":"a","to":"b"}"#.into(), Code::BadField, "topic"),
            (r#"{"message_type":"a","timeout_ms":0}"#.into(), Code::BadField, "timeout_ms"),
            (r#"{"message_type":"a","timeout_ms":3600001}"#.into(), Code::BadField, "timeout_ms"),
            (r#"{"message_type":"a","timeout_ms":"5"}"#.into(), Code::BadField, "timeout_ms"),
            (r#"{"message_type":"a","timeout_ms":5.0}"#.into(), Code::BadField, "timeout_ms"),
            (r#"{"message_type":"a","key":null}"#.into(), Code::BadField, "key"),
            (r#"{"message_type":"a","sender":null}"#.into(), Code::NotYours, "sender"),
            (r#"{"message_type":"a","spool_id":1}"#.into(), Code::NotYours, "spool_id"),
            (r#"{"message_type":"a_reply"}"#.into(), Code::MissingField, "body.in_reply_to"),
            (
                r#"{"message_type":"a_reply","body":{"in_reply_to":null}}"#.into(),
                Code::BadField,
                "body.in_reply_to",
            ),
        ] {
            let refusal = read(&line).expect_err(&line);
            assert_eq!(refusal.code, code, "{line}");
            assert!(refusal.error.contains(field), "{line}: {}", refusal.error);
        }
        assert!(
            read(&format!(r#"{{"message_type":"{}_reply","body":{{"in_reply_to":1}}}}"#, long(255))).is_ok()
        );
    }

    #[test]
    fn ids_differ_by_type_and_not_by_spelling() {
        let id = |raw| Id::read("message_id", Value::new(raw)).expect(raw);
        assert_ne!(id("1"), id("\"1\""));
        assert_eq!(id("\"a\""), id("\"\\u0061\""));
    }

    #[test]
    fn long_values_are_shown_in_part() {
        let text = "ä".repeat(100);
        assert_eq!(excerpt(&text), format!("{}… (200 bytes)", "ä".repeat(60)));
    }
}
