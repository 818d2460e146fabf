//! Knows texts with places in them that a message fills.
//! Never: which message.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use telex::client::Message;

use crate::output::{clock, safe};

/// A text with places: `{from}: {body.a.b}`. `{{` and `}}` are braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Time,
    From,
    To,
    Topic,
    Type,
    Uid,
    /// A value inside the body; the whole of it without a name.
    Body(Vec<String>),
}

impl Format {
    /// Reads one; the error says what is wrong, and where.
    pub(crate) fn parse(text: &str) -> Result<Format, String> {
        let mut parts = vec![];
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let doubled = rest[at..].chars().next().filter(|&brace| rest[at + 1..].starts_with(brace));
            if let Some(brace) = doubled {
                plain.push(brace);
                rest = &rest[at + 2..];
                continue;
            }
            let end = rest[at..].find('}').filter(|_| rest[at..].starts_with('{'));
            let column = text.len() - rest.len() + at + 1;
            let end = end.ok_or_else(|| {
                format!("the brace at byte {column} has no other; write {{{{ or }}}} for one")
            })?;
            let name = &rest[at + 1..at + end];
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::named(name).ok_or_else(|| {
                format!(
                    "{{{name}}} at byte {column} is no field; expected: time, from, to, topic, type, uid, body or body.NAME"
                )
            })?);
            rest = &rest[at + end + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Format(parts))
    }

    /// The text for a message: on one line, with what others have written made safe. What it does not have is empty.
    pub(crate) fn fill(&self, message: &Message) -> String {
        self.0.iter().map(|part| part.of(message)).collect()
    }
}

impl Part {
    fn named(name: &str) -> Option<Part> {
        Some(match name {
            "time" => Part::Time,
            "from" => Part::From,
            "to" => Part::To,
            "topic" => Part::Topic,
            "type" => Part::Type,
            "uid" => Part::Uid,
            "body" => Part::Body(Vec::new()),
            _ => Part::Body(name.strip_prefix("body.")?.split('.').map(str::to_owned).collect()),
        })
    }

    fn of(&self, message: &Message) -> String {
        let foreign = |text: Option<&str>| safe(text.unwrap_or_default());
        match self {
            Part::Text(text) => text.clone(),
            Part::Time => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                clock(&json!(now.as_secs_f64()))
            }
            Part::From => foreign(message.from()),
            Part::To => foreign(message.to()),
            Part::Topic => foreign(message.topic()),
            Part::Type => foreign(Some(message.message_type())),
            Part::Uid => {
                let sender: Value =
                    message.sender().and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default();
                sender["uid"].as_u64().map_or_else(String::new, |uid| uid.to_string())
            }
            Part::Body(path) if path.is_empty() => foreign(message.body()),
            Part::Body(path) => {
                let body = message.body_value();
                let inside = path.iter().try_fold(&body, |value, name| match value {
                    Value::Array(items) => items.get(name.parse::<usize>().ok()?),
                    value => value.get(name),
                });
                match inside {
                    None => String::new(),
                    Some(Value::String(text)) => safe(text),
                    Some(value) => safe(&value.to_string()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled() {
        let line = r#"{"message_type":"set","from":"bob","to":"a","sender":{"uid":7},"body":{"a":{"b":"x\u001b","c":[1,{}]}}}"#;
        let message = Message::read(line.into()).expect("a message");
        for (format, filled) in [
            ("{from} {to} {topic}{type} {uid}", "bob a set 7"),
            ("{body.a.b}|{body.a.c.0}|{body.a.c}|{body.no.such}", "x\\u{1b}|1|[1,{}]|"),
            ("{{{from}}} {body}", "{bob} {\"a\":{\"b\":\"x\\u001b\",\"c\":[1,{}]}}"),
            ("ä", "ä"),
        ] {
            assert_eq!(Format::parse(format).expect(format).fill(&message), filled);
        }
        assert_eq!(Format::parse("{time}").expect("a format").fill(&message).len(), 12);
    }

    #[test]
    fn what_is_no_place_is_told() {
        for (format, told) in [
            ("{nonsense}", "{nonsense} at byte 1 is no field"),
            ("a {from", "the brace at byte 3 has no other"),
            ("a}", "the brace at byte 2"),
            ("{bodya}", "{bodya}"),
        ] {
            let why = Format::parse(format).expect_err(format);
            assert!(why.starts_with(told), "{why}");
        }
    }
}
