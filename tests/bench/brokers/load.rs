//! Knows how messages are sent and taken by many clients at once, from one thread that polls them all, and
//! how each that arrives is compared with what it must be, byte by byte.
//! Never: what is measured, or how a server wants a message written.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use crate::dialect::{Aside, Kind, Party};
use crate::frame::{Body, Frame};
use crate::server::{PATIENCE, Running};

/// What is read or written at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// What all senders together have sent that has not arrived yet.
const IN_FLIGHT_BYTES: usize = 512 * 1024;

/// A client.
struct Peer {
    stream: File,
    out: Vec<u8>,
    /// The beginning of something that came.
    partial: Vec<u8>,
    expected: Option<Expected>,
    asides: Vec<Aside>,
}

/// What must come to a client next.
struct Expected {
    frame: Frame,
    then: Then,
}

/// What is done when it has come.
enum Then {
    /// It is counted for this flow.
    Count(usize),
    /// It is answered.
    Answer(Frame),
}

/// What one sender sends, or asks.
struct Flow {
    sender: usize,
    next: Frame,
    /// How many receivers get each message.
    copies: u64,
    /// How many messages may be under way.
    window: u64,
    sent: u64,
    arrived: u64,
    /// When the last was sent, where there is one at a time.
    asked_at: Option<Instant>,
}

/// All clients of a server, and what they do.
pub(crate) struct Load<'a> {
    server: &'a Running,
    peers: Vec<Peer>,
    flows: Vec<Flow>,
    buffer: Vec<u8>,
    /// How long each round trip took, where there is one at a time for each flow.
    pub(crate) round_trips: Vec<Duration>,
}

