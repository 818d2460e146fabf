//! No call does more than it should, however much is due at once.

use super::*;

#[test]
fn a_backlog_that_is_worked_off_counts_as_work() {
    let limits = Limits { max_line_bytes: 1024, max_queue_bytes: 4096, ..Limits::default() };
    let mut bench = Bench::with(limits);
    let (sender, receiver) = (bench.connects(), bench.connects());
    bench.registers(receiver, "r");
    let line = json!({"message_type": "signal", "to": "r", "body": "x".repeat(100)});
    let flood = format!("{line}\n").repeat(200);
    bench.handles(Input::Received { session: sender, bytes: flood.as_bytes() });
    assert!(bench.core.effort_bytes() < flood.len() / 2);
    bench.leaves(receiver);
    let (mut refused, mut worked_off) = (0, 0);
    while bench.orders().contains(&Order::Resume(sender)) {
        bench.handles(Input::Resumed { session: sender });
        worked_off += bench.core.effort_bytes();
        refused += bench.hears(sender).len();
    }
    assert!(refused > 100, "{refused}");
    assert!((flood.len() / 2..=flood.len()).contains(&worked_off), "{worked_off} of {}", flood.len());
}

/// Bounds that are no matter here.
fn wide() -> Limits {
    let most = 1 << 20;
    Limits { max_names: most, max_requests: most, max_subscriptions: most, ..Limits::default() }
}

fn ask(nth: usize, to: &str) -> Value {
    json!({"message_id": nth, "message_type": "ask", "to": to, "timeout_ms": 5000})
}

/// So many requests that the connection `receiver` owes an answer to, asked by each of `askers`.
fn owes(bench: &mut Bench, receiver: SessionKey, askers: &[SessionKey], each: usize) {
    bench.registers(receiver, "r");
    for &asker in askers {
        for first in (0..each).step_by(500) {
            bench.floods(asker, (first..each.min(first + 500)).map(|nth| ask(nth, "r")));
            bench.hears(receiver);
        }
    }
}

fn registers_many(bench: &mut Bench, holder: SessionKey, names: impl Iterator<Item = String>) {
    let lines = names.map(|name| json!({"message_type": "register", "from": name}));
    bench.floods(holder, lines);
    bench.hears(holder);
}

fn codes(heard: &[Value]) -> Vec<(&Value, &Value)> {
    heard.iter().map(|line| (&line["body"]["in_reply_to"], &line["body"]["code"])).collect()
}

#[test]
fn time_outs_that_are_due_together_take_turns() {
    const EACH: usize = 10_000;
    let mut bench = Bench::tuned(wide(), small());
    let askers = [bench.connects(), bench.connects()];
    let receiver = bench.connects();
    owes(&mut bench, receiver, &askers, EACH);
    bench.passes(Duration::from_secs(5));
    assert!(bench.core.requests.len() > EACH, "most are still to be told");
    // What is due counts as told: the last one is answered too late.
    let body = json!({"in_reply_to": EACH - 1});
    let late = bench.asks(receiver, json!({"message_type": "ask_reply", "to": ":2", "body": body}));
    assert_eq!(late[0]["body"]["code"], "no_such_request");
    // Its id is free again, and no request of the asker's counts.
    let again = json!({"message_id": EACH - 1, "message_type": "ping"});
    assert_eq!(
        bench.asks(askers[1], again).last().map(|line| line["message_type"].clone()).unwrap(),
        "ping_reply"
    );
    assert!(bench.turns_until_done() > 2 * EACH / 1000);
    assert_eq!(bench.core.requests.len(), 0);
    let timeout = json!("timeout");
    let heard = bench.hears(askers[0]);
    let expected: Vec<Value> = (0..EACH).map(|nth| json!(nth)).collect();
    assert_eq!(codes(&heard), expected.iter().map(|id| (id, &timeout)).collect::<Vec<_>>());
}

