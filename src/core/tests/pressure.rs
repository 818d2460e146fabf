//! What may be asked while memory is short.

use super::*;
use crate::limits::SharedNames;

fn short(known: usize) -> Bench {
    // A check of all nodes now and then would take most of the time.
    let tuning = Tuning { check_every: u32::MAX, ..Tuning::default() };
    let mut bench = Bench::tuned(Limits { max_names: 1 << 20, ..Limits::default() }, tuning);
    let (holder, slow, sender) = (bench.connects(), bench.connects(), bench.connects());
    for nth in 0..known {
        let body = json!({"node_id": format!("n{nth}"), "endpoints": ["unix:/x"]});
        bench.asks(holder, json!({"message_type": "register", "body": body}));
    }
    bench.registers(slow, "slow");
    bench.asks(sender, json!({"message_type": "signal", "to": "slow", "body": "x".repeat(64_000)}));
    let max_memory_bytes = bench.core.kept_bytes() - 1_000;
    let limits = Limits { max_memory_bytes, ..bench.core.desk.limits.clone() };
    bench.handles(Input::LimitsChanged(Box::new(limits)));
    assert!(bench.core.is_overloaded());
    bench
}

#[test]
fn known_nodes_that_are_here_cost_no_read_anything() {
    let efforts = [0, 100_000].map(|known| {
        let mut bench = short(known);
        let reader = bench.connects();
        let half = json!({"message_type": "ping", "body": "x"}).to_string();
        let mut effort = 0;
        for _ in 0..10_000 {
            bench.handles(Input::Received { session: reader, bytes: half.as_bytes() });
            effort += bench.core.desk.effort.call;
            bench.hears(reader);
        }
        effort
    });
    assert_eq!(efforts[0], efforts[1]);
}

#[test]
fn nodes_that_are_gone_are_looked_at_once_when_they_are_forgotten() {
    let mut bench = Bench::with(Limits { max_names: 1 << 20, ..Limits::default() });
    let holder = bench.connects();
    for nth in 0..1_000 {
        let body = json!({"node_id": format!("n{nth}"), "endpoints": ["unix:/x"]});
        bench.asks(holder, json!({"message_type": "register", "body": body}));
        let body = json!({"node_id": format!("n{nth}")});
        bench.asks(holder, json!({"message_type": "unregister", "body": body}));
    }
    bench.orders();
    let max_memory_bytes = bench.core.kept_bytes() / 2;
    let limits = Limits { max_memory_bytes, ..bench.core.desk.limits.clone() };
    bench.handles(Input::LimitsChanged(Box::new(limits)));
    bench.says(holder, json!({"message_type": "ping"}));
    let effort = bench.core.desk.effort.call;
    assert!((400..700).contains(&effort), "{effort}");
    bench.says(holder, json!({"message_type": "ping"}));
    assert!(bench.core.desk.effort.call < 10);
}

/// Whether a connection may ask this now.
fn is_granted(bench: &mut Bench, session: SessionKey, message_type: &str, body: Value) -> bool {
    bench.says(session, json!({"message_type": message_type, "body": body}));
    for order in bench.orders() {
        if let Order::Do(token, Work::Reload) = order {
            let outcome = Outcome::Reloaded(Reloaded { applied: &[], restart: &[] });
            bench.handles(Input::Done { token, outcome });
        }
    }
    bench.turns_until_done();
    let told = bench.hears(session);
    let told = told.last().expect("an answer");
    match told["body"]["code"].as_str() {
        None => true,
        Some("overloaded") => false,
        Some(code) => panic!("{message_type}: {code}"),
    }
}

