//! What the core says to its shell, beside what it says to peers (that is in `tests/transcripts`).

use serde_json::{Value, json};

use super::*;

/// A core, and a shell that lets everybody read everything.
struct Bench {
    core: Core,
    now: Now,
    numbers: u64,
    gate: OpenGate,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(Limits::default())
    }

    fn with(limits: Limits) -> Bench {
        let now = Now { mono: Duration::ZERO, wall: Duration::from_secs(1_800_000_000) };
        let about = About { version: "0", host: "host".to_owned(), drain_timeout: Duration::from_secs(5) };
        Bench { core: Core::new(about, limits, now), now, numbers: 0, gate: OpenGate }
    }

    /// Root, over a Unix socket.
    fn connects(&mut self) -> SessionKey {
        self.numbers += 1;
        self.core.open(self.numbers, root(), self.now).expect("room")
    }

    fn handles(&mut self, input: Input<'_>) {
        self.core.handle(input, self.now, &mut self.gate);
    }

    fn passes(&mut self, time: Duration) {
        self.now = Now { mono: self.now.mono + time, wall: self.now.wall + time };
        self.handles(Input::TimePassed);
    }

    fn says(&mut self, session: SessionKey, line: Value) {
        let bytes = format!("{line}\n");
        self.handles(Input::Received { session, bytes: bytes.as_bytes() });
    }

    /// Says it, and reads all that it has to read.
    fn asks(&mut self, session: SessionKey, line: Value) -> Vec<Value> {
        self.says(session, line);
        self.hears(session)
    }

    fn emits_to(&mut self, to: &str, body: &str) {
        self.emits(Some(to), None, body);
    }

    fn publishes(&mut self, topic: &str, body: &str) {
        self.emits(None, Some(topic), body);
    }

    fn emits(&mut self, to: Option<&str>, topic: Option<&str>, body: &str) {
        self.handles(Input::Emitted(&Emission::new(to, topic, body, 1 << 20).expect("a signal")));
    }

    fn registers(&mut self, session: SessionKey, node_id: &str) {
        self.says(session, json!({"message_type": "register", "from": node_id}));
    }

    fn leaves(&mut self, session: SessionKey) {
        self.handles(Input::Ended { session });
        self.hears(session);
    }

    /// All that has come to a connection.
    fn hears(&mut self, session: SessionKey) -> Vec<Value> {
        let mut bytes = Vec::new();
        loop {
            let mut slices = [IoSlice::new(b""); 16];
            let filled = self.core.transmit(session, &mut slices);
            let count: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
            slices[..filled].iter().for_each(|slice| bytes.extend_from_slice(slice));
            if count == 0 {
                break;
            }
            self.core.wrote(session, count, self.now);
        }
        bytes
            .split_inclusive(|&byte| byte == b'\n')
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    fn orders(&mut self) -> Vec<Order> {
        let mut orders = Vec::new();
        while let Some(order) = self.core.next_order() {
            match order {
                Order::Measure(session) => self.handles(Input::Measured { session, unread: 0 }),
                order => orders.push(order),
            }
        }
        orders
    }

    fn happenings(&mut self) -> Vec<String> {
        let happened =
            |order| if let Order::Happened(happened) = order { Some(told(&happened)) } else { None };
        self.orders().into_iter().filter_map(happened).collect()
    }

    fn replay(&self) -> Vec<String> {
        let mut all = Vec::new();
        self.core.replay(&mut |happened| all.push(told(&happened)));
        all
    }

    /// The records, each as its event, the number, node ID and uid that it is about, and its fields.
    fn notes(&mut self) -> Vec<(Event, Value)> {
        let note = |order| match order {
            Order::Note(Note { event, about, fields, text, .. }) => {
                assert!(!text.is_empty() && !fields.contains('\n'), "{text} {fields}");
                let fields: Value = serde_json::from_str(&fields).unwrap();
                Some((event, json!([about.number, about.node_id.as_deref(), about.uid, fields])))
            }
            _ => None,
        };
        self.orders().into_iter().filter_map(note).collect()
    }
}

/// What is told to plugins, on a line each.
fn told(happened: &Happened) -> String {
    let Party { number, unique_id, peer, node_ids } = &happened.who;
    assert_eq!((&**unique_id, peer), (&*format!(":{number}"), &root()));
    format!("{number} {} {:?}", node_ids.join(","), happened.what)
}