#[test]
fn a_leaver_that_owes_many_answers_takes_turns() {
    const EACH: usize = 5_000;
    let mut bench = Bench::tuned(wide(), small());
    let askers = [bench.connects(), bench.connects(), bench.connects()];
    let receiver = bench.connects();
    owes(&mut bench, receiver, &askers, EACH);
    bench.asks(askers[0], json!({"message_type": "monitor", "body": {"node_id": "r"}}));
    bench.handles(Input::Ended { session: receiver });
    assert!(bench.core.requests.len() > EACH, "most are still to be told");
    // For everybody else it is gone already.
    let refused = bench.asks(askers[1], json!({"message_id": "x", "message_type": "ask", "to": "r"}));
    assert!(refused.iter().any(|line| line["body"]["code"] == "no_such_node"), "{refused:?}");
    let other = bench.connects();
    let nodes = bench.asks(other, json!({"message_type": "list"}));
    assert_eq!(nodes[0]["body"]["nodes"], json!([]));
    // And no connection waits for what others have led to, newcomers neither unless there may be no room for them.
    assert!(!bench.core.has_leavers());
    bench.core.desk.limits.max_connections = bench.core.connections();
    assert!(bench.core.has_leavers());
    for _ in 0..3 {
        assert_eq!(bench.asks(other, json!({"message_type": "ping"})).len(), 1, "in the same turn");
    }
    let mut heard = bench.hears(askers[0]);
    assert!(bench.turns_until_done() > EACH / 1000);
    heard.extend(bench.hears(askers[0]));
    assert_eq!(heard.len(), EACH + 1);
    assert_eq!(heard[EACH]["body"]["event"], "node_down", "behind the last fate");
    assert!(heard[..EACH].iter().all(|line| line["body"]["code"] == "node_gone"));
    bench.hears(receiver);
    assert_eq!((bench.core.connections(), bench.core.requests.len()), (4, 0));
}

#[test]
fn a_list_of_few_among_many_takes_turns() {
    const NAMES: usize = 8_000;
    let mut bench = Bench::tuned(wide(), small());
    let (holder, other, asker) = (bench.connects(), bench.connects(), bench.connects());
    let name = |nth: usize| format!("n{nth:06}{}", if nth.is_multiple_of(40) { "x" } else { "" });
    registers_many(&mut bench, holder, (0..NAMES).map(name));
    bench.says(
        asker,
        json!({"message_id": 1, "message_type": "list", "body": {"match": "*x", "limit": 1000}}),
    );
    bench.says(asker, json!({"message_id": 2, "message_type": "ping"}));
    let mut turns = 0;
    let mut heard = bench.hears(asker);
    while heard.is_empty() {
        // Names come and go, before and behind where it is.
        for nth in (0..NAMES).step_by(NAMES / 8) {
            let name = format!("n{nth:06}{turns}x");
            bench.asks(other, json!({"message_type": "register", "from": name}));
            if turns % 2 == 1 {
                let body = json!({"node_id": format!("n{nth:06}{}x", turns - 1)});
                bench.asks(other, json!({"message_type": "unregister", "body": body}));
            }
        }
        bench.turn();
        turns += 1;
        heard = bench.hears(asker);
    }
    assert!(turns > NAMES / 1000, "{turns}");
    bench.turns_until_done();
    heard.extend(bench.hears(asker));
    let ids: Vec<_> = heard.iter().map(|line| &line["body"]["in_reply_to"]).collect();
    assert_eq!(ids, [&json!(1), &json!(2)], "the ping comes behind");
    let nodes = heard[0]["body"]["nodes"].as_array().expect("nodes");
    let listed: Vec<_> = nodes.iter().map(|node| node["node_id"].as_str().expect("a name")).collect();
    assert!(listed.is_sorted_by(|a, b| a < b), "each once");
    let there = listed.iter().filter(|name| name.len() == "n000000x".len()).count();
    assert_eq!(there, NAMES / 40, "each that was there throughout");
}

#[test]
fn a_monitor_of_few_among_many_takes_turns() {
    const NAMES: usize = 8_000;
    let mut bench = Bench::tuned(wide(), small());
    let (holder, asker) = (bench.connects(), bench.connects());
    registers_many(&mut bench, holder, (0..NAMES).map(|nth| format!("n{nth}")).chain(["zx".to_owned()]));
    bench.says(asker, json!({"message_type": "monitor", "body": {"node_id": "*x"}}));
    assert!(bench.turns_until_done() > NAMES / 1000);
    let heard = bench.hears(asker);
    assert_eq!((heard.len(), &heard[0]["body"]["node_id"]), (2, &json!("zx")), "{heard:?}");
    // And one of all.
    bench.says(asker, json!({"message_type": "monitor", "body": {"node_id": "*"}}));
    assert!(bench.turns_until_done() > NAMES / 1000);
    assert_eq!(bench.hears(asker).len(), NAMES + 2);
}

