//! Knows what a plugin may send in the daemon's name, and what it may put into a message.
//! Never: who gets it.

use crate::core::check_emission;
use crate::wire::envelope::{Envelope, Field};

/// A signal on behalf of a plugin, in the right form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emission {
    /// The address that it goes to; none where it goes to a topic.
    pub to: Option<String>,
    /// The topic that it is published to.
    pub topic: Option<String>,
    /// A JSON object.
    pub body: String,
}

impl Emission {
    /// A signal; none where it goes to both or neither, or where anything is not in the right form.
    pub(super) fn new(
        to: Option<&str>,
        topic: Option<&str>,
        body: Option<&str>,
        max_line_bytes: usize,
    ) -> Option<Emission> {
        let body = value(body?)?;
        check_emission(to, topic, body, max_line_bytes).ok()?;
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Some(Emission { to: owned(to), topic: owned(topic), body: body.to_owned() })
    }
}

/// The one JSON value that a text is, without the space around it; none where it is anything else, or would
/// nest too deeply as a body. It may stand on several lines: it is written on one.
pub(super) fn value(text: &str) -> Option<&str> {
    let line = format!("{{\"body\":{text}}}");
    let envelope = Envelope::scan(line.as_bytes()).ok()?;
    let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
    // More than a value would be more fields.
    (envelope.raw(Field::Body) == Some(trimmed)).then_some(trimmed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_the_right_form() {
        let new = |to, topic, body| Emission::new(to, topic, body, 1000);
        assert!(new(Some("a#b"), None, Some("{}")).is_some());
        let trimmed = new(None, Some("a.b"), Some(" {\"x\":1} ")).map(|emission| emission.body);
        assert_eq!(trimmed.as_deref(), Some("{\"x\":1}"));
        for (to, topic, body) in [
            (Some("a"), Some("b"), Some("{}")),
            (None, None, Some("{}")),
            (Some(""), None, Some("{}")),
            (None, Some("a.*"), Some("{}")),
            (Some("a"), None, None),
            (Some("a"), None, Some("1")),
            (Some("a"), None, Some("{},\"from\":\"x\"")),
            (Some("a"), None, Some("{}}{")),
        ] {
            assert_eq!(new(to, topic, body), None, "{to:?} {topic:?} {body:?}");
        }
    }

    #[test]
    fn one_value() {
        for text in ["1", "\"a\"", "null", "[1,2]", "{\"a\":{}}"] {
            assert_eq!(value(text), Some(text));
        }
        assert_eq!(value("\r\n{\n\"a\": 1\n}\n"), Some("{\n\"a\": 1\n}"));
        for text in [
            "",
            "\n",
            "1\n2",
            "\"a\nb\"",
            "1,2",
            "1,\"to\":2",
            "1}",
            "{\"a\":1},\"body\":{}",
            "x",
            "\"\u{1}\"",
        ] {
            assert_eq!(value(text), None, "{text}");
        }
        assert_eq!(value(&format!("{}{}", "[".repeat(128), "]".repeat(128))), None);
    }
}
