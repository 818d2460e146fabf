//! Knows what can be allowed or denied, and the form of what each of it is about.
//! Never: who may.

use crate::pattern::{Glob, Pattern};

/// What can be allowed or denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// To register as a node.
    Own,
    /// A request or a signal to an address.
    Send,
    /// A request or a signal to a topic.
    Publish,
    /// To get what is published.
    Subscribe,
    /// To be told who comes and goes.
    Monitor,
    /// One of [`ASKS`].
    Ask,
}

/// The requests to the daemon that tell of others, or do something to them. All else that the daemon answers
/// concerns only who asks, or has a verb of its own.
pub const ASKS: [&str; 7] = ["list", "resolve", "subscribers", "stats", "kill", "tap", "reload"];

impl Verb {
    /// All of them; each stands at its own number.
    pub const ALL: [Verb; 6] =
        [Verb::Own, Verb::Send, Verb::Publish, Verb::Subscribe, Verb::Monitor, Verb::Ask];

    /// The word in a rule.
    pub fn word(self) -> &'static str {
        match self {
            Verb::Own => "own",
            Verb::Send => "send",
            Verb::Publish => "publish",
            Verb::Subscribe => "subscribe",
            Verb::Monitor => "monitor",
            Verb::Ask => "ask",
        }
    }

    /// Whether its patterns are those of topics.
    pub fn is_about_topics(self) -> bool {
        matches!(self, Verb::Publish | Verb::Subscribe)
    }

    /// Whether there is a message type to it.
    pub fn has_type(self) -> bool {
        matches!(self, Verb::Send | Verb::Publish)
    }

    /// The pattern of all that it can be about.
    pub fn everything(self) -> Pattern {
        if self.is_about_topics() { Pattern::Topic(">".into()) } else { Pattern::Glob(Glob::new("*")) }
    }

    /// A pattern of what it is about; or what is wrong with that, and what would be right.
    pub fn pattern(self, text: &str) -> Result<Pattern, String> {
        check_length(text, 255)?;
        match self {
            Verb::Publish | Verb::Subscribe => check_topic(text)?,
            Verb::Own | Verb::Monitor => {
                check_node(text)?;
                if text.starts_with(':') {
                    return Err("begins with ':', as no node ID does".into());
                }
            }
            Verb::Send => {
                check_node(text)?;
                if text.starts_with(':') && text != ":*" {
                    return Err(
                        "begins with ':', but the number of a connection comes once and never again; \
                                \":*\" stands for all connections without a node ID"
                            .into(),
                    );
                }
            }
            Verb::Ask => {
                if text != "*" && !ASKS.contains(&text) {
                    return Err(format!("is none of {}, nor \"*\" for all of them", ASKS.join(", ")));
                }
            }
        }
        Ok(if self.is_about_topics() { Pattern::Topic(text.into()) } else { Pattern::Glob(Glob::new(text)) })
    }
}

/// A pattern of message types; or what is wrong with it, and what would be right.
pub fn message_type(text: &str) -> Result<Glob, String> {
    check_length(text, 255)?;
    if text.ends_with("_reply") {
        return Err(
            "ends in \"_reply\", but replies are not judged: the daemon lets nobody answer but those who \
                    were asked"
                .into(),
        );
    }
    Ok(Glob::new(text))
}

/// A pattern of node IDs that a sender holds; or what is wrong with it, and what would be right.
pub fn node_pattern(text: &str) -> Result<Glob, String> {
    check_length(text, 255)?;
    check_node(text)?;
    Ok(Glob::new(text))
}

fn check_length(text: &str, most: usize) -> Result<(), String> {
    match text.len() {
        0 => Err("is empty".into()),
        length if length > most => Err(format!("is longer than {most} bytes")),
        _ => Ok(()),
    }
}

fn check_node(text: &str) -> Result<(), String> {
    if text.contains('#') {
        return Err("has a '#' in it, but a port (NODE#PORT) counts as its node: leave it out".into());
    }
    if text.contains(|c: char| c < ' ' || c == '\x7f') {
        return Err("has a control character in it, as no node ID has".into());
    }
    Ok(())
}

fn check_topic(text: &str) -> Result<(), String> {
    if text.split('.').any(str::is_empty) {
        return Err("has an empty token (two dots in a row, or a dot at an end)".into());
    }
    let mut tokens = text.split('.').rev();
    tokens.next();
    if tokens.any(|token| token == ">") {
        return Err("has a '>' that is not its last token".into());
    }
    Ok(())
}
