//! Knows how a line is written anew with other values for some of its fields, and what of a message may
//! become another by it (PROTOCOL.md section 11).
//! Never: what it is for.

use std::ops::Range;

use crate::wire::code::Code;
use crate::wire::cursor::Cursor;
use crate::wire::envelope::{Envelope, Field};
use crate::wire::json::{write_on_one_line, write_string};
use crate::wire::message::{Kind, Message, Refusal, Target};

/// What is to stand in a line; what is not named here stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes<'a> {
    /// In place of `to` and of `topic`, whichever was there.
    pub target: Option<Target<'a>>,
    /// Plain text, not JSON.
    pub message_type: Option<&'a str>,
    /// Valid JSON. It may stand on several lines; in the new line it does not.
    pub body: Option<&'a str>,
}

/// Writes the line of an envelope with these changes, without an LF. No field may be there twice. What
/// was not there comes first; all other members, known or not, stay byte for byte in their order.
pub fn rewrite(envelope: &Envelope<'_>, changes: &Changes<'_>) -> Vec<u8> {
    let mut pieces = Pieces::of(envelope);
    if let Some(target) = &changes.target {
        pieces.put(&[Field::To, Field::Topic], member_of(target));
    }
    if let Some(message_type) = changes.message_type {
        pieces.put(&[Field::MessageType], text_member(Field::MessageType, message_type));
    }
    if let Some(body) = changes.body {
        let mut member = key(Field::Body);
        write_on_one_line(&mut member, body);
        pieces.put(&[Field::Body], member);
    }
    pieces.apply(envelope.line().as_bytes())
}

/// The one JSON value that a text is, without the space around it; `None` if it is anything else, or would
/// nest too deeply as a body.
pub fn one_value(text: &str) -> Option<&str> {
    let line = format!("{{\"body\":{text}}}");
    let envelope = Envelope::scan(line.as_bytes()).ok()?;
    let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
    // More than a value would be more fields.
    (envelope.raw(Field::Body) == Some(trimmed)).then_some(trimmed)
}

/// Reads a line that is to stand in place of `original`, or says why it cannot: it has to be right like any
/// line, the same sender's, of the same id and category; of a reply only the body may be another.
pub fn read_rewritten<'a>(
    original: &Message<'_>,
    envelope: &'a Envelope<'a>,
) -> Result<Message<'a>, Refusal> {
    let wrong = |what: &str| Err(Refusal::new(Code::BadField, format!("the new line {what}")));
    if envelope.line().contains('\n') {
        return wrong("is more than one");
    }
    if let Some(field) = envelope.doubled() {
        return wrong(&format!("has \"{}\" twice", field.name()));
    }
    let message = Message::read(envelope)?;
    if message.from != original.from {
        return wrong("has another \"from\"");
    }
    if message.id != original.id {
        return wrong("has another \"message_id\"");
    }
    match (&original.kind, &message.kind) {
        (Kind::Request, Kind::Request) | (Kind::Signal, Kind::Signal) => Ok(message),
        (Kind::Reply(_), Kind::Reply(_)) => {
            let same = message.message_type == original.message_type && message.target == original.target;
            if same { Ok(message) } else { wrong("is a reply, of which only \"body\" may change") }
        }
        _ => wrong("is of another category"),
    }
}

/// What is to become of a line.
struct Pieces {
    /// The place behind the brace.
    start: usize,
    members: Vec<Member>,
    /// Members that were not there.
    added: Vec<Vec<u8>>,
    /// What stands there, and what is to stand there.
    edits: Vec<(Range<usize>, Vec<u8>)>,
}

/// A member of a line, from its key to the end of its value.
struct Member {
    field: Option<Field>,
    place: Range<usize>,
}

impl Pieces {
    fn of(envelope: &Envelope<'_>) -> Pieces {
        let mut members = Vec::new();
        let mut cursor = Cursor::new(envelope.line().as_bytes());
        cursor.skip_space();
        let start = cursor.at + 1;
        let passed = cursor.members(1, |cursor, key| {
            cursor.value(1)?;
            let place = key.token.range().start..cursor.at;
            members.push(Member { field: envelope.field_of(key), place });
            Ok(())
        });
        debug_assert!(passed.is_ok(), "an envelope has been passed before");
        Pieces { start, members, added: Vec::new(), edits: Vec::new() }
    }

