//! The data is a script for a handful of connections, one act per line; the first byte of a line says
//! which:
//!
//! - `a` to `h`: that connection sends the rest of the line and an LF; `A` to `H`: without the LF
//! - `+a`: it connects, `+a1` as another user, `+a2` over TCP; `-a`: it closes its writing side;
//!   `!a`: it hangs up
//! - `<a`: it reads nothing from now on, `>a`: everything again, `.a`: one byte
//! - `t5`: so many tenths of a second pass; `s`: the daemon is told to stop
//!
//! A first line that begins with `~` makes the core's thresholds small, one for each further byte, in the order of
//! `Tuning`: `!` is the least, and those that are not there are as usual.
//!
//! Connections connect by themselves with their first act. What is read has to be whole lines of JSON,
//! no queue may pass its bounds, the
//! core's sums have to be right after every step, and when everybody has left nothing may be left of them.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Duration;

use serde_json::Value;
use telex::clock::Now;
use telex::core::{
    About, Core, Identity, Input, OpenGate, Order, Outcome, Peer, Reloaded, SessionKey, Token, Transport,
    Tuning, Work,
};
use telex::limits::{ADDED_BYTES_MAX, Limits};

const CLIENTS: usize = 8;
/// What the daemon says itself may be longer than a client's line, by escapes and by lists.
const OWN_LINE_BYTES: usize = 8 * 1024;

pub(crate) fn run(data: &[u8]) {
    let head = data.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let mut world = World::new(head.strip_prefix(b"~").map_or_else(Tuning::default, small_tuning));
    for act in data.split(|&byte| byte == b'\n').take(400) {
        world.act(act);
        world.turn();
    }
    world.everybody_leaves();
}

fn small_tuning(bytes: &[u8]) -> Tuning {
    let usual = Tuning::default();
    let step = |at: usize, least: usize, step: usize, usual: usize| {
        bytes.get(at).map_or(usual, |byte| least + step * usize::from(byte.saturating_sub(b'!')))
    };
    Tuning {
        line_effort: step(0, 1, 1, usual.line_effort),
        settle_effort: step(1, 1, 2, usual.settle_effort),
        publish_step: step(2, 1, 1, usual.publish_step),
        stale_timers_min: step(3, 0, 1, usual.stale_timers_min),
        timers_together_max: step(13, 1, 1, usual.timers_together_max),
        block_bytes: step(4, 64, 32, usual.block_bytes),
        shared_bytes_min: step(5, 0, 32, usual.shared_bytes_min),
        early_write_bytes: step(6, 0, 32, usual.early_write_bytes),
        compact_bytes: step(7, 0, 32, usual.compact_bytes),
        gathered_bytes: step(8, 1, 64, usual.gathered_bytes),
        spare_bytes_each_max: step(9, 0, 64, usual.spare_bytes_each_max),
        spare_bytes_max: step(10, 0, 256, usual.spare_bytes_max),
        short_news_bytes: step(11, 64, 32, usual.short_news_bytes),
        short_answer_bytes: step(12, 0, 32, usual.short_answer_bytes),
        check_every: 1,
    }
}

struct World {
    core: Core,
    now: Duration,
    limits: Limits,
    numbers: u64,
    clients: [Option<Client>; CLIENTS],
    ready: VecDeque<SessionKey>,
    reloads: Vec<Token>,
    stopped: bool,
}

struct Client {
    session: SessionKey,
    /// Sent, and not handed in yet.
    unread: VecDeque<u8>,
    ended: bool,
    told_end: bool,
    broke: bool,
    mute: bool,
    /// What it has read of a line.
    line: Vec<u8>,
    /// The last whole line that it has read.
    last: Value,
}

impl World {
    fn new(tuning: Tuning) -> World {
        let limits = Limits {
            max_line_bytes: 1024,
            max_queue_bytes: 4096,
            max_memory_bytes: 48 * 1024,
            max_connections: CLIENTS + 1,
            max_names: 4,
            max_requests: 6,
            max_subscriptions: 6,
            max_known_nodes: 3,
            ..Limits::default()
        };
        let about = About { version: "0", host: "host".into(), drain_timeout: Duration::from_secs(5) };
        let core = Core::tuned(about, limits.clone(), tuning, time(Duration::ZERO));
        World {
            core,
            now: Duration::ZERO,
            limits,
            numbers: 0,
            clients: [const { None }; CLIENTS],
            ready: VecDeque::new(),
            reloads: Vec::new(),
            stopped: false,
        }
    }

