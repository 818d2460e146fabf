//! Through the daemon's end, its return, and its being stopped.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use telex::client::{Arrival, Change, Error, Presence, Stream};

use crate::daemon::{Daemon, SOON};

fn next<T>(stream: &mut Stream<T>) -> T {
    stream.wait(Some(SOON)).expect("no error").expect("something")
}

#[test]
fn a_daemon_that_was_killed_and_comes_back_is_told_all_again() {
    let mut daemon = Daemon::start(&[]);
    let service = daemon.connect();
    let name = service.register("w-%u").wait().expect("registered");
    service.on("ask", |_| Ok::<_, String>("1"));
    let client = daemon.connect();
    let mut news = client.subscribe("news", None).wait().expect("subscribed");
    let mut nodes = client.monitor("w-*").wait().expect("a monitor");
    assert!(matches!(next(&mut nodes), Presence::Up { node_id, .. } if node_id == name));
    let mut changes = client.changes();
    let mut of_service = service.changes();
    daemon.kill();
    assert!(matches!(next(&mut changes), Change::Lost { .. }));
    // It waits for the daemon.
    let ping = client.ping();
    daemon.start_again();
    assert!(matches!(next(&mut changes), Change::Restored { .. }));
    ping.wait().expect("an answer");
    assert!(matches!(next(&mut of_service), Change::Lost { .. }));
    assert!(matches!(next(&mut of_service), Change::Restored { .. }));
    client.call(&name, "ask", "", SOON).wait().expect("the service has its name again");
    assert!(matches!(next(&mut news), Arrival::Missed(None)));
    service.publish("news", "2").expect("sent");
    assert!(matches!(next(&mut news), Arrival::Message(message) if message.body() == Some("2")));
    // Its connection is another one now.
    let (mut up, mut down) = (0, 0);
    while (up, down) != (1, 1) {
        match next(&mut nodes) {
            Presence::Up { .. } => up += 1,
            Presence::Down { .. } => down += 1,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_name_that_another_connection_took_meanwhile_is_regained() {
    let mut daemon = Daemon::start(&[]);
    let service = daemon.connect();
    let options =
        telex::client::Register { node_id: Some("one".into()), exclusive: Some(true), ..Default::default() };
    service.register_with(&options).wait().expect("registered");
    let mut changes = service.changes();
    daemon.signal(Signal::SIGTERM);
    daemon.kill();
    assert!(matches!(next(&mut changes), Change::Lost { .. }));
    // The handle that comes first has the name; which one that is cannot be known.
    daemon.start_again();
    let other = daemon.connect();
    let taken = other.register("one").wait();
    match next(&mut changes) {
        Change::NameLost { node_id, .. } => {
            assert_eq!(node_id, "one");
            taken.expect("it has the name");
            assert!(matches!(next(&mut changes), Change::Restored { .. }));
            assert!(matches!(service.send("one", ""), Err(Error::NameLost { .. })));
            drop(other);
            assert!(matches!(next(&mut changes), Change::NameRegained { .. }));
        }
        Change::Restored { .. } => assert!(taken.is_err()),
        other => panic!("{other:?}"),
    }
    service.send("one", "").expect("sent");
}

#[test]
fn a_daemon_that_is_stopped_is_not_waited_for() {
    let daemon = Daemon::start(&[]);
    let client = daemon.connect();
    daemon.signal(Signal::SIGSTOP);
    let began = Instant::now();
    let error = client.call("a", "ask", "", Duration::from_millis(100)).wait().expect_err("no answer");
    assert!(matches!(error, Error::GaveUp { .. }), "{error}");
    let mut replies = client.gather("a", "ask", "", Duration::from_millis(100));
    assert!(replies.wait(Some(SOON)).expect("no error").is_none() && replies.is_ended());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    daemon.signal(Signal::SIGCONT);
    client.ping().wait().expect("it goes on");
}