fn root() -> Peer {
    let identity = Identity::Kernel { uid: Some(0), gid: Some(0), pid: 1 };
    Peer { transport: Transport::Unix, identity, administrator: true }
}

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
    // It is gone when it has left, even where it still has something to take.
    bench.handles(Input::Ended { session: b });
    assert_eq!(bench.happenings(), ["2 x Disconnected { reason: Lost }"]);
    assert!(bench.core.connections() == 2 && bench.replay() == everything[..2]);
    bench.hears(b);
    bench.says(a, json!({"message_type": "kill", "body": {"unique_id": ":1"}}));
    assert_eq!(bench.happenings(), ["1 unwatched Disconnected { reason: Killed }"]);
    bench.core.tell_happenings(false);
    let c = bench.connects();
    bench.leaves(c);
    assert_eq!(bench.happenings(), [""; 0]);
}

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
fn every_event_has_a_word_of_its_own() {
    let words: Vec<_> = Event::ALL.iter().map(|event| event.word()).collect();
    for (at, word) in words.iter().enumerate() {
        assert!(word.bytes().all(|byte| byte.is_ascii_lowercase()) && !words[..at].contains(word), "{word}");
    }
}

#[test]
fn a_plugins_signal_goes_to_a_node() {
    let mut bench = Bench::new();
    let (a, b, tap) = (bench.connects(), bench.connects(), bench.connects());
    bench.asks(tap, json!({"message_type": "tap"}));
    bench.asks(a, json!({"message_type": "register", "from": "n"}));
    bench.asks(b, json!({"message_type": "register", "from": "n"}));
    bench.hears(tap);
    bench.emits_to("n#port", "{\"x\":\r\n[1]}");
    let heard = bench.hears(a);
    let id = heard[0]["message_id"].clone();
    let line =
        json!({"message_id": id, "message_type": "signal", "from": null, "to": "n#port", "body": {"x": [1]}});
    assert_eq!(heard, [line]);
    assert!(id.as_str().is_some_and(|id| id.starts_with(":0-")), "{id}");
    assert_eq!(bench.hears(b), heard);
    bench.emits_to(":2", "{}");
    bench.emits_to("nobody", "{}");
    bench.emits_to(":9", "{}");
    assert_eq!(bench.hears(b)[0]["to"], ":2");
    assert_eq!((bench.hears(a), bench.hears(tap)), (vec![], vec![]), "nobody else, and no tap");
}

#[test]
fn a_plugins_signal_goes_to_one_instance_of_a_node_that_shares() {
    let mut bench = Bench::with(Limits { max_queue_bytes: 4096, ..Limits::default() });
    let all = [bench.connects(), bench.connects(), bench.connects()];
    for session in all {
        let body = json!({"delivery": "one"});
        bench.asks(session, json!({"message_type": "register", "from": "n", "body": body}));
    }
    let got = |bench: &mut Bench, count: usize, body: &str| -> Vec<usize> {
        (0..count).for_each(|_| bench.emits_to("n", body));
        all.iter().map(|&session| bench.hears(session).len()).collect()
    };
    assert_eq!(got(&mut bench, 6, "{}"), [2, 2, 2], "in turn");
    // The first owes an answer now.
    let asker = bench.connects();
    bench.asks(asker, json!({"message_type": "ask", "to": "n"}));
    assert_eq!(got(&mut bench, 4, "{}"), [1, 2, 2]);
    // Two of three are nearly half full; when all are, one of them misses it.
    let long = format!("{{\"x\":\"{}\"}}", "x".repeat(1500));
    for _ in 0..7 {
        bench.emits_to("n", &long);
    }
    assert_eq!(bench.core.stats().missed, 1);
    let heard: Vec<Vec<Value>> = all.iter().map(|&session| bench.hears(session)).collect();
    assert_eq!(heard.iter().flatten().filter(|line| line["body"]["x"].is_string()).count(), 6);
    let told: Vec<_> = heard.iter().flatten().filter(|line| line["body"]["event"] == "lagged").collect();
    assert!(told.len() == 1 && told[0]["body"]["count"] == 1, "{told:?}");
}

