use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::thread::{JoinHandle, spawn};

use nix::sys::socket::{getsockopt, sockopt::TcpNoDelay};

use super::*;
use crate::client::testing::{Peer, SOON};
use crate::client::{Category, Delivery, Fault, KEPT_BYTES_MAX, Overflow};
use crate::wire::code::Code;

/// A client, and a daemon that does what `daemon` says.
fn pair<T: Send + 'static>(daemon: impl FnOnce(Peer) -> T + Send + 'static) -> (Client, JoinHandle<T>) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let daemon = spawn(move || daemon(Peer::new(theirs)));
    (Client::over(Stream::Unix(ours)).expect("a client"), daemon)
}

fn call(client: &mut Client) -> Result<Message, Error> {
    client.call("a", "ask", "1", SOON)
}

fn body(message: Option<Message>) -> String {
    message.expect("a message").body().expect("a body").to_owned()
}

#[test]
fn messages_that_come_during_a_call_are_kept_in_order() {
    let (mut client, daemon) = pair(|mut peer| {
        let ask = peer.hear();
        peer.signal("1");
        peer.signal("2");
        peer.reply(&ask, "\"a\"", "\"error\":null,\"c\":21");
        peer.signal("3");
        (ask.to().map(str::to_owned), ask.line().contains("\"timeout_ms\":10000"), peer)
    });
    assert_eq!(call(&mut client).expect("a reply").body_value()["c"], 21);
    for expected in ["1", "2", "3"] {
        assert_eq!(body(client.next(Some(SOON)).expect("a message")), expected);
    }
    let (to, has_timeout, _peer) = daemon.join().expect("the daemon");
    assert_eq!((to.as_deref(), has_timeout), (Some("a"), true));
    assert!(client.next(Some(Duration::ZERO)).expect("nothing").is_none());
}

#[test]
fn a_reply_that_comes_late_is_not_taken_for_the_next_one() {
    let (mut client, daemon) = pair(|mut peer| {
        let first = peer.hear();
        let second = peer.hear();
        peer.reply(&first, "\"a\"", "\"n\":1");
        peer.reply(&second, "\"a\"", "\"n\":2");
        peer.reply(&second, "\"b\"", "\"n\":3");
        peer.signal("4");
    });
    let error = client.call("a", "ask", "", Duration::ZERO).expect_err("no answer");
    assert!(error.is(Code::Timeout) && matches!(error, Error::GaveUp { .. }), "{error}");
    assert_eq!(call(&mut client).expect("a reply").body_value()["n"], 2);
    assert_eq!(body(client.next(Some(SOON)).expect("a message")), "4");
    daemon.join().expect("the daemon");
}

