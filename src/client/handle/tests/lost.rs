//! Connections that end, and what becomes of all that was held and on its way.

use super::*;
use crate::client::{Arrival, Change, Delivery, Fault, Presence, Register};

/// What a daemon says about node `w` and this instance of it.
fn news(event: &str, unique_id: &str) -> String {
    format!(
        "{{\"message_type\":\"signal\",\"from\":null,\"body\":{{\"event\":\"{event}\",\"node_id\":\"w\",\"unique_id\":\"{unique_id}\"}}}}\n"
    )
}

fn quick(meanwhile: WhileAway) -> Reconnect {
    let ms = Duration::from_millis;
    Reconnect { first_delay: ms(10), longest_delay: ms(100), meanwhile }
}

fn connect(address: &Address, meanwhile: WhileAway) -> Handle {
    let builder = Handle::builder().reconnect(quick(meanwhile)).connect_timeout(SOON);
    builder.connect(address).expect("a connection")
}

/// Has the daemon go, which waits for a line to do so, and waits until that is known.
fn part(handle: &Handle) -> Stream<Change> {
    let mut changes = handle.changes();
    handle.send("a", "").expect("sent");
    assert!(matches!(next(&mut changes), Change::Lost { .. }));
    changes
}

fn next<T>(stream: &mut Stream<T>) -> T {
    stream.wait(Some(SOON)).expect("no error").expect("something")
}

#[test]
fn without_a_way_back_the_end_is_the_end() {
    let (handle, daemon) = pair(|mut peer| {
        peer.hear();
        peer.hear();
        peer.say(
            "{\"message_type\":\"error\",\"from\":null,\"body\":{\"error\":\"go\",\"code\":\"denied\"}}\n",
        );
        peer.say("{\"message_type\":\"ask_rep");
    });
    let mut changes = handle.changes();
    let gathered = handle.gather("a", "ask", "", SOON);
    let error = call(&handle, "").wait().expect_err("lost");
    daemon.join().expect("the daemon");
    assert!(matches!(error, Error::Lost { why: Some(_) }), "{error:?}");
    assert!(matches!(next(&mut changes), Change::Undelivered { ticket: None, .. }));
    let lost = next(&mut changes);
    assert!(
        matches!(&lost, Change::Lost { error } if matches!(**error, Error::Closed { why: Some(_) })),
        "{lost:?}"
    );
    assert!(changes.wait(None).expect("no error").is_none() && changes.is_ended());
    let mut gathered = gathered;
    assert!(matches!(next(&mut gathered), Err(Error::Lost { .. })));
    assert!(matches!(call(&handle, "").wait(), Err(Error::Closed { why: Some(_) })));
    assert!(matches!(handle.send("a", ""), Err(Error::Closed { .. })));
    assert!(handle.is_closed());
    assert!(handle.changes().is_ended() && handle.inbox().is_ended());
}

#[test]
fn what_talks_rubbish_is_no_daemon() {
    let (handle, _daemon) = pair(|mut peer| {
        peer.hear();
        peer.say("HTTP/1.1 400 Bad Request\r\n\r\n");
        peer
    });
    let mut changes = handle.changes();
    assert!(matches!(call(&handle, "").wait(), Err(Error::Lost { .. })));
    let Change::Lost { error } = next(&mut changes) else { panic!("another word") };
    let Error::Fault(Fault::Foreign { excerpt }) = &*error else { panic!("{error}") };
    assert!(excerpt.starts_with("HTTP/1.1 400"));
}

