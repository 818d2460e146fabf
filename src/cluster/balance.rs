//! Knows how a server is chosen for a key, or for none.
//! Never: why a server may not be chosen.

use std::fmt;

use crate::cluster::checksum::{crc32, md5};
use crate::cluster::random::Random;
use crate::cluster::servers::Server;

/// How requests are spread over the servers. All but the first two need a key if there are two servers or
/// more. Servers that are out or inactive are passed over: the choice goes on to the next in the order told
/// here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// In turn: of 6 requests to weights 1, 2 and 3 one, two and three, as far apart as can be.
    #[default]
    RoundRobin,
    /// Each server once in a random order, then anew; weights do not count. What MR::IProto does under the name
    /// `round-robin`.
    Random,
    /// MR::IProto's `hash-crc32`: the servers in their order, each as often as its weight, indexed by the upper half
    /// of the key's CRC-32. Further places are found by adding to it, 20 times; then in the order of the list.
    HashCrc32,
    /// MR::IProto's `ketama`: 11 points a server whatever its weight, in the order of their decimal text, of which
    /// the first counts that is no less than the key's CRC-32. Then on in that order.
    Ketama,
    /// libmemcached's `KETAMA_WEIGHTED`: 160 points a server on average, by weight, on a ring of MD5. Then on around
    /// the ring. A server is called `HOST:PORT`, or `HOST` at port 11211.
    KetamaWeighted,
}

const WORDS: [(Balance, &str); 5] = [
    (Balance::RoundRobin, "round-robin"),
    (Balance::Random, "random"),
    (Balance::HashCrc32, "hash-crc32"),
    (Balance::Ketama, "ketama"),
    (Balance::KetamaWeighted, "ketama-weighted"),
];

impl Balance {
    /// The balance of a name such as `ketama-weighted`; `None` for any other word.
    ///
    /// ```
    /// use telex::cluster::Balance;
    ///
    /// assert_eq!(Balance::of("hash-crc32"), Some(Balance::HashCrc32));
    /// assert_eq!(Balance::of("fair"), None);
    /// ```
    pub fn of(word: &str) -> Option<Balance> {
        WORDS.iter().find(|(_, known)| *known == word).map(|(balance, _)| *balance)
    }

    /// Whether a request must have a key if there are two servers or more.
    pub fn needs_key(self) -> bool {
        !matches!(self, Balance::RoundRobin | Balance::Random)
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WORDS.iter().find(|(known, _)| known == self).map_or("", |(_, word)| word))
    }
}

/// A balance over a list of servers, which are told by their places in it.
#[derive(Debug)]
pub(super) struct Balancer {
    rule: Rule,
    weights: Vec<u32>,
    random: Random,
}

#[derive(Debug)]
enum Rule {
    /// What each server has gained on the others.
    Turns(Vec<i64>),
    /// Those that are still to be drawn.
    Bag(Vec<usize>),
    List(Vec<usize>),
    /// Points and their servers, ordered as decimal text.
    Text(Vec<(u32, usize)>),
    /// The same, ordered as numbers.
    Ring(Vec<(u32, usize)>),
}

impl Balancer {
    pub(super) fn new(balance: Balance, servers: &[Server], random: Random) -> Balancer {
        let weights: Vec<u32> = servers.iter().map(|server| server.weight).collect();
        let rule = match balance {
            Balance::RoundRobin => Rule::Turns(vec![0; servers.len()]),
            Balance::Random => Rule::Bag(Vec::new()),
            Balance::HashCrc32 => Rule::List(list(&weights)),
            Balance::Ketama => Rule::Text(text_ring(servers)),
            Balance::KetamaWeighted => Rule::Ring(weighted_ring(servers)),
        };
        Balancer { rule, weights, random }
    }

    /// The first server for this key that `may` be taken. One whose weight is too small for any point of a ring comes
    /// last.
    pub(super) fn pick(&mut self, key: &str, may: impl Fn(usize) -> bool) -> Option<usize> {
        let first = (0..self.weights.len()).find(|&server| may(server))?;
        self.choose(key, may).or(Some(first))
    }

