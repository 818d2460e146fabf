//! Knows a message on its way through the acts: the message, the line as it leaves, whose it is.
//! Never: where it goes.

use std::time::Duration;

use crate::core::SessionKey;
use crate::core::own_line::AskedBy;
use crate::core::rows::Standing;
use crate::wire::complaint::form_meant;
use crate::wire::envelope::{Field, Outgoing};
use crate::wire::json::write_string;
use crate::wire::message::{Id, Kind, Message, Target};

/// A message that has been let in, on its way.
#[derive(Clone, Debug)]
pub(crate) struct Parcel<'a> {
    pub(crate) sender: SessionKey,
    pub(crate) message: &'a Message<'a>,
    /// As stamped.
    pub(crate) from: &'a str,
    /// As given, or assigned.
    pub(crate) id: &'a Id<'a>,
    /// The line as it leaves.
    pub(crate) line: Outgoing<'a>,
    /// Of a request: when it is over.
    pub(crate) deadline: Duration,
    /// Its place among those that wait for room.
    pub(crate) standing: Standing,
}

impl<'a> Parcel<'a> {
    pub(crate) fn is_request(&self) -> bool {
        self.message.kind == Kind::Request
    }

    /// Whether the publisher wants to be told how many got it.
    pub(crate) fn wants_receipt(&self) -> bool {
        matches!((&self.message.kind, &self.message.target), (Kind::Signal, Target::Topic(_)))
            && self.message.envelope.raw(Field::Receipt) == Some("true")
    }

    /// As [`meant`], for this message.
    pub(crate) fn form_meant(&self, target: &str) -> String {
        meant(self.message, target)
    }

    pub(crate) fn asked(&'a self) -> AskedBy<'a> {
        AskedBy { from: self.from, id: Some(self.id), message_type: &self.message.message_type }
    }
}

/// How the daemon's own request of this type is spelled, for a request that went to `target` and came to nothing.
pub(crate) fn meant(message: &Message<'_>, target: &str) -> String {
    match message.kind {
        Kind::Request => form_meant(&message.message_type, Some(target)).unwrap_or_default(),
        Kind::Signal | Kind::Reply(_) => String::new(),
    }
}

/// A `register` may come from the address that it is about to hold.
pub(crate) fn names_itself(message: &Message<'_>) -> bool {
    message.target == Target::Daemon && message.message_type == "register"
}

/// The line as it leaves. Writes what has to be added to it, and what has to stand for a `from` that is
/// null.
pub(crate) fn stamp<'a>(
    message: &Message<'a>,
    from: &str,
    id: &Id<'_>,
    added: &'a mut Vec<u8>,
    replaced: &'a mut Vec<u8>,
) -> Outgoing<'a> {
    added.clear();
    replaced.clear();
    if message.from.is_none() {
        match message.envelope.from_range().is_empty() {
            true => {
                added.extend_from_slice(b"\"from\":");
                write_string(added, from);
                added.push(b',');
            }
            false => write_string(replaced, from),
        }
    }
    if message.id.is_none() {
        added.extend_from_slice(b"\"message_id\":");
        id.write_to(added);
        added.push(b',');
    }
    let mut line = message.envelope.outgoing();
    line.added = added;
    if !replaced.is_empty() {
        line.from = Some((message.envelope.from_range(), replaced));
    }
    line
}
