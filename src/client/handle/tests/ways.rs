//! What is asked, answered, and told.

use std::sync::mpsc::channel;

use super::*;
use crate::client::testing::reply;
use crate::client::{Arrival, List, Presence, To};
use crate::wire::code::Code;

#[test]
fn an_answer_is_waited_for_awaited_or_called_back() {
    let (handle, daemon) = pair(|mut peer| {
        let asks = [peer.hear(), peer.hear(), peer.hear()];
        for (n, ask) in asks.iter().enumerate().rev() {
            peer.reply(ask, "\"a\"", &format!("\"n\":{n}"));
        }
        peer
    });
    let (tell, told) = channel();
    let [first, second, third] = ["1", "2", "3"].map(|body| call(&handle, body));
    third.then(move |answer| tell.send(n(answer)).expect("told"));
    assert_eq!(n(block_on(second)), 1);
    assert_eq!(n(first.wait()), 0);
    assert_eq!(told.recv_timeout(SOON), Ok(2));
    drop(daemon.join());
}

#[test]
fn an_answer_that_is_there_calls_back_at_once() {
    let (handle, _daemon) = pair(|mut peer| {
        let ask = peer.hear();
        peer.reply(&ask, "\"a\"", "\"n\":1");
        peer
    });
    let answer = handle.call("a", "ask", "no JSON", SOON);
    let (tell, told) = channel();
    answer.then(move |answer| tell.send(answer.is_err()).expect("told"));
    assert_eq!(told.try_recv(), Ok(true));
    assert_eq!(n(call(&handle, "1").wait()), 1);
}

#[test]
fn what_is_dropped_is_forgotten_and_what_comes_twice_dropped() {
    let (handle, _daemon) = pair(|mut peer| {
        let (forgotten, asked) = (peer.hear(), peer.hear());
        peer.reply(&forgotten, "\"a\"", "\"n\":0");
        for n in 1..3 {
            peer.reply(&asked, "\"a\"", &format!("\"n\":{n}"));
        }
        let last = peer.hear();
        peer.reply(&last, "\"a\"", "\"n\":3");
        peer
    });
    let mut inbox = handle.inbox();
    drop(call(&handle, "0"));
    assert_eq!(n(call(&handle, "1").wait()), 1);
    assert_eq!(n(call(&handle, "3").wait()), 3);
    assert!(inbox.wait(Some(Duration::ZERO)).expect("no error").is_none());
}

#[test]
fn errors_are_those_of_the_answer() {
    let (handle, _daemon) = pair(|mut peer| {
        peer.refuse("no_such_node");
        peer.refuse("a_code_of_a_later_daemon");
        peer
    });
    assert!(call(&handle, "").wait().expect_err("refused").is(Code::NoSuchNode));
    let Err(Error::Other { code, .. }) = call(&handle, "").wait() else { panic!("it was not refused") };
    assert_eq!(code, "a_code_of_a_later_daemon");
    assert!(matches!(call(&handle, "{").wait(), Err(Error::Unsendable(_))));
}

#[test]
fn a_daemon_that_never_answers_is_not_waited_for() {
    let (handle, _daemon) = pair(|mut peer| {
        peer.hear();
        peer.hear();
        peer
    });
    let short = Duration::from_millis(1);
    let (tell, told) = channel();
    handle.call("a", "ask", "", short).then(move |answer| tell.send(answer).expect("told"));
    let error = handle.call("a", "ask", "", short).wait().expect_err("no answer");
    assert!(matches!(error, Error::GaveUp { .. }), "{error}");
    assert!(matches!(told.recv_timeout(SOON), Ok(Err(Error::GaveUp { .. }))));
}