    fn choose(&mut self, key: &str, may: impl Fn(usize) -> bool) -> Option<usize> {
        match &mut self.rule {
            Rule::Turns(gained) => turn(gained, &self.weights, may),
            Rule::Bag(bag) => draw(bag, self.weights.len(), &mut self.random, may),
            Rule::List(list) => walk(list, key).find(|&server| may(server)),
            Rule::Text(points) => {
                let hash = crc32(0, key.as_bytes());
                let start = points.iter().position(|(point, _)| *point >= hash).unwrap_or(0);
                around(points, start, may)
            }
            Rule::Ring(points) => {
                let start = points.partition_point(|(point, _)| *point < md5(key.as_bytes())[0]);
                around(points, start, may)
            }
        }
    }
}

fn turn(gained: &mut [i64], weights: &[u32], may: impl Fn(usize) -> bool) -> Option<usize> {
    let mut all = 0;
    let mut best: Option<usize> = None;
    for server in (0..weights.len()).filter(|&server| may(server)) {
        gained[server] += i64::from(weights[server]);
        all += i64::from(weights[server]);
        if best.is_none_or(|best| gained[server] > gained[best]) {
            best = Some(server);
        }
    }
    gained[best?] -= all;
    best
}

/// Servers that may not be taken are drawn, too, and passed over. One of them may.
fn draw(
    bag: &mut Vec<usize>,
    servers: usize,
    random: &mut Random,
    may: impl Fn(usize) -> bool,
) -> Option<usize> {
    loop {
        if bag.is_empty() {
            bag.extend(0..servers);
        }
        let server = bag.swap_remove(random.below(bag.len()));
        if may(server) {
            return Some(server);
        }
    }
}

fn list(weights: &[u32]) -> Vec<usize> {
    weights.iter().enumerate().flat_map(|(server, &weight)| vec![server; weight as usize]).collect()
}

/// The places of a key: its own, 20 more, then all.
fn walk<'a>(list: &'a [usize], key: &str) -> impl Iterator<Item = usize> + use<'a> {
    const MORE: u32 = 20;
    let base = crc32(0, key.as_bytes()) >> 16;
    let steps = (0..MORE).scan(base as usize, move |hash, step| {
        *hash += (crc32(base, step.to_string().as_bytes()) >> 16) as usize;
        Some(*hash)
    });
    let rest = base as usize..base as usize + list.len();
    std::iter::once(base as usize).chain(steps).chain(rest).map(|hash| list[hash % list.len()])
}

fn text_ring(servers: &[Server]) -> Vec<(u32, usize)> {
    const POINTS: u32 = 11;
    let mut points = Vec::new();
    for (at, server) in servers.iter().enumerate() {
        let (host, port) = server.name();
        points.extend((0..POINTS).map(|nth| (crc32(0, format!("{host}{port}{nth}").as_bytes()), at)));
    }
    points.sort_by_key(|(point, _)| point.to_string());
    points
}

/// As libmemcached computes it, in single precision.
fn weighted_ring(servers: &[Server]) -> Vec<(u32, usize)> {
    const HASHES: f32 = 40.0;
    const NAMELESS_PORT: u16 = 11211;
    let all: u32 = servers.iter().map(|server| server.weight).sum();
    let mut points = Vec::new();
    for (at, server) in servers.iter().enumerate() {
        let share = server.weight as f32 / all as f32;
        let hashes = (f64::from(share * HASHES * servers.len() as f32) + 1e-10) as f32;
        let (host, port) = server.name();
        let name = if port == NAMELESS_PORT { host } else { format!("{host}:{port}") };
        for nth in 0..hashes.floor() as u32 {
            points.extend(md5(format!("{name}-{nth}").as_bytes()).map(|point| (point, at)));
        }
    }
    points.sort_unstable();
    points
}

/// The first server from this point on that may be taken; behind the last point comes the first.
fn around(points: &[(u32, usize)], start: usize, may: impl Fn(usize) -> bool) -> Option<usize> {
    let (before, behind) = points.split_at(start);
    behind.iter().chain(before).map(|(_, server)| *server).find(|&server| may(server))
}

#[cfg(test)]
mod tests;
