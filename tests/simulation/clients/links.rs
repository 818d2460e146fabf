//! Knows a daemon without sockets, and what is on its way between it and its clients.
//! Never: what a client is.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::time::Duration;

use telex::clock::Now;
use telex::core::{About, Core, Identity, Input, OpenGate, Order, Outcome, Peer, SessionKey, Transport};
use telex::limits::Limits;

use crate::random::Random;

/// One connection, with the bytes that are on their way.
#[derive(Debug)]
pub(crate) struct Link {
    /// The daemon's end; `None` if that has closed.
    key: Option<SessionKey>,
    pub(crate) up: VecDeque<u8>,
    pub(crate) down: VecDeque<u8>,
    /// What the sockets between them hold, in each direction.
    pub(crate) room: usize,
    /// Nothing more is put on its way: the connection is broken, or the daemon is another one.
    pub(crate) is_cut: bool,
    is_told: bool,
    /// The line that is being sent down.
    line: Vec<u8>,
}

impl Link {
    /// Whether neither side will have anything to do with it any more.
    pub(crate) fn is_done(&self) -> bool {
        self.key.is_none() && self.is_over() && self.is_cut
    }

    /// Whether nothing more will come down.
    pub(crate) fn is_over(&self) -> bool {
        self.down.is_empty() && (self.is_cut || self.key.is_none())
    }
}

pub(crate) struct Daemon {
    core: Core,
    pub(crate) now: Duration,
    limits: Limits,
    last_number: u64,
    pub(crate) links: BTreeMap<u64, Link>,
    /// A reply comes twice now and then.
    pub(crate) repeats: bool,
    /// What the daemon reads and writes, if a trace was asked for.
    pub(crate) trace: Option<Vec<String>>,
}

impl Daemon {
    pub(crate) fn new(limits: Limits) -> Daemon {
        let now = Duration::from_secs(1);
        Daemon {
            core: core(&limits, now),
            now,
            limits,
            last_number: 0,
            links: BTreeMap::new(),
            repeats: false,
            trace: None,
        }
    }

    pub(crate) fn connect(&mut self, room: usize) -> Option<u64> {
        let identity = Identity::Kernel { uid: Some(7), gid: Some(7), pid: 7 };
        let peer = Peer { transport: Transport::Unix, identity, administrator: false };
        self.last_number += 1;
        let key = self.core.open(self.last_number, peer, time(self.now)).ok();
        self.go_on();
        let link = Link {
            key: Some(key?),
            up: VecDeque::new(),
            down: VecDeque::new(),
            room,
            is_cut: false,
            is_told: false,
            line: Vec::new(),
        };
        self.links.insert(self.last_number, link);
        Some(self.last_number)
    }

    /// Another daemon takes the place of this one, of which nothing is left but what is on its way from it.
    pub(crate) fn restart(&mut self, random: &mut Random) {
        self.core = core(&self.limits, self.now);
        for link in self.links.values_mut() {
            link.key = None;
            link.up.clear();
            let left = random.below(link.down.len() + 1);
            link.down.truncate(left);
        }
    }

    /// The connection breaks: of what is on its way some is lost, in both directions.
    pub(crate) fn cut(&mut self, number: u64, random: &mut Random) {
        if let Some(link) = self.links.get_mut(&number) {
            link.is_cut = true;
            let (up, down) = (random.below(link.up.len() + 1), random.below(link.down.len() + 1));
            link.up.truncate(up);
            link.down.truncate(down);
        }
    }

    /// The daemon reads up to so many bytes of a connection, and finds its end behind them. True if that is news.
    pub(crate) fn read(&mut self, number: u64, most: usize) -> bool {
        let now = time(self.now);
        let Some(link) = self.links.get_mut(&number) else { return false };
        let Some(session) = link.key else { return false };
        if link.is_cut && !std::mem::replace(&mut link.is_told, link.is_cut) {
            self.core.handle(Input::Broke { session }, now, &mut OpenGate);
        }
        let mut ends = false;
        if !link.up.is_empty() && self.core.wants_bytes(session) {
            let count = most.min(link.up.len());
            let bytes: Vec<u8> = link.up.drain(..count).collect();
            self.core.handle(Input::Received { session, bytes: &bytes }, now, &mut OpenGate);
            let text = || format!("  :{number} > {}", String::from_utf8_lossy(&bytes));
            self.trace.iter_mut().for_each(|trace| trace.push(text()));
        } else if link.up.is_empty() && link.is_cut {
            link.key = None;
            ends = true;
            self.core.handle(Input::Ended { session }, now, &mut OpenGate);
        }
        self.go_on();
        ends
    }

