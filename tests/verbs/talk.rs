//! The verbs that talk.

use serde_json::{Value, json};

use super::*;

#[test]
fn publications_are_counted() {
    let telexd = Telexd::start();
    let nobody = run(&telexd, &["publish", "--expect", "t", "1"]);
    assert_eq!((nobody.code, &*nobody.err), (Some(3), "telex: no subscribers of \"t\"\n"));
    assert_eq!(out(&telexd, &["publish", "t", "1"]), "");
    let mut reader = telexd.client();
    reader.ask_well("subscribe", json!({"topic": "t"}));
    assert_eq!(line(&telexd, &["publish", "--receipt", "t", "2"]), json!({"receivers": 1, "missed": 0}));
    let receipt =
        out(&telexd, &["publish", "--receipt", "--expect", "--table", "--from", "me", "t", "x", "--text"]);
    assert_eq!(receipt, "1 got it, 0 missed it\n");
    let counted = run_with(&telexd, &["publish", "--receipt", "t"], "3\n\n4\n");
    assert_eq!((counted.code, counted.out.lines().count()), (Some(0), 2), "{counted:?}");
    let unheard = run_with(&telexd, &["publish", "--expect", "u"], "1\n2\n");
    assert_eq!((unheard.code, unheard.err.lines().count()), (Some(3), 2), "{unheard:?}");
    let got = [reader.message(), reader.message()];
    assert_eq!((&got[0]["body"], &got[1]["body"], &got[1]["from"]), (&json!(2), &json!("x"), &json!("me")));
}