#[test]
fn what_helps_is_granted() {
    let long = "x".repeat(5_000);
    let everybody = ["ping", "whoami", "stats", "unregister", "unsubscribe", "unmonitor", "untap"];
    let (name, topic, tap) = (json!({"node_id": "own*"}), json!({"topic": "t"}), json!({"to": "own*"}));
    for (message_type, body, for_everybody, for_administrators) in [
        ("ping", Value::Null, true, true),
        ("ping", json!("x".repeat(4_000)), true, true),
        ("ping", json!(long), false, false),
        ("whoami", Value::Null, true, true),
        ("stats", Value::Null, true, true),
        ("unsubscribe", topic.clone(), true, true),
        ("unmonitor", name.clone(), true, true),
        ("untap", tap.clone(), true, true),
        ("unregister", json!({"node_id": "own"}), true, true),
        ("list", json!({"limit": 1000}), false, true),
        ("subscribers", json!({"topic": "crowd"}), false, true),
        ("resolve", json!({"node_id": "shared"}), false, true),
        ("monitor", json!({"node_id": "x*"}), false, true),
        ("monitor", json!({"node_id": "x"}), false, true),
        ("register", json!({"node_id": "y"}), false, false),
        ("subscribe", json!({"topic": "y"}), false, false),
    ] {
        let mut bench = Bench::with(Limits { shared_names: SharedNames::Any, ..Limits::default() });
        let peers = [bench.connects_as(user(7)), bench.connects()];
        for nth in 0..100 {
            let member = bench.connects();
            bench.registers(member, &format!("a-long-name-so-that-the-list-is-long-{nth}"));
            bench.registers(member, "shared");
            bench.asks(member, json!({"message_type": "subscribe", "body": {"topic": "crowd"}}));
        }
        for &peer in &peers {
            bench.registers(peer, "own");
            bench.asks(peer, json!({"message_type": "subscribe", "body": {"topic": "t"}}));
            bench.asks(peer, json!({"message_type": "monitor", "body": {"node_id": "own*"}}));
            bench.hears(peer);
        }
        let max_memory_bytes = bench.core.kept_bytes() / 2;
        let limits = Limits { max_memory_bytes, ..bench.core.desk.limits.clone() };
        bench.handles(Input::LimitsChanged(Box::new(limits)));
        for (peer, expected) in peers.into_iter().zip([for_everybody, for_administrators]) {
            let what = format!("{message_type} of an administrator: {}", peer == peers[1]);
            assert_eq!(is_granted(&mut bench, peer, message_type, body.clone()), expected, "{what}");
            bench.hears(peer);
        }
        assert_eq!(for_everybody, everybody.contains(&message_type) && body != json!(long));
    }
}

#[test]
fn what_only_administrators_may_do_they_may_do_while_memory_is_short() {
    let mut bench = short(10);
    let administrator = bench.connects();
    for (message_type, body) in
        [("tap", json!({"to": "x"})), ("reload", Value::Null), ("kill", json!({"node_id": "n0"}))]
    {
        assert!(is_granted(&mut bench, administrator, message_type, body), "{message_type}");
    }
    let everybody = bench.connects_as(user(7));
    for message_type in ["tap", "reload", "kill"] {
        let body = json!({"node_id": "n1"});
        let told = bench.asks(everybody, json!({"message_type": message_type, "body": body}));
        assert_eq!(told[0]["body"]["code"], "denied", "{message_type}");
    }
}

#[test]
fn what_a_subscriber_missed_is_told_before_its_end() {
    let mut bench = short(0);
    let (publisher, subscriber) = (bench.connects(), bench.connects());
    bench.core.desk.limits.max_memory_bytes = usize::MAX;
    bench.asks(subscriber, json!({"message_type": "subscribe", "body": {"topic": "t"}}));
    bench.core.desk.limits.max_memory_bytes = 1;
    bench.says(publisher, json!({"message_type": "signal", "topic": "t"}));
    bench.hears(subscriber);
    bench.handles(Input::Ended { session: subscriber });
    let heard = bench.hears(subscriber);
    assert_eq!((&heard[0]["body"]["event"], &heard[0]["body"]["count"]), (&json!("lagged"), &json!(1)));
}
