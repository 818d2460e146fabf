//! What it costs to judge a message, by the number of rules:
//! `cargo run --release -p telex-filter-acl --example cost`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people")]

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use filter_acl::attempt::{Said, Sender};
use filter_acl::config;
use filter_acl::door::Door;
use telex_plugin::{Category, Transport, Verdict};
use telex_users::Machine;

const ROUNDS: u32 = 10_000;
/// Of so many tries the best counts: a machine has other things to do, too.
const TRIES: u32 = 50;

fn main() {
    measure("everybody", [r#"{"allow":{"send":"*"}}"#.to_owned()].into_iter());
    for count in [10, 1_000] {
        measure(
            "each for a user and a name",
            (0..count).map(|at| format!(r#"{{"uid":{at},"allow":{{"send":"node-{at}"}},"type":"ask"}}"#)),
        );
        measure(
            "all for one name",
            (0..count).map(|at| format!(r#"{{"uid":{at},"allow":{{"send":"node-{}"}}}}"#, count - 1)),
        );
        measure(
            "each for a user and a pattern",
            (0..count).map(|at| format!(r#"{{"uid":{at},"allow":{{"send":"node-*"}}}}"#)),
        );
        measure(
            "all for one user and patterns",
            (1..count)
                .map(|_| format!(r#"{{"uid":{},"allow":{{"send":"n*x"}}}}"#, count - 1))
                .chain([r#"{"allow":{"send":"node-*"}}"#.to_owned()]),
        );
    }
}

/// The last rule is the one that allows it.
fn measure(what: &str, rules: impl Iterator<Item = String>) {
    let rules: Vec<String> = rules.collect();
    let count = rules.len();
    let json = format!(r#"{{"default":"deny","rule":[{}]}}"#, rules.join(","));
    let config = config::read(&json, &Machine::here()).unwrap();
    let mut door = Door::new(config, HashMap::new(), Box::new(|_, _| {})).unwrap();
    let to = format!("node-{}", count - 1);
    let one_try = |_| {
        let began = Instant::now();
        for _ in 0..ROUNDS {
            let said = Said {
                sender: Sender {
                    transport: Transport::Unix,
                    uid: Some(count as u32 - 1),
                    gid: Some(7),
                    user: None,
                    unique_id: ":7",
                    holds: &|_| false,
                },
                category: Category::Request,
                message_type: "ask",
                from: ":7",
                to: Some(black_box(&to)),
                topic: None,
                value: &|_| None,
            };
            assert_eq!(door.judge(&said, &mut |_| ()), Verdict::Pass);
        }
        began.elapsed() / ROUNDS
    };
    let best = (0..TRIES).map(one_try).min().unwrap_or_default();
    println!("{count:>5} rules, {what}: {best:?}");
}
