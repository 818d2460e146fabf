//! Knows how connections, messages, events and records look to a plugin (`telex_plugin.h`).
//! Never: which plugin sees them.

use std::time::Duration;

use telex_plugin::raw::{self, Str};

use super::interest::target;
use crate::core::{Identity, Level, Note, Peer, Transport};
use crate::wire::envelope::Field;
use crate::wire::message::{Kind, Message};

/// A connection, as a plugin sees it; lives as long as what it is made of.
pub(super) fn peer(number: u64, unique_id: &str, peer: &Peer, node_ids: &[Str]) -> raw::Peer {
    let (uid, gid, pid) = match peer.identity {
        Identity::Kernel { uid, gid, pid } => {
            (uid.map_or(-1, i64::from), gid.map_or(-1, i64::from), i64::from(pid))
        }
        Identity::Anonymous => (-1, -1, -1),
    };
    raw::Peer {
        size: size_of::<raw::Peer>() as u32,
        transport: match peer.transport {
            Transport::Unix => raw::UNIX,
            Transport::Tcp => raw::TCP,
        },
        connection: number,
        unique_id: Str::of(unique_id),
        node_ids: node_ids.as_ptr(),
        node_id_count: node_ids.len(),
        uid,
        gid,
        pid,
        user: Str::NONE,
        administrator: u32::from(peer.administrator),
        reserved: 0,
    }
}

/// A message, as a filter sees it; lives as long as what it is made of.
pub(super) fn message(sender: &raw::Peer, from: &str, message: &Message<'_>) -> raw::Message {
    let (to, topic) = target(message);
    let raw_field = |field| Str::maybe(message.envelope.raw(field));
    raw::Message {
        size: size_of::<raw::Message>() as u32,
        kind: match message.kind {
            Kind::Request => raw::REQUEST,
            Kind::Signal => raw::SIGNAL,
            Kind::Reply(_) => raw::REPLY,
        },
        sender,
        line: Str::of(message.envelope.line()),
        message_id: raw_field(Field::MessageId),
        message_type: Str::of(&message.message_type),
        from: Str::of(from),
        to: Str::maybe(to),
        topic: Str::maybe(topic),
        key: Str::maybe(message.key.as_deref()),
        body: raw_field(Field::Body),
        in_reply_to: Str::maybe(message.envelope.in_reply_to().map(|value| value.raw)),
    }
}

/// The levels in the order of their numbers in syslog(3), from `raw::ERR` on.
const LEVELS: [Level; 5] = [Level::Error, Level::Warning, Level::Notice, Level::Info, Level::Debug];

/// An event that is about nothing yet.
pub(super) fn event(kind: u32) -> raw::Event {
    raw::Event {
        size: size_of::<raw::Event>() as u32,
        kind,
        replayed: 0,
        reserved: 0,
        peer: std::ptr::null(),
        node_id: Str::NONE,
        topic: Str::NONE,
        group: Str::NONE,
        reason: Str::NONE,
    }
}

/// A record, as a log plugin sees it; lives as long as the note.
pub(super) fn record(note: &Note, now: Duration) -> raw::Record {
    raw::Record {
        size: size_of::<raw::Record>() as u32,
        level: raw::ERR + note.level as i32,
        time: i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
        event: Str::of(note.event.word()),
        connection: note.about.number.unwrap_or(0),
        node_id: Str::maybe(note.about.node_id.as_deref()),
        uid: note.about.uid.map_or(-1, i64::from),
        message: Str::of(&note.text),
        fields: Str::of(&note.fields),
    }
}

/// The level of a number of syslog(3); what is worse than an error is one too.
pub(super) fn level_of(number: i32) -> Level {
    let above_error = (number.clamp(raw::ERR, raw::DEBUG) - raw::ERR) as usize;
    LEVELS[above_error]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_the_numbers_of_syslog() {
        for (nth, level) in LEVELS.into_iter().enumerate() {
            assert_eq!(level as usize, nth, "{level:?} is handed out as its place");
        }
        for (number, level) in [
            (i32::MIN, Level::Error),
            (raw::EMERG, Level::Error),
            (raw::ERR, Level::Error),
            (raw::WARNING, Level::Warning),
            (raw::NOTICE, Level::Notice),
            (raw::INFO, Level::Info),
            (raw::DEBUG, Level::Debug),
            (i32::MAX, Level::Debug),
        ] {
            assert_eq!(level_of(number), level, "{number}");
        }
    }
}