#[test]
fn all_that_was_held_is_held_again() {
    let place = Place::new();
    let address = place.address.clone();
    let daemon = spawn(move || {
        let mut peer = place.accept();
        let first = peer.grant(&["register", "subscribe"]);
        let monitor = peer.hear();
        peer.say(&news("node_up", ":1"));
        peer.say(&news("node_up", ":2"));
        peer.reply(&monitor, "null", "\"error\":null");
        assert_eq!(peer.hear().message_type(), "ask");
        drop(peer);
        let mut peer = place.accept();
        let second = peer.grant(&["register", "subscribe"]);
        let monitor = peer.hear();
        peer.say(&news("node_up", ":2"));
        peer.say(&news("node_up", ":3"));
        peer.reply(&monitor, "null", "\"error\":null");
        let ask = peer.hear();
        assert_eq!(ask.body(), Some("2"), "the first is not sent twice");
        peer.reply(&ask, "\"a\"", "\"n\":2");
        let body = |messages: &[Message]| messages[0].body().map(str::to_owned);
        (body(&first), body(&second), peer, place)
    });
    let handle = connect(&address, WhileAway::Wait);
    let mut changes = handle.changes();
    let options = Register {
        node_id: Some("100%%".into()),
        delivery: Some(Delivery::One),
        replace: true,
        meta: Some("{}"),
        ..Register::default()
    };
    handle.register_with(&options).wait().expect("registered");
    let mut topic = handle.subscribe("t", Some("g")).wait().expect("subscribed");
    let mut nodes = handle.monitor("w").wait().expect("a monitor");
    let error = call(&handle, "1").wait().expect_err("lost");
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    assert_eq!(n(call(&handle, "2").wait()), 2);
    assert!(matches!(next(&mut changes), Change::Lost { .. }));
    assert!(matches!(next(&mut changes), Change::Restored { tries: 1.. }));
    assert!(matches!(next(&mut topic), Arrival::Missed(None)));
    let presence = [(); 4].map(|()| match next(&mut nodes) {
        Presence::Up { unique_id, .. } => format!("+{unique_id}"),
        Presence::Down { unique_id, reason, .. } => format!("-{unique_id} {reason}"),
        other => format!("{other:?}"),
    });
    assert_eq!(presence, ["+:1", "+:2", "+:3", "-:1 unknown"]);
    let (first, second, ..) = daemon.join().expect("the daemon");
    assert!(first.expect("a body").contains("\"replace\":true"));
    assert_eq!(second.as_deref(), Some(r#"{"node_id":"100%%%%","delivery":"one","meta":{}}"#));
}

#[test]
fn what_is_sent_meanwhile_fails_or_waits_as_was_chosen() {
    for (meanwhile, waits) in [(WhileAway::Wait, true), (WhileAway::Fail, false)] {
        let place = Place::new();
        let address = place.address.clone();
        let (go, wait) = std::sync::mpsc::channel();
        let daemon = spawn(move || {
            place.accept().hear();
            wait.recv().expect("a word");
            let mut peer = place.accept();
            let mut heard = Vec::new();
            while heard.last().is_none_or(|body| body != "9") {
                let message = peer.hear();
                heard.push(message.body().expect("a body").to_owned());
                if message.is_request() {
                    peer.reply(&message, "\"a\"", "\"n\":1");
                }
            }
            (heard, peer)
        });
        let handle = connect(&address, meanwhile);
        let mut changes = part(&handle);
        let sent = handle.send("a", "1");
        let answer = call(&handle, "2");
        go.send(()).expect("a daemon");
        match waits {
            true => assert!(sent.is_ok() && n(answer.wait()) == 1),
            false => assert!(
                matches!((sent, answer.wait()), (Err(Error::Away), Err(Error::Away))),
                "nothing waits"
            ),
        }
        assert!(matches!(next(&mut changes), Change::Restored { .. }));
        handle.send("a", "9").expect("sent");
        let (heard, _peer) = daemon.join().expect("the daemon");
        assert_eq!(heard, if waits { vec!["1", "2", "9"] } else { vec!["9"] });
    }
}

#[test]
fn a_name_that_is_taken_meanwhile_is_told_and_tried_again() {
    let place = Place::new();
    let address = place.address.clone();
    let daemon = spawn(move || {
        let mut peer = place.accept();
        peer.grant(&["register"]);
        peer.hear();
        drop(peer);
        let mut peer = place.accept();
        peer.refuse("name_taken");
        // However long it takes until then, it has no name.
        while peer.refuse("name_taken").message_type() != "ping" {}
        peer.refuse("name_taken");
        peer.grant(&["register"]);
        let ask = peer.hear();
        peer.reply(&ask, "\"a\"", "\"n\":1");
        peer
    });
    let handle = connect(&address, WhileAway::Wait);
    handle.register("me").wait().expect("registered");
    let mut changes = part(&handle);
    // It waits for the connection, and then has lost its name.
    let waiting = call(&handle, "0");
    assert!(matches!(next(&mut changes), Change::NameLost { node_id, .. } if node_id == "me"));
    assert!(matches!(next(&mut changes), Change::Restored { .. }));
    assert!(matches!(waiting.wait(), Err(Error::NameLost { node_id }) if node_id == "me"));
    assert!(matches!(handle.send("a", ""), Err(Error::NameLost { .. })));
    // To the daemon alone no name is needed.
    drop(handle.ping());
    assert!(matches!(next(&mut changes), Change::NameRegained { node_id } if node_id == "me"));
    assert_eq!(n(call(&handle, "1").wait()), 1);
    drop(daemon.join().expect("the daemon"));
}

#[test]
fn a_daemon_that_comes_back_and_goes_at_once_is_tried_again() {
    let place = Place::new();
    let address = place.address.clone();
    let daemon = spawn(move || {
        place.accept().hear();
        // The first says nothing, the second goes while it is told what was held.
        drop(place.listener.accept().expect("a connection"));
        let mut peer = place.accept();
        assert_eq!(peer.hear().message_type(), "subscribe");
        drop(peer);
        let mut peer = place.accept();
        peer.grant(&["subscribe"]);
        let ask = peer.hear();
        peer.reply(&ask, "\"a\"", "\"n\":1");
        peer
    });
    let handle = connect(&address, WhileAway::Wait);
    let mut changes = part(&handle);
    // It is held from now on, and told to the daemon by what waits.
    let queue = queue::Queue::new(1000, |count| Arrival::Missed(Some(count)));
    handle.shared().lock().holdings.subscribe("t", None, &queue);
    assert_eq!(n(call(&handle, "1").wait()), 1);
    assert!(matches!(next(&mut changes), Change::Restored { tries: 2.. }));
    drop(daemon.join().expect("the daemon"));
}

#[test]
fn the_end_does_not_wait_for_a_way_back() {
    let place = Place::new();
    let address = place.address.clone();
    let daemon = spawn(move || drop(place.accept().hear()));
    let handle = connect(&address, WhileAway::Wait);
    let _changes = part(&handle);
    daemon.join().expect("the daemon");
    let waiting = call(&handle, "");
    let began = std::time::Instant::now();
    drop(handle);
    assert!(matches!(waiting.wait(), Err(Error::Closed { .. })));
    assert!(began.elapsed() < shared::LINGER, "{:?}", began.elapsed());
}