#[test]
fn every_reply_is_gathered_until_the_time_is_over() {
    let (handle, _daemon) = pair(|mut peer| {
        let ask = peer.hear();
        for n in 0..3 {
            peer.reply(&ask, "\"a\"", &format!("\"n\":{n}"));
        }
        peer.reply(&ask, "\"b\"", "\"error\":\"tired\"");
        let ask = peer.hear();
        peer.reply(&ask, "null", r#""error":"no","code":"no_such_node""#);
        let ask = peer.hear();
        peer.reply(&ask, "null", r#""error":"late","code":"timeout""#);
        peer
    });
    let mut replies = handle.gather("a", "ask", "", Duration::from_millis(300));
    for expected in 0..3 {
        assert_eq!(n(block_on(replies.next()).expect("a reply")), expected);
    }
    assert!(matches!(block_on(replies.next()), Some(Err(Error::Node(_)))));
    assert!(block_on(replies.next()).is_none() && replies.is_ended());
    let replies: Vec<_> = handle.gather("a", "ask", "", SOON).iter().collect();
    assert!(matches!(&replies[..], [Err(error)] if error.is(Code::NoSuchNode)), "{replies:?}");
    assert_eq!(handle.gather("a", "ask", "", SOON).iter().count(), 0, "the time is over");
}

#[test]
fn handlers_answer_whatever_becomes_of_them() {
    let (handle, daemon) = pair(|mut peer| {
        peer.hear();
        ["good", "bare", "bad", "panic", "unsendable", "unknown"].map(|message_type| {
            peer.say(&format!(
                "{{\"message_id\":\"q\",\"message_type\":\"{message_type}\",\"from\":\":9\",\"body\":7}}\n"
            ));
            let reply = peer.hear();
            assert_eq!(reply.to(), Some(":9"));
            reply.body().expect("a body").to_owned()
        })
    });
    handle.on("good", |request| Ok::<_, String>(format!("{{\"got\":{}}}", request.body().unwrap_or("0"))));
    handle.on("bare", |_| Ok::<_, String>("[1]"));
    handle.on("bad", |_| Err::<String, _>("too \"hot\""));
    handle.on("panic", |_| -> Result<String, String> { panic!("out of cheese") });
    handle.on("unsendable", |_| Ok::<_, String>("no JSON"));
    handle.send("a", "").expect("sent");
    let replies = daemon.join().expect("the daemon");
    let expected = [
        r#"{"in_reply_to":"q","error":null,"got":7}"#,
        r#"{"in_reply_to":"q","error":null,"result":[1]}"#,
        r#"{"in_reply_to":"q","error":"too \"hot\""}"#,
        r#"{"in_reply_to":"q","error":"what should answer panicked: out of cheese"}"#,
    ];
    assert_eq!(&replies[..4], expected);
    assert!(replies[4].contains("the body is no JSON"), "{}", replies[4]);
    assert!(replies[5].contains(r#"does not answer \"unknown\""#), "{}", replies[5]);
    let line = format!("{{\"message_type\":\"bare_reply\",\"body\":{}}}", replies[1]);
    assert_eq!(Message::read(line.into()).expect("a message").result(), Some("[1]"));
}

#[test]
fn signals_go_to_their_handler_and_the_rest_to_the_inbox() {
    let (go, wait) = channel();
    let (handle, _daemon) = pair(move |mut peer| {
        wait.recv().expect("a word");
        peer.signal("1");
        peer.say("{\"message_id\":\"q\",\"message_type\":\"ask\",\"from\":\":9\"}\n");
        let reply = peer.hear();
        assert_eq!(reply.body_value()["n"], 2);
        peer.signal("3");
        peer
    });
    let (tell, told) = channel();
    let mut inbox = handle.inbox();
    let first = tell.clone();
    handle.on_signal(move |signal| {
        first.send(signal.body_value()).expect("told");
        panic!("it hurts nothing");
    });
    go.send(()).expect("a daemon");
    let request = block_on(inbox.next()).and_then(Arrival::message).expect("a request");
    handle.on_signal(move |signal| tell.send(signal.body_value()).expect("told"));
    handle.reply(&request, r#"{"n":2}"#).expect("sent");
    assert_eq!(told.recv_timeout(SOON).expect("a signal"), 1);
    assert_eq!(told.recv_timeout(SOON).expect("a signal"), 3);
}

#[test]
fn handlers_and_callbacks_run_in_the_order_of_the_lines() {
    let (handle, _daemon) = pair(|mut peer| {
        let ask = peer.hear();
        let signal = "{\"message_type\":\"signal\",\"from\":\"x\",\"body\":1}\n";
        peer.say(&format!("{signal}{}{signal}", reply(&ask, "\"x\"", "\"n\":1")));
        peer
    });
    let (tell, told) = channel();
    let signals = tell.clone();
    handle.on_signal(move |_| signals.send("signal").expect("told"));
    call(&handle, "").then(move |_| tell.send("answer").expect("told"));
    let order: Vec<_> = (0..3).map(|_| told.recv_timeout(SOON).expect("a word")).collect();
    assert_eq!(order, ["signal", "answer", "signal"]);
}

/// The reply comes behind a request, a signal and a topic's message; these wait for the handler.
#[test]
fn a_handler_may_wait_and_what_comes_meanwhile_is_kept() {
    let (handle, daemon) = pair(|mut peer| {
        let subscribe = peer.hear();
        peer.reply(&subscribe, "null", "\"error\":null");
        peer.hear();
        peer.say("{\"message_id\":\"q1\",\"message_type\":\"outer\",\"from\":\":9\"}\n");
        let inner = peer.hear();
        peer.say("{\"message_id\":\"q2\",\"message_type\":\"other\",\"from\":\":9\"}\n");
        peer.say("{\"message_type\":\"signal\",\"from\":\":9\",\"topic\":\"t\",\"body\":5}\n");
        peer.reply(&inner, "\"a\"", "\"n\":4");
        let replies = [peer.hear(), peer.hear()];
        replies.map(|reply| reply.body().expect("a body").to_owned())
    });
    let mut topic = handle.subscribe("t", None).wait().expect("subscribed");
    let weak = handle.downgrade();
    let mut seen = Vec::new();
    handle.on("other", |_| Ok::<_, String>(""));
    handle.on("outer", move |_| {
        let handle = weak.upgrade().ok_or("it has ended")?;
        seen.push(n(call(&handle, "").wait()));
        let arrival = topic.wait(Some(SOON)).map_err(|error| error.to_string())?;
        seen.extend(arrival.and_then(Arrival::message).and_then(|one| one.body_value().as_i64()));
        Ok::<_, String>(format!("{seen:?}"))
    });
    handle.send("a", "").expect("sent");
    let [outer, other] = daemon.join().expect("the daemon");
    assert_eq!(outer, r#"{"in_reply_to":"q1","error":null,"result":[4, 5]}"#);
    assert_eq!(other, r#"{"in_reply_to":"q2","error":null}"#);
}

#[test]
fn a_wait_in_a_handler_ends_with_the_connection() {
    let (handle, daemon) = pair(|mut peer| {
        peer.hear();
        peer.say("{\"message_type\":\"signal\",\"from\":\":9\"}\n");
        peer.hear();
    });
    let weak = handle.downgrade();
    let (tell, told) = channel();
    handle.on_signal(move |_| {
        let handle = weak.upgrade().expect("a handle");
        tell.send(call(&handle, "").wait()).expect("told");
    });
    handle.send("a", "").expect("sent");
    assert!(matches!(told.recv_timeout(SOON), Ok(Err(Error::Lost { .. }))));
    daemon.join().expect("the daemon");
}

#[test]
fn subscriptions_get_their_topics_and_end_with_their_drop() {
    let (handle, daemon) = pair(|mut peer| {
        peer.grant(&["subscribe", "subscribe", "subscribe"]);
        for (topic, body) in [("a.b", 1), ("a", 2), ("b", 3)] {
            peer.say(&format!(
                "{{\"message_type\":\"signal\",\"from\":\"x\",\"topic\":\"{topic}\",\"body\":{body}}}\n"
            ));
        }
        peer.say("{\"message_type\":\"signal\",\"from\":null,\"body\":{\"event\":\"lagged\",\"count\":7}}\n");
        let ended = peer.grant(&["unsubscribe"]);
        ended[0].body().expect("a body").to_owned()
    });
    let [mut deep, twin] = [(); 2].map(|()| handle.subscribe("a.>", None).wait().expect("subscribed"));
    let mut flat = handle.subscribe("*", Some("g")).wait().expect("subscribed");
    let next = |stream: &mut Stream<Arrival>| match block_on(stream.next()) {
        Some(Arrival::Message(message)) => message.body().expect("a body").to_owned(),
        other => format!("{other:?}"),
    };
    assert_eq!([next(&mut deep), next(&mut deep)], ["1", "Some(Missed(Some(7)))"]);
    assert_eq!([next(&mut flat), next(&mut flat)], ["2", "3"]);
    // Another one is the same.
    drop(twin);
    drop(deep);
    assert_eq!(daemon.join().expect("the daemon"), r#"{"topic":"a.>"}"#);
}

#[test]
fn monitors_are_told_what_is_there_and_what_changes_once() {
    let news = |event: &str, node_id: &str| {
        format!(
            "{{\"message_type\":\"signal\",\"from\":null,\"body\":{{\"event\":\"{event}\",\"node_id\":\"{node_id}\",\"unique_id\":\":7\",\"reason\":\"lost\"}}}}\n"
        )
    };
    let (handle, _daemon) = pair(move |mut peer| {
        for _ in 0..2 {
            let monitor = peer.hear();
            peer.say(&news("node_up", "w1"));
            peer.reply(&monitor, "null", "\"error\":null");
        }
        peer.say(&news("node_up", "x"));
        peer.say(&news("node_down", "w1"));
        peer
    });
    let mut workers = handle.monitor("w*").wait().expect("a monitor");
    let _again = handle.monitor("w1").wait().expect("a monitor");
    let (node_id, unique_id) = ("w1".to_owned(), ":7".to_owned());
    let up = Presence::Up { node_id: node_id.clone(), unique_id: unique_id.clone() };
    assert_eq!(workers.wait(Some(SOON)).expect("no error"), Some(up));
    let down = Presence::Down { node_id, unique_id, reason: "lost".to_owned() };
    assert_eq!(block_on(workers.next()), Some(down));
}

#[test]
fn what_the_daemon_tells_is_read() {
    let (handle, _daemon) = pair(|mut peer| {
        let list = peer.hear();
        assert_eq!(list.body(), Some(r#"{"match":"w*","all":true,"after":"w","limit":2}"#));
        peer.reply(
            &list,
            "null",
            r#""error":null,"nodes":[{"node_id":"w1","status":"up","delivery":"one","instances":[":3"]}],"more":true"#,
        );
        let resolve = peer.hear();
        peer.reply(
            &resolve,
            "null",
            r#""error":null,"node_id":"w1","status":"up","delivery":"all","instances":[{"unique_id":":3","uid":7,"since":1.5,"open_requests":2,"queue_bytes":9}],"endpoints":["unix:/x"],"meta":{"v":1},"last_seen":2.5"#,
        );
        peer
    });
    let asked = List { pattern: Some("w*"), all: true, after: Some("w"), limit: Some(2) };
    let list = handle.list(&asked).wait().expect("a list");
    assert!(list.more && list.nodes[0].instances == [":3"] && list.nodes[0].status == "up");
    let node = handle.resolve("w1").wait().expect("a node");
    let instance = &node.instances[0];
    assert_eq!((instance.uid, instance.pid, instance.open_requests), (Some(7), None, 2));
    assert_eq!((&node.meta[..], &node.endpoints[0][..]), (r#"{"v":1}"#, "unix:/x"));
    assert_eq!(node.last_seen, std::time::SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(2500)));
}

#[test]
fn what_could_not_be_delivered_is_told() {
    let (handle, _daemon) = pair(|mut peer| {
        let id = peer.hear().id().expect("an id").text.into_owned();
        peer.say(&format!(
            "{{\"message_type\":\"error\",\"from\":null,\"body\":{{\"error\":\"gone\",\"code\":\"node_gone\",\"in_reply_to\":\"{id}\"}}}}\n"
        ));
        peer
    });
    let mut changes = handle.changes();
    let sent = handle.send("a", "1").expect("sent");
    let Ok(Some(Change::Undelivered { ticket, why })) = changes.wait(Some(SOON)) else { panic!("no word") };
    assert_eq!((ticket, why.code()), (Some(sent), Some("node_gone")));
}

#[test]
fn the_last_handle_writes_all_and_ends() {
    let (handle, daemon) = pair(|mut peer| {
        let mut count = 0;
        while peer.hear_or_end().is_some() {
            count += 1;
        }
        count
    });
    let other = handle.clone();
    for _ in 0..1000 {
        handle.publish("t", "1").expect("sent");
    }
    drop(handle);
    other.send(To::Topic("t"), "2").expect("it lives on");
    let mut inbox = other.inbox();
    drop(other);
    assert_eq!(daemon.join().expect("the daemon"), 1001);
    assert!(inbox.wait(Some(SOON)).expect("no error").is_none() && inbox.is_ended());
}

#[test]
fn a_handler_may_hold_and_drop_the_last_handle() {
    let (handle, daemon) = pair(|mut peer| {
        peer.hear();
        peer.signal("1");
        peer.hear_or_end().is_none()
    });
    let mut held = Some(handle.clone());
    handle.on_signal(move |_| drop(held.take()));
    handle.send("a", "").expect("sent");
    drop(handle);
    assert!(daemon.join().expect("the daemon"));
}

/// As an executor that has ended may do with its tasks.
#[test]
fn a_future_that_is_woken_may_drop_the_handle() {
    struct Drops(std::sync::Mutex<Option<Handle>>);
    impl Wake for Drops {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().expect("a handle").take());
        }
    }
    let (handle, daemon) = pair(|mut peer| {
        peer.grant(&["subscribe"]);
        peer.hear();
        peer.say("{\"message_type\":\"signal\",\"from\":\"x\",\"topic\":\"t\"}\n");
        while peer.hear_or_end().is_some() {}
    });
    let mut topic = handle.subscribe("t", None).wait().expect("subscribed");
    let waker = Waker::from(Arc::new(Drops(std::sync::Mutex::new(Some(handle.clone())))));
    assert!(topic.poll_next(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    handle.send("a", "").expect("sent");
    drop(handle);
    daemon.join().expect("the daemon");
}
