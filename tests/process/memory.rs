//! What `memory_bytes` says is what the process takes: filled in each of eight ways.

use serde_json::{Value, json};

use crate::support::{Client, Telexd, wait_until};

/// How much each way fills.
const FILLED_BYTES: u64 = 64 << 20;

/// The process beyond what is counted: tables that have grown, what the allocator keeps back, buffers.
const OVERHEAD_BYTES: u64 = 32 << 20;

fn telexd() -> Telexd {
    Telexd::with(&[
        "max_memory_bytes=256MiB",
        "max_names=100000",
        "max_subscriptions=100000",
        "max_requests=1000000",
        "max_known_nodes=1000000",
        "request_timeout=1h",
        "stall_timeout=1h",
        "log_level=warning",
    ])
}

/// Says lines that are answered by nothing.
fn tell(client: &mut Client, lines: impl Iterator<Item = Value>) {
    let lines: Vec<_> = lines.collect();
    for some in lines.chunks(200) {
        client.write(some.iter().map(|line| format!("{line}\n")).collect::<String>().as_bytes());
        client.ping();
    }
}

/// Asks the daemon what must succeed, many at once.
fn ask(client: &mut Client, asks: impl Iterator<Item = (&'static str, Value)>) {
    let lines: Vec<_> =
        asks.map(|(message_type, body)| json!({"message_type": message_type, "body": body})).collect();
    for some in lines.chunks(200) {
        client.write(some.iter().map(|line| format!("{line}\n")).collect::<String>().as_bytes());
        for _ in some {
            let told = client.message();
            assert_eq!(told["body"]["error"], Value::Null, "{told}");
        }
    }
}

fn memory_bytes(client: &mut Client) -> u64 {
    client.stats()["memory_bytes"].as_u64().expect("a number")
}

/// Fills a daemon, and compares what it says that it keeps with what it has.
fn compare(what: &str, fill: impl FnOnce(&Telexd) -> Vec<Client>) {
    let telexd = telexd();
    let mut client = telexd.client();
    client.ping();
    let before = telexd.process().rss_kib() * 1024;
    let culprits = fill(&telexd);
    let counted = memory_bytes(&mut client);
    let taken = telexd.process().rss_kib() * 1024 - before;
    println!("{what}: {counted} bytes are counted, {taken} taken: {:.2}", taken as f64 / counted as f64);
    assert!(counted > FILLED_BYTES * 3 / 4, "{what}: only {counted} bytes are counted, {taken} taken");
    let most = counted * 14 / 10 + OVERHEAD_BYTES;
    assert!(taken <= most, "{what}: {taken} bytes are taken, {counted} counted");
    assert!(taken >= counted * 4 / 10, "{what}: {counted} bytes are counted, {taken} taken");
    drop(culprits);
}

#[test]
fn queues() {
    compare("queues", |telexd| {
        let mut sender = telexd.client();
        let mut receivers: Vec<_> = (0..10).map(|_| telexd.client()).collect();
        let to: Vec<_> = receivers.iter_mut().map(Client::unique_id).collect();
        let lines = FILLED_BYTES as usize / 10 / 260;
        for to in &to {
            let line = json!({"message_type": "signal", "to": to, "body": "x".repeat(180)});
            tell(&mut sender, std::iter::repeat_n(line, lines));
        }
        receivers
    });
}

#[test]
fn half_lines() {
    const HALF_BYTES: usize = 900_000;
    compare("half lines", |telexd| {
        let count = FILLED_BYTES as usize / HALF_BYTES;
        let mut culprits: Vec<_> = (0..count).map(|_| telexd.client()).collect();
        culprits.iter_mut().for_each(|culprit| culprit.write(&vec![b' '; HALF_BYTES]));
        let mut client = telexd.client();
        wait_until("the half lines", || memory_bytes(&mut client) as usize > count * HALF_BYTES * 99 / 100);
        culprits
    });
}

#[test]
fn names_with_meta() {
    compare("names with meta", |telexd| {
        let mut holder = telexd.client();
        let body = |nth| {
            json!({
                "node_id": format!("n{nth}"),
                "meta": {"text": "m".repeat(200)},
                "endpoints": ["unix:/run/some/where.sock", "tcp:127.0.0.1:4000"],
            })
        };
        ask(&mut holder, (0..FILLED_BYTES / 800).map(|nth| ("register", body(nth))));
        vec![holder]
    });
}

#[test]
fn subscriptions() {
    compare("subscriptions", |telexd| {
        let mut holder = telexd.client();
        let each = FILLED_BYTES / 2700;
        let plain = |nth| ("subscribe", json!({"topic": format!("{nth}.sensor.*")}));
        let shared = |nth| ("subscribe", json!({"topic": "sensor.>", "group": format!("group-{nth}")}));
        let monitor = |nth| ("monitor", json!({"node_id": format!("node-{nth}")}));
        let pattern = |nth| ("monitor", json!({"node_id": format!("node-{nth}.*")}));
        ask(&mut holder, (0..each).flat_map(|nth| [plain(nth), shared(nth), monitor(nth), pattern(nth)]));
        vec![holder]
    });
}

#[test]
fn open_requests() {
    compare("open requests", |telexd| {
        let (mut asker, mut receiver) = (telexd.client(), telexd.node("r"));
        for first in (0..FILLED_BYTES / 400).step_by(200) {
            let line = |nth| json!({"message_id": nth, "message_type": "ask", "to": "r"});
            tell(&mut asker, (first..first + 200).map(line));
            (0..200).for_each(|_| drop(receiver.line()));
        }
        vec![asker, receiver]
    });
}

#[test]
fn held_lines() {
    const LINE_BYTES: usize = 900_000;
    compare("held lines", |telexd| {
        let (mut receiver, mut filler) = (telexd.client(), telexd.client());
        let to = receiver.unique_id();
        let line = json!({"message_type": "signal", "to": to, "body": "x".repeat(LINE_BYTES)});
        filler.ask_well("register", json!({"node_id": "filler", "overflow": "fail"}));
        for _ in 0..12 {
            filler.send(&line);
        }
        assert_eq!(filler.message()["body"]["code"], "overloaded", "its queue is full");
        let mut culprits: Vec<_> = (0..60).map(|_| telexd.client()).collect();
        culprits.iter_mut().for_each(|culprit| culprit.send(&line));
        let mut client = telexd.client();
        wait_until("lines that wait", || client.stats()["paused"] == 60);
        culprits.extend([receiver, filler]);
        culprits
    });
}

#[test]
fn news_of_monitors() {
    const MONITORS: usize = 50;
    compare("monitors' news", |telexd| {
        let mut monitors: Vec<_> = (0..MONITORS).map(|_| telexd.client()).collect();
        for monitor in &mut monitors {
            monitor.ask_well("monitor", json!({"node_id": "*"}));
        }
        let mut holder = telexd.client();
        let count = FILLED_BYTES / MONITORS as u64 / 110;
        ask(&mut holder, (0..count).map(|nth| ("register", json!({"node_id": format!("node-{nth}")}))));
        monitors.push(holder);
        monitors
    });
}

#[test]
fn known_nodes() {
    compare("known nodes", |telexd| {
        let mut holder = telexd.client();
        let came = |nth| ("register", json!({"node_id": format!("n{nth}"), "endpoints": ["unix:/run/x"]}));
        let went = |nth| ("unregister", json!({"node_id": format!("n{nth}")}));
        ask(&mut holder, (0..FILLED_BYTES / 340).flat_map(|nth| [came(nth), went(nth)]));
        vec![holder]
    });
}
