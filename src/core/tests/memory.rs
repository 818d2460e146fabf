//! What peers make the daemon keep is counted, and bounded.

use super::*;

#[test]
fn an_unfinished_line_is_worth_more_than_nodes_that_are_gone() {
    let limits = Limits { max_memory_bytes: 64 * 1024, ..Limits::default() };
    let mut bench = Bench::with(limits);
    let client = bench.connects();
    let mut gone = 0;
    while bench.core.kept_bytes() < 60 * 1024 {
        gone += 1;
        let body = json!({"node_id": format!("n{gone}"), "endpoints": ["unix:/x"]});
        bench.asks(client, json!({"message_type": "register", "from": ":1", "body": body}));
        bench.asks(client, json!({"message_type": "unregister", "body": {"node_id": format!("n{gone}")}}));
    }
    let begun = format!("{{\"message_type\":\"ping\",\"body\":\"{}", "x".repeat(8 * 1024));
    bench.handles(Input::Received { session: client, bytes: begun.as_bytes() });
    assert_eq!(bench.hears(client), Vec::<Value>::new());
    bench.handles(Input::Received { session: client, bytes: b"\"}\n" });
    assert_eq!(bench.hears(client)[0]["message_type"], "ping_reply");
}

#[test]
fn what_a_topic_is_told_stands_once() {
    const SUBSCRIBERS: usize = 100;
    const LINES: usize = 1000;
    let mut bench = Bench::new();
    let publisher = bench.connects();
    let subscribers: Vec<_> = (0..SUBSCRIBERS).map(|_| bench.connects()).collect();
    for &subscriber in &subscribers {
        bench.asks(subscriber, json!({"message_type": "subscribe", "body": {"topic": "t"}}));
    }
    let line = json!({"message_type": "signal", "topic": "t", "body": "x".repeat(200)});
    let before = bench.core.kept_bytes();
    for _ in 0..LINES {
        bench.says(publisher, line.clone());
    }
    let kept = bench.core.kept_bytes() - before;
    let (once, each) = (LINES * 200, LINES * SUBSCRIBERS * 200);
    assert!(kept > once && kept < each / 10, "{kept} bytes are kept of {once}");
    for &subscriber in &subscribers {
        assert_eq!(bench.hears(subscriber).len(), LINES);
    }
    assert_eq!(bench.core.kept_bytes(), before);
}

/// What peers may make the daemon keep here.
const BOUND: usize = 2 << 20;

fn bounded() -> Limits {
    let (max_names, max_requests, max_subscriptions) = (1 << 20, 1 << 20, 1 << 20);
    let limits = Limits { max_memory_bytes: BOUND, max_line_bytes: 256 << 10, ..Limits::default() };
    Limits { max_queue_bytes: 8 << 20, max_names, max_requests, max_subscriptions, ..limits }
}

/// Everything that a node can have, at its longest.
fn options(nth: usize) -> Value {
    let endpoints: Vec<_> = (0..16).map(|_| "e".repeat(255)).collect();
    json!({"node_id": format!("n{nth}"), "endpoints": endpoints, "meta": {"m": "x".repeat(4_000)}})
}

#[test]
fn a_name_that_is_held_already_is_given_no_more_than_there_is_memory_for() {
    const NAMES: usize = 1_000;
    let mut bench = Bench::with(bounded());
    let holder = bench.connects_as(user(1));
    for nth in 0..NAMES {
        let body = json!({"node_id": format!("n{nth}")});
        bench.asks(holder, json!({"message_type": "register", "body": body}));
    }
    let mut refused = 0;
    for nth in 0..NAMES {
        let told = bench.asks(holder, json!({"message_type": "register", "body": options(nth)}));
        match told[0]["body"]["code"].as_str() {
            Some(code) => {
                assert_eq!(code, "overloaded");
                refused += 1;
            }
            None => assert_eq!(refused, 0, "as long as there is memory"),
        }
    }
    let kept = bench.core.kept_bytes();
    assert!(kept < BOUND + (16 << 10) && kept > BOUND, "{kept} bytes are kept");
    assert!(refused > NAMES / 2, "{refused}");
    // What keeps no more than before is no matter, and what keeps less helps.
    let same = bench.asks(holder, json!({"message_type": "register", "body": options(0)}));
    assert_eq!(same[0]["body"]["error"], Value::Null);
    let body = json!({"node_id": "n0", "endpoints": [], "meta": null});
    let less = bench.asks(holder, json!({"message_type": "register", "body": body}));
    assert_eq!(less[0]["body"]["error"], Value::Null);
    assert!(bench.core.kept_bytes() < BOUND);
    bench.core.check();
}

