//! The bounds that hold: what is told at each, and that all is well again behind it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, Starter, Telexd, wait_until};

/// Connects until the daemon takes it: it may not have seen yet that somebody has left.
fn connect_when_taken(telexd: &Telexd) -> Client {
    crate::support::wait_for("a connection that is taken", || {
        let mut client = telexd.client();
        client.try_write(b"{\"message_type\":\"ping\"}\n").ok()?;
        let told: Value = serde_json::from_str(&client.line()?).expect("JSON");
        (told["message_type"] == "ping_reply").then_some(client)
    })
}

fn refused(address: &str, setting: &str) {
    let mut client = Client::connect(address);
    let told = client.rest();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["message_type"], &told[0]["from"]), (&json!("error"), &Value::Null));
    assert_eq!(told[0]["body"]["code"], json!("overloaded"));
    assert!(told[0]["body"]["error"].as_str().expect("a text").contains(setting), "{told:?}");
}

#[test]
fn connections_in_all() {
    let telexd = Starter::new()
        .set("max_connections=3")
        .listen("tcp:127.0.0.1:0")
        .listen(&format!("unix:@telex-all-{}", std::process::id()))
        .start();
    let mut first = telexd.client();
    let mut others: Vec<_> = telexd.addresses.iter().map(|address| Client::connect(address)).collect();
    others.iter_mut().for_each(Client::ping);
    first.ping();
    refused(&telexd.addresses[0], "max_connections");
    refused(&telexd.addresses[0], "max_connections");
    let connections = first.stats()["connections"].clone();
    assert_eq!(connections, json!({"now": 3, "total": 3, "refused": 2}));
    others.pop();
    connect_when_taken(&telexd);
    first.ping();
}

#[test]
fn a_flood_of_connections_that_are_refused_is_no_flood_in_the_log() {
    let telexd = Starter::new().set("max_connections=1").listen("tcp:127.0.0.1:0").start();
    let mut first = telexd.client();
    first.ping();
    let began = Instant::now();
    let refuse = || assert_eq!(telexd.client().rest().len(), 1, "each is told");
    (0..300).for_each(|_| refuse());
    // Once the second is over the next one's line has the count of all before.
    wait_until("a line with a count", || {
        refuse();
        telexd.log().contains(" more connections were refused: there are 1 connections already")
    });
    let (log, most) = (telexd.log(), began.elapsed().as_secs() + 1);
    assert!(log.matches("refused").count() as u64 <= most, "{log}");
}

#[test]
fn connections_of_one_user() {
    let telexd = Starter::new()
        .set("max_connections_per_uid=2")
        .listen(&format!("unix:@telex-uid-{}", std::process::id()))
        .listen("tcp:127.0.0.1:0")
        .start();
    let mut clients = [telexd.client(), telexd.client()];
    clients.iter_mut().for_each(Client::ping);
    // Whom nobody has asked who he is counts as somebody else.
    let mut others = [Client::connect(&telexd.addresses[1]), Client::connect(&telexd.addresses[1])];
    others.iter_mut().for_each(Client::ping);
    refused(&telexd.addresses[1], "max_connections_per_uid");
    assert_eq!(clients[0].stats()["connections"]["refused"], json!(1));
    drop(clients);
    connect_when_taken(&telexd);
}

#[test]
fn bytes_of_a_line() {
    let telexd = Telexd::with(&["max_line_bytes=1KiB"]);
    let mut client = telexd.client();
    let ping = |id: &str, len: usize| {
        let empty = json!({"message_id": id, "message_type": "ping", "body": ""}).to_string();
        json!({"message_id": id, "message_type": "ping", "body": "x".repeat(len - empty.len())}).to_string()
    };
    for end in ["\n", "\r\n"] {
        client.write(
            format!("{}{end}{}{end}{}{end}", ping("a", 1024), ping("b", 1025), ping("c", 1024)).as_bytes(),
        );
        assert_eq!(client.message()["body"]["in_reply_to"], json!("a"));
        let told = client.message();
        assert_eq!(
            (&told["message_type"], &told["body"]["code"]),
            (&json!("error"), &json!("line_too_long"))
        );
        assert!(told["body"]["error"].as_str().unwrap().contains("1024"), "{told}");
        assert_eq!(client.message()["body"]["in_reply_to"], json!("c"));
    }
}

