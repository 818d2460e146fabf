//! What an administrator sees of a running daemon: its log as a topic, and at another level for a while.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Client, Starter, Telexd};

/// The next record of `telex.log` that is of this kind.
fn next_record(watcher: &mut Client, record: &str) -> Value {
    loop {
        let message = watcher.message();
        assert_eq!((&message["topic"], &message["body"]["event"]), (&json!("telex.log"), &json!("log")));
        if message["body"]["record"] == record {
            return message["body"].clone();
        }
    }
}

#[test]
fn the_log_is_a_topic() {
    let telexd = Telexd::start();
    let mut watcher = telexd.client();
    watcher.ask_well("subscribe", json!({"topic": "telex.log"}));
    let mut alice = telexd.node("alice");
    let record = next_record(&mut watcher, "registered");
    let (uid, pid) = (nix::unistd::getuid().as_raw(), std::process::id());
    assert_eq!(record["message"], format!("is alice (uid {uid}, pid {pid})"));
    assert_eq!((&record["level"], &record["node_id"]), (&json!("info"), &json!("alice")));
    assert_eq!((&record["unique_id"], &record["uid"]), (&json!(alice.unique_id()), &json!(uid)));
    assert_eq!(record["fields"], json!({"node_id": "alice"}));
    let mut second = telexd.node("alice");
    let record = next_record(&mut watcher, "registered");
    let told = record["message"].as_str().expect("a text");
    assert!(told.ends_with(", one of 2 instances now"), "{told}");
    second.ping();
    drop(second);
    assert_eq!(next_record(&mut watcher, "left")["fields"]["reason"], "lost");
    // The log itself has it all the same.
    telexd.wait_for_log("one of 2 instances now");
}

#[test]
fn the_log_has_another_level_for_a_while() {
    let telexd = Telexd::with(&["log_level=warning"]);
    let mut root = telexd.client();
    let logs = |level: &str, part: &str| {
        telexd.wait_for_log(part);
        assert!(telexd.log().contains(&format!("telexd: {level}: ")), "{}", telexd.log());
    };
    root.ask_well("log_level", json!({"level": "info", "for_ms": 500}));
    let before = telexd.process().cpu();
    drop(telexd.node("during"));
    logs("info", "is during");
    logs("notice", "the log begins at warning again");
    let cpu = telexd.process().cpu() - before;
    assert!(cpu < Duration::from_millis(200), "it waits without turning: {cpu:?}");
    drop(telexd.node("behind"));
    root.ping();
    root.ask_well("log_level", json!({"level": "info"}));
    drop(telexd.node("later"));
    logs("info", "is later");
    telexd.signal(Signal::SIGHUP);
    // The first of these words was said ahead of it.
    crate::support::wait_until("the level is that of the configuration", || {
        telexd.log().matches("the log begins at warning again").count() == 2
    });
    assert!(!telexd.log().contains("is behind"), "{}", telexd.log());
    for (body, code) in [
        (json!({"level": "loud"}), "bad_field"),
        (json!({}), "missing_field"),
        (json!({"level": "info", "for_ms": 0}), "bad_field"),
    ] {
        let answer = root.ask("log_level", body);
        assert_eq!(answer["code"], code, "{answer}");
    }
}

#[test]
fn settings_are_told_with_where_they_come_from_and_what_waits_for_a_restart() {
    let starter = Starter::new();
    let file = starter.dir().join("telexd.toml");
    std::fs::write(&file, "max_names = 7\nhost = 'one'\n").expect("a configuration");
    let telexd = starter.argument("--config").argument("telexd.toml").set("max_requests=9").start();
    let mut root = telexd.client();
    let mut setting = |name: &str| -> Value {
        let told = root.ask_well("settings", json!({}));
        let all = told["settings"].as_array().expect("settings").clone();
        all.into_iter().find(|setting| setting["name"] == name).expect(name)
    };
    let told = |name: &str, value: Value, source: &str, applies: &str| json!({"name": name, "value": value, "source": source, "applies": applies});
    assert_eq!(setting("max_names"), told("max_names", json!(7), "telexd.toml:1", "now"));
    assert_eq!(setting("max_requests"), told("max_requests", json!(9), "--set", "now"));
    assert_eq!(setting("log_level"), told("log_level", json!("info"), "default", "now"));
    std::fs::write(&file, "\nmax_names = 8\nhost = 'two'\n").expect("a configuration");
    telexd.reload();
    assert_eq!(setting("max_names"), told("max_names", json!(8), "telexd.toml:2", "now"));
    let mut host = told("host", json!("one"), "telexd.toml:2", "restart");
    host["next"] = json!("two");
    host["next_source"] = json!("telexd.toml:3");
    assert_eq!(setting("host"), host);
}