/// A core that keeps more than it should, because of lines that connection 1 does not read.
fn overloaded() -> Bench {
    let mut bench = Bench::with(bounded());
    let (slow, sender) = (bench.connects_as(user(1)), bench.connects_as(user(1)));
    bench.registers(slow, "slow");
    while !bench.core.is_overloaded() {
        bench.asks(sender, json!({"message_type": "signal", "to": "slow", "body": "x".repeat(16_000)}));
    }
    bench
}

/// Drops every request that goes to a peer.
struct Dropping;

impl Gate for Dropping {
    fn judge(&mut self, judged: &Judged<'_>) -> Verdict {
        match &*judged.message.message_type {
            "ask" => Verdict::Drop,
            _ => Verdict::Pass,
        }
    }
}

/// A request that would make the daemon keep more, the `nth` one.
type Growing = fn(usize) -> Value;

const GROWING: [(&str, Growing); 12] = [
    ("register", |nth| json!({"message_type": "register", "body": {"node_id": format!("new{nth}")}})),
    ("register with options", |nth| json!({"message_type": "register", "body": options(nth % 8)})),
    (
        "subscribe",
        |nth| json!({"message_type": "subscribe", "body": {"topic": format!("{nth}.{}", "t".repeat(200))}}),
    ),
    (
        "subscribe in a group",
        |nth| json!({"message_type": "subscribe", "body": {"topic": "t", "group": format!("{nth}{}", "g".repeat(200))}}),
    ),
    (
        "monitor",
        |nth| json!({"message_type": "monitor", "body": {"node_id": format!("{nth}{}", "m".repeat(200))}}),
    ),
    (
        "monitor with a pattern",
        |nth| json!({"message_type": "monitor", "body": {"node_id": format!("{nth}{}*", "m".repeat(200))}}),
    ),
    ("ask", |nth| json!({"message_id": nth, "message_type": "query", "to": "n0"})),
    ("ask, and a filter drops it", |nth| json!({"message_id": nth, "message_type": "ask", "to": "n0"})),
    ("ask a topic", |nth| json!({"message_id": nth, "message_type": "query", "topic": "t0"})),
    ("signal", |_| json!({"message_type": "signal", "to": "n0", "body": "x".repeat(200)})),
    (
        "signal to the full queue",
        |_| json!({"message_type": "signal", "to": "slow", "body": "x".repeat(200)}),
    ),
    ("ping at length", |_| json!({"message_type": "ping", "body": "x".repeat(5_000)})),
];

#[test]
fn beyond_the_bound_nothing_makes_the_daemon_keep_more() {
    for (what, line) in GROWING {
        let mut bench = Bench::with(bounded());
        bench.gate = Box::new(Dropping);
        let (holder, asker) = (bench.connects_as(user(7)), bench.connects_as(user(7)));
        for nth in 0..8 {
            let body = json!({"node_id": format!("n{nth}")});
            bench.asks(asker, json!({"message_type": "register", "body": body}));
        }
        bench.asks(holder, json!({"message_type": "register", "body": {"node_id": "n0"}}));
        bench.asks(holder, json!({"message_type": "subscribe", "body": {"topic": "t0"}}));
        let (slow, sender) = (bench.connects_as(user(1)), bench.connects_as(user(1)));
        bench.registers(slow, "slow");
        while !bench.core.is_overloaded() {
            bench.asks(sender, json!({"message_type": "signal", "to": "slow", "body": "x".repeat(16_000)}));
        }
        let before = bench.core.kept_bytes();
        for nth in 0..300 {
            let told = bench.asks(asker, line(nth));
            bench.hears(holder);
            assert_eq!(told.len(), 1, "{what}: {told:?}");
            assert_eq!(told[0]["body"]["code"], "overloaded", "{what}: {}", told[0]);
        }
        bench.orders();
        let grown = bench.core.kept_bytes().saturating_sub(before);
        assert!(grown < 1024, "{what}: {grown} bytes more are kept");
        bench.core.check();
    }
}

