//! Knows which messages a filter wants to see.
//! Never: what it makes of them.

use crate::name::matches;
use crate::wire::message::{Message, Target};

/// Messages that a filter wants to see; a pattern that is not there matches all.
#[derive(Clone, Debug, Default)]
pub(super) struct Interest {
    pub(super) message_type: Option<Pattern>,
    pub(super) to: Option<Pattern>,
    pub(super) topic: Option<Pattern>,
    pub(super) from: Option<Pattern>,
}

/// A pattern; looked at for each message, so what it is is known beforehand.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// Without `*`: it matches itself.
    Text(String),
    /// With one or more `*`.
    Stars(String),
}

impl Pattern {
    pub(super) fn new(text: String) -> Pattern {
        match text.contains('*') {
            true => Pattern::Stars(text),
            false => Pattern::Text(text),
        }
    }

    fn fits(&self, text: &str) -> bool {
        match self {
            Pattern::Text(pattern) => pattern == text,
            Pattern::Stars(pattern) => matches(pattern, text),
        }
    }
}

impl Interest {
    /// Whether it is for this message, whose sender is stamped as `from`.
    #[inline]
    pub(super) fn covers(&self, message: &Message<'_>, from: &str) -> bool {
        let fits =
            |pattern: &Option<Pattern>, text: &str| pattern.as_ref().is_none_or(|pattern| pattern.fits(text));
        fits(&self.message_type, &message.message_type) && fits(&self.from, from) && {
            let (to, topic) = target(message);
            fits(&self.to, to.unwrap_or_default()) && fits(&self.topic, topic.unwrap_or_default())
        }
    }
}

/// The address and the topic that a message is for; neither: the daemon.
pub(super) fn target<'a>(message: &'a Message<'_>) -> (Option<&'a str>, Option<&'a str>) {
    match &message.target {
        Target::Daemon => (None, None),
        Target::Address(to) => (Some(to), None),
        Target::Topic(topic) => (None, Some(topic)),
    }
}