    fn act(&mut self, act: &[u8]) {
        let Some((&verb, rest)) = act.split_first() else { return };
        let whom = rest.first().map(|&byte| usize::from(byte.wrapping_sub(b'a')));
        match verb {
            b'a'..=b'h' => self.send(usize::from(verb - b'a'), &[rest, b"\n"].concat()),
            b'A'..=b'H' => self.send(usize::from(verb - b'A'), rest),
            b'+' => self.connect(whom, rest.get(1).copied()),
            b't' => {
                let tenths: u64 = String::from_utf8_lossy(rest).trim().parse().unwrap_or(1);
                self.pass(Duration::from_millis(100 * tenths.min(36_000)));
            }
            b's' if !self.stopped => {
                self.stopped = true;
                self.handle(Input::StopAsked);
            }
            b'-' | b'!' | b'<' | b'>' | b'.' => {
                let Some(client) = whom.and_then(|at| self.clients.get_mut(at)?.as_mut()) else { return };
                match verb {
                    b'-' => {
                        client.ended = true;
                        let session = client.session;
                        self.handle(Input::Ending { session });
                    }
                    b'!' => {
                        (client.ended, client.broke) = (true, true);
                        let session = client.session;
                        self.handle(Input::Broke { session });
                    }
                    b'<' => client.mute = true,
                    b'>' => client.mute = false,
                    _ => {
                        let session = client.session;
                        self.read(session, 1);
                    }
                }
            }
            _ => {}
        }
    }

    fn connect(&mut self, whom: Option<usize>, kind: Option<u8>) {
        let Some(place) = whom.filter(|&at| at < CLIENTS && self.clients[at].is_none()) else { return };
        let (transport, identity) = match kind {
            Some(b'2') => (Transport::Tcp, Identity::Anonymous),
            Some(b'1') => (Transport::Unix, Identity::Kernel { uid: Some(1), gid: Some(1), pid: 1 }),
            _ => (Transport::Unix, Identity::Kernel { uid: Some(0), gid: Some(0), pid: 1 }),
        };
        let administrator = kind.is_none();
        self.numbers += 1;
        let peer = Peer { transport, identity, administrator };
        if let Ok(session) = self.core.open(self.numbers, peer, time(self.now)) {
            self.clients[place] = Some(Client {
                session,
                unread: VecDeque::new(),
                ended: false,
                told_end: false,
                broke: false,
                mute: false,
                line: Vec::new(),
                last: Value::Null,
            });
        }
    }

    fn send(&mut self, whom: usize, bytes: &[u8]) {
        if self.clients[whom].is_none() {
            self.connect(Some(whom), None);
        }
        if let Some(client) = self.clients[whom].as_mut().filter(|client| !client.ended) {
            client.unread.extend(bytes);
        }
    }

    fn pass(&mut self, time_passed: Duration) {
        let until = self.now + time_passed;
        // Also the deadlines on the way, each at its own time; some set the next.
        for _ in 0..1000 {
            match self.core.next_deadline() {
                Some(at) if at <= until => self.now = self.now.max(at),
                _ => break,
            }
            self.handle(Input::TimePassed);
            self.turn();
        }
        self.now = until;
        self.handle(Input::TimePassed);
    }

    fn handle(&mut self, input: Input<'_>) {
        self.core.handle(input, time(self.now), &mut OpenGate);
        self.obey();
    }

    fn obey(&mut self) {
        self.core.check();
        while let Some(effect) = self.core.next_order() {
            match effect {
                // Here nothing lies between the core and who reads.
                Order::Measure(session) => self.handle(Input::Measured { session, unread: 0 }),
                Order::Resume(session) => self.ready.push_back(session),
                Order::Close(session) => {
                    let place = self.clients.iter_mut().find(|client| is(client, session));
                    *place.expect("only who is there is closed") = None;
                }
                Order::Note(note) => assert!(!note.text.is_empty()),
                Order::Do(token, Work::Reload | Work::Settings | Work::LogLevel(..)) => {
                    self.reloads.push(token)
                }
                Order::Happened(_) => {}
            }
        }
    }