#[test]
fn news_for_many_monitors_take_turns_and_keep_no_newcomer_waiting() {
    const MONITORS: usize = 300;
    const LEAVERS: usize = 300;
    let mut bench = Bench::tuned(wide(), small());
    let monitors: Vec<_> = (0..MONITORS).map(|_| bench.connects()).collect();
    let leavers: Vec<_> = (0..LEAVERS).map(|_| bench.connects()).collect();
    for (nth, &leaver) in leavers.iter().enumerate() {
        bench.registers(leaver, &format!("n{nth}"));
    }
    for &monitor in &monitors {
        bench.says(monitor, json!({"message_type": "monitor", "body": {"node_id": "*"}}));
        bench.turns_until_done();
        bench.hears(monitor);
    }
    let newcomer = bench.connects();
    bench.handles(Input::TimePassed);
    let settled = |bench: &Bench| bench.core.desk.effort.settled;
    let settle_effort = bench.core.desk.tuning.settle_effort;
    for &session in &leavers {
        bench.handles(Input::Ended { session });
    }
    assert_eq!(bench.asks(newcomer, json!({"message_type": "ping"})).len(), 1, "in the same turn");
    assert!(settled(&bench) < 2 * settle_effort, "all calls of a turn together: {}", settled(&bench));
    // Nor in any other turn: the leavers, whose turn comes first, cost next to nothing of it.
    bench.handles(Input::TimePassed);
    let mut shares = 0;
    for order in bench.orders() {
        if let Order::Resume(session) = order {
            bench.handles(Input::Resumed { session });
            shares += bench.core.effort_bytes();
        }
    }
    assert!(shares < 50 * settle_effort / 4, "{shares}");
    assert!(bench.turns_until_done() > MONITORS * LEAVERS / 1000);
    for monitor in monitors {
        let heard = bench.hears(monitor);
        let expected: Vec<_> = (0..LEAVERS).map(|nth| json!(format!("n{nth}"))).collect();
        assert_eq!(heard.iter().map(|line| line["body"]["node_id"].clone()).collect::<Vec<_>>(), expected);
    }
}

/// Patterns that match the topic `a.a.….a`, one for each subset of its tokens, and as many that do not.
fn patterns(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|nth| {
        let token = |bit: usize| if nth >> bit & 1 == 1 { "*" } else { "a" };
        let tokens: Vec<_> = (1..16).map(token).collect();
        format!("{}.{}", tokens.join("."), if nth & 1 == 1 { "a" } else { "b" })
    })
}

fn subscribes(bench: &mut Bench, subscriber: SessionKey, count: usize) {
    let line = |topic| json!({"message_type": "subscribe", "body": {"topic": topic}});
    bench.floods(subscriber, patterns(count).map(line));
    bench.hears(subscriber);
}

#[test]
fn a_publication_against_many_patterns_takes_turns() {
    const PATTERNS: usize = 30_000;
    let mut bench = Bench::tuned(wide(), small());
    let (subscriber, publisher) = (bench.connects(), bench.connects());
    subscribes(&mut bench, subscriber, PATTERNS);
    let topic = ["a"; 16].join(".");
    bench.says(publisher, json!({"message_type": "signal", "topic": topic}));
    assert!(!bench.core.wants_bytes(publisher), "what it sends now comes behind");
    assert!(bench.turns_until_done() > 1);
    assert_eq!(bench.hears(subscriber).len(), 1, "to each connection once");
}