#[test]
fn names_subscriptions_and_requests() {
    let telexd = Telexd::with(&["max_names=3", "max_subscriptions=4", "max_requests=5"]);
    let mut client = telexd.client();
    for n in 0..3 {
        client.register(&format!("n{n}"));
    }
    assert_eq!(client.ask("register", json!({"node_id": "n3"}))["code"], json!("too_many_names"));
    client.register("n0");
    client.ask_well("unregister", json!({"node_id": "n1"}));
    client.register("n3");

    client.ask_well("subscribe", json!({"topic": "a.*"}));
    client.ask_well("subscribe", json!({"topic": "b", "group": "g"}));
    client.ask_well("monitor", json!({"node_id": "nobody*"}));
    client.ask_well("tap", json!({"to": "nobody"}));
    for (kind, body) in [("subscribe", json!({"topic": "c"})), ("monitor", json!({"node_id": "x"}))] {
        assert_eq!(client.ask(kind, body)["code"], json!("too_many_subscriptions"), "{kind}");
    }
    client.ask_well("subscribe", json!({"topic": "a.*"}));
    client.ask_well("untap", json!({}));
    client.ask_well("subscribe", json!({"topic": "c"}));

    let mut service = telexd.node("service");
    for n in 0..6 {
        client.send(&json!({"message_id": n, "message_type": "ask", "to": "service"}));
    }
    let told = client.message();
    assert_eq!(
        (&told["message_type"], &told["body"]["in_reply_to"], &told["body"]["code"]),
        (&json!("ask_reply"), &json!(5), &json!("too_many_requests"))
    );
    for n in 0..5 {
        let asked = service.message();
        assert_eq!(asked["message_id"], json!(n));
        service.send(&json!({"message_type": "ask_reply", "to": asked["from"], "body": {"in_reply_to": n}}));
        assert_eq!(client.message()["body"]["in_reply_to"], json!(n));
    }
    client.send(&json!({"message_id": 6, "message_type": "ask", "to": "service"}));
    assert_eq!(service.message()["message_id"], json!(6));
}

/// How much more than `max_memory_bytes` the process may take: its own code and tables, and what the
/// allocator keeps back; and for each connection what it costs at all, and one last read of it.
const OVERHEAD_KIB: u64 = 24 * 1024;
const CONNECTION_KIB: u64 = 28;
const MEMORY_KIB: u64 = 16 * 1024;

fn under_floods() -> Telexd {
    Telexd::with(&[
        "max_memory_bytes=16MiB",
        "max_line_bytes=256KiB",
        "max_queue_bytes=1MiB",
        "max_requests=100000",
        "max_names=1000",
        // So that nobody is disconnected for being slow before it is looked at what he does.
        "stall_timeout=1h",
        "log_level=warning",
    ])
}

/// Looks at what a flood has done, and that the daemon is as good as new when the culprits have left.
/// Where the last of it was refused there may be room for a little just now.
fn after_the_flood(telexd: &Telexd, good: &mut [Client; 2], culprits: Vec<Client>, what: &str) {
    let peak = telexd.process().rss_peak_kib();
    println!("{what}: peak of {peak} KiB with max_memory_bytes at {MEMORY_KIB} KiB");
    let most = MEMORY_KIB + OVERHEAD_KIB + CONNECTION_KIB * culprits.len() as u64;
    assert!(peak < most, "{what}: {peak} KiB");
    let [one, other] = good;
    // Each gets an answer, be it that there is no room for a real one.
    one.ask("ping", Value::Null);
    other.ask("ping", Value::Null);
    drop(culprits);
    wait_until("an end of all that they made it keep", || {
        let stats = one.stats();
        stats["memory_bytes"].as_u64().expect("a number") < 100_000 && stats["connections"]["now"] == 2
    });
    one.send(&json!({"message_id": "again", "message_type": "ask", "to": "other"}));
    assert_eq!(other.message()["message_id"], json!("again"));
    other.send(&json!({"message_type": "ask_reply", "to": "one", "body": {"in_reply_to": "again"}}));
    assert_eq!(one.message()["from"], json!("other"));
    let stats = one.stats();
    assert_eq!(
        (&stats["open_requests"], &stats["paused"], &stats["nodes"]),
        (&json!(0), &json!(0), &json!(2))
    );
    assert!(telexd.log().matches("new messages are refused").count() < 2, "{}", telexd.log());
    telexd.client().ping();
}

fn good(telexd: &Telexd) -> [Client; 2] {
    [telexd.node("one"), telexd.node("other")]
}

fn code(line: &str) -> Value {
    serde_json::from_str::<Value>(line).expect(line)["body"]["code"].clone()
}

#[test]
fn a_flood_of_half_lines() {
    let telexd = under_floods();
    let mut good = good(&telexd);
    let mut culprits: Vec<_> = (0..150).map(|_| telexd.client()).collect();
    for culprit in &mut culprits {
        // A refused connection is closed while it writes.
        let _ = culprit.try_write(&[b' '; 200_000]);
    }
    let told: Vec<_> = culprits
        .iter_mut()
        .filter_map(|culprit| culprit.line_within(Duration::from_millis(20)).ok().flatten())
        .map(|line| code(&line))
        .collect();
    assert!(told.len() > 20 && told.iter().all(|code| code == "overloaded"), "{}", told.len());
    after_the_flood(&telexd, &mut good, culprits, "half lines");
}