    /// The daemon writes what there is room for, up to so many bytes.
    pub(crate) fn write(&mut self, number: u64, most: usize, random: &mut Random) {
        let Some(link) = self.links.get_mut(&number).filter(|link| !link.is_cut) else { return };
        let Some(key) = link.key else { return };
        let most = most.min(link.room.saturating_sub(link.down.len()));
        let mut slices = [IoSlice::new(&[]); 32];
        let filled = self.core.transmit(key, &mut slices);
        let bytes: Vec<u8> =
            slices[..filled].iter().flat_map(|slice| slice.iter().copied()).take(most).collect();
        for &byte in &bytes {
            link.down.push_back(byte);
            link.line.push(byte);
            if byte == b'\n' {
                let line = std::mem::take(&mut link.line);
                if self.repeats && may_come_twice(&line) && random.one_in(8) {
                    link.down.extend(line);
                }
            }
        }
        if !bytes.is_empty() {
            self.core.wrote(key, bytes.len(), time(self.now));
            let text = || format!("  :{number} < {}", String::from_utf8_lossy(&bytes));
            self.trace.iter_mut().for_each(|trace| trace.push(text()));
            self.go_on();
        }
    }

    pub(crate) fn pass_time(&mut self, span: Duration) {
        self.now += span;
        self.core.handle(Input::TimePassed, time(self.now), &mut OpenGate);
        self.go_on();
    }

    /// What a connection of its own is answered, all at once.
    pub(crate) fn ask(&mut self, line: &str, random: &mut Random) -> String {
        let Some(number) = self.connect(1 << 20) else { return String::new() };
        if let Some(link) = self.links.get_mut(&number) {
            link.up.extend(line.bytes().chain(*b"\n"));
        }
        self.read(number, usize::MAX);
        for _ in 0..100 {
            self.write(number, usize::MAX, random);
        }
        let answer = self.links.remove(&number).map(|link| Vec::from(link.down)).unwrap_or_default();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn go_on(&mut self) {
        let now = time(self.now);
        loop {
            let mut resumed = Vec::new();
            let mut is_quiet = true;
            while let Some(order) = self.core.next_order() {
                is_quiet = false;
                match order {
                    Order::Resume(session) => resumed.push(session),
                    Order::Measure(session) => {
                        self.core.handle(Input::Measured { session, unread: 0 }, now, &mut OpenGate);
                    }
                    Order::Close(key) => {
                        let closed = self.links.values_mut().find(|link| link.key == Some(key));
                        closed.into_iter().for_each(|link| link.key = None);
                    }
                    Order::Do(token, _) => {
                        let outcome = Outcome::Failed("there is nothing to do");
                        self.core.handle(Input::Done { token, outcome }, now, &mut OpenGate);
                    }
                    Order::Note(_) | Order::Happened(_) => {}
                }
            }
            while self.core.next_dirty().is_some() {}
            self.core.reap();
            for session in resumed {
                self.core.handle(Input::Resumed { session }, now, &mut OpenGate);
                is_quiet = false;
            }
            if self.core.next_deadline().is_some_and(|at| at <= self.now) {
                self.core.handle(Input::TimePassed, now, &mut OpenGate);
            } else if is_quiet {
                return;
            }
        }
    }
}

fn core(limits: &Limits, now: Duration) -> Core {
    let about = About { version: "0", host: "host".to_owned(), drain_timeout: Duration::from_secs(5) };
    Core::new(about, limits.clone(), time(now))
}

fn time(mono: Duration) -> Now {
    Now { mono, wall: Duration::from_secs(1_800_000_000) + mono }
}

/// Answers that end their request, whose second coming means nothing.
fn may_come_twice(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line);
    ["\"ask_reply\"", "\"late_reply\""].iter().any(|word| line.contains(word))
        && !line.contains("too_many_requests")
}
