//! How the daemon ends, and how it reads its configuration again.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Client, Starter, Telexd, wait_until};

fn is_shutdown(message: &Value) -> bool {
    message["from"].is_null() && message["message_type"] == "signal" && message["body"]["event"] == "shutdown"
}

/// Queues so much for a client that its socket cannot have taken all of it; says how many messages.
/// The last of them are still with the daemon.
fn queue_for(telexd: &Telexd, sender: &mut Client, to: &str, bytes: usize) -> usize {
    let text = "x".repeat(10_000);
    let count = bytes / text.len();
    for n in 0..count {
        sender.send(&json!({"message_type": "signal", "to": to, "body": {"n": n, "text": text}}));
    }
    sender.ping();
    assert!(telexd.client().stats()["queue_bytes"].as_u64() > Some(0), "the socket has taken it all");
    count
}

#[test]
fn everybody_is_told_and_waiting_requests_are_answered() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut telexd = Starter::new().listen("tcp:127.0.0.1:0").listen("tcp:[::1]:0").start();
        let mut idle = Client::connect(&telexd.addresses[1]);
        idle.ping();
        let mut service = telexd.node("service");
        let mut asker = telexd.node("asker");
        let mut monitor = telexd.client();
        monitor.send(&json!({"message_type": "monitor", "body": {"node_id": "serv*"}}));
        assert_eq!(monitor.message()["body"]["event"], json!("node_up"));
        assert_eq!(monitor.message()["body"]["error"], Value::Null);
        asker.send(&json!({"message_id": "q1", "message_type": "ask", "to": "service"}));
        asker.send(&json!({"message_id": 2, "message_type": "ask", "to": "service"}));
        asker.ping();
        telexd.signal(signal);
        let told = asker.rest();
        let (answers, last) = told.split_at(2);
        let mut ids: Vec<_> = answers.iter().map(|answer| answer["body"]["in_reply_to"].clone()).collect();
        ids.sort_by_key(Value::to_string);
        assert_eq!(ids, [json!("q1"), json!(2)]);
        for answer in answers {
            assert_eq!(
                (&answer["message_type"], &answer["body"]["code"]),
                (&json!("ask_reply"), &json!("node_gone"))
            );
        }
        assert!(last.len() == 1 && is_shutdown(&last[0]), "{told:?}");
        let told = idle.rest();
        assert!(told.len() == 1 && is_shutdown(&told[0]), "{told:?}");
        let told = service.rest();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(is_shutdown(&told[2]));
        let told = monitor.rest();
        assert!(is_shutdown(told.last().unwrap()), "{told:?}");
        let down: Vec<_> = told.iter().filter(|line| line["body"]["event"] == "node_down").collect();
        assert_eq!(down.len(), 1);
        assert_eq!(down[0]["body"]["reason"], json!("shutdown"));
        assert_eq!(telexd.wait().code(), Some(0));
    }
}

#[test]
fn what_is_queued_is_drained_first() {
    for address in ["unix:d.sock", "tcp:127.0.0.1:0"] {
        let mut telexd = Starter::new().listen(address).set("drain_timeout=30s").start();
        let at = match telexd.addresses[0].strip_prefix("unix:") {
            Some(path) => format!("unix:{}", telexd.dir().join(path).display()),
            None => telexd.addresses[0].clone(),
        };
        telexd.addresses[0] = at;
        let mut slow = telexd.node("slow");
        let mut sender = telexd.client();
        let count = queue_for(&telexd, &mut sender, "slow", 7_000_000);
        telexd.signal(Signal::SIGTERM);
        assert!(is_shutdown(&sender.message()), "who is owed nothing else is told at once");
        assert!(telexd.is_running());
        for n in 0..count {
            assert_eq!(slow.message()["body"]["n"], json!(n));
        }
        let told = slow.rest();
        assert!(told.len() == 1 && is_shutdown(&told[0]), "{told:?}");
        sender.expect_end();
        assert_eq!(telexd.wait().code(), Some(0));
        assert!(!telexd.log().contains("lost"), "{}", telexd.log());
    }
}

