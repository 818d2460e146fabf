//! Knows how one speaks to mosquitto: MQTT 3.1.1, messages sent at most once (QoS 0).
//! Never: who is there, or how much is sent.

use super::{Dialect, Kind, Party};
use crate::frame::Body;

pub(crate) struct Mqtt;

const CONNECT: u8 = 0x10;
const PUBLISH: u8 = 0x30;
const SUBSCRIBE: u8 = 0x82;
const PING: [u8; 2] = [0xc0, 0];
const PONG: [u8; 2] = [0xd0, 0];
/// The only subscription was granted, at QoS 0.
const SUBSCRIBED: [u8; 5] = [0x90, 3, 0, 1, 0];

fn packet(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut packet = vec![kind];
    let mut rest = content.len();
    while rest >= 128 {
        packet.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    packet.push(rest as u8);
    packet.extend(content);
    packet
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

impl Dialect for Mqtt {
    fn hello(&self, party: &Party) -> Vec<u8> {
        // Version 4, a clean session, and no end to its patience.
        let connect = packet(CONNECT, &[&text("MQTT"), &[4, 2, 0, 0], &text(&party.name)]);
        let topic = party.topic.unwrap_or(&party.name);
        let subscribe = packet(SUBSCRIBE, &[&[0, 1], &text(topic), &[0]]);
        [&connect, &subscribe, &PING[..]].concat()
    }

    fn is_ready(&self, heard: &[u8]) -> bool {
        heard.ends_with(&[&SUBSCRIBED[..], &PONG].concat())
    }

    fn sent(&self, _: Kind, party: &Party, body: Body) -> Vec<u8> {
        packet(PUBLISH, &[&text(&party.to), body.plain(&party.name).as_bytes()])
    }

    fn received(&self, kind: Kind, party: &Party, body: Body) -> Vec<u8> {
        self.sent(kind, party, body)
    }
}
