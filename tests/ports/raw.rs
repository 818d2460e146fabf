//! Knows the lines of ports, as a program in any language would write and read them.
//! Never: the library's own reading of them.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use serde_json::{Value, json};
use telex::address::Address;
use telex::node::{Down, Node, NodeChange};

use crate::support::{Client, Telexd};
use crate::{connect, listener, monitor, next};

/// The next line's envelope and body.
fn receive(client: &mut Client, message_type: &str) -> Value {
    let message = client.message();
    assert_eq!(message["message_type"], message_type, "{message}");
    message
}

fn ask(client: &mut Client, message_type: &str, body: Value) -> Value {
    client.send(&json!({"message_id": 1, "message_type": message_type, "to": "node", "body": body}));
    receive(client, &format!("{message_type}_reply"))["body"].clone()
}

#[test]
fn another_language_monitors_spawns_and_kills() {
    let telexd = Telexd::start();
    let node = connect(&telexd, "node");
    let mut raw = telexd.node("raw");
    let (port, messages) = listener(&node);
    raw.send(&json!({"message_type": "signal", "to": port, "body": ["hi", {"a": null}]}));
    raw.send(&json!({"message_type": "signal", "to": port, "body": "no list"}));
    raw.send(&json!({"message_type": "signal", "to": port, "body": ["next"]}));
    assert_eq!(next(&messages), [json!("hi"), json!({"a": null})]);
    assert_eq!(next(&messages), [json!("next")]);

    assert_eq!(ask(&mut raw, "port_monitor", json!({"port": port}))["error"], Value::Null);
    raw.send(&json!({"message_type": "signal", "to": "node", "body": {"event": "port_beat", "port": port}}));
    assert_eq!(receive(&mut raw, "signal")["body"], json!({"event": "port_beat", "port": port}));
    raw.send(
        &json!({"message_type": "signal", "to": "node", "body": {"event": "port_beat", "port": "node"}}),
    );
    assert_eq!(receive(&mut raw, "signal")["body"], json!({"event": "port_beat", "port": "node"}));
    let body = json!({"event": "port_kill", "port": port, "reason": [null]});
    raw.send(&json!({"message_type": "signal", "to": "node", "body": body}));
    let told = json!({"event": "port_down", "port": port, "reason": [null]});
    assert_eq!(receive(&mut raw, "signal")["body"], told);
    assert_eq!(ask(&mut raw, "port_monitor", json!({"port": port}))["code"], "no_such_port");
    for wrong in [json!({}), json!({"port": "raw#1"}), json!({"port": 7}), json!(null)] {
        assert!(ask(&mut raw, "port_monitor", wrong)["error"].is_string());
    }

    node.offer("echo", |port, args| {
        let to = args[0].as_str().ok_or("no port")?.to_owned();
        port.rcv_default(move |port, message| port.node().snd(&to, json!(message)));
        Ok::<_, &str>(())
    });
    let mut spawn = |port: &str, function: &str, args: Value| {
        ask(&mut raw, "port_spawn", json!({"port": port, "function": function, "args": args}))
    };
    assert_eq!(spawn("node#mine", "echo", json!(["raw#1"]))["error"], Value::Null);
    assert_eq!(spawn("node#mine", "echo", json!(["raw#1"]))["code"], "port_taken");
    assert_eq!(spawn("node#2", "echo", json!([1]))["code"], "function_failed");
    assert_eq!(spawn("node#3", "other", json!([]))["code"], "no_such_function");
    raw.send(&json!({"message_type": "signal", "to": "node#mine", "body": [1]}));
    let echo = receive(&mut raw, "signal");
    assert_eq!((&echo["to"], &echo["body"]), (&json!("raw#1"), &json!([1])));
    assert_eq!(ask(&mut raw, "port_monitor", json!({"port": "node#mine"}))["error"], Value::Null);
    assert_eq!(ask(&mut raw, "port_unmonitor", json!({"port": "node#mine"}))["error"], Value::Null);
    node.kil_with("node#mine", "x");
    assert!(ask(&mut raw, "dance", json!({}))["error"].is_string(), "and no port_down came before");
}

#[test]
fn another_language_has_ports() {
    let telexd = Telexd::start();
    let node = connect(&telexd, "node");
    let mut raw = telexd.node("raw");
    let downs = monitor(&node, "raw#1");
    let request = receive(&mut raw, "port_monitor");
    assert_eq!((&request["from"], &request["body"]), (&json!("node"), &json!({"port": "raw#1"})));
    let id = &request["message_id"];
    let body = json!({"in_reply_to": id, "error": null});
    raw.send(&json!({"message_type": "port_monitor_reply", "to": "node", "body": body}));
    // What is another's port to tell of is not believed.
    let mut forger = telexd.node("forger");
    for (client, reason) in [(&mut forger, json!(["forged"])), (&mut raw, json!(["real"]))] {
        let body = json!({"event": "port_down", "port": "raw#1", "reason": reason});
        client.send(&json!({"message_type": "signal", "to": "node", "body": body}));
        client.ping();
    }
    assert_eq!(next(&downs), Down::Killed(vec![json!("real")]));
    node.kil_with("raw#2", json!(["why", 1]));
    let told = json!({"event": "port_kill", "port": "raw#2", "reason": ["why", 1]});
    assert_eq!(receive(&mut raw, "signal")["body"], told);
}

