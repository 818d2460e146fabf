//! The tables that were measured of MR::IProto and libmemcached.

use super::*;
use crate::cluster::servers::servers;

const SERVERS: &str = "10.0.0.1:33013:1,10.0.0.2:33013:2,10.0.0.3:33013:3";
const KEYS: [&str; 12] =
    ["a", "b", "c", "key1", "key2", "key3", "user:1", "user:42", "1", "1000", "hello world", ""];

fn balancer(balance: Balance, list: &str) -> Balancer {
    Balancer::new(balance, &servers(list).unwrap(), Random::new(7))
}

/// The servers of the 12 keys, counted from 1.
fn of_keys(balance: Balance, may: impl Fn(usize) -> bool) -> [usize; 12] {
    let mut balancer = balancer(balance, SERVERS);
    KEYS.map(|key| balancer.pick(key, &may).unwrap() + 1)
}

#[test]
fn the_twelve_keys() {
    let hash = [2, 1, 3, 3, 3, 1, 3, 2, 1, 3, 1, 1];
    assert_eq!(of_keys(Balance::HashCrc32, |_| true), hash);
    let third_is_out = [2, 1, 2, 2, 1, 1, 2, 2, 1, 2, 1, 1];
    assert_eq!(of_keys(Balance::HashCrc32, |server| server != 2), third_is_out);
    let ketama = [2, 2, 3, 3, 1, 1, 2, 2, 2, 1, 3, 3];
    assert_eq!(of_keys(Balance::Ketama, |_| true), ketama);
}

#[test]
fn the_ring_in_its_order() {
    let ring = "1358748421=3 1364256426=2 1469128476=3 1493655439=1 1579635511=3 1584044950=1 1760511250=2 \
                1870823691=2 2173493287=2 2262901822=2 2404870165=2 2650465844=3 2959407802=1 3070836387=1 \
                3114237488=3 3200217736=1 3203578409=3 3222146613=1 3345205804=1 3384295966=1 3388312255=3 \
                3466088102=3 3755991369=1 4058387624=2 411414941=2 4136358065=2 4166015107=2 535328132=2 \
                546713482=3 670821267=3 689988513=3 695053056=1 771780377=1";
    let points = text_ring(&servers(SERVERS).unwrap());
    let shown: Vec<String> = points.iter().map(|(point, at)| format!("{point}={}", at + 1)).collect();
    assert_eq!(shown.join(" "), ring);
}

/// How many of 60,000 keys each server gets.
fn shares(balance: Balance, list: &str, key: impl Fn(usize) -> String) -> Vec<usize> {
    let mut balancer = balancer(balance, list);
    let mut shares = vec![0; balancer.weights.len()];
    for nth in 1..=60_000 {
        shares[balancer.pick(&key(nth), |_| true).unwrap()] += 1;
    }
    shares
}

#[test]
fn the_shares_of_sixty_thousand_keys() {
    let list = "127.0.0.1:7001:1,127.0.0.1:7002:2,127.0.0.1:7003:3";
    let key = |nth| format!("k{nth}");
    assert_eq!(shares(Balance::HashCrc32, list, key), [10_023, 19_951, 30_026]);
    assert_eq!(shares(Balance::Ketama, list, key), [20_350, 9_142, 30_508]);
}

#[test]
fn ketama_weighted_is_libmemcacheds() {
    let keys = ["a", "b", "c", "key1", "key2", "key3", "user:1", "user:42", "1", "1000", "hello world", "0"];
    let mut by_weight = balancer(Balance::KetamaWeighted, SERVERS);
    let of_keys = keys.map(|key| by_weight.pick(key, |_| true).unwrap() + 1);
    assert_eq!(of_keys, [1, 3, 3, 2, 2, 2, 2, 3, 1, 2, 3, 3]);
    let key = |nth: usize| format!("key{}", nth - 1);
    assert_eq!(shares(Balance::KetamaWeighted, SERVERS, key), [9_032, 20_059, 30_909]);
    let weights = [1, 5, 2, 7, 1, 1, 3];
    let seven: Vec<String> =
        weights.iter().zip(1..).map(|(weight, nth)| format!("10.0.0.{nth}:33013*{weight}")).collect();
    let shares = shares(Balance::KetamaWeighted, &seven.join(","), key);
    assert_eq!(shares, [3_239, 16_241, 6_672, 20_252, 2_456, 2_801, 8_339]);
}

#[test]
fn in_turn_and_by_weight() {
    let mut balancer = balancer(Balance::RoundRobin, SERVERS);
    let mut take = |count, may: fn(usize) -> bool| -> Vec<usize> {
        (0..count).map(|_| balancer.pick("", may).unwrap() + 1).collect()
    };
    assert_eq!(take(12, |_| true), [3, 2, 1, 3, 2, 3, 3, 2, 1, 3, 2, 3]);
    assert_eq!(take(6, |server| server != 2), [2, 1, 2, 2, 1, 2]);
    assert_eq!(take(6, |_| true), [3, 2, 1, 3, 2, 3]);
}

#[test]
fn draws_without_putting_back() {
    let mut balancer = balancer(Balance::Random, SERVERS);
    let mut orders = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let drawn: Vec<usize> = (0..3).map(|_| balancer.pick("", |_| true).unwrap()).collect();
        assert!((0..3).all(|server| drawn.contains(&server)), "{drawn:?}");
        orders.insert(drawn);
    }
    assert_eq!(orders.len(), 6);
    let mut counts = [0; 3];
    (0..100).for_each(|_| counts[balancer.pick("", |server| server != 1).unwrap()] += 1);
    assert_eq!(counts, [50, 0, 50]);
}

#[test]
fn a_server_without_points_is_the_last_resort() {
    let mut balancer = balancer(Balance::KetamaWeighted, "a:1*1,b:1*10000");
    assert_eq!(balancer.pick("key", |server| server == 0), Some(0));
    assert!((0..1000).all(|key| balancer.pick(&key.to_string(), |_| true) == Some(1)));
    let mut none = Balancer::new(Balance::HashCrc32, &[], Random::new(0));
    assert_eq!(none.pick("key", |_| true), None);
}

#[test]
fn what_is_out_is_passed_over_by_all() {
    for (balance, word) in WORDS {
        assert_eq!((Balance::of(word), balance.to_string().as_str()), (Some(balance), word));
        let mut balancer = balancer(balance, SERVERS);
        for nth in 0..200 {
            let key = nth.to_string();
            for only in 0..3 {
                assert_eq!(balancer.pick(&key, |server| server == only), Some(only), "{balance}");
            }
            assert_eq!(balancer.pick(&key, |_| false), None, "{balance}");
        }
    }
}
