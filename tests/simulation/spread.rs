//! Knows how to run the core with so little effort for each step that nearly all is spread, while other things
//! come in between the parts. The ledger is held to what peers read.
//! Never: what is right.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::IoSlice;
use std::time::Duration;

use serde_json::{Value, json};
use telex::clock::Now;
use telex::core::{
    About, Core, Emission, Event, Identity, Input, OpenGate, Order, Peer as Kernel, SessionKey, Transport,
    Tuning,
};
use telex::limits::Limits;

use crate::carry::carry;
use crate::ledger::{Kind, Ledger, To};
use crate::model::Checked;
use crate::random::Random;
use crate::run::{no_panic, small_tuning};
use crate::shell::Reads;

const NODES: [&str; 10] = ["a", "b", "c", "aa", "ab", "ba", "bb", "c.1", "c.2", "c.3"];
const TOPICS: [&str; 4] = ["x", "x.y", "y", "x.y.z"];
const TOPIC_PATTERNS: [&str; 5] = ["x", "x.*", ">", "*", "x.>"];
const NODE_PATTERNS: [&str; 5] = ["*", "a*", "*b", "c.*", "a"];

/// As many as fit about 8 s of one core.
pub(crate) const SEEDS: u64 = 400;
#[cfg(feature = "daemon")]
pub(crate) const CARRIED_SEEDS: u64 = 150;

/// One connection, the socket and the peer behind it.
struct Peer {
    key: SessionKey,
    /// Sent, and not handed in.
    inbox: VecDeque<u8>,
    eof: bool,
    ended: bool,
    broke: bool,
    resume: bool,
    reads: Reads,
    /// Read of a line that has no end yet.
    line: Vec<u8>,
    sequence: u64,
}

struct World {
    random: Random,
    core: Core,
    tuning: Tuning,
    is_carried: bool,
    now: Now,
    effort_max: usize,
    limits: Limits,
    peers: BTreeMap<u64, Peer>,
    numbers: BTreeMap<SessionKey, u64>,
    to_measure: VecDeque<SessionKey>,
    ledger: Ledger,
    last_number: u64,
    log: VecDeque<String>,
}

/// One run; says how many lines were read and lists answered.
pub(crate) fn run(seed: u64) -> Result<(u64, u64), String> {
    run_with(seed, false)
}

/// The same with a core that is saved and restored between all steps.
#[cfg(feature = "daemon")]
pub(crate) fn run_carried(seed: u64) -> Result<(u64, u64), String> {
    run_with(seed, true)
}

fn run_with(seed: u64, is_carried: bool) -> Result<(u64, u64), String> {
    let mut random = Random::new(seed);
    let limits = limits(&mut random);
    let tuning = small_tuning(&mut random);
    let actions = random.between(60, 300);
    let mut world = World::new(random, limits, tuning.clone());
    world.is_carried = is_carried;
    let done = no_panic(|| world.live(actions));
    let told = |fault| {
        let log = Vec::from(std::mem::take(&mut world.log)).join("\n");
        format!(
            "DIVERGENCE: spread seed {seed}\n{fault}\n\nthe last steps:\n{log}\n{:?}\n{tuning:?}",
            world.limits
        )
    };
    done.map_err(told)?;
    Ok((world.ledger.read, world.ledger.answered_lists))
}

fn limits(random: &mut Random) -> Limits {
    let max_queue_bytes = random.between(1500, 20_000);
    Limits {
        max_line_bytes: 4000,
        max_queue_bytes,
        max_memory_bytes: if random.one_in(4) { random.between(3000, 60_000) } else { 1 << 30 },
        max_names: random.between(1, 6),
        max_requests: random.between(2, 12),
        max_subscriptions: random.between(2, 8),
        request_timeout: Duration::from_secs(random.between(1, 60) as u64),
        stall_timeout: Duration::from_secs(10),
        ..Limits::default()
    }
}

fn about() -> About {
    About { version: "0", host: "host".to_owned(), drain_timeout: Duration::from_secs(5) }
}