    /// Puts a member in the place of the first of `fields` that there is; the others go, each with the
    /// comma before it.
    fn put(&mut self, fields: &[Field], member: Vec<u8>) {
        let is_one = |member: &Member| member.field.is_some_and(|field| fields.contains(&field));
        let mut places = (0..self.members.len()).filter(|&at| is_one(&self.members[at]));
        match places.next() {
            Some(first) => self.edits.push((self.members[first].place.clone(), member)),
            None => self.added.push(member),
        }
        for at in places {
            self.edits.push((self.members[at - 1].place.end..self.members[at].place.end, Vec::new()));
        }
    }

    fn apply(mut self, line: &[u8]) -> Vec<u8> {
        self.edits.sort_by_key(|(place, _)| place.start);
        let mut out = line[..self.start].to_vec();
        for (at, member) in self.added.iter().enumerate() {
            out.extend_from_slice(member);
            if at + 1 < self.added.len() || !self.members.is_empty() {
                out.push(b',');
            }
        }
        let mut taken = self.start;
        for (place, piece) in self.edits {
            out.extend_from_slice(&line[taken..place.start]);
            out.extend_from_slice(&piece);
            taken = place.end;
        }
        out.extend_from_slice(&line[taken..]);
        out
    }
}

/// The daemon is a `to` that is null, so that what was there keeps its place.
fn member_of(target: &Target<'_>) -> Vec<u8> {
    match target {
        Target::Daemon => [key(Field::To), b"null".to_vec()].concat(),
        Target::Address(to) => text_member(Field::To, to),
        Target::Topic(topic) => text_member(Field::Topic, topic),
    }
}

fn text_member(field: Field, text: &str) -> Vec<u8> {
    let mut member = key(field);
    write_string(&mut member, text);
    member
}