#[test]
fn a_request_against_many_patterns_takes_turns() {
    let mut bench = Bench::tuned(wide(), small());
    let (subscriber, asker) = (bench.connects(), bench.connects());
    subscribes(&mut bench, subscriber, 8_000);
    let topic = ["a"; 16].join(".");
    let line = json!({"message_id": 1, "message_type": "ask", "topic": topic, "timeout_ms": 5000});
    bench.says(asker, line.clone());
    bench.says(asker, json!({"message_id": 2, "message_type": "ping"}));
    assert!(bench.turns_until_done() > 1);
    assert_eq!(bench.hears(subscriber).len(), 1);
    assert_eq!(bench.hears(asker).len(), 1, "the ping alone");
    bench.says(asker, line.clone());
    bench.turns_until_done();
    assert_eq!(bench.hears(asker)[0]["body"]["code"], "duplicate_id");
    let body = json!({"in_reply_to": 1});
    bench.asks(subscriber, json!({"message_type": "ask_reply", "to": ":2", "body": body}));
    assert_eq!(bench.hears(asker)[0]["message_type"], "ask_reply");
    // One that unsubscribes while they are looked for gets it no more.
    let other = bench.connects();
    bench.asks(other, json!({"message_type": "subscribe", "body": {"topic": ">"}}));
    bench.hears(other);
    let again = json!({"message_id": 3, "message_type": "ask", "topic": topic, "timeout_ms": 5000});
    bench.says(asker, again);
    bench.says(other, json!({"message_type": "unsubscribe", "body": {"topic": ">"}}));
    bench.turns_until_done();
    assert_eq!(bench.hears(other).len(), 1, "the reply alone");
    assert_eq!(bench.hears(subscriber).len(), 1);
    let body = json!({"in_reply_to": 3});
    bench.asks(subscriber, json!({"message_type": "ask_reply", "to": ":2", "body": body}));
    bench.hears(asker);
    // All that would have got it leave while they are looked for.
    bench.says(asker, line);
    // Subscriptions end in one step: a connection has no more than max_subscriptions.
    bench.effort_max += 8_000;
    bench.handles(Input::Ended { session: subscriber });
    bench.turns_until_done();
    let codes: Vec<_> = bench.hears(asker).iter().map(|line| line["body"]["code"].clone()).collect();
    assert!(codes == ["no_subscribers"] || codes == ["node_gone"], "{codes:?}");
}

#[test]
fn a_queue_of_tiny_lines_from_many_is_given_up_in_turns() {
    const SENDERS: usize = 500;
    const EACH: usize = 20;
    let mut bench = Bench::tuned(wide(), small());
    let (receiver, senders) = (bench.connects(), (0..SENDERS).map(|_| bench.connects()).collect::<Vec<_>>());
    bench.registers(receiver, "r");
    for nth in 0..EACH {
        for &sender in &senders {
            bench.says(sender, json!({"message_id": nth, "message_type": "signal", "to": "r"}));
        }
    }
    bench.handles(Input::Broke { session: receiver });
    bench.handles(Input::Ended { session: receiver });
    assert!(bench.turns_until_done() > SENDERS * EACH / 1000);
    for sender in senders {
        let heard = bench.hears(sender);
        let body = &heard[0]["body"];
        assert_eq!((heard.len(), &body["code"]), (1, &json!("node_gone")));
        assert_eq!((&body["in_reply_to"], &body["count"]), (&json!(0), &json!(EACH)));
    }
    assert_eq!(bench.core.connections(), SENDERS);
}

#[test]
fn an_end_of_the_daemon_with_all_of_that_takes_turns() {
    let mut bench = Bench::tuned(wide(), small());
    let askers = [bench.connects(), bench.connects()];
    let (receiver, holder, broken) = (bench.connects(), bench.connects(), bench.connects());
    let monitors: Vec<_> = (0..50).map(|_| bench.connects()).collect();
    owes(&mut bench, receiver, &askers, 3_000);
    registers_many(&mut bench, holder, (0..200).map(|nth| format!("n{nth}")));
    for &monitor in &monitors {
        bench.says(monitor, json!({"message_type": "monitor", "body": {"node_id": "*"}}));
        bench.turns_until_done();
        bench.hears(monitor);
    }
    bench.floods(askers[0], (0..3_000).map(|_| json!({"message_type": "signal", "to": ":5"})));
    bench.handles(Input::Broke { session: broken });
    bench.handles(Input::StopAsked);
    assert!(bench.core.requests.len() > 0, "not all at once");
    assert!(bench.turns_until_done() > 3);
    for monitor in monitors {
        let heard = bench.hears(monitor);
        let down = heard.iter().filter(|line| line["body"]["reason"] == "shutdown").count();
        assert_eq!((heard.len(), down), (202, 201), "every node, and the end");
        assert_eq!(heard[201]["body"]["event"], "shutdown");
    }
    let heard = bench.hears(askers[1]);
    let gone = heard.iter().filter(|line| line["body"]["code"] == "node_gone").count();
    assert_eq!((heard.len(), gone), (3_001, 3_000));
    assert_eq!(heard[3_000]["body"]["event"], "shutdown");
}
