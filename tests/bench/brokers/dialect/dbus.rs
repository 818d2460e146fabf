//! Knows how one speaks to dbus-broker: D-Bus, its messages being signals to one name or by a match rule, and
//! method calls (<https://dbus.freedesktop.org/doc/dbus-specification.html>).
//! Never: who is there, or how much is sent.

use std::cell::RefCell;
use std::collections::HashMap;

use nix::unistd::Uid;

use super::{Dialect, Kind, Party};
use crate::frame::Body;

const CALL: u8 = 1;
const RETURN: u8 = 2;
const SIGNAL: u8 = 4;
const NO_REPLY: u8 = 1;

/// Replies name the serial number of what they answer. Who asks one thing at a time needs but one.
const SERIAL: u32 = 1;
/// That of the last call of a hello.
const LAST: u32 = 4;

/// The fixed part of a header, with the length of the fields behind it.
const HEADER_BYTES: usize = 16;

#[derive(Default)]
pub(crate) struct Dbus {
    /// The names that the bus has given to clients. It tells them to receivers, and sends replies to no others.
    unique: RefCell<HashMap<String, String>>,
}

fn pad(bytes: &mut Vec<u8>, boundary: usize) {
    bytes.resize(bytes.len().next_multiple_of(boundary), 0);
}

/// A string, or the path of an object.
fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_le_bytes(), text.as_bytes(), &[0]].concat()
}

fn signature(kinds: &str) -> Vec<u8> {
    [&[kinds.len() as u8], kinds.as_bytes(), &[0]].concat()
}

/// A header field: its code, the type of its value, and the value.
type Field = (u8, u8, Vec<u8>);

fn path() -> Field {
    (1, b'o', text("/"))
}

fn interface(name: &str) -> Field {
    (2, b's', text(name))
}

fn member(name: &str) -> Field {
    (3, b's', text(name))
}

fn reply_serial(serial: u32) -> Field {
    (5, b'u', serial.to_le_bytes().to_vec())
}

fn destination(name: &str) -> Field {
    (6, b's', text(name))
}

fn sender(name: &str) -> Field {
    (7, b's', text(name))
}

fn message(kind: u8, flags: u8, serial: u32, fields: &[Field], kinds: &str, body: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    let kinds = (!kinds.is_empty()).then(|| (8, b'g', signature(kinds)));
    // The bus puts the sender behind all others.
    let (others, senders): (Vec<_>, Vec<_>) = fields.iter().partition(|field| field.0 != 7);
    for (code, kind, value) in others.into_iter().chain(&kinds).chain(senders) {
        pad(&mut all, 8);
        all.extend([*code, 1, *kind, 0]);
        all.extend(value);
    }
    let mut message = vec![b'l', kind, flags, 1];
    for number in [body.len() as u32, serial, all.len() as u32] {
        message.extend(number.to_le_bytes());
    }
    message.extend(all);
    pad(&mut message, 8);
    message.extend(body);
    message
}

/// A call of the bus itself.
fn call(serial: u32, name: &str, method: &str, kinds: &str, body: &[u8]) -> Vec<u8> {
    let fields = [path(), interface(name), member(method), destination("org.freedesktop.DBus")];
    message(CALL, 0, serial, &fields, kinds, body)
}

fn well_known(name: &str) -> String {
    format!("bench.{name}")
}

/// The body of the answer to a call, where it has come whole.
fn answer(heard: &[u8], serial: u32) -> Option<&[u8]> {
    // What is in front of the messages is text (RFC 4422), of one line.
    let begin = heard.iter().position(|&byte| byte == b'\n')? + 1;
    let mut rest = &heard[begin..];
    let (_, _, is_reply) = reply_serial(serial);
    while let Some(header) = rest.get(..HEADER_BYTES) {
        let number =
            |at: usize| header[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
        let body_at = (HEADER_BYTES + number(12)).next_multiple_of(8);
        let body = rest.get(body_at..body_at + number(4))?;
        let answers = |field: &[u8]| field[..4] == [5, 1, b'u', 0] && field[4..] == is_reply;
        if header[1] == RETURN && rest[HEADER_BYTES..body_at].windows(8).any(answers) {
            return Some(body);
        }
        rest = &rest[body_at + body.len()..];
    }
    None
}

impl Dbus {
    fn unique(&self, name: &str) -> String {
        self.unique.borrow().get(name).expect("one who has joined").clone()
    }

    fn message(&self, kind: Kind, party: &Party, body: Body, stamp: Option<Field>) -> Vec<u8> {
        let (kind, flags, mut fields) = match kind {
            Kind::Signal => {
                let to = destination(&well_known(&party.to));
                (SIGNAL, NO_REPLY, vec![path(), interface("bench.Pair"), member("Text"), to])
            }
            Kind::News => (SIGNAL, NO_REPLY, vec![path(), interface(&well_known(&party.to)), member("Text")]),
            Kind::Request => {
                let to = destination(&well_known(&party.to));
                (CALL, 0, vec![path(), interface("bench.Pair"), member("Ask"), to])
            }
            Kind::Reply => {
                let to = destination(&self.unique(&party.to));
                (RETURN, NO_REPLY, vec![reply_serial(SERIAL), to])
            }
        };
        fields.extend(stamp);
        message(kind, flags, SERIAL, &fields, "s", &text(&body.plain(&party.name)))
    }
}

impl Dialect for Dbus {
    fn hello(&self, party: &Party) -> Vec<u8> {
        let uid: String = Uid::current().to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
        let mut hello = format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n").into_bytes();
        let bus = "org.freedesktop.DBus";
        hello.extend(call(1, bus, "Hello", "", &[]));
        let mut name = text(&well_known(&party.name));
        pad(&mut name, 4);
        name.extend(0u32.to_le_bytes());
        hello.extend(call(2, bus, "RequestName", "su", &name));
        if let Some(topic) = party.topic {
            let rule = format!("type='signal',interface='{}'", well_known(topic));
            hello.extend(call(3, bus, "AddMatch", "s", &text(&rule)));
        }
        hello.extend(call(LAST, "org.freedesktop.DBus.Peer", "Ping", "", &[]));
        hello
    }

    fn is_ready(&self, heard: &[u8]) -> bool {
        answer(heard, LAST).is_some()
    }

    fn joined(&self, party: &Party, heard: &[u8]) {
        let told =
            answer(heard, 1).and_then(|body| body.get(4..body.len() - 1)).expect("the answer to Hello");
        let unique = String::from_utf8_lossy(told).into_owned();
        self.unique.borrow_mut().insert(party.name.clone(), unique);
    }

    fn sent(&self, kind: Kind, party: &Party, body: Body) -> Vec<u8> {
        self.message(kind, party, body, None)
    }

    fn received(&self, kind: Kind, party: &Party, body: Body) -> Vec<u8> {
        self.message(kind, party, body, Some(sender(&self.unique(&party.name))))
    }
}