#[test]
fn errors_that_answer_a_call() {
    let (mut client, daemon) = pair(|mut peer| {
        let ask = peer.hear();
        peer.reply(&ask, "null", r#""error":"nobody","code":"no_such_node""#);
        let ask = peer.hear();
        peer.reply(&ask, "\"a\"", r#""error":"too hot","code":"denied""#);
        let id = peer.hear().id().expect("an id").text.into_owned();
        peer.say(&format!(
            "{{\"message_type\":\"error\",\"from\":null,\"body\":{{\"error\":\"twice\",\"code\":\"duplicate_id\",\"in_reply_to\":\"{id}\"}}}}\n"
        ));
        let ask = peer.hear();
        peer.reply(&ask, "null", r#""error":"late","code":"timeout""#);
    });
    assert!(call(&mut client).expect_err("refused").is(Code::NoSuchNode));
    let error = call(&mut client).expect_err("refused");
    assert!(!error.is(Code::Denied), "a node's own words are not the daemon's");
    assert_eq!(error.to_string(), "too hot (denied)");
    assert!(call(&mut client).expect_err("refused").is(Code::DuplicateId));
    assert!(call(&mut client).expect_err("refused").is(Code::Timeout));
    daemon.join().expect("the daemon");
}

#[test]
fn the_end_of_the_connection() {
    for (said, last) in
        [("", false), ("{\"message_type\":\"sig", false), ("{\"message_type\":\"signal\"}", true)]
    {
        let (mut client, daemon) = pair(move |mut peer| {
            peer.hear();
            peer.say(said);
        });
        assert!(matches!(call(&mut client), Err(Error::Closed { .. })), "{said}");
        assert_eq!(matches!(client.next(None), Ok(Some(_))), last, "{said}");
        assert!(matches!(client.next(None), Err(Error::Closed { .. })));
        daemon.join().expect("the daemon");
        assert!(matches!(client.send("a", ""), Err(Error::Closed { .. })));
    }
}

#[test]
fn a_timeout_in_the_middle_of_a_line_loses_nothing() {
    let (mut client, daemon) = pair(|mut peer| {
        peer.say("{\"message_type\":\"signal\",");
        peer.hear();
        for byte in "\"body\":\"äöü\"}\r\n\n{\"message_type\":\"signal\",\"body\":2}\n".bytes() {
            peer.0.get_mut().write_all(&[byte]).expect("writing");
        }
    });
    assert!(client.next(Some(Duration::from_millis(1))).expect("in time").is_none());
    client.send("a", "").expect("sent");
    assert_eq!(body(client.next(Some(SOON)).expect("a message")), "\"äöü\"");
    assert_eq!(body(client.next(None).expect("a message")), "2");
    daemon.join().expect("the daemon");
}

#[test]
fn what_is_not_the_protocol_is_told_and_passed() {
    let (mut client, daemon) = pair(|mut peer| {
        peer.say("HTTP/1.1 400 Bad Request\r\n");
        peer.signal("1");
    });
    let error = client.next(Some(SOON)).expect_err("no message");
    assert!(matches!(&error, Error::Fault(Fault::Foreign { .. })), "{error}");
    assert_eq!(body(client.next(Some(SOON)).expect("a message")), "1");
    daemon.join().expect("the daemon");
}

#[test]
fn requests_are_replied_to() {
    let (mut client, daemon) = pair(|mut peer| {
        peer.say("{\"message_id\":1,\"message_type\":\"ask\",\"from\":\":9\"}\n");
        let reply = peer.hear();
        let error = peer.hear();
        (reply, error)
    });
    let ask = client.next(Some(SOON)).expect("in time").expect("a request");
    client.reply(&ask, r#"{"c":1}"#).expect("sent");
    client.reply_error(&ask, "no \"c\"").expect("sent");
    let (reply, error) = daemon.join().expect("the daemon");
    assert_eq!((reply.to(), reply.body()), (Some(":9"), Some(r#"{"in_reply_to":1,"error":null,"c":1}"#)));
    assert_eq!(error.body(), Some(r#"{"in_reply_to":1,"error":"no \"c\""}"#));
}

#[test]
fn registering_and_subscribing() {
    let (mut client, daemon) = pair(|mut peer| {
        let plain = peer.hear();
        peer.reply(&plain, "null", r#""error":null,"node_id":"w-box""#);
        let full = peer.hear();
        peer.reply(&full, "null", r#""error":null"#);
        let subscribe = peer.hear();
        peer.reply(&subscribe, "null", r#""error":null"#);
        [plain, full, subscribe].map(|message| message.body().expect("a body").to_owned())
    });
    assert_eq!(client.register("w-%n").expect("registered"), "w-box");
    let options = Register {
        node_id: Some("a\"b".into()),
        delivery: Some(Delivery::One),
        exclusive: Some(false),
        replace: true,
        credentials: Some(true),
        overflow: Some(Overflow::Fail),
        endpoints: Some(vec!["unix:/x".into()]),
        meta: Some("{}"),
    };
    assert_eq!(client.register_with(&options).expect("registered"), "a\"b");
    client.subscribe("a.>", Some("g")).expect("subscribed");
    let [plain, full, subscribe] = daemon.join().expect("the daemon");
    assert_eq!(plain, r#"{"node_id":"w-%n"}"#);
    assert_eq!(
        full,
        r#"{"node_id":"a\"b","delivery":"one","exclusive":false,"replace":true,"credentials":true,"overflow":"fail","endpoints":["unix:/x"],"meta":{}}"#
    );
    assert_eq!(subscribe, r#"{"topic":"a.>","group":"g"}"#);
}

#[test]
fn two_who_write_to_each_other_do_not_wait_forever() {
    // Far more than the sockets hold, said by a daemon that reads nothing before all of it is taken.
    const LINES: usize = 200;
    let long = format!("\"{}\"", "x".repeat(20_000));
    let theirs = long.clone();
    let (mut client, daemon) = pair(move |mut peer| {
        for _ in 0..LINES {
            peer.signal(&theirs);
        }
        (0..LINES).map(|_| peer.hear().body().map_or(0, str::len)).sum::<usize>()
    });
    for _ in 0..LINES {
        client.send("a", &long).expect("sent");
    }
    assert_eq!(daemon.join().expect("the daemon"), LINES * long.len());
    for _ in 0..LINES {
        assert_eq!(body(client.next(Some(SOON)).expect("a message")).len(), long.len());
    }
}

#[test]
fn too_much_that_nobody_takes_is_an_error_and_no_loss() {
    let line = format!("\"{}\"", "x".repeat(1 << 20));
    let count = KEPT_BYTES_MAX / line.len() + 2;
    let (mut client, daemon) = pair(move |mut peer| {
        peer.hear();
        for _ in 0..count {
            peer.signal(&line);
        }
        let ask = peer.hear();
        peer.reply(&ask, "\"a\"", "\"n\":2");
    });
    assert!(matches!(call(&mut client), Err(Error::KeptFull)));
    assert!(matches!(call(&mut client), Err(Error::KeptFull)), "and the daemon hears nothing of it");
    for _ in 0..count {
        assert!(client.next(Some(SOON)).expect("in time").is_some());
    }
    assert_eq!(call(&mut client).expect("a reply").body_value()["n"], 2);
    daemon.join().expect("the daemon");
}

#[test]
fn what_cannot_be_sent_leaves_no_trace() {
    let (mut client, daemon) = pair(|mut peer| peer.hear());
    assert!(matches!(client.send("a", "{"), Err(Error::Unsendable(Unsendable::BadBody { .. }))));
    client.publish("a.b", "7").expect("sent");
    let heard = daemon.join().expect("the daemon");
    assert_eq!((heard.topic(), heard.category()), (Some("a.b"), Category::Signal));
}

#[test]
fn dials_every_kind_of_address() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("s");
    let name = format!("telex-test-{}", unique::prefix());
    let unix = UnixListener::bind(&path).expect("a listener");
    let hidden = SocketAddr::from_abstract_name(&name).and_then(|name| UnixListener::bind_addr(&name));
    let hidden = hidden.expect("a listener");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = tcp.local_addr().expect("an address").port();
    let mut clients = Vec::new();
    // The host has an IPv6 address too where the resolver says so, and nobody listens there.
    for address in [
        format!("unix:{}", path.display()),
        format!("unix:@{name}"),
        format!("tcp:127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("*:{port}"),
    ] {
        let address = Address::parse(&address).expect(&address);
        let mut client = Client::connect(&address).expect("a connection");
        client.send("a", "1").expect("sent");
        if let Address::Tcp(..) = address {
            assert!(getsockopt(&client, TcpNoDelay).expect("an option"));
        }
        clients.push(client);
    }
    drop((unix, hidden, tcp));
    let error = Client::connect(&Address::Unix(path)).expect_err("nobody there");
    assert!(matches!(error, Error::Connect { .. }), "{error}");
}

#[test]
fn prefixes_differ() {
    assert_ne!(unique::prefix(), unique::prefix());
    assert_eq!(unique::prefix().len(), 16);
}

#[test]
fn a_line_that_finds_no_room_is_finished_later() {
    let (go, wait) = std::sync::mpsc::channel();
    let (mut client, daemon) = pair(move |mut peer| {
        wait.recv().expect("a word");
        let long = peer.hear();
        peer.signal("1");
        let short = peer.hear();
        (long.body().map(str::len), short.body().map(str::to_owned))
    });
    // More than the socket holds.
    let long = format!("\"{}\"", "x".repeat(1_000_000));
    let begun = Instant::now();
    let error = client.call("a", "ask", &long, Duration::ZERO).expect_err("no answer");
    assert!(matches!(error, Error::GaveUp { .. }) && begun.elapsed() < SOON, "{error}");
    go.send(()).expect("a daemon");
    assert_eq!(body(client.next(None).expect("a message")), "1");
    client.send("a", "2").expect("sent");
    assert_eq!(daemon.join().expect("the daemon"), (Some(long.len()), Some("2".to_owned())));
}

/// Far more than is kept, said by a daemon that reads nothing meanwhile.
fn flood(peer: &mut Peer) {
    let line = format!("\"{}\"", "x".repeat(1 << 20));
    for _ in 0..KEPT_BYTES_MAX / line.len() + 2 {
        peer.signal(&line);
    }
}

/// A body that is more than a socket holds.
fn long_body() -> String {
    format!("\"{}\"", "x".repeat(1_000_000))
}

#[test]
fn what_was_sent_is_not_lost_with_the_client() {
    let (mut client, daemon) = pair(|mut peer| {
        flood(&mut peer);
        peer.hear().body().map(str::len)
    });
    client.send("a", &long_body()).expect("sent");
    drop(client);
    assert_eq!(daemon.join().expect("the daemon"), Some(long_body().len()));
}

#[test]
fn what_found_no_room_at_all_was_not_sent() {
    let (go, wait) = std::sync::mpsc::channel();
    let (mut client, daemon) = pair(move |mut peer| {
        wait.recv().expect("a word");
        flood(&mut peer);
        let mut rest = String::new();
        peer.0.read_to_string(&mut rest).expect("the end");
        rest.lines().map(str::len).collect::<Vec<_>>()
    });
    let error = client.call("a", "ask", &long_body(), Duration::ZERO).expect_err("no answer");
    assert!(matches!(error, Error::GaveUp { .. }), "{error}");
    go.send(()).expect("a daemon");
    assert!(matches!(client.send("a", "2"), Err(Error::KeptFull)));
    drop(client);
    let lines = daemon.join().expect("the daemon");
    assert!(matches!(lines[..], [length] if length > long_body().len()), "{lines:?}");
}

#[test]
fn a_call_that_found_no_room_at_all_was_not_made() {
    let (go, wait) = std::sync::mpsc::channel();
    let (mut client, daemon) = pair(move |mut peer| {
        wait.recv().expect("a word");
        peer.hear();
        peer.hear().body().map(str::to_owned)
    });
    for body in [&*long_body(), "2"] {
        let error = client.call("a", "ask", body, Duration::ZERO).expect_err("no answer");
        assert!(matches!(error, Error::GaveUp { .. }), "{error}");
    }
    go.send(()).expect("a daemon");
    client.send("a", "3").expect("sent");
    assert_eq!(daemon.join().expect("the daemon").as_deref(), Some("3"));
}

#[test]
fn one_message_is_kept_however_long() {
    let long = format!("\"{}\"", "x".repeat(KEPT_BYTES_MAX));
    let (mut client, daemon) = pair(move |mut peer| {
        let ask = peer.hear();
        peer.signal(&long);
        peer.reply(&ask, "\"a\"", "\"n\":1");
    });
    assert_eq!(call(&mut client).expect("a reply").body_value()["n"], 1);
    assert!(body(client.next(Some(SOON)).expect("a message")).len() > KEPT_BYTES_MAX);
    daemon.join().expect("the daemon");
}

#[test]
fn what_is_not_the_protocol_is_no_fault_of_what_is_sent() {
    let (mut client, daemon) = pair(|mut peer| {
        peer.say("220 smtp.example ready\n");
        // Not taken before the line above is.
        peer.signal(&long_body());
        peer.hear().body().map(str::len)
    });
    client.send("a", &long_body()).expect("sent");
    assert_eq!(daemon.join().expect("the daemon"), Some(long_body().len()));
    assert!(matches!(client.next(Some(SOON)), Err(Error::Fault(Fault::Foreign { .. }))));
    assert_eq!(body(client.next(Some(SOON)).expect("a message")), long_body());
}

#[test]
fn what_came_before_the_end_is_had_also_with_a_line_half_written() {
    let (mut client, daemon) = pair(|mut peer| peer.signal("1"));
    let error = client.call("a", "ask", &long_body(), Duration::ZERO).expect_err("no answer");
    daemon.join().expect("the daemon");
    assert!(matches!(error, Error::GaveUp { .. } | Error::Closed { .. }), "{error}");
    assert_eq!(body(client.next(Some(SOON)).expect("a message")), "1");
    assert!(matches!(client.next(Some(SOON)), Err(Error::Closed { .. })));
}

#[test]
fn a_tcp_socket_is_not_closed_on_what_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address =
        Address::parse(&listener.local_addr().expect("an address").to_string()).expect("an address");
    let (go, wait) = std::sync::mpsc::channel();
    let daemon = spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.write_all(b"{\"message_type\":\"signal\"}\n").expect("writing");
        wait.recv().expect("a word");
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).map(|_| heard.len())
    });
    let mut client = Client::connect(&address).expect("a connection");
    client.send("a", &long_body()).expect("sent");
    go.send(()).expect("a daemon");
    drop(client);
    assert!(daemon.join().expect("the daemon").is_ok_and(|bytes| bytes > long_body().len()));
}

#[test]
fn the_longest_line_is_what_the_daemon_says() {
    let (mut client, daemon) = pair(|mut peer| {
        for most in [4 << 20, 2 << 20] {
            let ask = peer.hear();
            assert_eq!((ask.message_type(), ask.to()), ("whoami", None));
            peer.reply(&ask, "null", &format!("\"daemon\":{{\"limits\":{{\"max_line_bytes\":{most}}}}}"));
            if most == 4 << 20 {
                assert_eq!(peer.hear().body().map(str::len), Some((2 << 20) + 2));
            }
        }
        let ask = peer.hear();
        peer.reply(&ask, "null", r#""error":"no","code":"denied""#);
    });
    let body = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
    client.send("a", &body(2 << 20)).expect("sent");
    for _ in 0..2 {
        let refused = client.send("a", &body(4 << 20));
        assert!(matches!(refused, Err(Error::Unsendable(Unsendable::LineTooLong { .. }))), "{refused:?}");
    }
    daemon.join().expect("the daemon");
}
