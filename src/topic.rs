//! Knows what topics and patterns of topics look like (PROTOCOL.md section 6).
//! Never: which connections subscribe to them.

use crate::limits::NAME_BYTES_MAX;

/// Why a text is no topic, or no pattern; its `Display` is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTopic {
    /// Nothing at all.
    Empty,
    /// More than 255 bytes.
    TooLong,
    /// Two dots in a row, or a dot at an end.
    EmptyToken,
    /// A wildcard in the topic of a message.
    Wildcard,
    /// A `>` that is not the last token.
    RestNotLast,
}

impl std::fmt::Display for BadTopic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadTopic::Empty => f.write_str("is empty"),
            BadTopic::TooLong => write!(f, "is longer than {NAME_BYTES_MAX} bytes"),
            BadTopic::EmptyToken => f.write_str("has an empty token (two dots in a row, or a dot at an end)"),
            BadTopic::Wildcard => {
                f.write_str("has a wildcard token ('*' or '>'), which only subscriptions may have")
            }
            BadTopic::RestNotLast => f.write_str("has a '>' that is not its last token"),
        }
    }
}

/// Whether `text` is a topic that a message can be published to.
pub fn check_topic(text: &str) -> Result<(), BadTopic> {
    check_tokens(text)?;
    match text.split('.').any(|token| token == "*" || token == ">") {
        true => Err(BadTopic::Wildcard),
        false => Ok(()),
    }
}

/// Whether `text` can be subscribed to: a topic in which `*` may stand for one whole token and `>`,
/// as the last, for one or more.
pub fn check_pattern(text: &str) -> Result<(), BadTopic> {
    check_tokens(text)?;
    let mut tokens = text.split('.').rev();
    tokens.next();
    match tokens.any(|token| token == ">") {
        true => Err(BadTopic::RestNotLast),
        false => Ok(()),
    }
}

/// Whether a topic, or the pattern of a subscription, is the daemon's: it begins with `telex.`.
pub fn is_reserved(text: &str) -> bool {
    text.starts_with("telex.")
}

/// Whether `topic` is one of those that `pattern` stands for; both are in their right forms. No wildcard stands for
/// the first token of the daemon's own topics.
pub fn matches(pattern: &str, topic: &str) -> bool {
    if is_reserved(topic) && !is_reserved(pattern) {
        return false;
    }
    let mut topic = topic.split('.');
    for token in pattern.split('.') {
        match (token, topic.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (token, Some(other)) if token == other => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}

fn check_tokens(text: &str) -> Result<(), BadTopic> {
    if text.is_empty() {
        return Err(BadTopic::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(BadTopic::TooLong);
    }
    match text.split('.').any(str::is_empty) {
        true => Err(BadTopic::EmptyToken),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pattern_stands_for() {
        for (pattern, topic, is_one) in [
            ("a.b", "a.b", true),
            ("a.b", "a", false),
            ("a", "a.b", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("*.b", "a.b", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a", true),
            (">", "telex.log", false),
            ("*.log", "telex.log", false),
            ("telex.*", "telex.log", true),
            ("*.log", "telexes.log", true),
        ] {
            assert_eq!(matches(pattern, topic), is_one, "{pattern} {topic}");
        }
    }

    #[test]
    fn topics_and_patterns() {
        assert_eq!(check_topic("sensor.kitchen.temp"), Ok(()));
        assert_eq!(check_topic("a*.b>"), Ok(()), "a wildcard is a whole token");
        assert_eq!(check_topic("a.*"), Err(BadTopic::Wildcard));
        assert_eq!(check_topic(">"), Err(BadTopic::Wildcard));
        for bad in [".", "a.", ".a", "a..b"] {
            assert_eq!(check_topic(bad), Err(BadTopic::EmptyToken), "{bad}");
        }
        assert_eq!(check_topic(""), Err(BadTopic::Empty));
        assert_eq!(check_topic(&"t".repeat(256)), Err(BadTopic::TooLong));
        for good in ["*", ">", "a.*.b", "a.>", "*.*", "a"] {
            assert_eq!(check_pattern(good), Ok(()), "{good}");
        }
        assert_eq!(check_pattern("a.>.b"), Err(BadTopic::RestNotLast));
        assert_eq!(check_pattern(">.>"), Err(BadTopic::RestNotLast));
    }
}
