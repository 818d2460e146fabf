//! Seeded runs over servers that fail in every way: what must hold of each request, whatever happens.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::ms;
use crate::cluster::random::Random;
use crate::cluster::*;

/// Servers and the wires to them.
struct Net {
    random: Random,
    now: Duration,
    servers: Vec<Health>,
    links: BTreeMap<LinkId, usize>,
    facts: VecDeque<Fact<u64>>,
    later: Vec<(Duration, Fact<u64>)>,
    executed: BTreeMap<u64, u32>,
    /// The requests that were sent to each server, in their order.
    sent: Vec<Vec<RequestId>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Health {
    Well,
    Down,
    Frozen,
}

impl Net {
    fn new(seed: u64, servers: usize) -> Net {
        Net {
            random: Random::new(seed),
            now: Duration::ZERO,
            servers: vec![Health::Well; servers],
            links: BTreeMap::new(),
            facts: VecDeque::new(),
            later: Vec::new(),
            executed: BTreeMap::new(),
            sent: vec![Vec::new(); servers],
        }
    }

    fn within(&mut self, most: u64, fact: Fact<u64>) {
        let after = ms(self.random.below(most as usize + 1) as u64);
        self.later.push((self.now + after, fact));
    }

    /// Time passes on the wire.
    fn passes(&mut self, now: Duration) {
        self.now = now;
        self.later.sort_by_key(|(at, _)| *at);
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            self.facts.push_back(self.later.remove(0).1);
        }
    }

    fn becomes(&mut self, server: usize, health: Health) {
        self.servers[server] = health;
        if health == Health::Down {
            let gone: Vec<LinkId> =
                self.links.iter().filter(|(_, at)| **at == server).map(|(link, _)| *link).collect();
            for link in gone {
                self.links.remove(&link);
                self.within(5, Fact::Ended { link, why: "reset".to_owned() });
            }
        }
    }
}

impl Connector for Net {
    /// A number of its own for each request.
    type Request = u64;
    type Answer = u64;

    fn open(&mut self, link: LinkId, server: &Server, _: &LinkOptions) {
        let server = server.name().1 as usize - 1;
        match self.servers[server] {
            Health::Down => self.within(5, Fact::Ended { link, why: "refused".to_owned() }),
            Health::Frozen if self.random.below(2) == 0 => {}
            _ => {
                self.links.insert(link, server);
                self.within(20, Fact::Opened(link));
            }
        }
    }

    fn send(&mut self, link: LinkId, one: Try<'_>, request: &u64) {
        let Some(&server) = self.links.get(&link) else { return };
        self.sent[server].push(one.id.request);
        if one.no_reply {
            self.within(2, Fact::Written(one.id));
        }
        if self.servers[server] == Health::Frozen {
            return;
        }
        let (id, unknown) = (one.id, ErrorKind::Lost);
        let failed = |fate| Fact::Failed { id, fate, why: "failed".to_owned() };
        if self.random.below(20) == 0 {
            return self.within(30, failed(Fate::NotExecuted));
        }
        *self.executed.entry(*request).or_default() += 1;
        match self.random.below(20) {
            _ if one.no_reply => {}
            0 => self.within(30, failed(Fate::Unknown(unknown))),
            // Its answer is lost, late, or comes twice.
            1 => {}
            2 => self.within(4000, Fact::Answered { id, answer: *request }),
            3 => {
                self.within(30, Fact::Answered { id, answer: *request });
                self.within(60, Fact::Answered { id, answer: *request });
            }
            _ => self.within(50, Fact::Answered { id, answer: *request }),
        }
    }

    fn probe(&mut self, link: LinkId) {
        if self.links.get(&link).is_some_and(|&server| self.servers[server] == Health::Well) {
            self.within(20, Fact::Probed(link));
        }
    }

    fn close(&mut self, link: LinkId) {
        self.links.remove(&link);
    }

    fn answer(&mut self) -> Option<Fact<u64>> {
        self.facts.pop_front()
    }
}

/// What is expected of a request.
struct Asked {
    tag: u64,
    retry: bool,
    no_reply: bool,
}

