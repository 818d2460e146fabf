//! Bounds: how many requests are open, how much is kept, how long is waited.

use std::collections::HashSet;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::time::Instant;

use nix::sys::socket::{Backlog, listen};

use super::*;
use crate::client::{Arrival, Change, Client};
use crate::wire::code::Code;

/// A body of a megabyte.
fn megabyte() -> String {
    format!("\"{}\"", "x".repeat(1_000_000))
}

/// Answers `whoami` with a bound.
fn bound(peer: &mut Peer, bound: usize) {
    let whoami = peer.hear();
    peer.reply(
        &whoami,
        "null",
        &format!("\"error\":null,\"daemon\":{{\"limits\":{{\"max_requests\":{bound}}}}}"),
    );
}

/// Has the handle learn the bound, as connecting does.
fn learn(handle: &Handle) {
    let whoami = handle.call(crate::client::To::Daemon, "whoami", "", SOON).wait().expect("limits");
    handle.shared().lock().learn_limits(&whoami);
}

#[test]
fn a_call_that_waits_is_sent_when_replies_are_collected_no_more() {
    let (go, wait) = std::sync::mpsc::channel();
    let (handle, daemon) = pair(move |mut peer| {
        bound(&mut peer, 1);
        let gathered = peer.hear();
        wait.recv_timeout(SOON).expect("a call that waits");
        // Long before the time of the collection is over.
        peer.reply(&gathered, "null", "\"error\":\"no node\",\"code\":\"no_such_node\"");
        let waiting = peer.hear();
        peer.reply(&waiting, "\"a\"", "\"n\":1");
        peer
    });
    learn(&handle);
    let mut replies = handle.gather("a", "ask", "", 2 * SOON);
    let call = call(&handle, "");
    go.send(()).expect("a daemon");
    assert!(matches!(block_on(replies.next()), Some(Err(error)) if error.is(Code::NoSuchNode)));
    assert_eq!(n(call.wait()), 1);
    drop(daemon.join().expect("the daemon"));
}

#[test]
fn no_more_requests_are_open_than_the_daemon_lets_be() {
    const CALLS: usize = 50;
    let (handle, daemon) = pair(|mut peer| {
        bound(&mut peer, 3);
        let mut open = Vec::new();
        let mut at_once = 0;
        for _ in 0..CALLS {
            // What the bound lets through comes by itself, and nothing more does.
            while let Some(ask) = peer.hear_or_nothing(Duration::from_millis(20)) {
                open.push(ask);
            }
            at_once = at_once.max(open.len());
            let ask: Message = open.remove(0);
            let n = ask.body().expect("a body").to_owned();
            peer.reply(&ask, "\"a\"", &format!("\"n\":{n}"));
        }
        assert!(peer.hear_or_nothing(Duration::from_millis(50)).is_none());
        at_once
    });
    learn(&handle);
    let answers: Vec<_> = (0..CALLS).map(|n| call(&handle, &n.to_string())).collect();
    for (expected, answer) in answers.into_iter().enumerate() {
        assert_eq!(n(answer.wait()), expected as i64);
    }
    assert_eq!(daemon.join().expect("the daemon"), 3);
}

