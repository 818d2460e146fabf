//! What the core says to its shell: records, happenings, refusals.

use super::*;

#[test]
fn records_say_of_whom_and_what() {
    let mut bench =
        Bench::with(Limits { max_connections: 3, max_queue_bytes: 64 << 10, ..Limits::default() });
    let (a, b) = (bench.connects(), bench.connects());
    let tcp = Peer { transport: Transport::Tcp, identity: Identity::Anonymous, administrator: false };
    let c = bench.core.open(7, tcp.clone(), bench.now).unwrap();
    bench.core.open(8, tcp, bench.now).unwrap_err();
    assert_eq!(
        bench.notes(),
        [
            (Event::Opened, json!([1, null, 0, {"transport": "unix"}])),
            (Event::Opened, json!([2, null, 0, {"transport": "unix"}])),
            (Event::Opened, json!([7, null, null, {"transport": "tcp"}])),
            (Event::Refused, json!([8, null, null, {"code": "overloaded", "count": 1}])),
        ]
    );
    bench.registers(a, "web");
    bench.registers(a, "web");
    bench.registers(a, "w\"2");
    bench.says(a, json!({"message_type": "unregister", "body": {"node_id": "web"}}));
    bench.leaves(a);
    assert_eq!(
        bench.notes(),
        [
            (Event::Registered, json!([1, "web", 0, {"node_id": "web"}])),
            (Event::Registered, json!([1, "web", 0, {"node_id": "w\"2"}])),
            (Event::Unregistered, json!([1, "w\"2", 0, {"node_id": "web"}])),
            (Event::Left, json!([1, "w\"2", 0, {"reason": "lost", "node_ids": ["w\"2"]}])),
            (Event::Closed, json!([1, null, 0, {}])),
        ]
    );
    bench.registers(c, "far");
    bench.registers(c, "off");
    bench.notes();
    let nonsense = "nonsense\n".repeat(100);
    bench.handles(Input::Received { session: c, bytes: nonsense.as_bytes() });
    bench.hears(c);
    assert_eq!(
        bench.notes(),
        [
            (Event::Broken, json!([7, "far", null, {"lines": 100}])),
            (Event::Left, json!([7, "far", null, {"reason": "broken", "node_ids": ["far", "off"]}])),
            (Event::Closed, json!([7, null, null, {}])),
        ]
    );
    // Who does not read, while somebody waits for it.
    bench.registers(b, "slow");
    bench.hears(b);
    let d = bench.connects();
    bench.notes();
    let mut queued = 0;
    while bench.core.wants_bytes(d) {
        bench.says(d, json!({"message_type": "signal", "to": "slow", "body": "x".repeat(1000)}));
        queued = bench.core.sessions.get(b).map_or(0, |session| session.outbound.outbox.queue_bytes());
    }
    bench.passes(Duration::from_secs(10));
    let stalled = [
        (Event::Stalled, json!([2, "slow", 0, {"queue_bytes": queued}])),
        (Event::Left, json!([2, "slow", 0, {"reason": "stalled", "node_ids": ["slow"]}])),
        (Event::Closed, json!([2, null, 0, {}])),
    ];
    assert_eq!(bench.notes(), stalled);
    // Memory.
    let max_memory_bytes = 1;
    bench.handles(Input::LimitsChanged(Box::new(Limits { max_memory_bytes, ..Limits::default() })));
    bench.registers(d, "d");
    let kept = bench.core.kept_bytes() - size_of::<Order>();
    let overloaded = json!([null, null, null, {"memory_bytes": kept, "max_memory_bytes": 1}]);
    assert_eq!(bench.notes(), [(Event::Overloaded, overloaded)]);
}

