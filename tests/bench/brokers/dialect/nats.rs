//! Knows how one speaks to nats-server.
//! Never: who is there, or how much is sent.

use super::{Aside, Dialect, Kind, Party};
use crate::frame::Body;

pub(crate) struct Nats;

/// The subject that an answer is wanted at, as it stands before a length.
fn reply_to(kind: Kind, party: &Party) -> String {
    if kind == Kind::Request { format!("{} ", party.name) } else { String::new() }
}

impl Dialect for Nats {
    fn hello(&self, party: &Party) -> Vec<u8> {
        let subject = party.topic.unwrap_or(&party.name);
        format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB {subject} 1\r\nPING\r\n")
            .into_bytes()
    }

    fn is_ready(&self, heard: &[u8]) -> bool {
        heard.ends_with(b"PONG\r\n")
    }

    fn sent(&self, kind: Kind, party: &Party, body: Body) -> Vec<u8> {
        let (to, reply_to) = (&party.to, reply_to(kind, party));
        format!("PUB {to} {reply_to}{}\r\n{}\r\n", body.bytes, body.plain(&party.name)).into_bytes()
    }

    fn received(&self, kind: Kind, party: &Party, body: Body) -> Vec<u8> {
        let (to, reply_to) = (&party.to, reply_to(kind, party));
        format!("MSG {to} 1 {reply_to}{}\r\n{}\r\n", body.bytes, body.plain(&party.name)).into_bytes()
    }

    fn asides(&self, _: usize) -> Vec<Aside> {
        vec![Aside { heard: b"PING\r\n".to_vec(), answer: b"PONG\r\n" }]
    }
}
