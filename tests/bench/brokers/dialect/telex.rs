//! Knows how one speaks to telexd.
//! Never: who is there, or how much is sent.

use super::{Dialect, Kind, Party};
use crate::frame::{Body, NUMBER};

pub(crate) struct Telex;

impl Dialect for Telex {
    fn hello(&self, party: &Party) -> Vec<u8> {
        let mut hello = format!("{{\"message_type\":\"register\",\"from\":\"{}\"}}\n", party.name);
        if let Some(topic) = party.topic {
            hello += &format!("{{\"message_type\":\"subscribe\",\"body\":{{\"topic\":\"{topic}\"}}}}\n");
        }
        hello += "{\"message_id\":\"ready\",\"message_type\":\"ping\"}\n";
        hello.into_bytes()
    }

    fn is_ready(&self, heard: &[u8]) -> bool {
        let heard = String::from_utf8_lossy(heard);
        heard.ends_with('\n') && heard.contains("\"in_reply_to\":\"ready\"") && !heard.contains("\"code\":")
    }

    fn sent(&self, kind: Kind, party: &Party, body: Body) -> Vec<u8> {
        let (message_type, target) = match kind {
            Kind::Signal => ("signal", "to"),
            Kind::News => ("signal", "topic"),
            Kind::Request => ("ask", "to"),
            Kind::Reply => ("ask_reply", "to"),
        };
        let (from, to) = (&party.name, &party.to);
        // As the library of telex makes them.
        let id = format!("d54e4d26ebe3b1f3-{NUMBER}");
        let body = match kind {
            Kind::Reply => {
                format!("{{\"in_reply_to\":\"{id}\",\"error\":null,\"value\":{}}}", body.json(from))
            }
            _ => body.json(from),
        };
        let line = format!(
            "{{\"message_id\":\"{id}\",\"message_type\":\"{message_type}\",\
             \"from\":\"{from}\",\"{target}\":\"{to}\",\"body\":{body}}}\n"
        );
        line.into_bytes()
    }

    /// Byte for byte, for there is nothing to be added.
    fn received(&self, kind: Kind, party: &Party, body: Body) -> Vec<u8> {
        self.sent(kind, party, body)
    }
}