#[test]
fn a_node_that_is_frozen_is_found_out() {
    let telexd = Telexd::start();
    let (node, mut raw) = (connect(&telexd, "node"), telexd.node("raw"));
    let (sender, downs) = std::sync::mpsc::channel();
    node.mon("raw#1").beat(Duration::from_millis(500)).call(move |_, down| drop(sender.send(down.clone())));
    let id = receive(&mut raw, "port_monitor")["message_id"].clone();
    let body = json!({"in_reply_to": id, "error": null});
    raw.send(&json!({"message_type": "port_monitor_reply", "to": "node", "body": body}));
    for _ in 0..3 {
        let beat = receive(&mut raw, "signal")["body"].clone();
        assert_eq!(beat, json!({"event": "port_beat", "port": "raw#1"}));
        raw.send(&json!({"message_type": "signal", "to": "node", "body": beat}));
    }
    let down = next(&downs);
    assert!(
        matches!(&down, Down::NodeLost { node, why } if node == "raw" && why.contains("sign")),
        "{down:?}"
    );
}

#[test]
fn groups_on_the_wire() {
    let telexd = Telexd::start();
    let mut raw = telexd.node("raw");
    raw.ask_well("subscribe", json!({"topic": "port.group.g.h"}));
    raw.ask_well("subscribe", json!({"topic": "port.group"}));
    let node = connect(&telexd, "node");
    let question = receive(&mut raw, "group_list");
    assert_eq!((&question["topic"], &question["from"]), (&json!("port.group"), &json!("node")));
    let groups = json!({"g": ["raw#1"], "forged": ["node#1"]});
    let body = json!({"in_reply_to": question["message_id"], "error": null, "groups": groups});
    raw.send(&json!({"message_type": "group_list_reply", "to": "node", "body": body}));
    crate::support::wait_until("the member is known", || node.grp_get("g") == ["raw#1"]);
    assert!(node.grp_get("forged").is_empty());
    let port = node.port();
    node.grp_reg("g.h", &port);
    let told = receive(&mut raw, "signal");
    assert_eq!(told["body"], json!({"event": "port_join", "port": port.id()}));
    assert_eq!(ask(&mut raw, "group_list", json!({}))["groups"], json!({"g.h": [port.id()]}));
    let body = json!({"event": "port_join", "port": "raw#2"});
    raw.send(&json!({"message_type": "signal", "topic": "port.group.other", "body": body}));
    crate::support::wait_until("the member is known", || node.grp_get("other") == ["raw#2"]);
    node.kil(&port);
    let told = receive(&mut raw, "signal");
    assert_eq!(told["body"], json!({"event": "port_leave", "port": port.id()}));
}

/// A connection to a switch of which nothing but the lines is real: there is a node `b`, and it does what it is asked
/// that is not refused. It ends by a signal to `b#end`.
fn switch(listener: &UnixListener, mut is_refused: impl FnMut(&Value) -> bool) {
    let (stream, _) = listener.accept().expect("a connection");
    let mut writer = stream.try_clone().expect("a clone");
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let message: Value = serde_json::from_str(&line).expect("JSON");
        let (message_type, id) = (message["message_type"].as_str().expect("a type"), &message["message_id"]);
        let is_signal = message_type == "signal";
        let body = match is_refused(&message) {
            true => json!({"in_reply_to": id, "error": "not you", "code": "denied"}),
            false if message["to"] == "b#end" => return,
            false if is_signal => continue,
            false => json!({"in_reply_to": id, "error": null, "node_id": "a", "unique_id": ":1"}),
        };
        let told = if is_signal { "error".to_owned() } else { format!("{message_type}_reply") };
        let from = if message_type == "port_monitor" { json!("b") } else { Value::Null };
        let reply = json!({"message_type": told, "from": from, "to": "a", "body": body});
        let news = json!({"event": "node_up", "node_id": "b", "unique_id": ":2"});
        let news = json!({"message_type": "signal", "from": null, "body": news});
        // The node may be gone.
        let _ = match message_type {
            "monitor" => writeln!(writer, "{news}\n{reply}"),
            _ => writeln!(writer, "{reply}"),
        };
    }
}

#[test]
fn a_message_that_the_switch_refuses_is_told_to_the_ports_monitors() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).expect("a listener");
    let switch = std::thread::spawn(move || switch(&listener, |message| message["to"] == "b#secret"));
    let node = Node::connect(&Address::Unix(path), "a").expect("a node");
    let (secret, open) = (monitor(&node, "b#secret"), monitor(&node, "b#open"));
    node.snd("b#open", 1);
    node.snd("b#secret", 2);
    let lost = Down::NodeLost { node: "b".to_owned(), why: "not you".to_owned() };
    assert_eq!(next(&secret), lost);
    assert!(open.try_recv().is_err(), "nothing of it was lost");
    drop(node);
    switch.join().expect("the switch");
}

#[test]
fn a_node_is_back_also_if_the_switch_refuses_its_first_ping() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).expect("a listener");
    let switch = std::thread::spawn(move || {
        switch(&listener, |_| false);
        let mut pings = 0;
        switch(&listener, |message| {
            pings += u32::from(message["message_type"] == "ping");
            message["message_type"] == "ping" && pings == 1
        });
    });
    let node = Node::connect(&Address::Unix(path), "a").expect("a node");
    let (sender, news) = std::sync::mpsc::channel();
    node.mon_nodes(move |_, change| drop(sender.send(change.clone())));
    let up = NodeChange::Up { node: "b".to_owned() };
    assert_eq!(next(&news), up);
    node.snd("b#end", 1);
    assert!(matches!(next(&news), NodeChange::Down { .. }));
    assert_eq!(next(&news), up);
    drop(node);
    switch.join().expect("the switch");
}