/// What the kernel has taken for a peer is not thrown away because the peer has sent something that
/// nobody will read any more (TCP resets such a connection).
#[test]
fn a_peer_that_still_sends_gets_what_it_is_owed_too() {
    for at in [0, 1] {
        let mut telexd =
            Starter::new().listen("unix:d.sock").listen("tcp:127.0.0.1:0").set("drain_timeout=30s").start();
        telexd.addresses[0] = format!("unix:{}", telexd.dir().join("d.sock").display());
        let mut slow = Client::connect(&telexd.addresses[at]);
        slow.register("slow");
        let mut sender = telexd.client();
        let count = queue_for(&telexd, &mut sender, "slow", 7_000_000);
        // It answers nothing that it is sent, but asks and asks, so that it is not read any more.
        let pings = format!("{}\n", json!({"message_type": "ping", "body": "p".repeat(1000)})).repeat(20_000);
        let wrote = slow.write_until_stuck(pings.as_bytes(), Duration::from_millis(300));
        assert!(wrote < pings.len(), "it is read on and on");
        telexd.signal(Signal::SIGTERM);
        let mut signals = 0;
        let mut last = Value::Null;
        // Slowly, so that the daemon's end comes before all is read.
        while let Some(line) = slow.line() {
            last = serde_json::from_str(&line).unwrap();
            signals += usize::from(last["body"]["text"].is_string());
            if signals % 50 == 1 {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        assert_eq!(signals, count);
        assert!(is_shutdown(&last), "{last}");
        assert_eq!(telexd.wait().code(), Some(0));
    }
}

#[test]
fn who_never_reads_delays_the_end_by_no_more_than_the_drain_timeout() {
    let mut telexd = Telexd::with(&["drain_timeout=500ms"]);
    let _slow = telexd.node("slow");
    let mut sender = telexd.client();
    let count = queue_for(&telexd, &mut sender, "slow", 3_000_000);
    let begun = Instant::now();
    telexd.signal(Signal::SIGTERM);
    assert!(is_shutdown(&sender.message()));
    // What could not be delivered after all is the only thing that is said behind.
    let told = sender.message();
    assert_eq!((&told["message_type"], &told["body"]["code"]), (&json!("error"), &json!("node_gone")));
    let lost = told["body"]["count"].as_u64().unwrap();
    assert!((1..=count as u64).contains(&lost), "{told}");
    sender.expect_end();
    assert_eq!(telexd.wait().code(), Some(0));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(400), "{took:?}");
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(telexd.log().contains("messages were not taken in time"), "{}", telexd.log());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut telexd = Telexd::with(&["drain_timeout=1h"]);
    let _slow = telexd.node("slow");
    let mut sender = telexd.client();
    queue_for(&telexd, &mut sender, "slow", 3_000_000);
    telexd.signal(Signal::SIGTERM);
    telexd.wait_for_log("stopping");
    assert!(telexd.is_running());
    telexd.signal(Signal::SIGTERM);
    assert_eq!(telexd.wait().code(), Some(0));
    assert!(!telexd.dir().join("telex.sock").exists());
}

#[test]
fn nobody_is_taken_while_it_ends() {
    let telexd = Telexd::with(&["drain_timeout=1h"]);
    let _slow = telexd.node("slow");
    let mut sender = telexd.client();
    queue_for(&telexd, &mut sender, "slow", 3_000_000);
    telexd.signal(Signal::SIGTERM);
    telexd.wait_for_log("stopping");
    // It is refused, or waits for what never comes, but is not served, and ends with the daemon.
    if let Ok(mut late) = Client::try_connect(&telexd.addresses[0]) {
        late.try_write(b"{\"message_type\":\"ping\"}\n").ok();
        assert!(!matches!(late.line_within(Duration::from_millis(200)), Ok(Some(_))));
        telexd.signal(Signal::SIGTERM);
        late.expect_end();
    }
}

#[test]
fn a_peer_that_closes_with_data_on_its_way_does_not_kill() {
    let mut telexd = Starter::new().listen("tcp:127.0.0.1:0").start();
    for _ in 0..20 {
        let mut gone = telexd.node("gone");
        let mut sender = telexd.client();
        for n in 0..200 {
            sender.send(&json!({"message_type": "signal", "to": "gone", "body": n}));
            if n == 100 {
                gone.message();
                gone = telexd.client();
            }
        }
        // Each line is delivered, or its sender told.
        sender.send(&json!({"message_type": "ping", "message_id": "end"}));
        while sender.message()["body"]["in_reply_to"] != "end" {}
    }
    telexd.stop();
}

/// Starts the daemon with a configuration, of which the file can be written anew.
fn start_with(text: &str) -> (Telexd, PathBuf) {
    let starter = Starter::new();
    let config = starter.dir().join("telexd.toml");
    fs::write(&config, text).expect("the configuration");
    (starter.argument("--config").argument(&config).start(), config)
}

/// One of the limits that are in force.
fn limit(client: &mut Client, name: &str) -> Value {
    client.ask_well("whoami", json!({}))["daemon"]["limits"][name].clone()
}

#[test]
fn the_configuration_is_read_again() {
    let (telexd, config) = start_with("max_names = 2\n");
    let mut client = telexd.client();
    client.register("one");
    client.register("two");
    assert_eq!(client.ask("register", json!({"node_id": "three"}))["code"], json!("too_many_names"));

    fs::write(&config, "max_names = 3\ndrain_timeout = \"3s\"\nhost = \"beta\"\nsocket_mode = \"0600\"\n")
        .unwrap();
    telexd.reload();
    client.register("three");
    assert_eq!(limit(&mut client, "max_names"), json!(3));
    assert_eq!(limit(&mut client, "drain_timeout").as_f64(), Some(3.0), "what whoami tells is in force");
    let log = telexd.log();
    let told = log.lines().find(|line| line.contains("read again")).expect("a word on it");
    let (now, later) = told.split_once("after a restart").expect(told);
    assert!(now.contains("max_names") && now.contains("drain_timeout"), "{told}");
    assert!(later.contains("host") && later.contains("socket_mode"), "{told}");
    assert_eq!(
        client.ask_well("whoami", json!({}))["daemon"]["host"].as_str().map(|host| host != "beta"),
        Some(true)
    );

    // A client may ask for it, too.
    let changes = client.ask_well("reload", json!({}));
    assert_eq!((&changes["applied"], &changes["restart"]), (&json!([]), &json!(["host", "socket_mode"])));

    fs::write(&config, "max_names = 9\nmax_queue_bytes = \"lots\"\n").unwrap();
    telexd.reload();
    assert_eq!(limit(&mut client, "max_names"), json!(3), "all or nothing");
    let log = telexd.log();
    let told = log.lines().last().unwrap();
    assert!(told.contains(&format!("{}:2", config.display())) && told.contains("max_queue_bytes"), "{told}");

    // What is not in force yet is told again, until it is.
    fs::write(&config, "max_names = 3\ndrain_timeout = \"3s\"\nhost = \"beta\"\n").unwrap();
    telexd.reload();
    let log = telexd.log();
    let (_, later) = log.lines().last().unwrap().split_once("after a restart").expect("a word on it");
    assert!(later.contains("host") && !later.contains("socket_mode"), "{log}");

    fs::remove_file(&config).unwrap();
    telexd.reload();
    assert!(telexd.log().lines().last().unwrap().contains("left as it was"));
    assert_eq!(limit(&mut client, "max_names"), json!(3));
}

#[test]
fn clients_ask_for_a_reload() {
    let (telexd, config) = start_with("max_names = 2\n");
    let mut client = telexd.client();
    fs::write(&config, "max_names = 3\nstall_timeout = \"3s\"\nhost = \"beta\"\n").unwrap();
    let changes = client.ask_well("reload", json!({}));
    assert_eq!(changes["applied"], json!(["max_names", "stall_timeout"]));
    assert_eq!(changes["restart"], json!(["host"]));
    assert_eq!(limit(&mut client, "max_names"), json!(3), "it is in force when the answer comes");
    telexd.wait_for_log("configuration read again");
    // Several at once are each answered.
    fs::write(&config, "max_names = 4\n").unwrap();
    let ask = |id: u64| format!("{}\n", json!({"message_type": "reload", "message_id": id}));
    client.write((1..=3).map(ask).collect::<String>().as_bytes());
    let answers: Vec<_> = (1..=3).map(|_| client.message()["body"].clone()).collect();
    let ids: Vec<_> = answers.iter().map(|body| body["in_reply_to"].clone()).collect();
    assert!(ids == [1, 2, 3] && answers.iter().all(|body| body["error"].is_null()), "{answers:?}");
    assert!(answers[0]["applied"].as_array().is_some_and(|names| names.contains(&json!("max_names"))));
    // All or nothing.
    fs::write(&config, "max_names = 9\nmax_queue_bytes = \"lots\"\n").unwrap();
    let refused = client.ask("reload", json!({}));
    let error = refused["error"].as_str().unwrap_or_default();
    assert_eq!(refused["code"], json!("bad_field"));
    assert!(
        error.contains(&format!("{}:2", config.display())) && error.contains("max_queue_bytes"),
        "{error}"
    );
    assert_eq!(limit(&mut client, "max_names"), json!(4));
}

#[test]
fn a_new_level_of_the_log_is_in_force_at_once() {
    let (telexd, config) = start_with("log_level = \"error\"\n");
    let mut client = telexd.client();
    fs::write(&config, "log_level = \"debug\"\n").unwrap();
    assert_eq!(client.ask_well("reload", json!({}))["applied"], json!(["log_level"]));
    telexd.client().ping();
    telexd.wait_for_log("telexd: debug: :2 connected over unix");
    assert!(!telexd.log().contains(":1 connected"), "{}", telexd.log());
}

#[test]
fn a_longer_stall_timeout_counts_for_those_who_wait_already() {
    let limits = "max_line_bytes = \"16KiB\"\nmax_queue_bytes = \"64KiB\"\n";
    let (telexd, config) = start_with(&format!("{limits}stall_timeout = \"500ms\"\n"));
    let _slow = telexd.node("slow");
    let mut sender = telexd.client();
    let line = format!("{}\n", json!({"message_type": "signal", "to": "slow", "body": "x".repeat(10_000)}));
    sender.write_until_stuck(line.repeat(200).as_bytes(), Duration::from_millis(100));
    let mut other = telexd.client();
    wait_until("a sender that is paused", || other.stats()["paused"] == 1);
    fs::write(&config, format!("{limits}stall_timeout = \"1500ms\"\n")).unwrap();
    telexd.reload();
    telexd.wait_for_log("is disconnected");
    assert_eq!(other.stats()["paused"], json!(0));
}

#[test]
fn new_limits_hold_for_what_is_under_way() {
    let limits =
        |line: &str, queue: &str| format!("max_line_bytes = \"{line}\"\nmax_queue_bytes = \"{queue}\"\n");
    let (telexd, config) = start_with(&limits("16KiB", "64KiB"));
    let _slow = telexd.node("slow");
    let mut sender = telexd.client();
    let line = format!("{}\n", json!({"message_type": "signal", "to": "slow", "body": "x".repeat(10_000)}));
    let wrote = sender.write_until_stuck(line.repeat(200).as_bytes(), Duration::from_millis(100));
    let mut mute = telexd.client();
    let pings = format!("{}\n", json!({"message_type": "ping", "body": "x".repeat(10_000)})).repeat(200);
    let asked = mute.write_until_stuck(pings.as_bytes(), Duration::from_millis(100));
    assert!(asked < pings.len());
    let mut half = telexd.client();
    half.write(&[b' '; 10_000]);
    let mut other = telexd.client();
    wait_until("a sender that is paused", || other.stats()["paused"] == 1);

    // With more room a sender that waits goes on, and so does who asks without reading.
    fs::write(&config, limits("16KiB", "64MiB")).unwrap();
    telexd.reload();
    wait_until("a sender that goes on", || other.stats()["paused"] == 0);
    sender.write(&line.repeat(200).as_bytes()[wrote % line.len()..]);
    sender.ping();
    mute.write(&pings.as_bytes()[asked..]);

    // A line that was short enough when it began need not be so at its end.
    fs::write(&config, limits("1KiB", "64MiB")).unwrap();
    telexd.reload();
    half.write(b"{\"message_type\":\"ping\"}\n{\"message_type\":\"ping\"}\n");
    assert_eq!(half.message()["body"]["code"], json!("line_too_long"));
    assert_eq!(half.message()["message_type"], json!("ping_reply"));
}