#[test]
fn plugins_are_told_what_happens() {
    let mut bench = Bench::new();
    let (a, b) = (bench.connects(), bench.connects());
    bench.registers(a, "unwatched");
    assert_eq!(bench.happenings(), [""; 0]);
    bench.core.tell_happenings(true);
    bench.registers(a, "x");
    bench.registers(a, "x");
    bench.registers(b, "y");
    bench.says(b, json!({"message_type": "register", "body": {"node_id": "x", "replace": true}}));
    bench.says(b, json!({"message_type": "unregister", "body": {"node_id": "y"}}));
    assert_eq!(
        bench.happenings(),
        [
            r#"1 unwatched,x Registered { node_id: "x" }"#,
            r#"2 y Registered { node_id: "y" }"#,
            r#"1 unwatched Unregistered { node_id: "x", reason: Replaced }"#,
            r#"2 y,x Registered { node_id: "x" }"#,
            r#"2 x Unregistered { node_id: "y", reason: Unregistered }"#,
        ]
    );
    for (message_type, body) in [
        ("subscribe", json!({"topic": "t.>"})),
        ("subscribe", json!({"topic": "t.>"})),
        ("subscribe", json!({"topic": "t.>", "group": "g"})),
        ("subscribe", json!({"topic": "u"})),
        ("unsubscribe", json!({"topic": "v"})),
        ("unsubscribe", json!({"topic": "t.>"})),
        ("subscribe", json!({"topic": "t..t"})),
        ("subscribe", json!({"topic": "w"})),
        ("monitor", json!({"node_id": "*"})),
    ] {
        bench.says(b, json!({"message_type": message_type, "body": body}));
    }
    assert_eq!(
        bench.happenings(),
        [
            r#"2 x Subscribed { topic: "t.>", group: None }"#,
            r#"2 x Subscribed { topic: "t.>", group: Some("g") }"#,
            r#"2 x Subscribed { topic: "u", group: None }"#,
            r#"2 x Unsubscribed { topic: "t.>", group: None }"#,
            r#"2 x Subscribed { topic: "w", group: None }"#,
        ]
    );
    let everything = [
        r#"1 unwatched Connected"#,
        r#"1 unwatched Registered { node_id: "unwatched" }"#,
        r#"2 x Connected"#,
        r#"2 x Registered { node_id: "x" }"#,
        r#"2 x Subscribed { topic: "t.>", group: Some("g") }"#,
        r#"2 x Subscribed { topic: "u", group: None }"#,
        r#"2 x Subscribed { topic: "w", group: None }"#,
    ];
    assert_eq!(bench.replay(), everything);
    // It is gone when it has left, even if it still has something to take.
    bench.handles(Input::Ended { session: b });
    assert_eq!(bench.happenings(), ["2 x Disconnected { reason: Lost }"]);
    assert!(bench.core.connections() == 2 && bench.replay() == everything[..2]);
    bench.hears(b);
    bench.says(a, json!({"message_type": "kill", "body": {"unique_id": ":1"}}));
    bench.core.reap();
    assert_eq!(bench.happenings(), ["1 unwatched Disconnected { reason: Killed }"]);
    bench.core.tell_happenings(false);
    let c = bench.connects();
    bench.leaves(c);
    assert_eq!(bench.happenings(), [""; 0]);
}

