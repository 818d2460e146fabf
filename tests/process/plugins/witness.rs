//! What several plugins make of the same messages and records, by `witness.c`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{closed_to_others, compile};
use crate::support::{Client, Starter, Telexd, wait_until};

/// A daemon with one plugin for each `does`, called `p0`, `p1` and so on.
pub(super) fn starter(does: &[&str]) -> Starter {
    let starter = Starter::new();
    closed_to_others(starter.dir());
    compile("witness.c", &[], &starter.dir().join("libwitness.so"));
    configure(starter.dir(), "", does);
    starter.argument("--config").argument("telexd.toml")
}

fn configure(dir: &Path, settings: &str, does: &[&str]) {
    let mut text =
        format!("plugin_dir = {:?}\nlog_level = \"debug\"\n{settings}\n", dir.display().to_string());
    for (at, does) in does.iter().enumerate() {
        text += &format!(
            "[[plugin]]\npath = \"witness\"\nname = \"p{at}\"\nstrikes = 2\nconfig = {{ does = {does:?} }}\n"
        );
    }
    fs::write(dir.join("telexd.toml"), text).expect("a configuration");
}

/// Sends a message of this type from `a` to itself; gives what `a` gets.
pub(super) fn sent(client: &mut Client, message_type: &str) -> Value {
    client.send(&json!({"message_type": message_type, "to": "a"}));
    client.message()
}

/// What a plugin has taken of the log.
pub(super) fn records(telexd: &Telexd, name: &str) -> String {
    fs::read_to_string(telexd.dir().join(format!("{name}.records"))).expect("its records")
}

fn wait_for_record(telexd: &Telexd, name: &str, record: &str) {
    wait_until(record, || records(telexd, name).lines().any(|line| line == record));
}

#[test]
fn a_filter_sees_what_it_wants_to_see() {
    let telexd = starter(&["picky", ""]).start();
    let mut a = telexd.node("a");
    for message_type in ["one", "one_more", "two", "three", "none"] {
        assert_eq!(sent(&mut a, message_type)["message_type"], json!(message_type));
    }
    a.send(&json!({"message_type": "two", "to": ":1"}));
    assert_eq!(a.message()["to"], json!(":1"));
    let plugins = a.stats()["plugins"].clone();
    // The other one sees also what is asked of the daemon: to register and for this.
    assert_eq!((&plugins[0]["calls"], &plugins[1]["calls"]), (&json!(3), &json!(8)));
}

#[test]
fn the_next_filter_judges_what_the_one_before_made_of_it() {
    let telexd = starter(&["mark", "refuse"]).start();
    let told = sent(&mut telexd.node("a"), "mark");
    assert_eq!(
        (&told["body"]["filter"], &told["body"]["error"]),
        (&json!("p1"), &json!("\"marked\"")),
        "{told}"
    );
}

/// Although it wants to go on with the same instance.
#[test]
fn one_that_is_given_up_is_made_anew_by_a_reload() {
    let telexd = starter(&["faults"]).start();
    let mut a = telexd.node("a");
    let faults = telexd.dir().join("faults");
    fs::write(&faults, "").expect("a file");
    for _ in 0..2 {
        assert_eq!(sent(&mut a, "ask")["body"]["code"], json!("denied"));
    }
    telexd.wait_for_log("p0: failed or was late 2 times and is not called any more");
    fs::remove_file(&faults).expect("removed");
    assert_eq!(sent(&mut a, "ask")["body"]["code"], json!("denied"), "it stays out");
    let told = telexd.client().rest();
    assert_eq!((&told[0]["body"]["code"], &told[0]["body"]["filter"]), (&json!("denied"), &json!("p0")));
    telexd.reload();
    assert_eq!(sent(&mut a, "ask")["message_type"], json!("ask"));
    telexd.client().ping();
    wait_until("both records", || telexd.log().matches("is in force").count() == 2);
}

#[test]
fn what_a_filter_makes_may_be_as_long_as_the_configuration_now_says() {
    let telexd = starter(&[""]).start();
    let mut a = telexd.node("a");
    for (longest, code) in [("4096", json!("denied")), ("65536", Value::Null), ("4096", json!("denied"))] {
        configure(telexd.dir(), &format!("max_line_bytes = {longest}"), &[""]);
        telexd.reload();
        assert_eq!(sent(&mut a, "grow")["body"]["code"], code, "{longest}");
    }
}

#[test]
fn records_are_flushed_and_have_their_level() {
    let telexd = starter(&["", "log"]).start();
    sent(&mut telexd.node("a"), "say_all_levels");
    for (level, becomes) in [(-1, 3), (0, 3), (1, 3), (2, 3), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (8, 7)]
    {
        wait_for_record(&telexd, "p1", &format!("{becomes} plugin p0: level {level}"));
    }

    let telexd = starter(&[""]).start();
    sent(&mut telexd.node("a"), "say_all_levels");
    for (level, word) in [(0, "error"), (4, "warning"), (5, "notice"), (6, "info"), (7, "debug")] {
        telexd.wait_for_log(&format!("telexd: {word}: plugin p0: level {level}\n"));
    }
}

#[test]
fn what_is_said_beyond_the_bound_is_counted() {
    let telexd = starter(&["log", ""]).start();
    sent(&mut telexd.node("a"), "say_much");
    wait_for_record(&telexd, "p0", "4 plugin p1: said 3 more in one turn");
    assert_eq!(records(&telexd, "p0").matches("plugin p1: much").count(), 1000);
}

#[test]
fn what_a_log_plugin_says_is_taken_by_the_others() {
    let mut telexd = starter(&["log", "log"]).start();
    sent(&mut telexd.node("a"), "say_all_levels");
    telexd.stop();
    for (name, own, other) in
        [("p0", "plugin p0: level", "plugin p1: level"), ("p1", "plugin p1: level", "plugin p0: level")]
    {
        let records = records(&telexd, name);
        assert_eq!(
            (records.matches(own).count(), records.matches(other).count()),
            (0, 10),
            "{name}:\n{records}"
        );
    }
}

/// They would drive each other for ever.
#[test]
fn what_log_plugins_say_of_records_goes_to_stderr() {
    let mut telexd = starter(&["log echo", "log echo"]).start();
    sent(&mut telexd.node("a"), "ask");
    telexd.stop();
    for name in ["p0", "p1"] {
        let (records, log) = (records(&telexd, name), telexd.log());
        assert!(!records.contains("echo") && !records.contains("flushed"), "{name}:\n{records}");
        let echoes = log.matches(&format!("notice: plugin {name}: echo\n")).count();
        assert_eq!(echoes, records.lines().count(), "{name}:\n{records}\n{log}");
        assert!(log.contains(&format!("plugin {name}: flushed\n")), "{log}");
    }
}