#[test]
fn a_flood_of_registrations() {
    let telexd = under_floods();
    let mut good = good(&telexd);
    let mut culprits = Vec::new();
    let meta = json!({"text": "m".repeat(4000)});
    'flood: for c in 0..20 {
        let mut culprit = telexd.client();
        for n in 0..900 {
            let answer = culprit.ask("register", json!({"node_id": format!("{c}-{n}"), "meta": meta}));
            if !answer["error"].is_null() {
                assert_eq!(answer["code"], json!("overloaded"));
                culprits.push(culprit);
                break 'flood;
            }
        }
        culprits.push(culprit);
    }
    assert!(culprits.len() < 20, "there was no end of it");
    after_the_flood(&telexd, &mut good, culprits, "registrations");
}

#[test]
fn a_flood_of_subscriptions() {
    let telexd = under_floods();
    let mut good = good(&telexd);
    let mut culprits = Vec::new();
    let long = "t.".repeat(110);
    'flood: for c in 0..60 {
        let mut culprit = telexd.client();
        for n in 0..1000 {
            let answer = culprit
                .ask("subscribe", json!({"topic": format!("{c}.{n}.{long}x"), "group": "g".repeat(200)}));
            if !answer["error"].is_null() {
                assert_eq!(answer["code"], json!("overloaded"));
                culprits.push(culprit);
                break 'flood;
            }
        }
        culprits.push(culprit);
    }
    assert!(culprits.len() < 60, "there was no end of it");
    after_the_flood(&telexd, &mut good, culprits, "subscriptions");
}

#[test]
fn a_flood_to_those_who_never_read() {
    let telexd = under_floods();
    let mut good = good(&telexd);
    let mut culprits: Vec<_> = (0..50).map(|n| telexd.node(&format!("deaf-{n}"))).collect();
    let mut sender = telexd.client();
    let mut refusals = 0;
    for n in 0..50 {
        for _ in 0..9 {
            sender.send(
                &json!({"message_type": "signal", "to": format!("deaf-{n}"), "body": "x".repeat(100_000)}),
            );
        }
        sender.send(&json!({"message_id": n, "message_type": "ping"}));
        loop {
            let told = sender.message();
            if told["message_type"] == "ping_reply" {
                break;
            }
            assert_eq!(told["body"]["code"], json!("overloaded"));
            refusals += 1;
        }
    }
    assert!(refusals > 100, "{refusals}");
    // What is left is used up by less at a time. As nobody takes what is queued, the shortage stays.
    let mut n = 1000;
    while good[0].stats()["memory_bytes"].as_u64().unwrap() <= MEMORY_KIB * 1024 {
        n += 1;
        sender.send(
            &json!({"message_type": "signal", "to": format!("deaf-{}", n % 50), "body": "x".repeat(1000)}),
        );
        sender.send(&json!({"message_id": n, "message_type": "ping"}));
        while sender.message()["body"]["in_reply_to"] != n {}
    }
    culprits.push(sender);
    good[0].send(&json!({"message_id": "sorry", "message_type": "signal", "to": "other"}));
    let told = good[0].message();
    assert_eq!(
        (&told["message_type"], &told["body"]["code"], &told["body"]["in_reply_to"]),
        (&json!("error"), &json!("overloaded"), &json!("sorry"))
    );
    // Somebody who wants to see what is wrong still can.
    telexd.client().stats();
    after_the_flood(&telexd, &mut good, culprits, "queues");
}

#[test]
fn a_flood_of_senders_who_wait_for_one() {
    let telexd = under_floods();
    let mut good = good(&telexd);
    let mut culprits = vec![telexd.node("deaf")];
    let line = format!("{}\n", json!({"message_type": "signal", "to": "deaf", "body": "x".repeat(200_000)}));
    for _ in 0..150 {
        let mut sender = telexd.client();
        sender.write_until_stuck(line.repeat(3).as_bytes(), Duration::from_millis(1));
        culprits.push(sender);
    }
    assert!(good[0].stats()["errors"]["overloaded"].as_u64() > Some(0));
    after_the_flood(&telexd, &mut good, culprits, "waiting senders");
}