struct Run {
    cluster: Cluster<Net>,
    random: Random,
    now: Duration,
    asked: BTreeMap<RequestId, Asked>,
    done: BTreeMap<RequestId, Done<u64>>,
    seed: u64,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut random = Random::new(seed ^ 0x5eed);
        let servers = 1 + random.below(5);
        let list: Vec<String> = (1..=servers).map(|nth| format!("a:{nth}*{}", 1 + random.below(3))).collect();
        let balances = ["round-robin", "random", "hash-crc32", "ketama", "ketama-weighted"];
        let settings = Settings {
            balance: Balance::of(balances[random.below(5)]).unwrap(),
            max_parallel: 1 + random.below(40),
            max_parallel_per_server: 1 + random.below(10),
            max_request_retries: 1 + random.below(4) as u32,
            retry_delay: ms(random.below(2) as u64 * 30),
            timeout: [Some(ms(300)), Some(ms(2000)), None][random.below(20).min(2)],
            timeout_of: [TimeoutOf::Request, TimeoutOf::Silence][random.below(2)],
            tcp_keepalive: (random.below(2) == 0).then(|| ms(700)),
            seed,
            ..Settings::of(&list.join(",")).unwrap()
        };
        // For ever is for ever: what a frozen server owes would never be done.
        let timeout = settings.timeout.or(Some(ms(1000)));
        let net = Net::new(seed, servers);
        let cluster = Cluster::new(Settings { timeout, ..settings }, net);
        let (asked, done) = (BTreeMap::new(), BTreeMap::new());
        Run { cluster, random, now: Duration::ZERO, asked, done, seed }
    }

    fn step(&mut self, span: Duration) {
        self.now += span;
        self.cluster.connector().passes(self.now);
        self.cluster.step(self.now);
        self.cluster.check();
        while let Some(done) = self.cluster.next_done() {
            assert!(self.done.insert(done.id, done).is_none(), "seed {}: done twice", self.seed);
        }
    }

    fn submit(&mut self) {
        let tag = self.asked.len() as u64;
        let (retry, no_reply) = (self.random.below(2) == 0, self.random.below(8) == 0);
        let mut message = Message::new(tag).key(tag.to_string());
        message.retry = retry;
        message.no_reply = no_reply;
        let id = self.cluster.submit(message, self.now);
        self.asked.insert(id, Asked { tag, retry, no_reply });
    }

    fn act(&mut self) {
        let servers = self.cluster.connector().servers.len();
        let server = self.random.below(servers);
        match self.random.below(60) {
            0 | 1 => self.cluster.connector().becomes(server, Health::Down),
            2 => self.cluster.connector().becomes(server, Health::Frozen),
            3..=7 => self.cluster.connector().becomes(server, Health::Well),
            8 => drop(self.cluster.set_active(server, false, self.now)),
            9 => drop(self.cluster.set_active(server, true, self.now)),
            10 => drop(self.cluster.set_weight(server, 1 + self.random.below(4) as u32)),
            11 if self.random.below(5) == 0 => self.cluster.disconnect_all(),
            _ => self.submit(),
        }
    }

    /// All are well again, and everything comes to its end.
    fn end(&mut self) {
        for server in 0..self.cluster.connector().servers.len() {
            self.cluster.connector().becomes(server, Health::Well);
            self.cluster.set_active(server, true, self.now);
        }
        for _ in 0..20_000 {
            if self.done.len() == self.asked.len() {
                return;
            }
            self.step(ms(5));
        }
        panic!("seed {}: {} of {} are done", self.seed, self.done.len(), self.asked.len());
    }

    fn judge(&mut self) {
        let executed = std::mem::take(&mut self.cluster.connector().executed);
        for (id, Asked { tag, retry, no_reply }) in &self.asked {
            let done = &self.done[id];
            let count = executed.get(tag).copied().unwrap_or(0);
            let what = format!("seed {}: {id:?} executed {count} times, {done:?}", self.seed);
            assert!(*retry || count <= 1, "{what}");
            assert!(count <= done.tries, "{what}");
            match &done.outcome {
                Ok(Some(answer)) => assert!(answer == tag && count > 0 && !no_reply, "{what}"),
                Ok(None) => assert!(*no_reply, "{what}"),
                Err(error) => assert!(count == 0 || error.may_be_executed, "{what}"),
            }
        }
    }
}

#[test]
fn each_request_is_done_once_and_executed_as_often_as_it_may_be() {
    let (mut again, mut failed) = (0, BTreeSet::new());
    for seed in 0..300 {
        let mut run = Run::new(seed);
        for _ in 0..400 {
            run.act();
            let span = ms(run.random.below(12) as u64);
            run.step(span);
        }
        run.end();
        run.judge();
        again += run.done.values().filter(|done| done.tries > 1).count();
        let kinds = run.done.values().filter_map(|done| done.outcome.as_ref().err());
        failed.extend(kinds.map(|error| format!("{:?}", error.kind)));
    }
    assert!(again > 1000, "{again} retries");
    assert_eq!(failed.len(), 6, "{failed:?}");
}

#[test]
fn while_all_is_well_each_server_gets_its_requests_in_order() {
    for seed in 0..50 {
        let mut run = Run::new(seed);
        for _ in 0..200 {
            run.submit();
            let span = ms(run.random.below(3) as u64);
            run.step(span);
        }
        let net = run.cluster.connector();
        let is_first = |at: usize, ids: &[RequestId]| !ids[..at].contains(&ids[at]);
        for ids in &net.sent {
            let first: Vec<RequestId> =
                (0..ids.len()).filter(|&at| is_first(at, ids)).map(|at| ids[at]).collect();
            let moved = net.sent.iter().filter(|other| *other != ids).flatten().collect::<BTreeSet<_>>();
            let own: Vec<RequestId> = first.into_iter().filter(|id| !moved.contains(id)).collect();
            assert!(own.is_sorted(), "seed {seed}: {own:?}");
        }
    }
}