impl World {
    fn new(random: Random, limits: Limits, tuning: Tuning) -> World {
        let now = Now { mono: Duration::from_secs(1000), wall: Duration::from_secs(1_800_000_000) };
        World {
            random,
            effort_max: tuning.line_effort + tuning.settle_effort,
            core: Core::tuned(about(), limits.clone(), tuning.clone(), now),
            tuning,
            is_carried: false,
            now,
            limits,
            peers: BTreeMap::new(),
            numbers: BTreeMap::new(),
            to_measure: VecDeque::new(),
            ledger: Ledger::default(),
            last_number: 0,
            log: VecDeque::new(),
        }
    }

    fn note(&mut self, text: String) {
        const LOG_LINES: usize = 80;
        self.log.push_back(text);
        if self.log.len() > LOG_LINES {
            self.log.pop_front();
        }
    }

    fn live(&mut self, actions: usize) -> Checked {
        for _ in 0..actions {
            self.act()?;
            for _ in 0..self.random.below(5) {
                self.step()?;
            }
            if self.random.one_in(80) {
                self.settle()?;
            }
        }
        self.settle()?;
        self.check_monitors()?;
        self.leave()?;
        if self.core.stats().delivered != self.ledger.read {
            let (counted, read) = (self.core.stats().delivered, self.ledger.read);
            return Err(format!("{counted} messages are counted as delivered, and {read} were read"));
        }
        self.ledger.check_fates(self.core.stats().untold)?;
        self.look_around()
    }

    // What the shell does.

    fn handle(&mut self, input: Input<'_>) -> Checked {
        self.core.handle(input, self.now, &mut OpenGate);
        self.obey()
    }

    /// Looks whether the core is sound and has done no more than it may, and does what it orders.
    fn obey(&mut self) -> Checked {
        self.core.check();
        const UNIT_BYTES: usize = 50;
        const LINE_EFFORT_MAX: usize = 500;
        let most = (self.effort_max + LINE_EFFORT_MAX) * UNIT_BYTES + self.limits.max_queue_bytes;
        if self.core.effort_bytes() > most {
            return Err(format!("a step has cost {} units", self.core.effort_bytes() / UNIT_BYTES));
        }
        while let Some(order) = self.core.next_order() {
            match order {
                Order::Resume(key) => {
                    let number = self.numbers.get(&key);
                    if let Some(peer) = number.and_then(|number| self.peers.get_mut(number)) {
                        peer.resume = true;
                    }
                }
                Order::Measure(key) => self.to_measure.push_back(key),
                Order::Close(key) => self.closed(key)?,
                Order::Note(note) => {
                    // One that is killed when all that it sent has been read need not have heard why.
                    let is_killed =
                        note.event == Event::Left && note.fields.contains("\"reason\":\"killed\"");
                    if note.event == Event::Stalled || is_killed {
                        note.about.number.into_iter().for_each(|number| self.ledger.is_unclean(number));
                    }
                    self.note(format!("# {:?} {}", note.about.number, note.text));
                }
                Order::Happened(_) | Order::Do(..) => {}
            }
        }
        match self.is_carried {
            true => {
                let fresh = || Core::tuned(about(), self.limits.clone(), self.tuning.clone(), self.now);
                carry(&mut self.core, fresh)
            }
            false => Ok(()),
        }
    }

    fn closed(&mut self, key: SessionKey) -> Checked {
        let number = self.numbers.remove(&key).ok_or("one who is not there is closed")?;
        self.note(format!("- :{number}"));
        let peer = self.peers.remove(&number).ok_or("one who is not there is closed")?;
        if !peer.line.is_empty() || !peer.ended {
            self.ledger.is_unclean(number);
        }
        self.ledger.closed(number);
        Ok(())
    }

    /// One thing that the loop does; in which order it does them is not for the core to know.
    fn step(&mut self) -> Checked {
        let numbers: Vec<u64> = self.peers.keys().copied().collect();
        if numbers.is_empty() {
            return Ok(());
        }
        let number = self.random.pick(&numbers);
        match self.random.below(10) {
            0 => {
                self.note("turn".to_owned());
                let is_held_up = self.random.one_in(4);
                self.handle(if is_held_up { Input::HeldUp } else { Input::TimePassed })
            }
            1 | 2 => self.write_dirty(),
            3 => self.measure(),
            4 => self.write(number),
            _ => self.serve(number),
        }
    }