    /// Turns of the daemon's loop, until nothing more comes of them.
    fn turn(&mut self) {
        for turns in 0.. {
            assert!(turns < 100_000, "the loop does not come to rest");
            let mut worked = self.core.next_deadline() == Some(Duration::ZERO);
            if worked {
                self.handle(Input::TimePassed);
            }
            if let Some(token) = self.reloads.pop() {
                let outcome = Outcome::Reloaded(Reloaded { applied: &["max_names"], restart: &[] });
                self.handle(Input::Done { token, outcome });
                worked = true;
            }
            if let Some(session) = self.ready.pop_front() {
                self.handle(Input::Resumed { session });
                worked = true;
            }
            for place in 0..CLIENTS {
                worked |= self.serve(place);
            }
            while let Some(session) = self.core.next_large() {
                self.read(session, usize::MAX);
            }
            while let Some(session) = self.core.next_dirty() {
                self.read(session, usize::MAX);
            }
            self.core.reap();
            self.obey();
            for place in 0..CLIENTS {
                if let Some(client) = &self.clients[place] {
                    let session = client.session;
                    worked |= self.read(session, usize::MAX);
                }
            }
            if !worked {
                return;
            }
        }
    }

    fn serve(&mut self, place: usize) -> bool {
        let Some(client) = &mut self.clients[place] else { return false };
        let session = client.session;
        if self.stopped || !self.core.wants_bytes(session) {
            return false;
        }
        if !client.unread.is_empty() {
            // An uneven size, so that lines are cut in all places.
            let count = client.unread.len().min(177);
            let bytes: Vec<u8> = client.unread.drain(..count).collect();
            self.handle(Input::Received { session, bytes: &bytes });
            return true;
        }
        if client.ended && !std::mem::replace(&mut client.told_end, true) {
            self.handle(Input::Ended { session });
            return true;
        }
        false
    }

    /// Lets a client read at most `most` bytes; true where it got some.
    fn read(&mut self, session: SessionKey, most: usize) -> bool {
        let Some(client) = self.clients.iter_mut().find(|client| is(client, session)) else { return false };
        let Some(client) = client else { return false };
        let mut slices = [IoSlice::new(b""); 4];
        let filled = self.core.transmit(session, &mut slices);
        let waiting: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
        let bound =
            2 * (self.limits.max_queue_bytes + self.limits.max_line_bytes + ADDED_BYTES_MAX) + OWN_LINE_BYTES;
        assert!(waiting <= bound, "{waiting} bytes are queued");
        if client.broke || (client.mute && most > 1) || waiting == 0 {
            return false;
        }
        let bytes: Vec<u8> =
            slices[..filled].iter().flat_map(|slice| slice.iter().copied()).take(most).collect();
        for &byte in &bytes {
            if byte == b'\n' {
                let line = std::mem::take(&mut client.line);
                let value: Value = serde_json::from_slice(&line).expect("a line of JSON");
                assert!(
                    value.is_object() && value.get("message_type").is_some_and(Value::is_string),
                    "{value}"
                );
                client.last = value;
            } else {
                client.line.push(byte);
            }
        }
        self.core.wrote(session, bytes.len(), time(self.now));
        self.obey();
        true
    }

    fn everybody_leaves(&mut self) {
        if self.stopped {
            return;
        }
        for client in self.clients.iter_mut().flatten() {
            client.ended = true;
            client.mute = false;
        }
        self.turn();
        // Whoever still waits for an answer has it after the longest timeout there is.
        self.pass(Duration::from_secs(3700));
        self.turn();
        assert_eq!(self.core.connections(), 0, "everybody has left");
        self.connect(Some(0), None);
        let nodes = self.ask(br#"{"message_type":"list","body":{"all":true}}"#)["nodes"].clone();
        let nodes = nodes.as_array().expect("a list");
        assert!(nodes.iter().all(|node| node["status"] != "up"), "{nodes:?}");
        let stats = self.ask(br#"{"message_type":"stats"}"#);
        for counter in ["nodes", "subscriptions", "open_requests", "paused", "queue_bytes"] {
            assert_eq!(stats[counter], 0, "{counter} of {stats}");
        }
        // Nodes with endpoints are remembered, with up to 4 KiB of meta each; nothing else is.
        let most = 6 * 1024 * nodes.len() as u64;
        assert!(stats["memory_bytes"].as_u64().is_some_and(|bytes| bytes <= most), "{stats}");
    }

    /// The body of the answer to a request of the first client's to the daemon.
    fn ask(&mut self, request: &[u8]) -> Value {
        self.send(0, &[request, b"\n"].concat());
        self.turn();
        let client = self.clients[0].as_ref().expect("there is room again");
        client.last["body"].clone()
    }
}

fn is(client: &Option<Client>, session: SessionKey) -> bool {
    client.as_ref().is_some_and(|client| client.session == session)
}

fn time(mono: Duration) -> Now {
    Now { mono, wall: Duration::from_secs(1_000_000_000) + mono }
}
