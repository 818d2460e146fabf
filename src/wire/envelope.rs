//! Knows where in a line the fields of its envelope stand, and that the whole line is valid JSON.
//! Never: what a field means, or what stands in a body beyond `in_reply_to`.
//!
//! One pass looks at every byte of a line once (after a check for UTF-8 that takes 64 of them at a time):
//! the envelope's members, the members of a body that is an object, and everything deeper by a loop with
//! one bit per level.

use std::borrow::Cow;

use crate::limits::DEPTH_MAX;
use crate::wire::cursor::{Cursor, Key, SPAN_END_MAX, Span, Stuck, ValueKind};
use crate::wire::json::unescape;

/// The members of an envelope (PROTOCOL.md section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the protocol")]
pub enum Field {
    MessageId,
    MessageType,
    From,
    To,
    Topic,
    Body,
    TimeoutMs,
    Key,
    Sender,
    SpoolId,
    Receipt,
}

const FIELDS: [&str; 11] = [
    "message_id",
    "message_type",
    "from",
    "to",
    "topic",
    "body",
    "timeout_ms",
    "key",
    "sender",
    "spool_id",
    "receipt",
];

impl Field {
    /// The member's name on the wire.
    pub fn name(self) -> &'static str {
        FIELDS[self as usize]
    }

    #[inline(always)]
    fn from_name(name: &[u8]) -> Option<Field> {
        // Of arrays of one length the compiler compares words, of slices one byte after the other.
        match name.len() {
            2 => named(name, b"to", Field::To),
            3 => named(name, b"key", Field::Key),
            4 => named(name, b"from", Field::From).or_else(|| named(name, b"body", Field::Body)),
            5 => named(name, b"topic", Field::Topic),
            6 => named(name, b"sender", Field::Sender),
            7 => named(name, b"receipt", Field::Receipt),
            8 => named(name, b"spool_id", Field::SpoolId),
            10 => named(name, b"message_id", Field::MessageId)
                .or_else(|| named(name, b"timeout_ms", Field::TimeoutMs)),
            12 => named(name, b"message_type", Field::MessageType),
            _ => None,
        }
    }
}

#[inline(always)]
fn named<const LENGTH: usize>(name: &[u8], right: &[u8; LENGTH], field: Field) -> Option<Field> {
    (name.first_chunk() == Some(right)).then_some(field)
}

/// Why a line has no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// No JSON (RFC 8259), nested too deeply, or an escaped lone surrogate; the first byte at fault,
    /// counted from 1.
    BadJson {
        /// In bytes from 1; one past the line if it ends too early.
        column: usize,
    },
    /// JSON, but no object.
    NotAnObject,
}

/// One value as it stands in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// The bytes of the value, its quotes included if it is a string.
    pub raw: &'a str,
    kind: ValueKind,
}

impl<'a> Value<'a> {
    /// A value that is known to be valid JSON, without space around it.
    pub fn new(raw: &'a str) -> Value<'a> {
        let kind = match (raw.starts_with('"'), raw.contains('\\')) {
            (false, _) => ValueKind::Other,
            (true, false) => ValueKind::PlainString,
            (true, true) => ValueKind::EscapedString,
        };
        Value { raw, kind }
    }

    /// The decoded text, if it is a string.
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self.kind {
            ValueKind::Other => None,
            ValueKind::PlainString => Some(Cow::Borrowed(&self.raw[1..self.raw.len() - 1])),
            ValueKind::EscapedString => Some(unescape(self.raw)),
        }
    }
}

/// The places of one valid line's envelope fields, borrowed from the line.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    line: &'a str,
    brace: usize,
    spans: [Span; FIELDS.len()],
    in_reply_to: Span,
    doubled: Option<Field>,
}