#[test]
fn subscriptions_beyond_the_bound_have_not_happened() {
    let mut bench = Bench::with(Limits { max_subscriptions: 1, ..Limits::default() });
    let a = bench.connects();
    bench.core.tell_happenings(true);
    bench.says(a, json!({"message_type": "subscribe", "body": {"topic": "t"}}));
    bench.says(a, json!({"message_type": "subscribe", "body": {"topic": "u"}}));
    assert_eq!(bench.happenings(), [r#"1  Subscribed { topic: "t", group: None }"#]);
}

#[test]
fn a_connection_that_a_plugin_does_not_want() {
    let mut bench = Bench::with(Limits { max_connections: 1, ..Limits::default() });
    assert!(bench.core.would_open(&root()));
    let line = bench.core.turn_away(5, &root(), "guard", "not by night", bench.now);
    let told: Value = serde_json::from_slice(&line).unwrap();
    let body = json!({"error": "not by night", "code": "denied", "filter": "guard", "in_reply_to": null});
    assert_eq!(told, json!({"message_type": "error", "from": null, "to": ":5", "body": body}));
    let fields = json!({"code": "denied", "count": 1, "filter": "guard"});
    assert_eq!(bench.notes(), [(Event::Refused, json!([5, null, 0, fields]))]);
    let stats = bench.core.stats();
    assert_eq!((stats.connections_refused, stats.connections_total), (1, 0));
    assert_eq!(stats.errors().collect::<Vec<_>>(), [(Code::Denied, 1)]);
    bench.connects();
    assert!(!bench.core.would_open(&root()));
}

#[test]
fn a_connection_that_comes_as_the_daemon_ends_is_told_what_all_are() {
    let mut bench = Bench::with(Limits::default());
    bench.handles(Input::StopAsked);
    assert!(!bench.core.would_open(&root()), "no plugin is asked");
    let now = bench.now;
    let opened = [bench.core.open(5, root(), now), bench.core.open_beyond(6, root(), now)];
    let short = bench.core.refuse_for_files(7, &root(), now);
    let lines = opened.into_iter().map(|opened| opened.expect_err("a line")).chain([short]);
    for (line, to) in lines.zip([":5", ":6", ":7"]) {
        let told: Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!((&told["to"], &told["message_type"]), (&json!(to), &json!("signal")));
        assert_eq!((&told["from"], &told["body"]), (&json!(null), &json!({"event": "shutdown"})));
    }
    assert_eq!(bench.core.stats().connections_refused, 3);
}

#[test]
fn every_event_has_a_word_of_its_own() {
    let words: Vec<_> = Event::ALL.iter().map(|event| event.word()).collect();
    for (at, word) in words.iter().enumerate() {
        assert!(word.bytes().all(|byte| byte.is_ascii_lowercase()) && !words[..at].contains(word), "{word}");
    }
}

#[test]
fn a_record_names_few_of_many_names() {
    let mut bench = Bench::new();
    let names: Vec<String> = (1..=20).map(|nth| format!("n{nth}")).collect();
    for (count, text) in [
        (0, "left (lost)"),
        (8, "left (lost): n1, n2, n3, n4, n5, n6, n7, n8"),
        (20, "left (lost): n1, n2, n3, n4, n5, n6, n7, n8 and 12 more"),
    ] {
        let holder = bench.connects();
        names[..count].iter().for_each(|name| bench.registers(holder, name));
        bench.orders();
        bench.leaves(holder);
        let left = bench.orders().into_iter().find_map(|order| match order {
            Order::Note(note) if note.event == Event::Left => Some(note),
            _ => None,
        });
        let left = left.expect("a record");
        assert_eq!(left.text, text);
        let fields: Value = serde_json::from_str(&left.fields).unwrap();
        assert_eq!(fields["node_ids"], json!(names[..count]));
    }
}

#[test]
fn the_log_tells_of_a_subscriber_that_misses_messages_once_a_minute() {
    let mut bench = Bench::with(Limits { max_line_bytes: 2048, max_queue_bytes: 8192, ..Limits::default() });
    let (slow, publisher) = (bench.connects(), bench.connects());
    bench.asks(slow, json!({"message_type": "subscribe", "body": {"topic": "t"}}));
    bench.registers(slow, "slow");
    bench.hears(slow);
    bench.notes();
    let message = json!({"message_type": "signal", "topic": "t", "body": "x".repeat(1000)});
    let lagged = |bench: &mut Bench, times| -> Vec<Value> {
        (0..times).for_each(|_| bench.says(publisher, message.clone()));
        let notes = bench.notes().into_iter();
        notes.filter(|(event, _)| *event == Event::Lagged).map(|(_, note)| note).collect()
    };
    let queued = 4 * (message.to_string().len() + "\"message_id\":\":2-1\",\"from\":\":2\",\n".len());
    let note =
        |count, missed| json!([1, "slow", 0, {"count": count, "missed": missed, "queue_bytes": queued}]);
    assert_eq!(lagged(&mut bench, 4), Vec::<Value>::new());
    assert_eq!(lagged(&mut bench, 3), [note(1, 1)]);
    bench.passes(Duration::from_secs(59));
    assert_eq!(lagged(&mut bench, 1), Vec::<Value>::new());
    bench.passes(Duration::from_secs(1));
    assert_eq!(lagged(&mut bench, 1), [note(4, 5)]);
}
