//! Knows what a line means to a service that is spoken to without a switch, and how it answers by itself
//! (PROTOCOL.md section 16).
//! Never: sockets, or the functions of the service.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::client::Message;
use crate::limits::DEPTH_MAX;
use crate::listen::Peer;
use crate::wire::code::Code;
use crate::wire::complaint::{explain, explain_beginning};
use crate::wire::control::is_daemons;
use crate::wire::envelope::{Broken, Envelope, Field, nests_within};
use crate::wire::json::{Object, write_string};
use crate::wire::message::{Id, Kind, Message as Read, Refusal, Target, Told, excerpt};
use crate::wire::refuse::{write_in_reply_to, write_refusal};

/// What a service says of itself.
#[derive(Debug)]
pub(super) struct About {
    pub(super) node_id: String,
    pub(super) max_line_bytes: usize,
    /// How many requests of one connection may be open.
    pub(super) max_requests: usize,
    /// The last of the ids of its own lines.
    pub(super) last_id: AtomicU64,
}

impl About {
    /// The id of the next line that the service says.
    pub(super) fn next_id(&self) -> String {
        format!(":0-{}", self.last_id.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// What a service knows of the other end of a connection.
#[derive(Debug)]
pub(super) struct Asker {
    /// The number of the connection.
    pub(super) number: u64,
    /// The process, as the kernel tells it; none over TCP.
    pub(super) process: Option<Peer>,
    /// Messages so far that had no id.
    pub(super) unnamed: u64,
}

/// What becomes of a line.
#[derive(Debug)]
pub(super) enum Heard {
    Nothing,
    /// This line, with its LF, is the answer to it.
    Say(Vec<u8>),
    /// The same, to a line that was not even an object.
    Broken(Vec<u8>),
    /// It is for the functions of the service.
    Do(Message),
}

/// Hears a line, without its LF.
pub(super) fn hear(line: &[u8], asker: &mut Asker, about: &About) -> Heard {
    let envelope = match Envelope::scan(line) {
        Ok(envelope) => envelope,
        Err(broken) => {
            let (code, column) = match broken {
                Broken::NotAnObject => (Code::NotAnObject, None),
                Broken::BadJson { column } => (Code::BadJson, Some(column)),
            };
            let refusal = Refusal { column, ..Refusal::new(code, explain(line, broken)) };
            return Heard::Broken(error_line(&refusal, None));
        }
    };
    if let Some(field) = envelope.doubled() {
        let error = format!("\"{}\" is there twice", field.name());
        return Heard::Say(error_line(&Refusal::new(Code::DuplicateField, error), None));
    }
    let id = envelope.get(Field::MessageId).map(|value| Id::read("message_id", value));
    let assigned = match id {
        None => {
            asker.unnamed += 1;
            Some(Id { integer: false, text: format!(":{}-{}", asker.number, asker.unnamed).into() })
        }
        Some(_) => None,
    };
    let id = assigned.clone().or(id.and_then(Result::ok));
    let message = match Read::read(&envelope) {
        Ok(message) => message,
        Err(refusal) => {
            let told = Told::of(&envelope);
            return refuse(told.request_type.as_deref(), id.as_ref(), &refusal, about);
        }
    };
    let request_type = matches!(message.kind, Kind::Request).then_some(&*message.message_type);
    match sort(&message, about) {
        Err(refusal) => refuse(request_type, id.as_ref(), &refusal, about),
        Ok(Sorted::Nothing) => Heard::Nothing,
        Ok(Sorted::Whoami) => Heard::Say(reply(&message.message_type, id.as_ref(), about, |body| {
            write_whoami(body, asker, about);
        })),
        Ok(Sorted::Ping) => Heard::Say(reply(&message.message_type, id.as_ref(), about, |body| {
            let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            body.raw("body", envelope.raw(Field::Body).unwrap_or("null").as_bytes()).seconds("time", now);
        })),
        Ok(Sorted::Service) => {
            let stamped = stamp(&envelope, asker, assigned.as_ref());
            // It has been read as one already.
            Message::read(stamped).map_or(Heard::Nothing, Heard::Do)
        }
    }
}

/// What is wrong with the first line of a connection, or what there is of it: it is no line of this protocol. None if
/// it may be one.
pub(super) fn refuse_beginning(bytes: &[u8]) -> Option<Vec<u8>> {
    explain_beginning(bytes).map(|why| error_line(&Refusal::new(Code::BadJson, why), None))
}

/// An `error` line, with its LF.
pub(super) fn error_line(refusal: &Refusal, in_reply_to: Option<&Id<'_>>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut line = Object::begin(&mut out);
    line.string("message_type", "error").null("from");
    line.object("body", |body| {
        write_refusal(body, refusal);
        write_in_reply_to(body, in_reply_to);
    });
    line.end();
    out.push(b'\n');
    out
}

enum Sorted {
    /// It is for nothing that is here, and its sender does not want to know.
    Nothing,
    Whoami,
    Ping,
    Service,
}

fn sort(message: &Read<'_>, about: &About) -> Result<Sorted, Refusal> {
    if message.from.is_some() {
        let error = "\"from\" is no address of yours: without a switch there are none; leave it out";
        return Err(Refusal::new(Code::NotYours, error));
    }
    if let Kind::Reply(_) = message.kind {
        return Err(Refusal::new(Code::NoSuchRequest, "a service that is spoken to directly asks nothing"));
    }
    let is_request = matches!(message.kind, Kind::Request);
    match &message.target {
        Target::Topic(topic) if is_request => {
            let error =
                format!("no subscribers to \"{}\": there are no topics without a switch", excerpt(topic));
            Err(Refusal::new(Code::NoSubscribers, error))
        }
        Target::Topic(_) => Ok(Sorted::Nothing),
        Target::Address(to) if to.split('#').next() == Some(&about.node_id) => Ok(Sorted::Service),
        Target::Address(to) => {
            let error = format!("no node \"{}\" is here, but \"{}\"", excerpt(to), excerpt(&about.node_id));
            Err(Refusal::new(Code::NoSuchNode, error))
        }
        Target::Daemon if !is_request => Ok(Sorted::Service),
        Target::Daemon => match &*message.message_type {
            "whoami" => Ok(Sorted::Whoami),
            "ping" if nests_within(message.envelope.raw(Field::Body).unwrap_or("null"), DEPTH_MAX - 2) => {
                Ok(Sorted::Ping)
            }
            "ping" => {
                let error = format!("\"body\" nests so deeply that the reply would pass {DEPTH_MAX} levels");
                Err(Refusal::new(Code::BadField, error))
            }
            word if is_daemons(word) => {
                let error = format!("\"{word}\" is a request to a switch, and this is the service itself");
                Err(Refusal::new(Code::UnknownType, error))
            }
            _ => Ok(Sorted::Service),
        },
    }
}

/// The line as the functions get it: with the id that was assigned, and with its sender.
fn stamp(envelope: &Envelope<'_>, asker: &Asker, assigned: Option<&Id<'_>>) -> Vec<u8> {
    let mut added = Vec::new();
    if let Some(id) = assigned {
        added.extend_from_slice(b"\"message_id\":");
        id.write_to(&mut added);
        added.push(b',');
    }
    added.extend_from_slice(b"\"sender\":");
    let mut sender = Object::begin(&mut added);
    write_process(&mut sender, asker);
    sender.end();
    added.push(b',');
    let mut line = envelope.outgoing();
    line.added = &added;
    let mut stamped = Vec::with_capacity(line.len());
    line.write_to(&mut stamped);
    stamped
}

fn refuse(request_type: Option<&str>, id: Option<&Id<'_>>, refusal: &Refusal, about: &About) -> Heard {
    Heard::Say(match request_type {
        Some(message_type) => own_reply(message_type, id, about, |body| write_refusal(body, refusal)),
        None => error_line(refusal, id),
    })
}

fn reply(
    message_type: &str,
    id: Option<&Id<'_>>,
    about: &About,
    fill: impl FnOnce(&mut Object<'_>),
) -> Vec<u8> {
    own_reply(message_type, id, about, |body| {
        body.null("error");
        fill(body);
    })
}

fn own_reply(
    message_type: &str,
    id: Option<&Id<'_>>,
    about: &About,
    fill: impl FnOnce(&mut Object<'_>),
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut line = Object::begin(&mut out);
    line.string("message_id", &about.next_id());
    write_string(line.key("message_type"), &format!("{message_type}_reply"));
    line.null("from");
    line.object("body", |body| {
        write_in_reply_to(body, id);
        fill(body);
    });
    line.end();
    out.push(b'\n');
    out
}

/// The reply to a request whose timeout has passed.
pub(super) fn late_reply(request: &Message, about: &About) -> Vec<u8> {
    let refusal = Refusal::new(Code::Timeout, "its time was over before its turn came");
    own_reply(request.message_type(), request.id().as_ref(), about, |body| write_refusal(body, &refusal))
}

fn write_whoami(body: &mut Object<'_>, asker: &Asker, about: &About) {
    write_process(body, asker);
    body.strings("node_ids", []).boolean("administrator", false);
    body.string("transport", if asker.process.is_some() { "unix" } else { "tcp" });
    body.string("service", &about.node_id);
    body.object("daemon", |daemon| {
        daemon.string("name", "service").string("version", env!("CARGO_PKG_VERSION")).number("protocol", 1);
        daemon.object("limits", |limits| {
            limits.number("max_line_bytes", about.max_line_bytes);
            limits.number("max_requests", about.max_requests);
        });
    });
}

fn write_process(object: &mut Object<'_>, asker: &Asker) {
    let Some(Peer { uid, gid, pid }) = asker.process else { return };
    if let Some(uid) = uid {
        object.number("uid", uid);
    }
    if let Some(gid) = gid {
        object.number("gid", gid);
    }
    object.number("pid", pid);
}

#[cfg(test)]
mod tests;