impl<'a> Envelope<'a> {
    /// Validates `line` (without its LF; one of 1 GiB is broken) and finds its envelope.
    pub fn scan(line: &'a [u8]) -> Result<Envelope<'a>, Broken> {
        if line.len() > SPAN_END_MAX {
            return Err(Broken::BadJson { column: SPAN_END_MAX + 1 });
        }
        let Ok(text) = simdutf8::basic::from_utf8(line) else { return Err(Envelope::not_utf8(line)) };
        let mut cursor = Cursor::new(line);
        let mut envelope = Envelope {
            line: text,
            brace: 0,
            spans: [Span::default(); FIELDS.len()],
            in_reply_to: Span::default(),
            doubled: None,
        };
        let scanned = envelope.scan_line(&mut cursor);
        match scanned {
            Ok(true) => Ok(envelope),
            Ok(false) => Err(Broken::NotAnObject),
            Err(Stuck) => Err(Broken::BadJson { column: cursor.at + 1 }),
        }
    }

    /// The JSON in front of the first byte that is no UTF-8 may have an earlier fault.
    #[cold]
    fn not_utf8(line: &[u8]) -> Broken {
        let valid_up_to = line.utf8_chunks().next().map_or(0, |chunk| chunk.valid().len());
        match Envelope::scan(&line[..valid_up_to]) {
            Err(Broken::BadJson { column }) => Broken::BadJson { column },
            Ok(_) | Err(Broken::NotAnObject) => Broken::BadJson { column: valid_up_to + 1 },
        }
    }

    fn scan_line(&mut self, cursor: &mut Cursor<'a>) -> Result<bool, Stuck> {
        cursor.skip_space();
        let is_object = cursor.peek() == Some(b'{');
        if is_object {
            self.brace = cursor.at;
            cursor.members_passed(1, |cursor, key, passed| self.scan_member(cursor, key, passed))?;
        } else {
            cursor.value(0)?;
        }
        cursor.skip_space();
        match cursor.peek() {
            None => Ok(is_object),
            Some(_) => Err(Stuck),
        }
    }

    #[inline(always)]
    fn scan_member(
        &mut self,
        cursor: &mut Cursor<'a>,
        key: Key<'a>,
        passed: Option<Span>,
    ) -> Result<(), Stuck> {
        let Some(field) = self.field_of(key) else {
            return if passed.is_some() { Ok(()) } else { cursor.value(1) };
        };
        if field == Field::Body {
            // Where there are two bodies, it is the last one's, as for `raw`.
            self.in_reply_to = Span::default();
        }
        let value = match passed {
            Some(value) => value,
            None if field == Field::Body && cursor.peek() == Some(b'{') => self.scan_body(cursor)?,
            None => cursor.spanned(1)?,
        };
        let place = &mut self.spans[field as usize];
        if !place.is_empty() {
            self.doubled.get_or_insert(field);
        }
        *place = value;
        Ok(())
    }

    /// The field whose key stands there, in whatever spelling.
    #[inline(always)]
    pub(super) fn field_of(&self, key: Key<'a>) -> Option<Field> {
        match key.token.kind() {
            ValueKind::EscapedString => Field::from_name(self.decoded(key.token).as_bytes()),
            _ => Field::from_name(key.inside),
        }
    }

    #[cold]
    fn decoded(&self, string: Span) -> Cow<'a, str> {
        unescape(&self.line[string.range()])
    }

    fn scan_body(&mut self, cursor: &mut Cursor<'a>) -> Result<Span, Stuck> {
        let start = cursor.at;
        cursor.members_passed(2, |cursor, key, passed| {
            let value = match passed {
                Some(value) => value,
                None => cursor.spanned(2)?,
            };
            // Where a body has it twice, the last one counts, as for most readers of JSON.
            let is_it = match key.token.kind() {
                ValueKind::EscapedString => self.decoded(key.token) == "in_reply_to",
                _ => key.inside == b"in_reply_to",
            };
            if is_it {
                self.in_reply_to = value;
            }
            Ok(())
        })?;
        Ok(Span::new(start, cursor.at, ValueKind::Other))
    }

    /// The line, as it came.
    pub fn line(&self) -> &'a str {
        self.line
    }

    /// A field's value (of two, the last), or nothing.
    pub fn get(&self, field: Field) -> Option<Value<'a>> {
        self.value(self.spans[field as usize])
    }

    /// A field's value (of two, the last) as it stands in the line, its quotes included, or nothing.
    pub fn raw(&self, field: Field) -> Option<&'a str> {
        self.get(field).map(|value| value.raw)
    }

    /// `body.in_reply_to`.
    pub fn in_reply_to(&self) -> Option<Value<'a>> {
        self.value(self.in_reply_to)
    }

    /// The first field that is given twice, whatever the spelling of its key.
    pub fn doubled(&self) -> Option<Field> {
        self.doubled
    }

    /// The line as it leaves, so far unchanged. Nothing is copied.
    pub fn outgoing(&self) -> Outgoing<'a> {
        Outgoing { line: self.line, brace: self.brace, added: b"", sender: b"", from: None }
    }

    /// Where the value of `from` stands, for [`Outgoing::from`].
    pub fn from_range(&self) -> std::ops::Range<usize> {
        self.spans[Field::From as usize].range()
    }

    fn value(&self, span: Span) -> Option<Value<'a>> {
        (!span.is_empty()).then(|| Value { raw: &self.line[span.range()], kind: span.kind() })
    }

    /// The text of a field that is a string of 1 to `most` bytes without escapes, as most are.
    #[inline(always)]
    pub(crate) fn plain(&self, field: Field, most: usize) -> Option<&'a str> {
        let span = self.spans[field as usize];
        if span.kind() != ValueKind::PlainString {
            return None;
        }
        let range = span.range();
        let text = self.line.get(range.start + 1..range.end - 1)?;
        (1..=most).contains(&text.len()).then_some(text)
    }

    /// Whether there is such a field.
    #[inline(always)]
    pub(crate) fn has(&self, field: Field) -> bool {
        !self.spans[field as usize].is_empty()
    }
}

