//! Knows what goes wrong with ports, and what is told of it.
//! Never: what the lines look like.

use std::sync::mpsc::channel;
use std::time::Duration;

use telex::node::{CalError, Down, Node, Value, json};

use crate::support::{Telexd, wait_until};
use crate::{connect, listener, monitor, next};

fn cal(node: &Node, port: &str, timeout: Duration) -> Result<Vec<Value>, CalError> {
    let (sender, answers) = channel();
    node.cal(port, json!(["question"]), timeout, move |_, answer| {
        drop(sender.send(answer.map(<[Value]>::to_vec)));
    });
    let answer = next(&answers);
    assert!(answers.recv_timeout(Duration::from_millis(50)).is_err(), "it calls back once");
    answer
}

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(100);

#[test]
fn a_cal_tells_apart_what_can_go_wrong() {
    let telexd = Telexd::start();
    let (asker, answerer) = (connect(&telexd, "asker"), connect(&telexd, "answerer"));
    for node in [&asker, &answerer] {
        let good = node.port();
        good.rcv("question", |port, message| {
            let asker = message[0].as_str().expect("a port");
            for answer in ["first", "second"] {
                port.node().snd(asker, answer);
            }
            // What it sent before it died is an answer all the same.
            panic!("on purpose");
        });
        assert_eq!(cal(&asker, good.id(), LONG), Ok(vec![json!("first")]));
        next(&monitor(&asker, good.id()));
        let gone = Err(CalError::NoSuchPort { port: good.id().to_owned() });
        assert_eq!(cal(&asker, good.id(), LONG), gone);
        let silent = node.port();
        silent.rcv_default(|_, _| {});
        assert_eq!(cal(&asker, silent.id(), SHORT), Err(CalError::TimedOut { after: SHORT }));
        let mortal = node.port();
        mortal.rcv_default(|port, _| port.node().kil_with(port, json!(["heart", null])));
        let died = Err(CalError::Died { reason: vec![json!("heart"), Value::Null] });
        assert_eq!(cal(&asker, mortal.id(), LONG), died);
    }
    let lost = cal(&asker, "nobody#1", LONG);
    assert!(matches!(lost, Err(CalError::NodeLost { ref node, .. }) if node == "nobody"), "{lost:?}");
}

#[test]
fn a_spawn_that_fails_is_told_with_its_error() {
    let telexd = Telexd::start();
    let (one, other) = (connect(&telexd, "one"), connect(&telexd, "other"));
    for node in [&one, &other] {
        node.offer("refuse", |_, args| Err(format!("not with {}", args[0])));
        node.offer("panic", |_, _| -> Result<(), String> { panic!("no paper") });
        let spawned = |function: &str| one.spawn(node.id(), function, 7);
        let killed = |reason: Value| Down::Killed(reason.as_array().expect("a list").clone());
        let text = "the node offers no function \"absent\"";
        for (function, reason) in [
            ("refuse", json!(["die", "not with 7"])),
            ("panic", json!(["die", "no paper"])),
            ("absent", json!(["no_such_function", text, "absent"])),
        ] {
            let port = spawned(function);
            assert_eq!(next(&monitor(&one, &port)), killed(reason.clone()));
            assert_eq!(next(&monitor(&other, &port)), killed(reason), "also later, and from another node");
        }
    }
    let down = next(&monitor(&one, one.spawn("nobody", "x", json!([]))));
    assert!(matches!(down, Down::NodeLost { ref node, .. } if node == "nobody"), "{down:?}");
}

#[test]
fn a_spawned_port_takes_what_is_sent_at_once() {
    let telexd = Telexd::start();
    let (one, other) = (connect(&telexd, "one"), connect(&telexd, "other"));
    let (port, messages) = listener(&one);
    for node in [&one, &other] {
        let to = port.clone();
        node.offer("echo", move |port, _| {
            let to = to.clone();
            port.rcv_default(move |port, message| port.node().snd(&to, json!(message)));
            Ok::<_, String>(())
        });
        let echo = one.spawn(node.id(), "echo", json!([]));
        one.snd(&echo, json!([1, 2]));
        assert_eq!(next(&messages), [json!(1), json!(2)]);
    }
}

#[test]
fn links_and_messages_reach_over_nodes() {
    let telexd = Telexd::start();
    let (one, other) = (connect(&telexd, "one"), connect(&telexd, "other"));
    let (first, second, third) = (one.port(), other.port(), one.port());
    second.link(&first);
    third.link(&second);
    let (port, messages) = listener(&other);
    one.mon(&third).send(&port, json!(["third", 3]));
    let guarded = other.mon(&third).call(|_, _| panic!("it was ended")).guard();
    // The links stand when both have answered.
    for node in [&one, &other] {
        node.handle().ping().wait().expect("a switch");
        let (port, messages) = listener(node);
        for other in [&one, &other] {
            other.snd(&port, "here");
            next(&messages);
        }
    }
    drop(guarded);
    other.kil_with(&first, json!([null, "", {"c": 80}]));
    assert_eq!(next(&messages), [json!("third"), json!(3), json!(null), json!(""), json!({"c": 80})]);
    assert_eq!(next(&monitor(&other, &first)), Down::NoSuchPort { port: first.id().to_owned() });
}

