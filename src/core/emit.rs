//! Knows how the daemon sends signals of its own to whom a plugin wants them sent: under the rule for
//! topic messages (PROTOCOL.md section 4), to a node as to a topic.
//! Never: which plugin wants it, or why.

use std::fmt;

use crate::core::delivery::write_own_id;
use crate::core::{Core, Event, Level, SessionKey, Subject};
use crate::limits::DEPTH_MAX;
use crate::name::{BadName, NodeAddress};
use crate::topic::{BadTopic, check_topic};
use crate::wire::control::Delivery;
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

/// Whether the daemon can send this as a signal of its own
/// ([`Input::Emitted`](crate::core::Input::Emitted)).
pub fn check_emission(
    to: Option<&str>,
    topic: Option<&str>,
    body: &str,
    max_line_bytes: usize,
) -> Result<(), BadEmission> {
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
    let mut line = Vec::new();
    write_emission(&mut line, u64::MAX, to, topic, body);
    if line.len() > max_line_bytes { Err(BadEmission::TooLong) } else { Ok(()) }
}

fn write_emission(out: &mut Vec<u8>, id: u64, to: Option<&str>, topic: Option<&str>, body: &str) {
    let mut line = Object::begin(out);
    write_own_id(&mut line, id);
    line.string("message_type", "signal").null("from");
    if let Some(to) = to {
        line.string("to", to);
    }
    if let Some(topic) = topic {
        line.string("topic", topic);
    }
    write_on_one_line(line.key("body"), body);
    line.end();
}

impl Core {
    /// Sends a signal of the daemon's own. Nobody waits for it and nobody is told where it went: who has
    /// no room misses it.
    pub(super) fn emit(&mut self, to: Option<&str>, topic: Option<&str>, body: &str) {
        if let Err(why) = check_emission(to, topic, body, self.limits.max_line_bytes) {
            let text = format!("a plugin wants to send what cannot be sent: {why}");
            return self.note(Level::Error, Event::Internal, Subject::default(), text, |_| {});
        }
        let mut receivers = std::mem::take(&mut self.receivers);
        receivers.clear();
        if let Some(to) = to {
            self.find_emitted_to(to, &mut receivers);
        }
        if let Some(topic) = topic {
            self.pick_subscribers(topic, &mut receivers);
        }
        self.own_ids += 1;
        let mut line = Vec::new();
        write_emission(&mut line, self.own_ids, to, topic, body);
        for &receiver in &receivers {
            match self.has_topic_room(receiver) {
                true => self.say_topic_line(receiver, &line),
                false => self.miss(receiver),
            }
        }
        self.receivers = receivers;
        // Who misses it for want of memory is told when there is some.
        self.watch_pressure();
    }

    /// Of a node that shares its messages out, one instance: with room, where one has some.
    fn find_emitted_to(&mut self, to: &str, receivers: &mut Vec<SessionKey>) {
        let key = match NodeAddress::parse(to) {
            Ok(NodeAddress::Node(name)) => self.registry.find(name),
            Ok(NodeAddress::Unique(number)) => return receivers.extend(self.find_number(number)),
            Err(_) => return,
        };
        let Some(node) = key.and_then(|key| self.registry.get(key)) else { return };
        let (next, instances) = (node.turn, &node.instances);
        if node.delivery == Delivery::All || instances.is_empty() {
            return receivers.extend(instances.iter().map(|instance| instance.session));
        }
        let picked = self.pick_idle(instances, next, |instance| self.has_topic_room(instance));
        let at = picked.unwrap_or(next % instances.len());
        receivers.push(instances[at].session);
        if let Some(node) = key.and_then(|key| self.registry.get_mut(key)) {
            node.turn = at + 1;
        }
    }
}
