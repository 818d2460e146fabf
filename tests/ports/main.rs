//! Nodes with ports against a real daemon: the programs of the documentation, and all that can go wrong on the way.

#![cfg(feature = "daemon")]
#![allow(clippy::print_stderr, reason = "the daemon's log")]
#![allow(clippy::print_stdout, reason = "what processes tell the test that started them")]

#[allow(unreachable_pub, reason = "it stands in the documentation, too")]
mod chat;
mod ending;
#[allow(unreachable_pub, reason = "it stands in the documentation, too")]
mod ping_pong;
mod processes;
#[cfg(feature = "profiles")]
mod profiles;
mod raw;
#[allow(unreachable_pub, reason = "it stands in the documentation, too")]
mod supervisor;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other tests need more of it")]
mod support;
mod trouble;

use std::sync::mpsc::{Receiver, Sender, channel};

use support::{PATIENCE, Telexd};
use telex::address::Address;
use telex::node::{Down, Node, Value, json};

fn address(telexd: &Telexd) -> Address {
    Address::parse(&telexd.addresses[0]).expect("an address")
}

fn connect(telexd: &Telexd, node_id: &str) -> Node {
    Node::connect(&address(telexd), node_id).expect("a node")
}

fn next<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(PATIENCE).expect("something in time")
}

/// Where a monitor's word goes.
fn monitor(node: &Node, target: impl AsRef<str>) -> Receiver<Down> {
    let (sender, downs) = channel();
    node.mon(target).call(move |_, down| drop(sender.send(down.clone())));
    downs
}

/// A port whose messages go to a channel.
fn listener(node: &Node) -> (String, Receiver<Vec<Value>>) {
    let (sender, messages): (Sender<Vec<Value>>, _) = channel();
    let port = node.port();
    port.rcv_default(move |_, message| drop(sender.send(message.to_vec())));
    (port.id().to_owned(), messages)
}

#[test]
fn two_nodes_play_ping_pong() {
    let telexd = Telexd::start();
    let balls = ping_pong::ping_pong(&address(&telexd), 100).expect("a game");
    assert_eq!(balls, (1..=100).collect::<Vec<u64>>());
}

#[test]
fn a_worker_that_dies_is_replaced() {
    use supervisor::News;
    let telexd = Telexd::start();
    let story = supervisor::supervised(&address(&telexd)).expect("a story");
    let [News::Started(first), News::Died(Down::Killed(why)), News::Started(second), News::Died(end)] =
        &story[..]
    else {
        panic!("{story:?}");
    };
    assert_ne!(first, second);
    assert_eq!(*why, [json!("die"), json!("attempt to divide by zero")]);
    assert_eq!(*end, Down::Killed(vec![]));
}

#[test]
fn two_nodes_chat() {
    let telexd = Telexd::start();
    let mut lines = chat::chat(&address(&telexd)).expect("a chat");
    lines[..2].sort();
    assert_eq!(lines, ["alice: <alice> hello", "bob: <alice> hello", "bob: <bob> anybody?"]);
}

#[test]
fn what_one_node_sends_arrives_in_its_order() {
    let telexd = Telexd::start();
    let (one, other) = (connect(&telexd, "one"), connect(&telexd, "other"));
    for node in [&one, &other] {
        let (port, messages) = listener(&one);
        for number in 0..20_000 {
            node.snd(&port, number);
        }
        for number in 0..20_000 {
            assert_eq!(next(&messages), [json!(number)]);
        }
    }
}

#[test]
fn names_of_ports_are_not_used_again() {
    let telexd = Telexd::start();
    let ids = || {
        let node = connect(&telexd, "again");
        let id = |_| {
            let port = node.port();
            node.kil(&port);
            port.id().to_owned()
        };
        (0..100).map(id).collect::<Vec<_>>()
    };
    let all: std::collections::BTreeSet<String> = [ids(), ids()].concat().into_iter().collect();
    assert_eq!(all.len(), 200);
    assert!(all.iter().all(|id| id.starts_with("again#")));
}

#[test]
fn timers_run_in_their_order_and_not_for_the_dead() {
    let telexd = Telexd::start();
    let node = connect(&telexd, "clock");
    let (sender, times) = channel();
    for ms in [60, 20, 40] {
        let sender = sender.clone();
        node.after(std::time::Duration::from_millis(ms), move |_| sender.send(ms).expect("a receiver"));
    }
    let dead = node.port();
    dead.after(std::time::Duration::from_millis(1), move |_| sender.send(1).expect("a receiver"));
    node.kil(&dead);
    assert_eq!(times.iter().collect::<Vec<u64>>(), [20, 40, 60]);
}
