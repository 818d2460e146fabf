//! Knows how one speaks to the relay: a line on where one is and where one's lines go, then lines of telex.
//! Never: who is there, or how much is sent.

use super::{Dialect, Kind, Party, Telex};
use crate::frame::Body;

pub(crate) struct Relay;

impl Dialect for Relay {
    fn hello(&self, party: &Party) -> Vec<u8> {
        format!("{} {}\n", party.topic.unwrap_or(&party.name), party.to).into_bytes()
    }

    fn is_ready(&self, heard: &[u8]) -> bool {
        heard == b"ready\n"
    }

    fn sent(&self, kind: Kind, party: &Party, body: Body) -> Vec<u8> {
        Telex.sent(kind, party, body)
    }

    fn received(&self, kind: Kind, party: &Party, body: Body) -> Vec<u8> {
        Telex.received(kind, party, body)
    }
}
