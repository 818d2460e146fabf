//! Signals that a plugin has the daemon send.

use super::*;

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