#[test]
fn a_plugins_signal_to_a_topic_waits_for_nobody() {
    let mut bench = Bench::with(Limits { max_queue_bytes: 4096, ..Limits::default() });
    let (slow, quick, other) = (bench.connects(), bench.connects(), bench.connects());
    for (session, topic) in [(slow, "t.>"), (quick, "*.u"), (quick, "t.u"), (other, "t")] {
        bench.asks(session, json!({"message_type": "subscribe", "body": {"topic": topic}}));
    }
    let long = format!("{{\"x\":\"{}\"}}", "x".repeat(800));
    for _ in 0..5 {
        bench.publishes("t.u", &long);
        let heard = bench.hears(quick);
        assert!(heard.len() == 1 && heard[0]["topic"] == "t.u" && heard[0].get("to").is_none(), "{heard:?}");
    }
    assert_eq!((bench.core.stats().missed, bench.core.stats().delivered), (2, 0));
    let events: Vec<_> = bench.hears(slow).iter().map(|line| line["body"]["count"].clone()).collect();
    assert_eq!(events, [Value::Null, Value::Null, Value::Null, json!(2)]);
    assert_eq!(bench.hears(other), [Value::Null; 0]);
    // Who misses it for want of memory is told when there is some.
    let limits =
        |max_memory_bytes| Input::LimitsChanged(Box::new(Limits { max_memory_bytes, ..Limits::default() }));
    bench.handles(limits(1));
    bench.publishes("t.u", "{}");
    bench.handles(limits(1 << 30));
    bench.passes(Duration::from_secs(10));
    assert_eq!(bench.hears(slow)[0]["body"]["event"], "lagged");
}

#[test]
fn signals_that_cannot_be_sent() {
    let mut bench = Bench::with(Limits { max_line_bytes: 1024, ..Limits::default() });
    let a = bench.connects();
    bench.orders();
    let deep = |levels: usize| format!("{{\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    let long = |bytes: usize| format!("{{\"x\":\"{}\"}}", "x".repeat(bytes));
    let (to, topic) = (Some(":1"), None);
    // One level that serde_json does not take by itself.
    assert!(Emission::new(to, topic, &deep(126), 1024).is_ok());
    for (to, topic, body, wrong) in [
        (to, topic, "{}".to_owned(), None),
        (to, topic, deep(125), None),
        (to, topic, deep(127), Some(BadEmission::Body)),
        (to, topic, long(900), None),
        (to, topic, long(950), Some(BadEmission::TooLong)),
        (to, topic, long(5000), Some(BadEmission::TooLong)),
        (to, topic, "[]".to_owned(), Some(BadEmission::Body)),
        (to, topic, "{\n}".to_owned(), None),
        (to, topic, "{},\"x\":{}".to_owned(), Some(BadEmission::Body)),
        (to, topic, "{}}{".to_owned(), Some(BadEmission::Body)),
        (to, topic, String::new(), Some(BadEmission::Body)),
        (to, Some("t"), "{}".to_owned(), Some(BadEmission::Target)),
        (None, None, "{}".to_owned(), Some(BadEmission::Target)),
        (Some("a\n"), None, "{}".to_owned(), Some(BadEmission::To(crate::name::BadName::ControlCharacter))),
        (None, Some("t.*"), "{}".to_owned(), Some(BadEmission::Topic(crate::topic::BadTopic::Wildcard))),
    ] {
        let emission = Emission::new(to, topic, &body, 1024);
        assert_eq!(emission.as_ref().err(), wrong.as_ref(), "{to:?} {topic:?} {body}");
        if let Ok(emission) = emission {
            bench.handles(Input::Emitted(&emission));
            assert_eq!(bench.hears(a).len(), 1);
        }
    }
}

/// What it leads to that others come and go takes many turns, and more comes in each.
#[test]
fn who_leaves_does_not_wait_for_what_others_lead_to() {
    let mut bench = Bench::new();
    let tuning = Tuning { settle_effort: 1, ..Tuning::default() };
    bench.core = Core::tuned(bench.core.about.clone(), Limits::default(), tuning, bench.now);
    let [monitor, leaver] = [(); 2].map(|()| bench.connects());
    let others = [(); 4].map(|()| bench.connects());
    bench.says(monitor, json!({"message_type": "monitor", "body": {"node_id": "*"}}));
    others.iter().for_each(|&other| bench.registers(other, "first"));
    bench.handles(Input::Ended { session: leaver });
    let mut is_closed = false;
    for turn in 0..100 {
        let line = json!({"message_type": "register", "body": {"node_id": format!("n{turn}")}});
        others.iter().for_each(|&other| bench.says(other, line.clone()));
        let mut resumed = Vec::new();
        while let Some(order) = bench.core.next_order() {
            match order {
                Order::Resume(session) => resumed.push(session),
                Order::Close(session) => is_closed |= session == leaver,
                _ => {}
            }
        }
        for session in resumed {
            bench.handles(Input::Resumed { session });
        }
        bench.handles(Input::TimePassed);
    }
    assert!(is_closed);
}