    /// One connection's turn, if it has anything to be done.
    fn serve(&mut self, number: u64) -> Checked {
        let Some(peer) = self.peers.get_mut(&number) else { return Ok(()) };
        let session = peer.key;
        if std::mem::take(&mut peer.resume) {
            self.note(format!("resumed :{number}"));
            self.handle(Input::Resumed { session })?;
        }
        let Some(peer) = self.peers.get_mut(&number) else { return Ok(()) };
        if !peer.inbox.is_empty() && self.core.wants_bytes(session) {
            let here = peer.inbox.len();
            let count = if self.random.one_in(3) { self.random.between(1, here) } else { here };
            let bytes: Vec<u8> = peer.inbox.drain(..count).collect();
            self.note(format!("> :{number} {}", String::from_utf8_lossy(&bytes)));
            self.handle(Input::Received { session, bytes: &bytes })?;
        }
        let Some(peer) = self.peers.get_mut(&number) else { return Ok(()) };
        if peer.inbox.is_empty() && peer.eof && !peer.ended && !peer.resume {
            peer.ended = true;
            self.note(format!("end of :{number}"));
            self.handle(Input::Ended { session })?;
        }
        Ok(())
    }

    fn is_ready(&self, peer: &Peer) -> bool {
        peer.resume
            || (!peer.inbox.is_empty() && self.core.wants_bytes(peer.key))
            || (peer.inbox.is_empty() && peer.eof && !peer.ended)
    }

    fn write_dirty(&mut self) -> Checked {
        while let Some(key) = self.core.next_large().or_else(|| self.core.next_dirty()) {
            if let Some(&number) = self.numbers.get(&key) {
                self.write(number)?;
            }
        }
        self.core.reap();
        self.obey()
    }

    /// The peer reads some of what there is for it.
    fn write(&mut self, number: u64) -> Checked {
        let Some(peer) = self.peers.get(&number).filter(|peer| !peer.broke) else { return Ok(()) };
        let (key, reads) = (peer.key, peer.reads);
        let mut slices = [IoSlice::new(&[]); 8];
        let filled = self.core.transmit(key, &mut slices);
        let all: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
        let count = match reads {
            _ if all.is_empty() => 0,
            Reads::Nothing => 0,
            Reads::OneByte => 1,
            Reads::Some => self.random.between(1, all.len()),
            Reads::Everything => all.len(),
        };
        if count == 0 {
            return Ok(());
        }
        for &byte in &all[..count] {
            let Some(peer) = self.peers.get_mut(&number) else { return Ok(()) };
            if byte != b'\n' {
                peer.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut peer.line);
            self.note(format!("< :{number} {}", String::from_utf8_lossy(&line)));
            self.ledger.reads(number, &line)?;
        }
        self.core.wrote(key, count, self.now);
        self.obey()
    }

    fn measure(&mut self) -> Checked {
        while let Some(session) = self.to_measure.pop_front() {
            if let Some(&number) = self.numbers.get(&session) {
                // One that is owed something and reads too little is not told all.
                let was_owed = self.core.is_owed(session);
                self.handle(Input::Measured { session, unread: 0 })?;
                if was_owed && !self.peers.contains_key(&number) {
                    self.ledger.is_unclean(number);
                }
            }
        }
        Ok(())
    }

