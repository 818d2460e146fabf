//! The verbs for ports, with nodes that have some.

use std::sync::mpsc::{Receiver, channel};

use serde_json::json;
use telex::address::Address;
use telex::node::{Down, Node, Port};

use super::*;

fn node(telexd: &Telexd, name: &str) -> Node {
    let address = Address::parse(&telexd.addresses[0]).expect("an address");
    Node::connect(&address, name).expect("a node")
}

/// A port that tells what it takes, and how it ends.
fn port(node: &Node) -> (Port, Receiver<Vec<Value>>, Receiver<Down>) {
    let (told, messages) = channel();
    let port = node.port();
    port.rcv_default(move |_, message| drop(told.send(message.to_vec())));
    let (told, ends) = channel();
    node.mon(&port).call(move |_, down| drop(told.send(down.clone())));
    (port, messages, ends)
}

fn next<T>(told: &Receiver<T>) -> T {
    told.recv_timeout(support::PATIENCE).expect("in time")
}

#[test]
fn messages_to_ports() {
    let telexd = Telexd::start();
    let shop = node(&telexd, "shop");
    let (port, messages, _ends) = port(&shop);
    out(&telexd, &["snd", port.id(), "pay", "17", "a b", "007", r#"{"a":[1]}"#, "-1", "", r#""17""#, "null"]);
    assert_eq!(
        next(&messages),
        [
            json!("pay"),
            json!(17),
            json!("a b"),
            json!("007"),
            json!({"a": [1]}),
            json!(-1),
            json!(""),
            json!("17"),
            Value::Null
        ]
    );
    out(&telexd, &["snd", "--text", port.id(), "17", "17", "{"]);
    assert_eq!(next(&messages), [json!("17"), json!("17"), json!("{")]);
    let broken = run(&telexd, &["snd", port.id(), "pay", "{\"a\":x}"]);
    assert_eq!(broken.code, Some(2), "{broken:?}");
    assert!(broken.err.ends_with("telex:   {\"a\":x}\ntelex:        ^\n"), "{}", broken.err);
}

#[test]
fn what_is_not_there_is_told_apart() {
    let telexd = Telexd::start();
    let _shop = node(&telexd, "shop");
    let _silent = telexd.node("silent");
    for verb in [["snd", "PORT", "x"].as_slice(), &["cal", "PORT", "x"], &["mon", "PORT"], &["kil", "PORT"]] {
        let with = |port: &str| {
            let args: Vec<&str> = verb.iter().map(|&word| if word == "PORT" { port } else { word }).collect();
            run(&telexd, &args)
        };
        let missing = with("shop#1");
        let words = "telex: no port \"shop#1\": it is dead, or never was\n";
        assert_eq!((missing.code, &*missing.err), (Some(3), words), "{verb:?}");
        let nobody = with("nobody#1");
        assert_eq!(
            (nobody.code, &*nobody.err),
            (Some(3), "telex: no node \"nobody\" (no_such_node)\n"),
            "{verb:?}"
        );
        let no_port = with("shop");
        assert_eq!(no_port.code, Some(2), "{no_port:?}");
        assert!(no_port.err.contains("expected NODE#PORT\n  shop\n      ^"), "{}", no_port.err);
        assert_eq!(with("#1").code, Some(2));
        // A node that does not answer.
        let time = if verb[0] == "mon" { "--wait" } else { "--timeout" };
        let args: Vec<&str> =
            verb.iter().map(|&word| if word == "PORT" { "silent#1" } else { word }).collect();
        assert_eq!(run(&telexd, &[&args[..], &[time, "100ms"]].concat()).code, Some(5), "{verb:?}");
    }
}

#[test]
fn ports_are_asked() {
    let telexd = Telexd::start();
    let shop = node(&telexd, "shop");
    let till = shop.port();
    till.rcv("add", |port, message| {
        let sum = message[0].as_i64().unwrap_or_default() + message[1].as_i64().unwrap_or_default();
        port.node().snd(message[2].as_str().unwrap_or_default(), sum);
    });
    // It monitors those who ask it.
    till.rcv("watch", |port, message| {
        let asker = message[0].as_str().unwrap_or_default().to_owned();
        port.node().mon(&asker).call(|_, _| {});
        port.node().snd(asker, json!(["watched", 12345678901234567_u64]));
    });
    till.rcv("riot", |_, _| panic!("help!"));
    till.rcv("ignore", |_, _| {});
    assert_eq!(out(&telexd, &["cal", till.id(), "add", "1", "2"]), "[3]\n");
    assert_eq!(out(&telexd, &["cal", till.id(), "watch", "--table"]), "[\"watched\",12345678901234567]\n");
    let late = run(&telexd, &["cal", till.id(), "ignore", "--timeout", "200ms"]);
    assert_eq!(late.code, Some(5), "{late:?}");
    assert!(late.err.ends_with(" said nothing in time\n"), "{}", late.err);
    let died = run(&telexd, &["cal", till.id(), "riot"]);
    let words = "telex: the port died before it answered: [\"die\",\"help!\"]\n";
    assert_eq!((died.code, &*died.out, &*died.err), (Some(6), "", words));
    let (port, messages, _ends) = port(&shop);
    let mut asking =
        start_with(telex(&["cal", port.id(), "x"]).env("TELEX_ADDRESS", &telexd.addresses[0]), "");
    next(&messages);
    drop((port, till, shop));
    let lost = asking.finish();
    assert_eq!(lost.code, Some(6), "{lost:?}");
    assert!(lost.err.starts_with("telex: the node \"shop\" is gone ("), "{}", lost.err);
}

#[test]
fn the_end_of_a_port_is_told() {
    let telexd = Telexd::start();
    let shop = node(&telexd, "shop");
    let watch = |port: &str, form: &str| {
        let watching = start_with(
            telex(&["mon", port, form, "-W", "30s"]).env("TELEX_ADDRESS", &telexd.addresses[0]),
            "",
        );
        support::wait_until("it monitors", || {
            lines(&telexd, &["connections"]).iter().any(|one| one["subscriptions"] == 1)
        });
        watching
    };
    let (first, _messages, ends) = port(&shop);
    let mut watching = watch(first.id(), "--json");
    out(&telexd, &["kil", first.id()]);
    assert_eq!(next(&ends), Down::Killed(Vec::new()));
    let ended = watching.finish();
    assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(0), "[]\n", ""));
    for (form, told) in [("--json", "[\"hot\",80]\n"), ("--table", "it died of [\"hot\",80]\n")] {
        let (hot, _messages, ends) = port(&shop);
        let mut watching = watch(hot.id(), form);
        out(&telexd, &["kil", hot.id(), "hot", "80"]);
        assert_eq!(next(&ends), Down::Killed(vec![json!("hot"), json!(80)]));
        let ended = watching.finish();
        assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(1), told, ""));
    }
    // A reason of the killer's own, which looks as if messages had been lost.
    let (odd, _messages, ends) = port(&shop);
    let mut watching = watch(odd.id(), "--json");
    out(&telexd, &["kil", odd.id(), "transport_error", "a", "b"]);
    next(&ends);
    let ended = watching.finish();
    assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(1), "[\"transport_error\",\"a\",\"b\"]\n", ""));
    drop(odd);
    let (last, ..) = port(&shop);
    let mut watching = watch(last.id(), "--table");
    drop((first, last, shop));
    assert_eq!(watching.finish().code, Some(6));
}

#[test]
fn ports_are_made() {
    let telexd = Telexd::start();
    let factory = node(&telexd, "factory");
    let (told, made) = channel();
    factory.offer("worker", move |port, args| {
        if args.is_empty() {
            return Err("it needs something to do");
        }
        let _ = told.send((port.id().to_owned(), args.to_vec()));
        port.rcv("work", |_, _| {});
        Ok(())
    });
    let ids = [1, 2].map(|_| out(&telexd, &["spawn", "factory", "worker", "sweep", "2"]));
    for id in &ids {
        let (port, args) = next(&made);
        assert_eq!((id.trim_end(), args), (&*port, vec![json!("sweep"), json!(2)]));
        out(&telexd, &["snd", &port, "work"]);
    }
    assert_ne!(ids[0], ids[1]);
    let failed = run(&telexd, &["spawn", "factory", "worker", "--text"]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.err.contains("it needs something to do"), "{}", failed.err);
    let unknown = run(&telexd, &["spawn", "factory", "robot"]);
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    assert!(unknown.err.contains("robot"), "{}", unknown.err);
    assert_eq!(run(&telexd, &["spawn", "nobody", "worker"]).code, Some(3));
}
