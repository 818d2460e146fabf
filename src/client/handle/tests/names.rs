//! Names that another connection took, and how they are tried again.

use super::*;
use crate::client::Change;

/// More than the second after which a lost name is tried again, and much less than anything is waited for.
const A_TURN: Duration = Duration::from_secs(3);

/// A handle that has lost its name, and what its daemon does then, which lets so many requests be open.
fn nameless<T: Send + 'static>(
    bound: usize,
    daemon: impl FnOnce(Peer) -> T + Send + 'static,
) -> (Handle, JoinHandle<T>) {
    let place = Place::new();
    let address = place.address.clone();
    let daemon = spawn(move || {
        let mut peer = place.accept();
        peer.grant(&["register"]);
        // It goes when it is told to.
        peer.hear();
        drop(peer);
        let mut peer = place.accept_with(bound);
        peer.refuse("name_taken");
        daemon(peer)
    });
    let builder = Handle::builder().connect_timeout(3 * SOON).register("w");
    let handle = builder.connect(&address).expect("a connection");
    let mut changes = handle.changes();
    handle.send("a", "").expect("sent");
    while !matches!(changes.wait(Some(SOON)).expect("no error"), Some(Change::Restored { .. })) {}
    (handle, daemon)
}

#[test]
fn a_name_is_tried_every_second_until_it_is_free() {
    let (handle, daemon) = nameless(100, |mut peer| {
        for _ in 0..2 {
            assert_eq!(peer.refuse("name_taken").message_type(), "register");
            assert!(
                peer.hear_or_nothing(Duration::from_millis(500)).is_none(),
                "it is left alone for a while"
            );
        }
        peer.hear_or_nothing(A_TURN).map(|request| request.message_type().to_owned())
    });
    assert_eq!(daemon.join().expect("the daemon").as_deref(), Some("register"));
    drop(handle);
}

#[test]
fn what_waits_is_sent_when_a_try_is_over() {
    let (tell, told) = std::sync::mpsc::channel();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (handle, daemon) = nameless(1, move |mut peer| {
        let request = peer.hear();
        tell.send(()).expect("told");
        wait.recv_timeout(SOON).expect("a word");
        assert!(peer.hear_or_nothing(Duration::from_millis(50)).is_none(), "one at a time");
        peer.reply(&request, "null", "\"error\":\"no\",\"code\":\"name_taken\"");
        let ping = peer.hear_or_nothing(Duration::from_millis(900)).expect("what waits");
        peer.reply(&ping, "null", "\"error\":null");
        (ping.message_type().to_owned(), peer)
    });
    told.recv_timeout(SOON).expect("a try");
    let answer = handle.ping();
    go.send(()).expect("a daemon");
    assert_eq!(daemon.join().expect("the daemon").0, "ping");
    answer.wait().expect("an answer");
}

#[test]
fn what_waits_is_sent_when_a_try_is_not_answered() {
    let mut driven = up();
    let name = driven.handle().register("w");
    answer(&mut driven, r#""error":null,"node_id":"w""#);
    name.wait().expect("registered");
    driven.lost();
    driven.opened();
    answer(&mut driven, r#""error":null,"daemon":{"limits":{"max_requests":1}}"#);
    answer(&mut driven, r#""error":"no","code":"name_taken""#);
    driven.set_time(Duration::from_secs(2));
    assert_eq!(written(&mut driven)[0].message_type(), "register");
    let _answer = driven.handle().ping();
    assert!(written(&mut driven).is_empty(), "one at a time");
    driven.set_time(Duration::from_secs(14));
    assert_eq!(written(&mut driven)[0].message_type(), "ping");
}

/// So it is with any request.
#[test]
fn a_try_that_is_one_too_many_is_put_back() {
    let (handle, daemon) = nameless(100, |mut peer| {
        let ask = peer.hear();
        assert_eq!(peer.refuse("too_many_requests").message_type(), "register");
        assert!(peer.hear_or_nothing(Duration::from_millis(50)).is_none(), "it waits for room");
        peer.reply(&ask, "null", "\"error\":null");
        let again = peer.hear_or_nothing(A_TURN).expect("another try");
        assert_eq!(again.message_type(), "register");
        // Nothing else is open whose end would make room.
        peer.reply(&again, "null", "\"error\":\"no\",\"code\":\"too_many_requests\"");
        peer.hear_or_nothing(A_TURN).map(|request| request.message_type().to_owned())
    });
    handle.ping().wait().expect("an answer");
    assert_eq!(daemon.join().expect("the daemon").as_deref(), Some("register"));
}