    /// With all reading, and no time passing, all comes to rest.
    fn settle(&mut self) -> Checked {
        self.note("everybody reads".to_owned());
        for _ in 0..10_000 {
            let numbers: Vec<u64> = self.peers.keys().copied().collect();
            for &number in &numbers {
                if let Some(peer) = self.peers.get_mut(&number) {
                    peer.reads = Reads::Everything;
                }
                self.write(number)?;
                self.serve(number)?;
            }
            self.write_dirty()?;
            self.measure()?;
            let is_due = self.core.next_deadline().is_some_and(|at| at <= self.now.mono);
            if is_due {
                self.handle(Input::TimePassed)?;
            }
            let is_owed = |peer: &Peer| !peer.broke && self.core.is_owed(peer.key);
            if !is_due && !self.peers.values().any(|peer| self.is_ready(peer) || is_owed(peer)) {
                let here = self.peers.iter().filter(|(_, peer)| !peer.eof).map(|(number, _)| *number);
                self.ledger.comes_to_rest(here);
                return match self.peers.iter().find(|(_, peer)| !peer.inbox.is_empty() && !peer.broke) {
                    None => Ok(()),
                    Some((number, _)) => Err(format!(":{number} is never read again")),
                };
            }
        }
        Err("the core never comes to rest".to_owned())
    }

    fn leave(&mut self) -> Checked {
        let numbers: Vec<u64> = self.peers.keys().copied().collect();
        for number in numbers {
            match self.random.one_in(5) {
                true => self.hang_up(number)?,
                false => self.half_close(number)?,
            }
            for _ in 0..self.random.below(4) {
                self.step()?;
            }
        }
        for _ in 0..1000 {
            self.settle()?;
            if self.peers.is_empty() {
                return Ok(());
            }
            let at = self.core.next_deadline().ok_or("somebody never goes, and nothing is due")?;
            self.pass_time(at.saturating_sub(self.now.mono))?;
        }
        Err("somebody never goes".to_owned())
    }

    fn check_monitors(&mut self) -> Checked {
        let here: Vec<u64> =
            self.peers.iter().filter(|(_, peer)| !peer.eof).map(|(number, _)| *number).collect();
        let list = self.asks_newcomer("list")?;
        let mut instances = BTreeSet::new();
        for node in list["nodes"].as_array().into_iter().flatten() {
            for one in node["instances"].as_array().into_iter().flatten() {
                let number = one.as_str().and_then(|one| one.trim_start_matches(':').parse().ok());
                let name = node["node_id"].as_str().unwrap_or_default().to_owned();
                instances.insert((name, number.ok_or("a list without numbers")?));
            }
        }
        match list["more"] == false {
            true => self.ledger.check_monitors(&instances, &here),
            // There was no memory for the answer.
            false => Ok(()),
        }
    }

    fn look_around(&mut self) -> Checked {
        let stats = self.asks_newcomer("stats")?;
        for name in ["nodes", "subscriptions", "open_requests", "paused", "queue_bytes", "memory_bytes"] {
            if stats[name] != 0 {
                return Err(format!("all have gone, and {name} is not 0: {stats}"));
            }
        }
        Ok(())
    }

    /// The body of the daemon's answer to an administrator who comes for it.
    fn asks_newcomer(&mut self, message_type: &str) -> Checked<Value> {
        let number = self.connect(Some(0))?;
        let session = self.peers.get(&number).ok_or("nobody is let in")?.key;
        let line = format!("{{\"message_type\":\"{message_type}\",\"message_id\":\"last\"}}\n");
        self.handle(Input::Received { session, bytes: line.as_bytes() })?;
        let mut read = Vec::new();
        for _ in 0..1000 {
            loop {
                let mut slices = [IoSlice::new(&[]); 8];
                let filled = self.core.transmit(session, &mut slices);
                let all: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
                if all.is_empty() {
                    break;
                }
                read.extend_from_slice(&all);
                self.core.wrote(session, all.len(), self.now);
                self.obey()?;
            }
            if let Some(line) = read.strip_suffix(b"\n") {
                let answer: Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
                return Ok(answer["body"].clone());
            }
            self.handle(Input::TimePassed)?;
            if self.peers.get_mut(&number).is_some_and(|peer| std::mem::take(&mut peer.resume)) {
                self.handle(Input::Resumed { session })?;
            }
        }
        Err(format!("{message_type} is not answered"))
    }

    fn pass_time(&mut self, span: Duration) -> Checked {
        self.now.mono += span;
        self.now.wall += span;
        self.note(format!("t +{span:?}"));
        self.handle(Input::TimePassed)
    }