#[test]
fn beyond_the_bound_no_half_line_is_kept() {
    let mut bench = overloaded();
    let before = bench.core.kept_bytes();
    for _ in 0..50 {
        let session = bench.connects_as(user(7));
        let half = format!("{{\"body\":\"{}", "x".repeat(15_000));
        bench.handles(Input::Received { session, bytes: half.as_bytes() });
        assert_eq!(bench.hears(session)[0]["body"]["code"], "overloaded");
    }
    bench.orders();
    assert!(bench.core.kept_bytes() < before + 1024);
}

#[test]
fn beyond_the_bound_no_publication_keeps_its_line() {
    let mut bench = Bench::tuned(bounded(), small());
    let subscribers: Vec<_> = (0..4_000).map(|_| bench.connects()).collect();
    for &subscriber in &subscribers {
        bench.asks(subscriber, json!({"message_type": "subscribe", "body": {"topic": "t"}}));
    }
    let publishers: Vec<_> = (0..100).map(|_| bench.connects()).collect();
    for &publisher in &publishers {
        bench.says(publisher, json!({"message_type": "signal", "topic": "t", "body": "x".repeat(100_000)}));
    }
    // Most of them are on their way still.
    let kept = bench.core.kept_bytes();
    assert!(kept > BOUND && kept < BOUND + (512 << 10), "{kept} bytes are kept");
    bench.core.check();
    bench.turns_until_done();
    let stats = bench.core.stats();
    assert_eq!(stats.missed + stats.delivered, (publishers.len() * subscribers.len()) as u64);
    assert!(stats.missed > 0 && stats.delivered > 0);
    bench.core.check();
}

/// What everybody may have for answers beyond the bound, and administrators.
const RESERVE: usize = 8 << 20;
const ADMINISTRATORS_RESERVE: usize = 16 << 20;

#[test]
fn beyond_the_bound_an_administrator_has_a_reserve_and_no_more() {
    let longest = |nth: usize| format!("{nth:07}{}*", "p".repeat(240));
    let patterns = |nth: usize| {
        let pattern = longest(nth);
        json!({"from": pattern, "to": pattern, "topic": pattern, "message_type": pattern})
    };
    let tap = |nth: usize| json!({"message_type": "tap", "body": patterns(nth)});
    let monitor = |nth: usize| json!({"message_type": "monitor", "body": {"node_id": longest(nth)}});
    let lines: [&dyn Fn(usize) -> Value; 2] = [&tap, &monitor];
    for line in lines {
        let mut bench = overloaded();
        let administrator = bench.connects();
        let mut made = 0;
        let refused = loop {
            let told = bench.asks(administrator, line(made));
            match &told[0]["body"]["error"] {
                Value::Null => made += 1,
                _ => break told,
            }
        };
        assert_eq!(refused[0]["body"]["code"], "overloaded");
        let kept = bench.core.kept_bytes();
        let most = BOUND + ADMINISTRATORS_RESERVE;
        assert!(made > 1000 && kept > most && kept < most + (32 << 10), "{made} made, {kept} bytes kept");
    }
}

#[test]
fn answers_beyond_the_bound_come_out_of_the_reserve() {
    let mut bench = overloaded();
    let administrator = bench.connects();
    let ping = json!({"message_type": "ping", "body": "x".repeat(4_000)});
    let mut crowd = Vec::new();
    // None of them reads.
    while bench.core.kept_bytes() <= BOUND + RESERVE {
        let one = bench.connects_as(user(7));
        bench.says(one, ping.clone());
        crowd.push(one);
        assert!(crowd.len() < 4_000);
    }
    let last = bench.connects_as(user(7));
    assert_eq!(bench.asks(last, ping.clone())[0]["body"]["code"], "overloaded");
    assert_eq!(bench.asks(last, json!({"message_type": "stats"}))[0]["body"]["code"], "overloaded");
    for line in [ping, json!({"message_type": "stats"}), json!({"message_type": "list"})] {
        assert_eq!(bench.asks(administrator, line)[0]["body"]["error"], Value::Null);
    }
    // Each that is given up makes room again.
    let body = json!({"unique_id": ":1"});
    assert_eq!(
        bench.asks(administrator, json!({"message_type": "kill", "body": body}))[0]["body"]["killed"],
        1
    );
    bench.turns_until_done();
    for &one in &crowd {
        bench.hears(one);
    }
    bench.orders();
    assert!(!bench.core.is_overloaded());
    assert_eq!(bench.asks(last, json!({"message_type": "stats"}))[0]["body"]["error"], Value::Null);
}