fn key(field: Field) -> Vec<u8> {
    format!("\"{}\":", field.name()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(line: &str, changes: Changes<'_>) -> String {
        let envelope = Envelope::scan(line.as_bytes()).expect("valid");
        String::from_utf8(rewrite(&envelope, &changes)).expect("UTF-8")
    }

    fn to(text: &str) -> Changes<'_> {
        Changes { target: Some(Target::Address(text.into())), ..Changes::default() }
    }

    fn topic(text: &str) -> Changes<'_> {
        Changes { target: Some(Target::Topic(text.into())), ..Changes::default() }
    }

    #[test]
    fn one_value_and_nothing_else() {
        for text in ["1", "\"a\"", "null", "[1,2]", "{\"a\":{}}"] {
            assert_eq!(one_value(text), Some(text));
        }
        assert_eq!(one_value("\n {\n\"a\": 1}\r\n"), Some("{\n\"a\": 1}"));
        for text in ["", "1,2", "1,\"to\":2", "1}", "{\"a\":1},\"body\":{}", "x", "\"\u{1}\""] {
            assert_eq!(one_value(text), None, "{text}");
        }
        assert_eq!(one_value(&format!("{}{}", "[".repeat(128), "]".repeat(128))), None);
    }

    #[test]
    fn nothing_changes_by_itself() {
        let line = " { \"to\" :\t\"a\", \"message_type\":\"m\" , \"x\":[1, 2]} ";
        assert_eq!(rewritten(line, Changes::default()), line);
    }

    #[test]
    fn to_and_topic_take_each_others_place() {
        let daemon = || Changes { target: Some(Target::Daemon), ..Changes::default() };
        for (line, changes, new) in [
            (r#"{"a":1, "to" : "x" ,"b":2}"#, to("y\""), r#"{"a":1, "to":"y\"" ,"b":2}"#),
            (r#"{"a":1, "to":"x","b":2}"#, topic("t.u"), r#"{"a":1, "topic":"t.u","b":2}"#),
            (r#"{"a":1, "topic":"t"}"#, to("y"), r#"{"a":1, "to":"y"}"#),
            (r#"{"a":1, "topic":"t"}"#, daemon(), r#"{"a":1, "to":null}"#),
            (r#"{"t\u006f":"x","b":2}"#, to("y"), r#"{"to":"y","b":2}"#),
            // A `to` that is null may stand beside a topic.
            (r#"{"to":null , "topic":"t","b":2}"#, to("y"), r#"{"to":"y","b":2}"#),
            (r#"{"topic":"t" , "b":2 , "to":null}"#, topic("u"), r#"{"topic":"u" , "b":2}"#),
            // A request to the daemon has neither.
            (r#"{ "b":2}"#, to("y"), r#"{"to":"y", "b":2}"#),
            (r#"{ "b":2}"#, daemon(), r#"{"to":null, "b":2}"#),
        ] {
            assert_eq!(rewritten(line, changes), new, "{line}");
        }
    }

    #[test]
    fn what_may_become_of_a_message() {
        const REQUEST: &str = r#"{"message_id":1,"message_type":"ask","from":"a","to":"b"}"#;
        const REPLY: &str = r#"{"message_type":"x_reply","to":"b","body":{"in_reply_to":1}}"#;
        for (original, new, wrong) in [
            (REQUEST, REQUEST, None),
            (REQUEST, r#"{"message_id":1,"message_type":"other","from":"a","topic":"t","body":1}"#, None),
            (REQUEST, r#"{"message_id":1,"message_type":"ask","from":"c","to":"b"}"#, Some("\"from\"")),
            (REQUEST, r#"{"message_id":1,"message_type":"ask","to":"b"}"#, Some("\"from\"")),
            (REQUEST, r#"{"message_id":"1","message_type":"ask","from":"a"}"#, Some("\"message_id\"")),
            (REQUEST, r#"{"message_type":"ask","from":"a"}"#, Some("\"message_id\"")),
            (REQUEST, r#"{"message_id":1,"message_type":"signal","from":"a"}"#, Some("category")),
            (REQUEST, r#"{"message_id":1,"message_type":"error","from":"a"}"#, Some("only the daemon")),
            (REQUEST, r#"{"message_id":1,"message_type":"","from":"a"}"#, Some("\"message_type\"")),
            (REQUEST, r#"{"message_id":1,"message_type":"ask","from":"a","from":"a"}"#, Some("twice")),
            (REQUEST, "{\"message_id\":1,\n\"message_type\":\"ask\",\"from\":\"a\"}", Some("more than one")),
            (REPLY, r#"{"message_type":"x_reply","to":"b","body":{"in_reply_to":1,"x":2}}"#, None),
            (REPLY, r#"{"message_type":"x_reply","to":"b","body":{}}"#, Some("in_reply_to")),
            (REPLY, r#"{"message_type":"y_reply","to":"b","body":{"in_reply_to":1}}"#, Some("only \"body\"")),
            (REPLY, r#"{"message_type":"x_reply","to":"c","body":{"in_reply_to":1}}"#, Some("only \"body\"")),
        ] {
            let original = Envelope::scan(original.as_bytes()).expect("valid");
            let envelope = Envelope::scan(new.as_bytes()).expect("valid");
            let read = read_rewritten(&Message::read(&original).expect("right"), &envelope);
            match (read, wrong) {
                (Ok(_), None) => {}
                (Err(refusal), Some(wrong)) if refusal.error.contains(wrong) => {}
                (read, _) => panic!("{new}: {read:?}"),
            }
        }
    }

    #[test]
    fn types_and_bodies() {
        let changes = Changes { message_type: Some("m\n"), body: Some("{\r\n \"a\": 1\n}"), ..to("y") };
        assert_eq!(
            rewritten(r#"{"body":[1],"message_type":"x","x":{"to":1,"body":2}}"#, changes.clone()),
            r#"{"to":"y","body":{   "a": 1 },"message_type":"m\n","x":{"to":1,"body":2}}"#
        );
        assert_eq!(rewritten("{ }", changes), r#"{"to":"y","message_type":"m\n","body":{   "a": 1 } }"#);
    }
}