    // What peers do.

    fn act(&mut self) -> Checked {
        let numbers: Vec<u64> = self.peers.keys().copied().filter(|number| !self.peers[number].eof).collect();
        if numbers.len() < 3 {
            let user = self.random.pick(&[Some(0), Some(1), None]);
            return self.connect(user).map(|_| ());
        }
        let number = self.random.pick(&numbers);
        match self.random.below(100) {
            0..5 if numbers.len() < 12 => self.connect(Some(0)).map(|_| ()),
            5..8 => self.half_close(number),
            8 => self.hang_up(number),
            9..17 => {
                let reads =
                    self.random.pick(&[Reads::Nothing, Reads::OneByte, Reads::Some, Reads::Everything]);
                if let Some(peer) = self.peers.get_mut(&number) {
                    peer.reads = reads;
                }
                self.note(format!(":{number} reads {reads:?}"));
                self.write(number)
            }
            17..21 => {
                let left = self.core.next_deadline().map(|at| at.saturating_sub(self.now.mono));
                let span = match left {
                    Some(left) if self.random.one_in(2) => left,
                    _ => Duration::from_millis(self.random.between(1, 3000) as u64),
                };
                self.pass_time(span)
            }
            21..23 => self.emit(&numbers),
            23..50 => {
                self.ask(number);
                Ok(())
            }
            50..66 => {
                self.reply(number);
                Ok(())
            }
            _ => {
                for _ in 0..self.random.between(1, 4) {
                    self.send_message(number, &numbers);
                }
                Ok(())
            }
        }
    }

    fn connect(&mut self, user: Option<u32>) -> Checked<u64> {
        self.last_number += 1;
        let number = self.last_number;
        let (transport, identity) = match user {
            Some(uid) => (Transport::Unix, Identity::Kernel { uid: Some(uid), gid: Some(uid), pid: 1 }),
            None => (Transport::Tcp, Identity::Anonymous),
        };
        let kernel = Kernel { transport, identity, administrator: user == Some(0) };
        let opened = self.core.open(number, kernel, self.now);
        let key = opened.map_err(|line| String::from_utf8_lossy(&line).into_owned())?;
        self.numbers.insert(key, number);
        self.ledger.opened(number);
        let peer = Peer {
            key,
            inbox: VecDeque::new(),
            eof: false,
            ended: false,
            broke: false,
            resume: false,
            reads: Reads::Everything,
            line: Vec::new(),
            sequence: 0,
        };
        self.peers.insert(number, peer);
        self.note(format!("+ :{number}"));
        self.obey()?;
        Ok(number)
    }

    fn half_close(&mut self, number: u64) -> Checked {
        self.ledger.ends(number);
        let Some(peer) = self.peers.get_mut(&number) else { return Ok(()) };
        peer.eof = true;
        let session = peer.key;
        self.note(format!("half-close of :{number}"));
        // That may be known before all that it sent has been read.
        if self.random.one_in(2) { self.handle(Input::Ending { session }) } else { Ok(()) }
    }

    fn hang_up(&mut self, number: u64) -> Checked {
        self.ledger.hangs_up(number);
        let Some(peer) = self.peers.get_mut(&number) else { return Ok(()) };
        (peer.eof, peer.broke) = (true, true);
        let session = peer.key;
        self.note(format!("hang-up of :{number}"));
        self.handle(Input::Broke { session })
    }

    /// Puts a line into what a peer has sent. Gives its number and its id.
    fn next_id(&mut self, number: u64) -> (u64, String) {
        let sequence = self.peers.get_mut(&number).map_or(0, |peer| {
            peer.sequence += 1;
            peer.sequence
        });
        (sequence, format!("{number}-{sequence}"))
    }

    fn sends(&mut self, number: u64, line: &Value) {
        if let Some(peer) = self.peers.get_mut(&number) {
            peer.inbox.extend(line.to_string().as_bytes());
            peer.inbox.push_back(b'\n');
        }
    }

