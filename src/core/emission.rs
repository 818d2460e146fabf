//! Knows which signals a plugin can have the daemon send in its own name, and how they are spelled.
//! Never: which plugin wants it, who gets it, or why.

use std::fmt;
use std::time::Duration;

use crate::core::event::Note;
use crate::core::own_line::write_own_id;
use crate::limits::DEPTH_MAX;
use crate::name::{BadName, NodeAddress};
use crate::topic::{BadTopic, check_topic};
use crate::wire::envelope::{Envelope, nests_within};
use crate::wire::json::{Object, write_on_one_line};

/// Why a signal cannot be sent; its `Display` is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadEmission {
    /// It has neither `to` nor `topic`, or both.
    Target,
    /// `to` is no address.
    To(BadName),
    /// `topic` is none that can be published to.
    Topic(BadTopic),
    /// The body is no JSON object, or nests so deeply that no line can have it.
    Body,
    /// The line would be longer than `max_line_bytes`.
    TooLong,
}

impl fmt::Display for BadEmission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadEmission::Target => f.write_str("one of \"to\" and \"topic\" has to be there"),
            BadEmission::To(why) => write!(f, "\"to\" {why}"),
            BadEmission::Topic(why) => write!(f, "\"topic\" {why}"),
            BadEmission::Body => f.write_str("\"body\" is no JSON object that a line can have"),
            BadEmission::TooLong => f.write_str("the line is longer than max_line_bytes"),
        }
    }
}

impl std::error::Error for BadEmission {}

/// A signal that the daemon can send in its own name, for a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub struct Emission {
    pub(crate) to: Option<String>,
    pub(crate) topic: Option<String>,
    body: String,
}

impl Emission {
    /// A signal to one of `to` and `topic`. `body` is a JSON object; it may stand on several lines.
    pub fn new(
        to: Option<&str>,
        topic: Option<&str>,
        body: &str,
        max_line_bytes: usize,
    ) -> Result<Emission, BadEmission> {
        match (to, topic) {
            (Some(to), None) => drop(NodeAddress::parse(to).map_err(BadEmission::To)?),
            (None, Some(topic)) => check_topic(topic).map_err(BadEmission::Topic)?,
            _ => return Err(BadEmission::Target),
        }
        if body.len() > max_line_bytes {
            return Err(BadEmission::TooLong);
        }
        if Envelope::scan(body.as_bytes()).is_err() || !nests_within(body, DEPTH_MAX - 1) {
            return Err(BadEmission::Body);
        }
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let emission = Emission { to: owned(to), topic: owned(topic), body: body.to_owned() };
        if emission.line(u64::MAX).len() > max_line_bytes {
            return Err(BadEmission::TooLong);
        }
        Ok(emission)
    }

    /// A record of the log, for the topic `telex.log` (PROTOCOL.md section 6). `time` is since 1970.
    pub fn of_record(note: &Note, time: Duration) -> Emission {
        Emission::own("telex.log", "log", |body| {
            body.seconds("time", time).string("level", note.level.word()).string("record", note.event.word());
            body.string("message", &note.text);
            if let Some(number) = note.about.number {
                body.string("unique_id", &format!(":{number}"));
            }
            if let Some(node_id) = &note.about.node_id {
                body.string("node_id", node_id);
            }
            if let Some(uid) = note.about.uid {
                body.number("uid", uid);
            }
            if let Some(plugin) = &note.about.plugin {
                body.string("plugin", plugin);
            }
            body.raw("fields", note.fields.as_bytes());
        })
    }

    /// A signal of the daemon's own to one of its topics.
    pub(crate) fn own(topic: &str, event: &str, fill: impl FnOnce(&mut Object<'_>)) -> Emission {
        let mut body = Vec::new();
        let mut object = Object::begin(&mut body);
        object.string("event", event);
        fill(&mut object);
        object.end();
        let body = String::from_utf8(body).unwrap_or_default();
        Emission { to: None, topic: Some(topic.to_owned()), body }
    }

    /// The memory of its texts.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.topic.as_ref().map_or(0, String::len) + self.body.len()
    }

    /// The line, without its LF, with the daemon's `id`-th id.
    pub(crate) fn line(&self, id: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut line = Object::begin(&mut bytes);
        write_own_id(&mut line, id);
        line.string("message_type", "signal").null("from");
        if let Some(to) = &self.to {
            line.string("to", to);
        }
        if let Some(topic) = &self.topic {
            line.string("topic", topic);
        }
        write_on_one_line(line.key("body"), &self.body);
        line.end();
        bytes
    }
}