#[test]
fn answers_come_without_the_envelope() {
    let telexd = Telexd::start();
    let _node = start(&telexd, &["reply", "a", r#"{"you":"{{from}}","said":{{body}},"count":{{count}}}"#]);
    let answer = out(&telexd, &["call", "--from", "me", "a", "ask", "[1]"]);
    assert_eq!(answer, "{\"you\":\"me\",\"said\":[1],\"count\":1}\n");
    let whole = line(&telexd, &["call", "--envelope", "a", "ask"]);
    assert_eq!((&whole["error"], &whole["said"], &whole["count"]), (&Value::Null, &Value::Null, &json!(2)));
    assert!(whole["in_reply_to"].is_string(), "{whole}");
    let _text = start(&telexd, &["reply", "b", "--text", "hello {{from}}, {{count}}"]);
    assert_eq!(out(&telexd, &["call", "--from", "me", "b", "ask"]), "\"hello me, 1\"\n");
    assert_eq!(run(&telexd, &["reply", "c", "{"]).code, Some(2));
}

#[test]
fn each_line_is_a_call() {
    let telexd = Telexd::start();
    let _node = start(&telexd, &["reply", "a", "{{body}}"]);
    let called = run_with(&telexd, &["call", "-l", "a", "ask"], "1\n\n\"x\"\n");
    assert_eq!((called.code, &*called.out), (Some(0), "1\n\"x\"\n"));
    let called = run_with(&telexd, &["call", "--lines", "--text", "a", "ask"], "x y\n");
    assert_eq!((called.code, &*called.out), (Some(0), "\"x y\"\n"));
    let failed = run_with(&telexd, &["call", "-l", "nobody", "ask"], "1\n2\n");
    assert_eq!(failed.code, Some(3));
    assert!(failed.err.starts_with("telex: line 1: no node \"nobody\""), "{}", failed.err);
    assert_eq!(run_with(&telexd, &["call", "-l", "a", "ask"], "nonsense\n").code, Some(2));
    assert_eq!(run_with(&telexd, &["call", "-l", "a", "ask", "-"], "1\n").code, Some(2));
}

#[test]
fn answers_are_printed_as_they_come() {
    let telexd = Telexd::start();
    let mut worker = telexd.node("w");
    let called = |args: &[&str], stdin: &str| {
        let args = [&["call", "-l", "--unordered", "w", "ask"], args].concat();
        start_with(telex(&args).env("TELEX_ADDRESS", &telexd.addresses[0]), stdin)
    };
    let reply = |worker: &mut support::Client, asked: &Value, body: Value| {
        let mut body = body;
        body["in_reply_to"] = asked["message_id"].clone();
        worker.send(&json!({"message_type": "ask_reply", "to": asked["from"], "body": body}));
    };
    let mut calling = called(&["--from", "me"], "1\n\n2\n3\n");
    let mut asked = [worker.message(), worker.message(), worker.message()];
    asked.sort_by_key(|message| message["body"].as_u64());
    reply(&mut worker, &asked[2], json!({"result": "c"}));
    reply(&mut worker, &asked[1], json!({"error": "no"}));
    reply(&mut worker, &asked[0], json!({"a": 1}));
    let told = calling.finish();
    assert_eq!((told.code, &*told.err), (Some(1), "telex: line 3: no\n"));
    assert_eq!(told.out, "{\"line\":4,\"answer\":\"c\"}\n{\"line\":1,\"answer\":{\"a\":1}}\n");
    // No more than two are under way.
    let mut calling = called(&["--jobs", "2"], "1\n2\n3\n");
    let [first, _second] = [worker.message(), worker.message()];
    worker.ping();
    reply(&mut worker, &first, json!({"result": 1}));
    let third = worker.message();
    assert_eq!(third["body"], 3);
    out(&telexd, &["kill", "w"]);
    let told = calling.finish();
    assert_eq!((told.code, told.out.lines().count(), told.err.lines().count()), (Some(6), 1, 2), "{told:?}");
    let wrong = called(&[], "1\nnonsense\n").finish();
    assert!(matches!(wrong.code, Some(2 | 3)), "{wrong:?}");
    assert_eq!(run(&telexd, &["call", "--unordered", "w", "ask"]).code, Some(2));
}

#[test]
fn all_instances_are_asked() {
    let telexd = Telexd::start();
    let mut workers = [telexd.node("w"), telexd.node("w")];
    let arguments = ["call", "--all", "w", "ask", "--gather", "20s", "--timeout", "20s"];
    let mut asking = start_with(telex(&arguments).env("TELEX_ADDRESS", &telexd.addresses[0]), "");
    for (worker, body) in workers.iter_mut().zip([json!({"n": 1}), json!({"error": "no"})]) {
        let asked = worker.message();
        let mut body = body;
        body["in_reply_to"] = asked["message_id"].clone();
        worker.send(&json!({"message_type": "ask_reply", "to": asked["from"], "body": body}));
    }
    let told = asking.finish();
    assert_eq!((told.code, &*told.out, &*told.err), (Some(1), "{\"n\":1}\n", "telex: no\n"));
    assert_eq!(run(&telexd, &["call", "--all", "nobody", "ask"]).code, Some(3));
    let silent = run(&telexd, &["call", "--all", "w", "ask", "--timeout", "50ms"]);
    assert_eq!(silent.code, Some(5), "{silent:?}");
}

#[test]
fn what_is_heard_is_shown_as_it_is_wanted() {
    let telexd = Telexd::start();
    let mut sender = telexd.node("bob");
    let mut listening =
        start(&telexd, &["listen", "a", "-n", "1", "-W", "20s", "--format", "{from}>{to} {type} {body.x.0}"]);
    let mut hearing = start(&telexd, &["subscribe", "t.*", "u", "--group", "g", "-n", "2", "--body"]);
    sender.send(&json!({"message_type": "signal", "to": "a", "body": {"x": ["\u{1b}"]}}));
    sender.send(&json!({"message_type": "signal", "topic": "t.1", "body": [1]}));
    sender.send(&json!({"message_type": "signal", "topic": "u"}));
    assert_eq!(listening.finish().out, "bob>a signal \\u{1b}\n");
    assert_eq!(hearing.finish().out, "[1]\nnull\n");
}

#[test]
fn a_node_that_shares_its_messages_is_not_joined_by_chance() {
    let telexd = Telexd::start();
    let mut worker = telexd.client();
    worker.ask_well("register", json!({"node_id": "w", "delivery": "one"}));
    let refused = run(&telexd, &["listen", "w"]);
    assert_eq!(refused.code, Some(4));
    assert!(refused.err.contains("telex tap --to w") && refused.err.contains("--join"), "{}", refused.err);
    let mut joined = start(&telexd, &["listen", "w", "--join", "-n", "1"]);
    let mut sender = telexd.client();
    for _ in 0..2 {
        sender.send(&json!({"message_type": "signal", "to": "w", "body": 1}));
    }
    assert_eq!(worker.message()["body"], 1);
    assert_eq!(joined.finish().code, Some(0));
}

#[test]
fn a_peer_that_never_reads() {
    let telexd = Telexd::start();
    let mut hole = start(&telexd, &["black-hole", "sink", "--topic", "t"]);
    assert_eq!(line(&telexd, &["publish", "--receipt", "t", "1"])["receivers"], 1);
    out(&telexd, &["kill", "sink"]);
    assert_eq!(hole.finish().code, Some(0));
    assert_eq!(run(&telexd, &["black-hole", "sink", "-W", "10ms"]).code, Some(0));
    // A time that is too long to come is none.
    let mut listening = start(&telexd, &["listen", "a", "-n", "1", "-W", "9999999999999999999"]);
    out(&telexd, &["send", "a", "1"]);
    assert_eq!(listening.finish().code, Some(0));
}

#[test]
fn the_daemons_own_topics_are_heard_as_others_are() {
    let telexd = Telexd::start();
    let mut peers = start(&telexd, &["subscribe", "telex.peers", "-n", "1", "--body"]);
    let _alice = telexd.node("alice");
    let heard = peers.finish();
    assert_eq!((heard.code, &*heard.err), (Some(0), ""), "{heard:?}");
    let body: Value = serde_json::from_str(&heard.out).expect(&heard.out);
    assert!(body["event"].is_string(), "{body}");
}