impl<'a> Load<'a> {
    pub(crate) fn new(server: &'a Running) -> Load<'a> {
        let buffer = vec![0; CHUNK_BYTES];
        Load { server, peers: Vec::new(), flows: Vec::new(), buffer, round_trips: Vec::new() }
    }

    /// Senders and receivers, each of the one sending to one of the other.
    pub(crate) fn pairs(server: &'a Running, pairs: usize, body: Body) -> Load<'a> {
        let mut load = Load::new(server);
        for pair in 0..pairs {
            let sender = party("s", pair, format!("r{pair}"));
            load.flow(&sender, &[party("r", pair, "-".to_owned())], Kind::Signal, body, pairs);
        }
        load
    }

    /// One who publishes, and subscribers.
    pub(crate) fn topic(server: &'a Running, subscribers: usize, body: Body) -> Load<'a> {
        let mut load = Load::new(server);
        let subscriber = |nth| Party { topic: Some("t0"), ..party("r", nth, "-".to_owned()) };
        let subscribers: Vec<_> = (0..subscribers).map(subscriber).collect();
        load.flow(&party("s", 0, "t0".to_owned()), &subscribers, Kind::News, body, 1);
        load
    }

    /// Clients and services, each of the one with one request after the other to one of the other.
    pub(crate) fn requests(server: &'a Running, pairs: usize, body: Body) -> Load<'a> {
        let mut load = Load::new(server);
        let dialect = &server.dialect;
        for pair in 0..pairs {
            let (client, service) =
                (party("s", pair, format!("r{pair}")), party("r", pair, format!("s{pair}")));
            let (sender, receiver) = (load.join(&client, 1), load.join(&service, 1));
            let [asked, replied] =
                [(Kind::Request, &client), (Kind::Reply, &service)].map(|(kind, party)| {
                    [dialect.sent(kind, party, body), dialect.received(kind, party, body)].map(Frame::new)
                });
            let ([request, requested], [reply, expected]) = (asked, replied);
            load.expect(sender, expected, Then::Count(pair));
            load.expect(receiver, requested, Then::Answer(reply));
            load.flows.push(Flow::new(sender, request, 1, 1));
        }
        load
    }

    /// One who sends as fast as he can, to a receiver of his own.
    pub(crate) fn flood(&mut self, body: Body) {
        self.flow(&party("f", 0, "g0".to_owned()), &[party("g", 0, "-".to_owned())], Kind::Signal, body, 1);
    }

    /// Clients that do nothing.
    pub(crate) fn idle(&mut self, clients: usize) {
        for client in self.peers.len()..clients {
            self.join(&party("i", client, "-".to_owned()), 0);
        }
    }

    fn flow(&mut self, sender: &Party, receivers: &[Party], kind: Kind, body: Body, flows: usize) {
        let dialect = &self.server.dialect;
        let flow = self.flows.len();
        let sending = self.join(sender, receivers.len());
        let [next, expected] =
            [dialect.sent(kind, sender, body), dialect.received(kind, sender, body)].map(Frame::new);
        for receiver in receivers {
            let receiver = self.join(receiver, 0);
            self.expect(receiver, expected.clone(), Then::Count(flow));
        }
        let window = (IN_FLIGHT_BYTES / flows / next.bytes.len()).max(1);
        self.flows.push(Flow::new(sending, next, receivers.len() as u64, window as u64));
    }

    fn join(&mut self, party: &Party, copies: usize) -> usize {
        let (out, partial, expected) = (Vec::new(), Vec::new(), None);
        let asides = self.server.dialect.asides(copies);
        self.peers.push(Peer { stream: self.server.join(party), out, partial, expected, asides });
        self.peers.len() - 1
    }

    fn expect(&mut self, peer: usize, frame: Frame, then: Then) {
        self.peers[peer].expected = Some(Expected { frame, then });
    }

    /// How many messages have arrived.
    pub(crate) fn arrived(&self) -> u64 {
        self.flows.iter().map(|flow| flow.arrived).sum()
    }

    /// Sends and receives for some time. The error says what arrived that should not have.
    pub(crate) fn go_on(&mut self, time: Duration) -> Result<(), String> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.send()?;
            self.receive()?;
        }
        Ok(())
    }

    /// Waits until all that was sent has arrived.
    pub(crate) fn drain(&mut self) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        while self.flows.iter().any(|flow| flow.arrived < flow.sent * flow.copies) {
            if Instant::now() > until {
                let sent: u64 = self.flows.iter().map(|flow| flow.sent * flow.copies).sum();
                return Err(format!("of {sent} messages only {} have arrived", self.arrived()));
            }
            self.write_all()?;
            self.receive()?;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), String> {
        for flow in &mut self.flows {
            let out = &mut self.peers[flow.sender].out;
            while flow.arrived + flow.window * flow.copies > flow.sent * flow.copies
                && out.len() < CHUNK_BYTES
            {
                out.extend_from_slice(&flow.next.bytes);
                flow.next.advance();
                flow.sent += 1;
                flow.asked_at = (flow.window == 1).then(Instant::now);
            }
        }
        self.write_all()
    }

    fn write_all(&mut self) -> Result<(), String> {
        let waiting = self.peers.iter_mut().filter(|peer| !peer.out.is_empty());
        for peer in waiting {
            match peer.stream.write(&peer.out) {
                Ok(count) => drop(peer.out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(format!("writing: {error}")),
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), String> {
        // Also those to whom nothing should come.
        for peer in &mut self.peers {
            let kept = peer.partial.len();
            self.buffer[..kept].copy_from_slice(&peer.partial);
            let came = match peer.stream.read(&mut self.buffer[kept..]) {
                Ok(0) => return Err("the server has hung up".to_owned()),
                Ok(count) => kept + count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(format!("reading: {error}")),
            };
            let used = peer.take(&self.buffer[..came], &mut self.flows, &mut self.round_trips)?;
            peer.partial.clear();
            peer.partial.extend_from_slice(&self.buffer[used..came]);
        }
        Ok(())
    }
}

impl Peer {
    /// Takes what has come; says how much of it has come to its end.
    fn take(
        &mut self,
        came: &[u8],
        flows: &mut [Flow],
        round_trips: &mut Vec<Duration>,
    ) -> Result<usize, String> {
        let mut rest = came;
        while !rest.is_empty() {
            if let Some(expected) = &mut self.expected
                && let Some(behind) = rest.strip_prefix(&*expected.frame.bytes)
            {
                rest = behind;
                expected.frame.advance();
                match &mut expected.then {
                    Then::Count(flow) => flows[*flow].count(round_trips),
                    Then::Answer(reply) => {
                        self.out.extend_from_slice(&reply.bytes);
                        reply.advance();
                    }
                }
            } else if let Some(aside) = self.asides.iter().find(|aside| rest.starts_with(&aside.heard)) {
                rest = &rest[aside.heard.len()..];
                self.out.extend_from_slice(aside.answer);
            } else {
                let expected = self.expected.iter().map(|expected| &expected.frame.bytes);
                let mut all = expected.chain(self.asides.iter().map(|aside| &aside.heard));
                if all.any(|whole| whole.starts_with(rest)) {
                    break;
                }
                let expected = self.expected.as_ref().map_or(&b""[..], |expected| &expected.frame.bytes);
                let [expected, came] = [expected, rest].map(String::from_utf8_lossy);
                return Err(format!("expected: {expected:.300}\n  came:     {came:.300}"));
            }
        }
        Ok(came.len() - rest.len())
    }
}

impl Flow {
    fn new(sender: usize, next: Frame, copies: u64, window: u64) -> Flow {
        Flow { sender, next, copies, window, sent: 0, arrived: 0, asked_at: None }
    }

    fn count(&mut self, round_trips: &mut Vec<Duration>) {
        self.arrived += 1;
        round_trips.extend(self.asked_at.take().map(|asked_at| asked_at.elapsed()));
    }
}

fn party(letter: &str, nth: usize, to: String) -> Party {
    Party { name: format!("{letter}{nth}"), topic: None, to }
}