/// The daemon takes fewer than it has told, as after a reload.
#[test]
fn a_request_too_many_is_put_back_and_the_bound_lowered() {
    const CALLS: usize = 40;
    let (handle, daemon) = pair(|mut peer| {
        bound(&mut peer, 10);
        let (mut open, mut refused) = (Vec::new(), 0);
        let mut answered = HashSet::new();
        while answered.len() < CALLS {
            let Some(ask) = peer.hear_or_nothing(Duration::from_millis(20)) else {
                let ask: Message = open.remove(0);
                let n = ask.body().expect("a body").to_owned();
                peer.reply(&ask, "\"a\"", &format!("\"n\":{n}"));
                assert!(answered.insert(n), "it was carried out twice");
                continue;
            };
            match open.len() < 4 {
                true => open.push(ask),
                false => {
                    refused += 1;
                    peer.reply(&ask, "null", r#""error":"no","code":"too_many_requests""#);
                }
            }
        }
        refused
    });
    learn(&handle);
    let answers: Vec<_> = (0..CALLS).map(|n| call(&handle, &n.to_string())).collect();
    for (expected, answer) in answers.into_iter().enumerate() {
        assert_eq!(n(answer.wait()), expected as i64);
    }
    // Six at first, and one now and then to see whether there is more room.
    let refused = daemon.join().expect("the daemon");
    assert!((6..20).contains(&refused), "{refused}");
}

/// So it is with one whose answers are collected.
#[test]
fn a_gathering_too_many_is_put_back() {
    let (handle, _daemon) = pair(|mut peer| {
        let (ask, gather) = (peer.hear(), peer.hear());
        peer.reply(&gather, "null", r#""error":"no","code":"too_many_requests""#);
        assert!(peer.hear_or_nothing(Duration::from_millis(50)).is_none(), "it waits for room");
        peer.reply(&ask, "\"a\"", "\"n\":1");
        let gather = peer.hear();
        peer.reply(&gather, "\"a\"", "\"n\":2");
        peer
    });
    let answer = call(&handle, "");
    let mut replies = handle.gather("a", "ask", "", SOON);
    assert_eq!(n(answer.wait()), 1);
    assert_eq!(n(replies.wait(Some(SOON)).expect("no error").expect("a reply")), 2);
}

#[test]
fn a_request_that_is_too_many_by_itself_is_told() {
    let (handle, _daemon) = pair(|mut peer| {
        peer.refuse("too_many_requests");
        peer
    });
    let error = call(&handle, "").wait().expect_err("refused");
    assert!(error.is(crate::wire::code::Code::TooManyRequests), "{error}");
}

#[test]
fn a_daemon_that_stops_reading_is_not_waited_for() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (handle, daemon) = pair(move |mut peer| {
        // Until the test is over.
        let _ = wait.recv();
        std::iter::from_fn(|| peer.hear_or_end()).count()
    });
    let long = megabyte();
    let mut sent = 0;
    let error = loop {
        match handle.send("a", &long) {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 10, "what is kept has no bound");
    };
    assert!(matches!(error, Error::GaveUp { .. }), "{error}");
    // It waits for its turn, and its time goes by.
    let error = handle.call("a", "ask", "", Duration::from_millis(10)).wait().expect_err("no answer");
    assert!(matches!(error, Error::GaveUp { .. }), "{error}");
    drop(go);
    drop(handle);
    let heard = daemon.join().expect("the daemon");
    assert_eq!(heard, sent, "all that was sent has come, and the call has not");
}

#[test]
fn the_end_does_not_wait_for_a_daemon_that_stops_reading() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (handle, daemon) = pair(move |peer| {
        let _ = wait.recv();
        drop(peer);
    });
    handle.send("a", &megabyte()).expect("sent");
    let began = Instant::now();
    drop(handle);
    assert!(began.elapsed() < shared::LINGER + Duration::from_secs(1), "{:?}", began.elapsed());
    drop(go);
    daemon.join().expect("the daemon");
}

#[test]
fn what_a_subscription_has_no_room_for_is_counted_in_its_place() {
    let queue = queue::Queue::new(1000, |count| Arrival::Missed(Some(count)));
    let message = |n: usize| {
        let line = format!("{{\"message_type\":\"signal\",\"topic\":\"t\",\"body\":{n}}}");
        Arrival::Message(Message::read(line.into()).expect("a message"))
    };
    let mut told = Vec::new();
    let mut next = |queue: &queue::Queue<Arrival>| match queue.take() {
        queue::Taken::Item(Arrival::Message(message)) => told.push(message.body_value()["n"].is_null()),
        queue::Taken::Item(Arrival::Missed(count)) => told.push(count == Some(3)),
        _ => told.push(false),
    };
    for n in 0..5 {
        queue.push(message(n), 500);
    }
    // There was room for two; of five, three are missing, and what comes then is behind the word on it.
    next(&queue);
    next(&queue);
    queue.push(message(5), 500);
    next(&queue);
    next(&queue);
    next(&queue);
    assert_eq!(told, [true, true, true, true, false]);
}

