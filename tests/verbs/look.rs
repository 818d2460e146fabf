//! The verbs that look.

use serde_json::{Value, json};

use super::*;

#[test]
fn nodes_and_the_processes_behind_them() {
    let telexd = Telexd::start();
    let (mut one, _two, mut other) = (telexd.node("web-1"), telexd.node("web-1"), telexd.node("db"));
    let web = line(&telexd, &["list", "web-*"]);
    assert_eq!((&web["node_id"], web["instances"].as_array().map(Vec::len)), (&json!("web-1"), Some(2)));
    assert_eq!(web["instances"][0]["pid"], std::process::id());
    let table = out(&telexd, &["list", "--table"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NODE", "ID", "PID", "PROCESS", "USER", "UNIT", "SINCE", "OPEN", "QUEUE"]);
    assert_eq!(rows.iter().skip(1).map(|row| row[0]).collect::<Vec<_>>(), ["db", "web-1", "web-1"]);
    let name = std::fs::read_to_string("/proc/self/comm").expect("a name");
    assert_eq!((rows[2][1], rows[2][3]), (&*one.unique_id(), name.trim()));
    assert_eq!(out(&telexd, &["list", "--names"]), "db\nweb-1\n");
    other.ask_well("register", json!({"node_id": "gone", "endpoints": ["unix:/x"]}));
    other.ask_well("unregister", json!({"node_id": "gone"}));
    assert_eq!(out(&telexd, &["list", "--all", "--names", "g*"]), "gone\n");
    assert!(out(&telexd, &["list", "--all", "--table", "g*"]).contains("gone  down"));
}

#[test]
fn connections_with_and_without_names() {
    let telexd = Telexd::start();
    let (mut alice, _nameless) = (telexd.node("alice"), telexd.client());
    alice.ping();
    let all = lines(&telexd, &["connections"]);
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!((&all[0]["node_ids"], &all[1]["node_ids"]), (&json!(["alice"]), &json!([])));
    let table = out(&telexd, &["connections", "--table"]);
    assert!(table.lines().next().expect("a head").contains("MISSED"), "{table}");
    assert_eq!(table.lines().count(), 4, "{table}");
}

#[test]
fn one_node_or_connection() {
    let telexd = Telexd::start();
    let mut alice = telexd.client();
    let body = json!({"node_id": "alice", "endpoints": ["unix:/x"], "meta": {"v": 1}});
    let id = alice.ask_well("register", body)["unique_id"].clone();
    let told = line(&telexd, &["resolve", "alice"]);
    assert_eq!((&told["meta"], &told["instances"][0]["unique_id"]), (&json!({"v": 1}), &id));
    assert_eq!(told["in_reply_to"], Value::Null);
    let table = out(&telexd, &["resolve", "alice", "--table"]);
    for part in ["endpoints: unix:/x\n", "meta: {\"v\":1}\n", "PROCESS"] {
        assert!(table.contains(part), "{table}");
    }
    let id = id.as_str().expect("an id");
    assert_eq!(line(&telexd, &["resolve", id])["node_ids"], json!(["alice"]));
    assert!(out(&telexd, &["resolve", id, "--table"]).contains("nodes: alice\n"));
    assert_eq!(run(&telexd, &["resolve", "nobody"]).code, Some(3));
}

#[test]
fn topics_and_subscribers() {
    let telexd = Telexd::start();
    let mut reader = telexd.node("reader");
    reader.ask_well("subscribe", json!({"topic": "t.*", "group": "g"}));
    let found = line(&telexd, &["subscribers", "t.x"]);
    assert_eq!((&found["node_ids"], &found["group"]), (&json!(["reader"]), &json!("g")));
    assert!(out(&telexd, &["subscribers", "t.x", "--table"]).contains("reader  g"));
    assert_eq!(run(&telexd, &["subscribers", "t.*"]).code, Some(2));
    // They are counted from the first time on.
    assert_eq!(lines(&telexd, &["topics", "-W", "0"]), Vec::<Value>::new());
    for _ in 0..3 {
        out(&telexd, &["publish", "t.x", "1"]);
    }
    out(&telexd, &["publish", "u", "1"]);
    let busy = lines(&telexd, &["topics", "-W", "0"]);
    assert_eq!(
        (&busy[0]["topic"], &busy[0]["messages"], &busy[1]["topic"]),
        (&json!("t.x"), &json!(3), &json!("u"))
    );
    assert_eq!(lines(&telexd, &["topics", "-W", "0", "--limit", "1"]).len(), 1);
    assert!(out(&telexd, &["topics", "--table", "-W", "100ms"]).contains("\nt.x  "));
}

#[test]
fn waiting_for_nodes() {
    let telexd = Telexd::start();
    let _there = telexd.node("there");
    let there = line(&telexd, &["wait-for", "there"]);
    assert_eq!((&there["node_id"], there["instances"].as_array().map(Vec::len)), (&json!("there"), Some(1)));
    assert_eq!(out(&telexd, &["wait-for", "there", "--table"]), "");
    let missing = run(&telexd, &["wait-for", "there", "late", "-W", "100ms"]);
    assert_eq!((missing.code, &*missing.err), (Some(5), "telex: no node \"late\" after 100ms\n"));
    let mut waiting = start_with(
        telex(&["wait-for", "late", "there", "-W", "20s"]).env("TELEX_ADDRESS", &telexd.addresses[0]),
        "",
    );
    support::wait_until("it waits", || {
        lines(&telexd, &["connections"]).iter().any(|one| one["subscriptions"] == 2)
    });
    // One of two instances goes, and the node is still there.
    drop(telexd.node("there"));
    let _late = telexd.node("late");
    assert_eq!(waiting.finish().code, Some(0));
}

#[test]
fn nodes_that_come_and_go() {
    let telexd = Telexd::start();
    let _there = telexd.node("there");
    assert_eq!(line(&telexd, &["monitor", "the*", "-n", "1"])["event"], "node_up");
    assert!(out(&telexd, &["monitor", "-n", "1", "--table"]).starts_with("+ there :"));
    assert_eq!(run(&telexd, &["monitor", "nobody", "-W", "50ms"]).code, Some(5));
}

#[test]
fn the_example_of_pairs_shows_them() {
    let telexd = Telexd::start();
    let help = out(&telexd, &["tap", "--help"]);
    let example = help.lines().rfind(|line| line.contains("--pair --type set")).expect("an example");
    let args: Vec<&str> = example.split_whitespace().skip(1).collect();
    let mut tap = start_with(telex(&args).env("TELEX_ADDRESS", &telexd.addresses[0]), "");
    support::wait_until("it taps", || {
        lines(&telexd, &["connections"]).iter().any(|one| one["subscriptions"] == 2)
    });
    let _node = start(&telexd, &["reply", "heating", "{{body}}"]);
    for body in 0..10 {
        out(&telexd, &["call", "heating", "get", "1"]);
        out(&telexd, &["call", "heating", "set", &body.to_string()]);
    }
    let told = tap.finish();
    assert_eq!(told.code, Some(0), "{told:?}");
    let pairs: Vec<Value> = told.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let is_pair = |pair: &Value| {
        let part = |name: &str, part: &str| pair[name].as_str().is_some_and(|line| line.contains(part));
        part("request", r#""message_type":"set""#) && part("line", r#""message_type":"set_reply""#)
    };
    assert!(pairs.len() == 10 && pairs.iter().all(is_pair), "{pairs:?}");
}

#[test]
fn taps() {
    let telexd = Telexd::start();
    let mut worker = telexd.node("worker");
    let tap = |args: &[&str]| {
        let all = [&["tap", "-W", "20s", "-n", "1"], args].concat();
        start_with(telex(&all).env("TELEX_ADDRESS", &telexd.addresses[0]), "")
    };
    let is_tapped = |count: u64| {
        support::wait_until("the taps are there", || {
            let all = lines(&telexd, &["connections"]);
            all.iter().filter_map(|one| one["subscriptions"].as_u64()).sum::<u64>() == count
        });
    };
    let uid = nix::unistd::getuid().to_string();
    let mut taps = [
        tap(&["--to", "worker", "--type", "ask", "--uid", &uid]),
        tap(&["--from", "asker", "--table"]),
        tap(&["--to", "worker", "--snap", "10"]),
        tap(&["--pair", "--type", "ask"]),
        tap(&["--pair", "--to", "*", "--from", "*e*r", "--table"]),
    ];
    // A pair takes two.
    is_tapped(7);
    let mut asker = telexd.node("asker");
    asker.send(&json!({"message_id": 1, "message_type": "ask", "to": "worker", "body": "what"}));
    let asked = worker.message();
    let body = json!({"in_reply_to": asked["message_id"]});
    worker.send(&json!({"message_type": "ask_reply", "to": asked["from"], "body": body}));
    let told = taps.each_mut().map(Running::finish);
    assert_eq!(told.each_ref().map(|one| one.code), [Some(0); 5], "{told:?}");
    let json = |at: usize| -> Value { serde_json::from_str(&told[at].out).expect("a line of JSON") };
    assert_eq!(
        (&json(0)["verdict"], &json(0)["sender"]["pid"]),
        (&json!("pass"), &json!(std::process::id()))
    );
    assert!(told[1].out.contains(&format!("[{}]", std::process::id())), "{}", told[1].out);
    assert_eq!(json(2)["line"].as_str().map(str::len), Some(10));
    assert!(json(3)["request"].as_str().expect("a request").contains("\"what\""), "{}", told[3].out);
    assert!(json(3)["after_ms"].as_f64().expect("a time") >= 0.0);
    assert!(told[4].out.contains(" ms later: ") && told[4].out.lines().count() == 2, "{}", told[4].out);
    assert_eq!(
        run(&telexd, &["tap", "--topic", "x", "--unique-id", ":1", "--sample", "2", "-W", "10ms"]).code,
        Some(5)
    );
}

#[test]
fn what_would_become_of_a_message() {
    let telexd = Telexd::start();
    let mut bob = telexd.node("bob");
    let message = r#"{"message_type":"ask","to":"bob"}"#;
    assert_eq!(line(&telexd, &["explain", message])["receivers"][0]["node_ids"], json!(["bob"]));
    let id = bob.unique_id();
    assert_eq!(out(&telexd, &["explain", message, "--table", "--as", &id]), format!("to {id} bob\n"));
    let refused = run(&telexd, &["explain", r#"{"message_type":"ask","to":"x"}"#, "--table"]);
    assert_eq!((refused.code, &*refused.out), (Some(3), "refused: no node \"x\" (no_such_node)\n"));
    assert_eq!(run(&telexd, &["explain", "{"]).code, Some(2));
}

#[test]
fn counters() {
    let telexd = Telexd::start();
    let stats = line(&telexd, &["stats"]);
    assert_eq!(stats["connections"]["now"], 1);
    assert!(out(&telexd, &["stats", "--table"]).contains("connections.now: 1\n"));
    assert!(out(&telexd, &["stats", "--prometheus"]).contains("\ntelexd_connections 1\n"));
    let mut watching = telex(&["stats", "--watch", "10ms"]);
    let mut watching = watching.env("TELEX_ADDRESS", &telexd.addresses[0]).spawn().expect("telex");
    let shown = std::io::BufReader::new(watching.stdout.take().expect("its output"));
    assert_eq!(std::io::BufRead::lines(shown).take(2).count(), 2, "it asks again");
    // It ends with its reader.
    assert_eq!(watching.wait().expect("an end").code(), Some(0));
    assert_eq!(lines(&telexd, &["plugins"]), Vec::<Value>::new());
    assert!(out(&telexd, &["plugins", "--table"]).starts_with("PLUGIN  CALLS"));
    let trips = line(&telexd, &["ping", "-n", "3", "--every", "1ms"]);
    assert!(trips["p50_us"].as_f64() <= trips["max_us"].as_f64() && trips["count"] == 3, "{trips}");
    assert!(out(&telexd, &["ping", "-n", "1", "--table"]).starts_with("1 round trips: min "));
}

#[test]
fn the_daemon_and_this_command() {
    let telexd = Telexd::start();
    assert_eq!(line(&telexd, &["whoami"])["administrator"], true);
    assert!(out(&telexd, &["whoami", "--table"]).contains(", an administrator\n"));
    assert_eq!(line(&telexd, &["version"])["protocol"], 1);
    assert!(out(&telexd, &["version", "--table"]).contains("telexd "));
    let config = lines(&telexd, &["config"]);
    assert!(
        config.iter().any(|setting| setting["name"] == "max_names" && setting["source"] == "default"),
        "{config:?}"
    );
    assert!(out(&telexd, &["config", "--table"]).contains("\nmax_names "));
    assert_eq!(line(&telexd, &["reload"]), json!({"applied": [], "restart": []}));
    assert_eq!(out(&telexd, &["reload", "--table"]), "changed now: nothing\nafter a restart: nothing\n");
    out(&telexd, &["log-level", "debug", "--for", "1m"]);
    telexd.wait_for_log("the log begin at debug");
    assert_eq!(run(&telexd, &["log-level", "loud"]).code, Some(2));
}

#[test]
fn the_log_is_followed() {
    let telexd = Telexd::start();
    let mut following = [&["log", "-n", "1", "--follow"][..], &["log", "-n", "1", "--table"]]
        .map(|args| start_with(telex(args).env("TELEX_ADDRESS", &telexd.addresses[0]), ""));
    support::wait_until("both follow", || lines(&telexd, &["subscribers", "telex.log"]).len() == 2);
    let mut alice = telexd.node("alice");
    let id = alice.unique_id();
    let [json, text] = following.each_mut().map(Running::finish);
    let record: Value = serde_json::from_str(&json.out).expect("a line");
    assert_eq!((&record["record"], &record["node_id"]), (&json!("registered"), &json!("alice")));
    assert!(text.out.contains(&format!(" info: {id} is alice (uid ")), "{}", text.out);
    assert_eq!(run(&telexd, &["log", "-W", "10ms"]).code, Some(5));
}

#[test]
fn connections_are_closed() {
    let telexd = Telexd::start();
    let (mut one, mut two) = (telexd.node("a"), telexd.node("a"));
    assert_eq!(out(&telexd, &["kill", &two.unique_id(), "--reason", "enough"]), "1\n");
    assert_eq!(two.message()["body"]["error"], "enough");
    assert_eq!(out(&telexd, &["kill", "a"]), "1\n");
    assert_eq!(one.message()["body"]["code"], "denied");
    assert_eq!(run(&telexd, &["kill", "a"]).code, Some(3));
}
