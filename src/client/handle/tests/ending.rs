//! Subscriptions, monitors and names that are given up, and what is still on its way for them.

use std::sync::mpsc::channel;

use super::*;
use crate::client::Arrival;
use crate::wire::code::Code;

fn topic(n: u32) -> String {
    format!("{{\"message_type\":\"signal\",\"from\":\"x\",\"topic\":\"a.b\",\"body\":{n}}}\n")
}

fn next<T>(stream: &mut Stream<T>) -> Option<T> {
    stream.wait(Some(SOON)).expect("no error")
}

fn body(arrival: Option<Arrival>) -> String {
    arrival.and_then(Arrival::message).expect("a message").body().expect("a body").to_owned()
}

#[test]
fn what_had_come_stays_and_what_comes_later_is_nobodys() {
    let (handle, _daemon) = pair(|mut peer| {
        peer.grant(&["subscribe", "subscribe"]);
        peer.say(&topic(1));
        peer.grant(&["ping"]);
        let unsubscribe = peer.hear();
        assert_eq!(unsubscribe.body(), Some(r#"{"topic":"a.>"}"#));
        peer.say(&topic(2));
        peer.reply(&unsubscribe, "null", "\"error\":null");
        peer.signal("3");
        peer
    });
    let mut inbox = handle.inbox();
    let mut twins = [(); 2].map(|()| handle.subscribe("a.>", None).wait().expect("subscribed"));
    handle.ping().wait().expect("an answer");
    handle.unsubscribe("a.>", None).wait().expect("unsubscribed");
    for twin in &mut twins {
        assert_eq!(body(next(twin)), "1");
        assert!(next(twin).is_none() && twin.is_ended());
    }
    assert_eq!(body(next(&mut inbox)), "3", "of what was on its way the inbox hears nothing");
}

#[test]
fn a_dropped_stream_takes_what_is_on_its_way_along() {
    let (handle, _daemon) = pair(|mut peer| {
        peer.grant(&["subscribe"]);
        let unsubscribe = peer.hear();
        peer.say(&topic(1));
        peer.reply(&unsubscribe, "null", "\"error\":null");
        peer.signal("2");
        peer.grant(&["subscribe"]);
        peer.say(&topic(3));
        peer
    });
    let mut inbox = handle.inbox();
    drop(handle.subscribe("a.b", None).wait().expect("subscribed"));
    assert_eq!(body(next(&mut inbox)), "2");
    let mut again = handle.subscribe("a.b", None).wait().expect("subscribed");
    assert_eq!(body(next(&mut again)), "3");
}

#[test]
fn a_monitor_ends_and_is_not_restored() {
    let place = Place::new();
    let address = place.address.clone();
    let daemon = spawn(move || {
        let mut peer = place.accept();
        peer.grant(&["monitor", "unmonitor", "monitor"]);
        // It is lost before it is answered.
        peer.hear();
        drop(peer);
        let mut peer = place.accept();
        peer.grant(&["ping"]);
        peer
    });
    let builder = Handle::builder().connect_timeout(SOON);
    let handle = builder.connect(&address).expect("a connection");
    let mut one = handle.monitor("w*").wait().expect("monitored");
    handle.unmonitor("w*").wait().expect("unmonitored");
    assert!(next(&mut one).is_none() && one.is_ended());
    let mut other = handle.monitor("w*").wait().expect("monitored");
    assert!(matches!(handle.unmonitor("w*").wait(), Err(Error::Lost { .. })));
    assert!(next(&mut other).is_none() && other.is_ended());
    handle.ping().wait().expect("an answer");
    daemon.join().expect("the daemon");
}

#[test]
fn a_lost_name_that_is_given_up_is_not_tried_again() {
    let place = Place::new();
    let address = place.address.clone();
    let (tell, told) = channel();
    let daemon = spawn(move || {
        let mut peer = place.accept();
        peer.grant(&["register"]);
        drop(peer);
        let mut peer = place.accept();
        peer.refuse("name_taken");
        let unregister = peer.hear();
        peer.reply(&unregister, "null", "\"error\":\"no\",\"code\":\"not_yours\"");
        tell.send(()).expect("told");
        peer.hear_or_nothing(Duration::from_millis(1500)).map(|line| line.line().to_owned())
    });
    let builder = Handle::builder().connect_timeout(SOON).register("w");
    let handle = builder.connect(&address).expect("a connection");
    let mut changes = handle.changes();
    while !matches!(next(&mut changes), Some(Change::Restored { .. })) {}
    assert!(matches!(handle.send("a", ""), Err(Error::NameLost { .. })));
    assert!(handle.unregister("w").wait().expect_err("not ours").is(Code::NotYours));
    told.recv_timeout(SOON).expect("a word");
    assert_eq!(daemon.join().expect("the daemon"), None);
    handle.send("a", "").expect("no name is lost");
}

#[test]
fn each_end_ends_its_own_subscription_alone() {
    let (handle, _daemon) = pair(|mut peer| {
        let asked = [(); 4].map(|()| peer.hear());
        for request in &asked[..3] {
            peer.reply(request, "null", "\"error\":null");
        }
        peer.say(&topic(1));
        peer.reply(&asked[3], "null", "\"error\":null");
        peer.signal("2");
        peer
    });
    let mut inbox = handle.inbox();
    let twice = [(); 2].map(|()| (handle.subscribe("a.b", None), handle.unsubscribe("a.b", None)));
    assert_eq!(body(next(&mut inbox)), "2", "what the second still gets is not the inbox's");
    for (subscribed, unsubscribed) in twice {
        assert!(subscribed.wait().expect("subscribed").is_ended());
        unsubscribed.wait().expect("unsubscribed");
    }
}

#[test]
fn an_end_that_is_refused_leaves_nothing_behind() {
    let (handle, _daemon) = pair(|mut peer| {
        for _ in 0..2 {
            peer.grant(&["subscribe"]);
            assert_eq!(peer.refuse("denied").message_type(), "unsubscribe");
            peer.say(&topic(1));
        }
        peer
    });
    let mut inbox = handle.inbox();
    let ended = handle.subscribe("a.b", None).wait().expect("subscribed");
    assert!(handle.unsubscribe("a.b", None).wait().expect_err("refused").is(Code::Denied));
    assert_eq!(body(next(&mut inbox)), "1");
    drop(ended);
    drop(handle.subscribe("a.b", None).wait().expect("subscribed"));
    assert_eq!(body(next(&mut inbox)), "1");
}

#[test]
fn an_end_that_is_not_answered_leaves_nothing_behind() {
    let mut driven = up();
    let mut inbox = driven.handle().inbox();
    drop(driven.handle().subscribe("a.b", None));
    let mut unsubscribed = driven.handle().unsubscribe("a.b", None);
    written(&mut driven);
    driven.received(topic(1).as_bytes()).expect("a message");
    driven.set_time(Duration::from_secs(40));
    driven.received(topic(2).as_bytes()).expect("a message");
    assert!(matches!(poll(&mut unsubscribed), Some(Err(Error::GaveUp { .. }))));
    assert_eq!(body(next(&mut inbox)), "2");
}