#[test]
fn a_line_of_100_megabytes_is_survived() {
    let (handle, _daemon) = pair(|mut peer| {
        peer.0.get_mut().set_write_timeout(Some(6 * SOON)).expect("a time");
        let ask = peer.hear();
        let chunk = vec![b'x'; 10 << 20];
        for _ in 0..14 {
            peer.0.get_mut().write_all(&chunk).expect("writing");
        }
        peer.say("\n");
        peer.say("{\"message_type\":\"signal\",\"from\":\"x\",\"body\":\"");
        for _ in 0..10 {
            peer.0.get_mut().write_all(&chunk).expect("writing");
        }
        peer.say("\"}\n");
        peer.reply(&ask, "\"a\"", "\"n\":1");
        peer
    });
    let mut inbox = handle.inbox();
    // The first is longer than any daemon's, and no message; it is skipped.
    assert_eq!(n(handle.call("a", "ask", "", 6 * SOON).wait()), 1);
    let message = inbox.wait(Some(SOON)).expect("no error").and_then(Arrival::message).expect("a message");
    assert_eq!(message.body().map(str::len), Some((100 << 20) + 2));
}

#[test]
fn connecting_ends_at_its_deadline() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("telex.sock");
    let listener = UnixListener::bind(&path).expect("a listener");
    listen(&listener, Backlog::new(0).expect("a number")).expect("a short queue");
    let address = Address::Unix(path.clone());
    let short = Duration::from_millis(200);
    // It is taken by the kernel, and never answers.
    let began = Instant::now();
    let error = Handle::builder().connect_timeout(short).connect(&address).expect_err("no daemon");
    assert!(matches!(error, Error::GaveUp { .. }), "{error}");
    let _waiting: Vec<_> = (0..8).map_while(|_| Client::connect_within(&address, short).ok()).collect();
    let error = Client::connect_within(&address, short).expect_err("no daemon");
    assert!(error.to_string().contains("it hangs, or is stopped"), "{error}");
    let error = Handle::builder().connect_timeout(short).connect(&address).expect_err("no daemon");
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    // As soon as there is room an attempt that was left is gone on with.
    spawn(move || listener.incoming().map_while(Result::ok).collect::<Vec<_>>());
    Client::connect_within(&address, SOON).expect("a connection");
}

#[test]
fn no_time_is_too_long() {
    let place = Place::new();
    let address = place.address.clone();
    let daemon = spawn(move || {
        drop(place.accept());
        let mut peer = place.accept();
        let ping = peer.grant(&["ping"]);
        // Nothing of what is sent is read.
        drop(ping);
        std::thread::sleep(Duration::from_millis(200));
    });
    let builder = Handle::builder().connect_timeout(Duration::MAX).send_timeout(Duration::MAX);
    let handle = builder.connect(&address).expect("a connection");
    let mut changes = handle.changes();
    while !matches!(changes.wait(Some(SOON)).expect("no error"), Some(Change::Restored { .. })) {}
    handle.ping().wait().expect("an answer");
    let sender = spawn({
        let handle = handle.clone();
        move || while handle.send("a", &megabyte()).is_ok() {}
    });
    daemon.join().expect("the daemon");
    handle.close();
    sender.join().expect("an error");
    while changes.wait(Some(SOON)).expect("no error").is_some() {}
    assert!(changes.is_ended());
}

#[test]
fn no_delay_is_too_long() {
    let place = Place::new();
    let address = place.address.clone();
    let daemon = spawn(move || drop(place.accept().hear()));
    let reconnect =
        Reconnect { first_delay: Duration::MAX, longest_delay: Duration::MAX, ..Reconnect::default() };
    let builder = Handle::builder().connect_timeout(SOON).reconnect(reconnect);
    let handle = builder.connect(&address).expect("a connection");
    let mut changes = handle.changes();
    handle.send("a", "").expect("sent");
    daemon.join().expect("the daemon");
    assert!(matches!(changes.wait(Some(SOON)).expect("no error"), Some(Change::Lost { .. })));
    handle.close();
    while changes.wait(Some(SOON)).expect("no error").is_some() {}
    assert!(changes.is_ended());
}