#[test]
fn a_panic_kills_its_port_and_nothing_else() {
    let telexd = Telexd::start();
    let (one, other) = (connect(&telexd, "one"), connect(&telexd, "other"));
    let port = one.port();
    port.rcv("text", |_, _| panic!("that was {}", "all"));
    let object = one.port();
    object.rcv("value", |_, _| std::panic::panic_any(json!({"code": 7})));
    for node in [&one, &other] {
        node.mon(&port).call(|_, _| panic!("a callback, too"));
    }
    let downs = [monitor(&one, &port), monitor(&other, &port)];
    let of_object = monitor(&other, &object);
    let bare = other.port();
    let of_bare = monitor(&one, &bare);
    // The monitors of both stand.
    let (ready, messages) = listener(&one);
    for node in [&one, &other] {
        node.snd(&ready, "ready");
        next(&messages);
    }
    other.snd(&port, "text");
    other.snd(&object, "value");
    one.snd(&bare, "x");
    for downs in &downs {
        assert_eq!(next(downs), Down::Killed(vec![json!("die"), json!("that was all")]));
    }
    assert_eq!(next(&of_object), Down::Killed(vec![json!("die"), json!({"code": 7})]));
    let text = "received a message on a port without a handler";
    assert_eq!(next(&of_bare), Down::Killed(vec![json!("die"), json!(text)]));
    // Both nodes hear and send as before.
    for node in [&one, &other] {
        let (port, messages) = listener(node);
        for sender in [&one, &other] {
            sender.snd(&port, "on");
            assert_eq!(next(&messages), [json!("on")]);
        }
    }
}

#[test]
fn groups_lose_their_dead() {
    let telexd = Telexd::start();
    let (one, other) = (connect(&telexd, "one"), connect(&telexd, "other"));
    let (port, lasting) = (one.port(), other.port());
    one.grp_reg("g", &port);
    other.grp_reg("g", &lasting);
    one.grp_reg("not..a.topic", &port);
    let late = connect(&telexd, "late");
    for node in [&one, &other, &late] {
        wait_until("both are known", || node.grp_get("g").len() == 2);
        assert!(node.grp_get("not..a.topic").is_empty());
    }
    let (sender, changes) = channel();
    let watch = late.grp_mon("g", move |_, change| drop(sender.send(change.clone())));
    assert_eq!(next(&changes).joined.len(), 2);
    one.kil_with(&port, "x");
    let change = next(&changes);
    assert_eq!((change.members, change.left), (vec![lasting.id().to_owned()], vec![port.id().to_owned()]));
    let id = lasting.id().to_owned();
    drop((lasting, other));
    let change = next(&changes);
    assert_eq!((change.members, change.joined, change.left), (vec![], vec![], vec![id]));
    watch.end();
    assert!(changes.recv().is_err(), "what is ended is forgotten");
}

#[test]
fn a_handler_can_be_taken_away() {
    let telexd = Telexd::start();
    let node = connect(&telexd, "node");
    let (sender, messages) = channel();
    let port = node.port();
    for tag in ["a", "b"] {
        let sender = sender.clone();
        port.rcv(tag, move |_, message| drop(sender.send((tag, message.to_vec()))));
    }
    port.unrcv("a");
    node.snd(&port, json!(["a", 1]));
    node.snd(&port, json!(["b", 2]));
    assert_eq!(next(&messages), ("b", vec![json!(2)]));
    port.unrcv("b");
    let downs = monitor(&node, &port);
    node.snd(&port, json!(["b", 3]));
    assert!(matches!(next(&downs), Down::Killed(reason) if reason[0] == "die"), "nothing would take it");
}

#[test]
fn the_node_of_a_port_spawns() {
    let telexd = Telexd::start();
    let (one, other) = (connect(&telexd, "one"), connect(&telexd, "other"));
    other.offer("echo", |port, _| {
        port.rcv_default(|port, message| {
            port.node().snd(message[0].as_str().unwrap_or_default(), "echo");
        });
        Ok::<_, String>(())
    });
    let (port, messages) = listener(&one);
    let echo = one.spawn(other.port().id(), "echo", json!([]));
    assert!(echo.starts_with("other#"), "{echo}");
    one.snd(&echo, port);
    assert_eq!(next(&messages), [json!("echo")]);
}