#[test]
fn a_flood_to_subscribers_who_never_read() {
    let telexd = under_floods();
    let mut good = good(&telexd);
    let mut publisher = telexd.client();
    let mut culprits = Vec::new();
    for n in 0..100 {
        let mut subscriber = telexd.client();
        subscriber.ask_well("subscribe", json!({"topic": format!("t.{}", n % 50)}));
        culprits.push(subscriber);
    }
    for n in 0..500 {
        // Long ones are kept once for both, short ones for each.
        for len in [100_000, 1000] {
            publisher.send(
                &json!({"message_type": "signal", "topic": format!("t.{}", n % 50), "body": "x".repeat(len)}),
            );
        }
        publisher.send(&json!({"message_id": n, "message_type": "ping"}));
        // Long lines are refused when memory is short, as far as they are told apart at all.
        while publisher.message()["message_type"] != "ping_reply" {}
    }
    assert!(good[0].stats()["missed"].as_u64() > Some(0));
    culprits.push(publisher);
    after_the_flood(&telexd, &mut good, culprits, "topics");
}

#[test]
fn a_flood_of_requests_that_nobody_answers() {
    let telexd = under_floods();
    let mut good = good(&telexd);
    let mut service = telexd.node("service");
    let reader = std::thread::spawn(move || {
        // It takes them all, and says nothing.
        while service.line_within(Duration::from_secs(2)).is_ok_and(|line| line.is_some()) {}
        service
    });
    let mut culprits = Vec::new();
    'flood: for _ in 0..10 {
        let mut asker = telexd.client();
        for batch in 0..100 {
            for n in 0..100 {
                let id = format!("{batch}-{n}-{}", "i".repeat(240));
                asker.send(&json!({"message_id": id, "message_type": "ask".repeat(80), "to": "service"}));
            }
            asker.send(&json!({"message_id": "end", "message_type": "ping"}));
            let told = asker.message();
            if told["body"]["in_reply_to"] != "end" {
                assert_eq!(told["body"]["code"], json!("overloaded"));
                culprits.push(asker);
                break 'flood;
            }
        }
        culprits.push(asker);
    }
    assert!(culprits.len() < 10, "there was no end of it");
    culprits.push(reader.join().expect("the service"));
    after_the_flood(&telexd, &mut good, culprits, "requests");
}

#[test]
fn a_flood_of_those_who_ask_and_never_read() {
    let telexd = under_floods();
    let mut good = good(&telexd);
    let mut culprits: Vec<_> = (0..300).map(|_| telexd.client()).collect();
    let pings = "{\"message_type\":\"ping\",\"body\":\"p\"}\n".repeat(10_000);
    for culprit in &mut culprits {
        culprit.write_until_stuck(pings.as_bytes(), Duration::from_millis(1));
    }
    after_the_flood(&telexd, &mut good, culprits, "answers");
}

#[test]
fn who_asks_much_at_once_is_not_ended_because_memory_runs_short_meanwhile() {
    let telexd = Telexd::with(&["max_memory_bytes=1MiB", "max_queue_bytes=1MiB", "max_line_bytes=256KiB"]);
    let mut culprits: Vec<_> = (0..3).map(|_| telexd.client()).collect();
    for culprit in &mut culprits {
        culprit.write(&[b' '; 200_000]);
    }
    let mut client = telexd.client();
    // Nearly used up, and not quite.
    wait_until("all that they have sent", || client.stats()["bytes_in"].as_u64() > Some(600_000));
    assert!(client.stats()["memory_bytes"].as_u64() < Some(900_000));
    // All of it is read at once, and its answers are more than there is room for.
    telexd.suspend();
    client.write(&b"{\"message_type\":\"ping\",\"body\":\"p\"}\n".repeat(3000));
    telexd.resume();
    for _ in 0..3000 {
        assert_eq!(client.message()["message_type"], json!("ping_reply"));
    }
}

/// What the kernel holds for a peer tells nothing of how it reads: a Unix socket takes nothing more
/// before three quarters of what lies in it have been read.
#[test]
fn a_slow_but_steady_reader_is_not_disconnected() {
    let telexd = Telexd::with(&["stall_timeout=2s", "max_line_bytes=64KiB", "max_queue_bytes=256KiB"]);
    let slow = telexd.node("slow");
    let mut sender = telexd.client();
    let line = format!("{}\n", json!({"message_type": "signal", "to": "slow", "body": "x".repeat(10_000)}));
    // In each 2 s it reads twice what it has to.
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; 16_000];
        for _ in 0..24 {
            std::thread::sleep(Duration::from_millis(250));
            nix::unistd::read(slow.fd(), &mut buffer).expect("it is connected");
        }
    });
    let wrote = sender.write_until_stuck(line.repeat(300).as_bytes(), Duration::from_millis(300));
    assert!(wrote < 300 * line.len(), "the daemon takes more than there is room for");
    reader.join().expect("the reader");
    assert!(!telexd.log().contains("is disconnected"), "{}", telexd.log());
}
