//! Many connections: at once, and one after the other; and what a loop costs that has nothing to do.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::support::{Client, Starter, Telexd, needs, wait_until};

#[test]
fn ten_thousand_idle_connections_and_two_that_talk() {
    const CROWD: usize = 10_000;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit of open files");
    // Both processes need one for each connection; this one runs other tests beside.
    let needed = CROWD as u64 + 2000;
    if !needs::that(hard >= needed, &format!("a hard limit of {needed} open files")) {
        return;
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("a higher limit");
    let telexd = Telexd::with(&["log_level=warning"]);
    let mut one = telexd.node("one");
    println!("at the start: {} KiB", telexd.process().rss_kib());
    // What the first connections cost beyond their own (buffers, tables).
    let mut crowd: Vec<_> = (0..100).map(|n| telexd.node(&format!("first-{n}"))).collect();
    let before = telexd.process().rss_kib();
    for n in 0..CROWD {
        let mut client = telexd.client();
        // Without waiting for each answer, which comes in its time.
        client.send(&json!({"message_type": "register", "body": {"node_id": format!("idle-{n}")}}));
        crowd.push(client);
    }
    for client in &mut crowd[100..] {
        assert_eq!(client.message()["body"]["error"], Value::Null);
    }
    let after = telexd.process().rss_kib();
    let each = (after - before) as f64 * 1024.0 / CROWD as f64;
    println!("{each:.0} bytes for each idle connection");
    assert!(each < 4096.0, "{each}");
    assert_eq!(one.stats()["nodes"], json!(CROWD + 101));

    let (cpu, turns) = (telexd.process().cpu(), one.stats()["turns"].as_u64().expect("a number"));
    std::thread::sleep(Duration::from_millis(500));
    let cpu = telexd.process().cpu() - cpu;
    let turns = one.stats()["turns"].as_u64().expect("a number") - turns;
    assert!(cpu < Duration::from_millis(100) && turns < 20, "{cpu:?}, {turns} turns of an idle loop");

    let mut other = telexd.node("other");
    for n in 0..2000 {
        one.send(&json!({"message_id": n, "message_type": "ask", "to": "other"}));
        assert_eq!(other.message()["message_id"], json!(n));
        other.send(&json!({"message_type": "ask_reply", "to": "one", "body": {"in_reply_to": n}}));
        assert_eq!(one.message()["body"]["in_reply_to"], json!(n));
    }
    // Everybody is still there, and everybody leaves at once.
    crowd[5000].ping();
    drop(crowd);
    wait_until("an end of the crowd", || one.stats()["connections"]["now"] == 2);
}

#[test]
fn who_has_left_leaves_nothing() {
    let starter = Starter::new();
    let socket = format!("unix:{}", starter.dir().join("telex.sock").display());
    let telexd = starter.listen(&socket).listen("tcp:127.0.0.1:0").listen("tcp:[::1]:0").start();
    let mut watcher = telexd.client();
    let mut opened = 1;
    let mut round = |count: usize| {
        opened += count;
        for n in 0..count {
            let mut client = Client::connect(&telexd.addresses[n % telexd.addresses.len()]);
            match n % 5 {
                0 => drop(client),
                1 => client.ping(),
                2 => {
                    client.register(&format!("node-{n}"));
                    client.ask_well("subscribe", json!({"topic": format!("a.{n}.*"), "group": "g"}));
                    client.ask_well("monitor", json!({"node_id": "nobody-*"}));
                }
                3 => {
                    client.write(b"{\"message_type\":\"ping\"}");
                    client.finish_writing();
                    client.rest();
                }
                _ => client.write(b"{\"message_type\":\"whoami\"}\n{\"half"),
            }
        }
        // One that was taken and is not open yet is not counted.
        wait_until("nobody who was left over", || {
            let connections = watcher.stats()["connections"].take();
            connections["now"] == 1 && connections["total"] == opened
        });
        (telexd.process().open_files(), telexd.process().rss_kib())
    };
    let first = round(300);
    let last = round(3000);
    assert_eq!(first.0, last.0, "descriptors");
    assert!(last.1 < first.1 + 1024, "{first:?}, {last:?} KiB");
    let stats = watcher.stats();
    for nothing in ["nodes", "subscriptions", "open_requests", "memory_bytes", "queue_bytes", "paused"] {
        assert_eq!(stats[nothing], json!(0), "{nothing}");
    }
}

/// A Unix socket tells of room at each read of its peer: the daemon listens to that only while it needs room.
#[test]
fn who_reads_does_not_wake_the_daemon() {
    const LINES: usize = 100;
    let telexd = Telexd::start();
    let (mut sender, mut receiver) = (telexd.node("sender"), telexd.node("receiver"));
    let line = format!(
        "{}\n",
        json!({"message_id": 1, "message_type": "signal", "from": "sender", "to": "receiver"})
    );
    for _ in 0..3 {
        for _ in 0..LINES {
            sender.write(line.as_bytes());
            // Each is written by itself.
            sender.ping();
        }
        let turns = sender.stats()["turns"].as_u64().expect("a number");
        let mut buffer = vec![0; line.len()];
        for _ in 0..LINES {
            assert_eq!(nix::unistd::read(receiver.fd(), &mut buffer), Ok(line.len()));
            std::thread::sleep(Duration::from_millis(1));
        }
        let turns = sender.stats()["turns"].as_u64().expect("a number") - turns;
        assert!(turns < 20, "{turns} turns while {LINES} lines were read");

        // Where there was no room it is told of all the same; it has to be only until all is written.
        let lines = line.repeat(40_000);
        let wrote = sender.write_until_stuck(lines.as_bytes(), Duration::from_millis(100));
        assert!(wrote > 1 << 20, "{wrote}");
        for _ in 0..wrote / line.len() {
            assert_eq!(receiver.message()["message_id"], json!(1));
        }
        if wrote % line.len() > 0 {
            sender.write(&line.as_bytes()[wrote % line.len()..]);
            receiver.message();
        }
    }
}

/// The loop turns because something happens, and not for as long as something is so.
#[test]
fn nothing_to_do_costs_nothing() {
    let telexd = Telexd::with(&["max_line_bytes=16KiB", "max_queue_bytes=64KiB", "stall_timeout=1h"]);
    let mut watcher = telexd.client();
    let mut idles = |what: &str| {
        let turns = watcher.stats()["turns"].as_u64().expect("a number");
        let cpu = telexd.process().cpu();
        std::thread::sleep(Duration::from_millis(500));
        let cpu = telexd.process().cpu() - cpu;
        let turns = watcher.stats()["turns"].as_u64().expect("a number") - turns;
        println!("{what}: {cpu:?} and {turns} turns in half a second");
        assert!(cpu < Duration::from_millis(100), "{what}: {cpu:?}");
        assert!(turns < 20, "{what}: {turns} turns");
    };
    idles("nobody else is there");

    let mut service = telexd.node("service");
    let mut asker = telexd.client();
    asker.send(&json!({"message_id": "q", "message_type": "ask", "to": "service"}));
    asker.finish_writing();
    let asked = service.message();
    idles("a client that has closed its side waits for an answer");

    let _deaf = telexd.node("deaf");
    let line = format!("{}\n", json!({"message_type": "signal", "to": "deaf", "body": "x".repeat(10_000)}));
    let mut senders: Vec<_> = (0..3).map(|_| telexd.client()).collect();
    for sender in &mut senders {
        sender.write_until_stuck(line.repeat(200).as_bytes(), Duration::from_millis(100));
    }
    idles("three senders are paused");

    // One hangs up, one closes its writing side, one goes on waiting.
    drop(senders.remove(0));
    senders[0].finish_writing();
    idles("paused senders are gone");

    let mut mute = telexd.client();
    mute.write_until_stuck(&b"{\"message_type\":\"whoami\"}\n".repeat(10_000), Duration::from_millis(100));
    idles("one asks and does not read");
    drop(mute);
    idles("one has asked and not read and is gone");

    let mut half = telexd.client();
    half.write(b"{\"message_type\":");
    idles("half a line is there");

    service.send(&json!({"message_type": "ask_reply", "to": asked["from"], "body": {"in_reply_to": "q"}}));
    assert_eq!(asker.message()["body"]["in_reply_to"], json!("q"));
    asker.expect_end();
}