/// Makes sure that `text` is one JSON value that a line may have with `depth` objects and arrays around it. The error
/// is the column of the first byte at fault, from 1 on.
pub(crate) fn check_value(text: &str, depth: usize) -> Result<(), usize> {
    let mut cursor = Cursor::new(text.as_bytes());
    let is_value = cursor.value(depth).is_ok();
    if is_value {
        cursor.skip_space();
    }
    if is_value && cursor.at == text.len() { Ok(()) } else { Err(cursor.at + 1) }
}

/// Whether one valid JSON value nests at most `levels` deep.
pub fn nests_within(value: &str, levels: usize) -> bool {
    let mut cursor = Cursor::new(value.as_bytes());
    cursor.value(DEPTH_MAX - levels).is_ok()
}

/// A line with what the daemon adds to it or replaces in it; all else stays as it came.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    line: &'a str,
    brace: usize,
    /// Whole members, each with a comma behind it, for the front of the object: the line has a
    /// `message_type`, so one more member always follows.
    pub added: &'a [u8],
    /// The member `sender`, which goes to some receivers only, with a comma behind it.
    sender: &'a [u8],
    /// What to write in place of the value of `from`, and where that stands.
    pub from: Option<(std::ops::Range<usize>, &'a [u8])>,
}

impl Outgoing<'_> {
    /// This line with the member `sender` (with a comma behind it) at its front; none if that is empty.
    pub fn with_sender<'b>(&'b self, sender: &'b [u8]) -> Outgoing<'b> {
        Outgoing { sender, ..self.clone() }
    }

    /// Appends the line and its LF.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let line = self.line.as_bytes();
        out.reserve(self.len());
        let after = if self.added.is_empty() && self.sender.is_empty() { 0 } else { self.brace + 1 };
        out.extend_from_slice(&line[..after]);
        out.extend_from_slice(self.added);
        out.extend_from_slice(self.sender);
        match &self.from {
            None => out.extend_from_slice(&line[after..]),
            Some((place, from)) => {
                out.extend_from_slice(&line[after..place.start]);
                out.extend_from_slice(from);
                out.extend_from_slice(&line[place.end..]);
            }
        }
        out.push(b'\n');
    }

    /// The bytes that [`Outgoing::write_to`] appends.
    #[expect(clippy::len_without_is_empty, reason = "no line is empty")]
    pub fn len(&self) -> usize {
        let replaced =
            self.from.as_ref().map_or(0, |(place, from)| from.len() as isize - place.len() as isize);
        (self.line.len() + self.added.len() + self.sender.len() + 1).saturating_add_signed(replaced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(line: &str) -> Result<Envelope<'_>, Broken> {
        Envelope::scan(line.as_bytes())
    }

    #[test]
    fn finds_the_fields() {
        let line = r#" {"message_id":"1","message_type":"x_reply","from":null,"extra":[1,{"to":2}],"to":"a","body":{"to":"no","in_reply_to" : 7 }} "#;
        let envelope = scan(line).expect("valid");
        assert_eq!(envelope.raw(Field::MessageId), Some("\"1\""));
        assert_eq!(envelope.raw(Field::From), Some("null"));
        assert_eq!(envelope.raw(Field::To), Some("\"a\""));
        assert_eq!(envelope.raw(Field::Topic), None);
        assert_eq!(envelope.in_reply_to().map(|value| value.raw), Some("7"));
        assert_eq!(envelope.doubled(), None);
    }

    #[test]
    fn names_the_byte_at_fault() {
        for (line, column) in [
            ("", 1),
            ("{", 2),
            (r#"{"a":01}"#, 7),
            (r#"{"a":1,}"#, 8),
            (r#"{"a":"b"#, 8),
            (r#"{"a":"\x"}"#, 8),
            (r#"{"a":"\ud800"}"#, 13),
            (r#"{"a":"\udc00"}"#, 8),
            (r#"{"a":"\ud800\u0041"}"#, 14),
            (r#"{"a":1} x"#, 9),
            (r#"{"a":tru}"#, 9),
            ("{\"a\":\"\u{1}\"}", 7),
            (r#"{"a":-}"#, 7),
            (r#"{"a":1.}"#, 8),
            (r#"{'a':1}"#, 2),
        ] {
            assert_eq!(scan(line).err(), Some(Broken::BadJson { column }), "{line}");
        }
        assert_eq!(Envelope::scan(b"{\"a\":\"\xff\"}").err(), Some(Broken::BadJson { column: 7 }));
        assert_eq!(Envelope::scan(b"{\"a\":\"\0\"}").err(), Some(Broken::BadJson { column: 7 }));
        assert_eq!(Envelope::scan(b"{\"a\":x,\"b\":\"\xff\"}").err(), Some(Broken::BadJson { column: 6 }));
        assert_eq!(Envelope::scan(b"{} \xff").err(), Some(Broken::BadJson { column: 4 }));
    }

    #[test]
    fn bytes_that_are_no_utf8_wherever_they_stand() {
        let fill = "\u{e4}\u{20ac}\u{1f600}x".repeat(40);
        let line = format!("{{\"a\":\"{fill}\"}}");
        assert!(scan(&line).is_ok());
        for at in 6..6 + fill.len() {
            for byte in [0x80, 0xc0, 0xed, 0xf4, 0xff] {
                let mut bytes = line.clone().into_bytes();
                bytes[at] = byte;
                let right = std::str::from_utf8(&bytes).map_err(|error| error.valid_up_to() + 1).err();
                let found = match Envelope::scan(&bytes) {
                    Ok(_) => None,
                    Err(Broken::BadJson { column }) => Some(column),
                    Err(Broken::NotAnObject) => Some(0),
                };
                assert_eq!(found, right, "{byte:x} at {at}");
            }
        }
    }

    #[test]
    fn only_objects() {
        for line in ["1", "null", "[]", "\"a\"", "[{}]", "true"] {
            assert_eq!(scan(line).err(), Some(Broken::NotAnObject), "{line}");
        }
        assert!(matches!(scan("[").err(), Some(Broken::BadJson { .. })));
    }

    #[test]
    fn nesting_up_to_the_limit() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            for body in ["body", "other"] {
                let line = |levels: usize| {
                    let inner = levels - 1;
                    format!("{{\"{body}\":{}1{}}}", open.repeat(inner), close.repeat(inner))
                };
                assert!(scan(&line(DEPTH_MAX)).is_ok(), "{body} {open}");
                assert!(scan(&line(DEPTH_MAX + 1)).is_err(), "{body} {open}");
            }
        }
        assert_eq!(scan(&format!("{}{}", "[".repeat(128), "]".repeat(128))).err(), Some(Broken::NotAnObject));
        assert!(matches!(scan(&"[".repeat(100_000)).err(), Some(Broken::BadJson { .. })));
    }

    #[test]
    fn levels_of_a_value() {
        for (value, levels) in [("1", 0), ("[]", 1), ("{\"a\":[1,{}]}", 3), ("[[],[]]", 2)] {
            assert!(nests_within(value, levels), "{value}");
            assert!(levels == 0 || !nests_within(value, levels - 1), "{value}");
        }
    }

    #[test]
    fn doubled_fields_in_any_spelling() {
        assert_eq!(scan(r#"{"to":1,"t\u006f":2}"#).expect("valid").doubled(), Some(Field::To));
        assert_eq!(scan(r#"{"x":1,"x":2,"body":{"to":1,"to":2}}"#).expect("valid").doubled(), None);
    }

    #[test]
    fn in_reply_to_is_that_of_the_body() {
        for (line, expected) in [
            (r#"{"body":{"in_reply_to":1,"in_reply_to":"2"}}"#, Some("\"2\"")),
            (r#"{"body":[{"in_reply_to":1}]}"#, None),
            (r#"{"body":{"in_reply_to":1},"body":{}}"#, None),
            (r#"{"body":{"in_reply_to":1},"body":2}"#, None),
        ] {
            assert_eq!(scan(line).expect("valid").in_reply_to().map(|value| value.raw), expected, "{line}");
        }
    }

    #[test]
    fn leaves_with_what_is_added() {
        let line = r#" { "from":null,"message_type":"signal"}"#;
        let envelope = scan(line).expect("valid");
        let write = |outgoing: &Outgoing<'_>| {
            let mut out = Vec::new();
            outgoing.write_to(&mut out);
            assert_eq!(out.len(), outgoing.len());
            String::from_utf8(out).expect("UTF-8")
        };
        let mut outgoing = envelope.outgoing();
        assert_eq!(write(&outgoing), format!("{line}\n"));
        outgoing.from = Some((envelope.from_range(), b"\":7\""));
        assert_eq!(write(&outgoing), " { \"from\":\":7\",\"message_type\":\"signal\"}\n");
        outgoing.added = b"\"message_id\":\"x\",";
        assert_eq!(
            write(&outgoing.with_sender(b"\"sender\":{},")),
            " {\"message_id\":\"x\",\"sender\":{}, \"from\":\":7\",\"message_type\":\"signal\"}\n"
        );
    }
}
