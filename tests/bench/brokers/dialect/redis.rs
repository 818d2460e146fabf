//! Knows how one speaks to redis-server: RESP3, in which one connection both publishes and subscribes.
//! Never: who is there, or how much is sent.

use super::{Aside, Dialect, Kind, Party};
use crate::frame::Body;

pub(crate) struct Redis;

/// An array of three, or what `mark` says.
fn three(mark: char, words: [&str; 3]) -> Vec<u8> {
    let word = |word: &str| format!("${}\r\n{word}\r\n", word.len());
    format!("{mark}3\r\n{}", words.map(word).concat()).into_bytes()
}

impl Dialect for Redis {
    fn hello(&self, party: &Party) -> Vec<u8> {
        format!("HELLO 3\r\nSUBSCRIBE {}\r\nPING\r\n", party.topic.unwrap_or(&party.name)).into_bytes()
    }

    fn is_ready(&self, heard: &[u8]) -> bool {
        heard.ends_with(b"+PONG\r\n")
    }

    fn sent(&self, _: Kind, party: &Party, body: Body) -> Vec<u8> {
        three('*', ["PUBLISH", &party.to, &body.plain(&party.name)])
    }

    fn received(&self, _: Kind, party: &Party, body: Body) -> Vec<u8> {
        three('>', ["message", &party.to, &body.plain(&party.name)])
    }

    /// Each message is acknowledged to its sender by the number of those who have got it.
    fn asides(&self, copies: usize) -> Vec<Aside> {
        vec![Aside { heard: format!(":{copies}\r\n").into_bytes(), answer: b"" }]
    }
}