    /// A request to the daemon.
    fn ask(&mut self, number: u64) {
        let (_, id) = self.next_id(number);
        let node = self.random.pick(&NODES);
        let pattern = self.random.pick(&NODE_PATTERNS);
        let group = self.random.one_in(3).then_some("g");
        let (message_type, body) = match self.random.below(20) {
            0..6 => {
                let delivery = if node.starts_with('c') { "one" } else { "all" };
                let replace = self.random.one_in(8);
                ("register", json!({"node_id": node, "delivery": delivery, "replace": replace}))
            }
            6..8 => ("unregister", json!({"node_id": node})),
            8..11 => (
                "subscribe",
                match group {
                    None => json!({"topic": self.random.pick(&TOPIC_PATTERNS)}),
                    Some(group) => json!({"topic": self.random.pick(&TOPIC_PATTERNS), "group": group}),
                },
            ),
            11..14 if self.ledger.may_monitor(number) => {
                self.ledger.monitors(number, pattern);
                ("monitor", json!({"node_id": pattern}))
            }
            14..16 => ("list", json!({"match": pattern})),
            16 => ("subscribers", json!({"topic": self.random.pick(&TOPICS)})),
            17 if self.random.one_in(6) => ("kill", json!({"node_id": node})),
            18 => ("stats", json!({})),
            _ => ("ping", json!({"pad": "x".repeat(self.random.below(300))})),
        };
        self.ledger.asks(number, &id, message_type, body.clone());
        self.sends(number, &json!({"message_type": message_type, "message_id": id, "body": body}));
    }

    fn send_message(&mut self, number: u64, numbers: &[u64]) {
        let (sequence, id) = self.next_id(number);
        let is_request = self.random.one_in(2);
        // Most go to few, whose queues are full therefore.
        let other = if self.random.one_in(2) { numbers[0] } else { self.random.pick(numbers) };
        let topic = self.random.pick(&TOPICS);
        let node = self.random.pick(&NODES);
        let (field, address, to) = match self.random.below(8) {
            0..3 => ("topic", topic.to_owned(), To::Topic(topic.to_owned())),
            3 if is_request => ("to", node.to_owned(), To::Node),
            _ => ("to", format!(":{other}"), To::Unique(other)),
        };
        let pad = "x".repeat(self.random.below(400));
        let mut line = json!({
            "message_type": if is_request { "get" } else { "signal" },
            "message_id": id,
            field: address,
            "body": {"s": [number, sequence], "pad": pad},
        });
        if is_request && self.random.one_in(2) {
            line["timeout_ms"] = self.random.pick(&[1, 500, 5000]).into();
        }
        self.ledger.sends(number, &id, to, if is_request { Kind::Request } else { Kind::Signal });
        self.sends(number, &line);
    }

    /// An answer to a request that was read.
    fn reply(&mut self, number: u64) {
        let at = self.random.below(8);
        let Some((asker, answered)) = self.ledger.takes_owed(number, at) else { return };
        let (sequence, id) = self.next_id(number);
        let asked_by = answered.split('-').next().and_then(|of| of.parse().ok()).unwrap_or_default();
        self.ledger.sends(number, &id, To::Unique(asked_by), Kind::Reply);
        self.sends(
            number,
            &json!({
                "message_type": "get_reply",
                "message_id": id,
                "to": asker,
                "body": {"in_reply_to": answered, "s": [number, sequence]},
            }),
        );
    }

    /// The daemon's own signal, of a plugin's.
    fn emit(&mut self, numbers: &[u64]) -> Checked {
        let to = format!(":{}", self.random.pick(numbers));
        let topic = self.random.pick(&TOPICS);
        let (to, topic) = if self.random.one_in(3) { (Some(&*to), None) } else { (None, Some(topic)) };
        let emission = Emission::new(to, topic, "{\"event\":\"emitted\"}", self.limits.max_line_bytes);
        let emission = emission.map_err(|why| format!("{why:?}"))?;
        self.note(format!("emits to {to:?} {topic:?}"));
        self.handle(Input::Emitted(&emission))
    }
}
