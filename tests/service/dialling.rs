//! From a name to a direct connection.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use telex::client::{Client, Error, Handle, Message, Register, To, Undialled};
use telex::wire::code::Code;

use super::process::Part;
use super::support::{PATIENCE, Telexd, wait_until};
use super::{address, ask, connect, daemon, echo, unix};

fn register(telexd: &Telexd, node_id: &str, endpoints: &[&str]) -> Handle {
    let handle = connect(telexd);
    let endpoints = Some(endpoints.iter().map(|endpoint| (*endpoint).to_owned().into()).collect());
    let terms = Register { node_id: Some(node_id.to_owned().into()), endpoints, ..Register::default() };
    handle.register_with(&terms).wait().expect("a name");
    handle
}

/// What was tried, and why it failed.
fn tried(dialled: Result<Handle, Error>) -> Vec<(String, String)> {
    match dialled {
        Err(Error::Undialled(Undialled::Unreachable { tried, .. })) => tried,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_service_is_reached_over_all_kinds_of_sockets_and_through_the_switch() {
    let telexd = Telexd::start();
    let name = format!("telex-test-{}", std::process::id());
    for endpoint in [unix(telexd.dir(), "svc"), address(&format!("unix:@{name}")), address("127.0.0.1:0")] {
        let service = echo("svc").listen(endpoint).start(&daemon(&telexd)).expect("a service");
        let handle = connect(&telexd);
        let direct = handle.dial("svc").expect("a direct connection");
        assert_eq!(ask(&direct, "svc", "echo", "[1]"), "[1]");
        assert_eq!(ask(&direct, "svc", "from", ""), "\"nobody\"");
        let answer = direct.call(To::Daemon, "echo", "2", PATIENCE).wait().expect("a reply");
        assert_eq!((answer.result(), answer.from()), (Some("2"), Some("svc")));
        direct.ping().wait().expect("a pong");
        assert!(direct.register("me").wait().expect_err("no switch").is(Code::UnknownType));
        assert_eq!(ask(&handle, "svc", "echo", "[3]"), "[3]");
        let me = handle.whoami().wait().expect("an answer").unique_id;
        assert_eq!(ask(&handle, "svc", "from", ""), format!("{me:?}"));
        let mut blocking = Client::connect(&daemon(&telexd)).expect("a connection");
        let mut direct = blocking.dial("svc").expect("a direct connection");
        assert_eq!(direct.call("svc", "echo", "4", PATIENCE).expect("a reply").result(), Some("4"));
        // The answer over the switch would say who asked.
        assert_eq!(blocking.talk("svc", "from", "", PATIENCE).expect("a reply").result(), Some("\"nobody\""));
        assert_eq!(handle.talk("svc", "from", "", PATIENCE).expect("a reply").result(), Some("\"nobody\""));
        drop(service);
    }
}

#[test]
fn both_ways_have_the_same_functions_and_errors() {
    let telexd = Telexd::start();
    let heard = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heard);
    let service = echo("svc").listen(unix(telexd.dir(), "svc")).on_signal(move |signal| {
        count.fetch_add(signal.body_value().as_u64().unwrap_or(1000) as usize, Ordering::Relaxed);
    });
    let service = service.start(&daemon(&telexd)).expect("a service");
    let handle = connect(&telexd);
    let direct = handle.dial("svc").expect("a direct connection");
    for way in [&handle, &direct] {
        let error = |message_type: &str| match way.call("svc", message_type, "", PATIENCE).wait() {
            Err(Error::Node(why)) => why.error().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(error("fail"), "as you wish");
        assert_eq!(error("nonsense"), "this service does not answer \"nonsense\"");
        assert_eq!(error("panic"), "what should answer panicked: at the disco");
        assert_eq!(ask(way, "svc", "echo", "\"well\""), "\"well\"");
        way.send("svc", "1").expect("sent");
    }
    wait_until("both signals", || heard.load(Ordering::Relaxed) == 2);
    drop(service);
    assert_eq!(heard.load(Ordering::Relaxed), 2, "what the daemon says at the end is none");
}

#[test]
fn endpoints_are_tried_in_turn() {
    let telexd = Telexd::start();
    // Left over, taking no connections, another program's, and no address at all.
    let dead = telexd.dir().join("dead");
    drop(UnixListener::bind(&dead).expect("a socket"));
    let name = format!("telex-test-mute-{}", std::process::id());
    let mute = SocketAddr::from_abstract_name(&name).and_then(|name| UnixListener::bind_addr(&name));
    let _mute = mute.expect("a socket");
    let other = echo("other").listen(unix(telexd.dir(), "other")).start(&daemon(&telexd)).expect("a service");
    let alone = echo("svc").listen(unix(telexd.dir(), "svc")).start_alone().expect("a service");
    let (dead, mute) = (format!("unix:{}", dead.display()), format!("unix:@{name}"));
    let (other, good) = (other.addresses()[0].to_string(), alone.addresses()[0].to_string());
    let all = [dead.as_str(), &mute, &telexd.addresses[0], &other, "http://x/", "unix:svc"];
    let bad = register(&telexd, "svc", &all);
    let handle = connect(&telexd);
    let began = Instant::now();
    let second = Duration::from_secs(1);
    let why = tried(Handle::builder().connect_timeout(second).dial(&handle, "svc"));
    assert!(began.elapsed() < 5 * second, "{:?}", began.elapsed());
    assert_eq!(why.iter().map(|(endpoint, _)| endpoint.as_str()).collect::<Vec<_>>(), all);
    for ((_, why), part) in why.iter().zip([
        "refused",
        "did not",
        "another program",
        "another program",
        "is no address",
        "begins",
    ]) {
        assert!(why.contains(part), "{why}");
    }
    drop(bad);
    wait_until("the end of it", || handle.resolve("svc").wait().is_ok_and(|node| node.status == "lost"));
    let _good = register(&telexd, "svc", &[&dead, &other, &good]);
    let direct = handle.dial("svc").expect("the third");
    assert_eq!(ask(&direct, "svc", "echo", "1"), "1");
}

#[test]
fn a_node_that_is_down_is_never_dialled() {
    let telexd = Telexd::start();
    let handle = connect(&telexd);
    let error = handle.dial("svc").expect_err("nobody");
    assert!(matches!(error, Error::NoSuchNode(_)), "{error}");
    let path = telexd.dir().join("watched");
    let listener = UnixListener::bind(&path).expect("a socket");
    listener.set_nonblocking(true).expect("one that does not wait");
    let endpoint = format!("unix:{}", path.display());
    let service = register(&telexd, "svc", &[&endpoint]);
    service.unregister("svc").wait().expect("gone");
    let lost = register(&telexd, "lost", &[&endpoint]);
    drop(lost);
    wait_until("its end", || handle.resolve("lost").wait().is_ok_and(|node| node.status == "lost"));
    for (node_id, wanted) in [("svc", "down"), ("lost", "lost")] {
        let mut blocking = Client::connect(&daemon(&telexd)).expect("a connection");
        let errors = [
            handle.dial(node_id).map(drop),
            handle.talk(node_id, "echo", "", PATIENCE).map(drop),
            blocking.dial(node_id).map(drop),
            blocking.talk(node_id, "echo", "", PATIENCE).map(drop),
        ];
        for error in errors {
            let Err(Error::Undialled(Undialled::NotUp { status, .. })) = &error else { panic!("{error:?}") };
            assert_eq!(status, wanted);
        }
    }
    let waits = listener.accept().map(drop).expect_err("no connection");
    assert_eq!(waits.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn talk_goes_through_the_switch_if_nothing_can_be_dialled() {
    let telexd = Telexd::start();
    let handle = connect(&telexd);
    let _plain = echo("plain").start(&daemon(&telexd)).expect("a service");
    let error = handle.dial("plain").expect_err("it has no endpoints");
    assert!(matches!(error, Error::Undialled(Undialled::NoEndpoints { .. })), "{error}");
    let me = format!("{:?}", handle.whoami().wait().expect("an answer").unique_id);
    assert_eq!(handle.talk("plain", "from", "", PATIENCE).expect("a reply").result(), Some(&*me));
    let hidden =
        echo("hidden").listen(unix(telexd.dir(), "hidden")).start(&daemon(&telexd)).expect("a service");
    std::fs::remove_file(telexd.dir().join("hidden")).expect("removed");
    assert_eq!(handle.talk("hidden", "from", "", PATIENCE).expect("a reply").result(), Some(&*me));
    drop(hidden);
}

#[test]
fn functions_and_handlers_may_dial_and_talk_themselves() {
    let telexd = Telexd::start();
    let path = daemon(&telexd);
    let relay = move |request: &Message| -> Result<String, Error> {
        let handle = Handle::connect(&path)?;
        let first = handle.talk("svc", "echo", request.body().unwrap_or("null"), PATIENCE)?;
        let second = handle.call("svc", "echo", first.result().unwrap_or("null"), PATIENCE).wait()?;
        let third =
            handle.dial("svc")?.call("svc", "echo", second.result().unwrap_or("null"), PATIENCE).wait()?;
        Ok(third.result().unwrap_or("null").to_owned())
    };
    let service = echo("svc").listen(unix(telexd.dir(), "svc")).on("relay", relay);
    let _service = service.start(&daemon(&telexd)).expect("a service");
    let handle = connect(&telexd);
    assert_eq!(ask(&handle.dial("svc").expect("a direct connection"), "svc", "relay", "1"), "1");
    assert_eq!(ask(&handle, "svc", "relay", "2"), "2");
    // On the thread that reads, from a handler.
    let node = connect(&telexd);
    let own = node.downgrade();
    node.on("relay", move |request| {
        let own = own.upgrade().ok_or("it is over")?;
        let body = request.body().unwrap_or("null");
        let talked = own.talk("svc", "echo", body, PATIENCE).map_err(|_| "talk failed")?;
        let direct = own.dial("svc").map_err(|_| "dial failed")?;
        let answer = direct.call("svc", "echo", talked.result().unwrap_or("null"), PATIENCE).wait();
        Ok::<_, &str>(answer.map_err(|_| "call failed")?.result().unwrap_or("null").to_owned())
    });
    node.register("node").wait().expect("a name");
    assert_eq!(ask(&handle, "node", "relay", "3"), "3");
}

#[test]
fn a_service_that_is_killed_in_mid_call_is_an_error_and_nothing_is_sent_twice() {
    let telexd = Telexd::start();
    let handle = connect(&telexd);
    for _ in 0..2 {
        let mut process = Part::Echo.start(&telexd, "svc");
        let direct = handle.dial("svc").expect("a direct connection");
        let answer = direct.call("svc", "sleep", "60000", PATIENCE);
        let through = handle.call("svc", "sleep", "60000", PATIENCE);
        let talker = handle.clone();
        let talk = std::thread::spawn(move || talker.talk("svc", "sleep", "60000", PATIENCE));
        process.expect("sleep");
        process.expect("sleep");
        process.expect("sleep");
        process.kill();
        assert!(matches!(answer.wait(), Err(Error::Lost { .. })));
        assert!(matches!(through.wait(), Err(Error::NodeGone(_))));
        let talked = talk.join().expect("a thread");
        assert!(matches!(talked, Err(Error::Closed { .. } | Error::Io { .. })), "{talked:?}");
        wait_until("its end", || handle.resolve("svc").wait().is_ok_and(|node| node.status == "lost"));
        assert!(matches!(handle.dial("svc"), Err(Error::Undialled(Undialled::NotUp { .. }))));
        // The next one finds the socket file left over, and takes its place.
    }
    let _process = Part::Echo.start(&telexd, "svc");
    assert_eq!(ask(&handle.dial("svc").expect("the new one"), "svc", "echo", "1"), "1");
}

#[test]
fn a_service_that_is_stopped_costs_no_more_than_its_time() {
    let telexd = Telexd::start();
    let handle = connect(&telexd);
    let process = Part::Echo.start(&telexd, "svc");
    let direct = handle.dial("svc").expect("a direct connection");
    process.suspend();
    let began = Instant::now();
    let half = Duration::from_millis(500);
    assert!(direct.call("svc", "echo", "1", half).wait().expect_err("no answer").is(Code::Timeout));
    tried(Handle::builder().connect_timeout(half).dial(&handle, "svc"));
    let error = handle.talk("svc", "echo", "1", 2 * half).expect_err("no answer");
    assert!(error.is(Code::Timeout), "{error}");
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    process.resume();
    assert_eq!(ask(&direct, "svc", "echo", "2"), "2");
}

#[test]
fn what_is_asked_directly_takes_no_longer_than_its_time() {
    let telexd = Telexd::start();
    let (little, much) = (Duration::from_millis(100), Duration::from_millis(900));
    for endpoint in [unix(telexd.dir(), "svc"), address("127.0.0.1:0")] {
        let service = echo("svc").listen(endpoint).start(&daemon(&telexd)).expect("a service");
        let handle = connect(&telexd);
        let mut blocking = Client::connect(&daemon(&telexd)).expect("a connection");
        let took = |talk: &mut dyn FnMut() -> Result<Message, Error>| {
            let began = Instant::now();
            let error = talk().expect_err("no answer");
            assert!(error.is(Code::Timeout), "{error}");
            began.elapsed()
        };
        let times = [
            took(&mut || handle.talk("svc", "sleep", "3000", little)),
            took(&mut || blocking.talk("svc", "sleep", "3000", little)),
        ];
        assert!(times.iter().all(|time| *time < much), "{times:?}");
        let mut direct = blocking.dial("svc").expect("a direct connection");
        let time = took(&mut || direct.call("svc", "sleep", "3000", little));
        assert!(time < much, "{time:?}");
        drop(service);
    }
}

#[test]
fn what_does_not_answer_over_tcp_costs_no_more_than_its_time() {
    let telexd = Telexd::start();
    let mute = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let endpoint = format!("tcp:{}", mute.local_addr().expect("an address"));
    let _service = register(&telexd, "svc", &[&endpoint]);
    let mut blocking = Client::connect(&daemon(&telexd)).expect("a connection");
    let began = Instant::now();
    blocking.dial_within("svc", Duration::from_millis(100)).expect_err("no answer");
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
}
