//! A plugin in Rust that panics (`plugins/abi/examples/panics.rs`) in the real daemon, which outlives it.

use serde_json::{Value, json};

use crate::starter;
use crate::support::{Client, Starter, Telexd};

/// A daemon to be started with the plugin that panics there.
fn panicking(at: &str, settings: &str) -> Starter {
    starter(&["panics"], |_| {
        // To print a panic takes time, for which alone it would be late.
        format!("[[plugin]]\npath = \"panics\"\nbudget = \"10s\"\nconfig = {{ at = \"{at}\" }}\n{settings}\n")
    })
}

/// Asks itself something, which the plugin judges; gives what comes.
fn ask(client: &mut Client) -> Value {
    client.send(&json!({"message_id": "q", "message_type": "ask", "to": "a"}));
    client.message()
}

fn count(telexd: &Telexd, part: &str) -> usize {
    telexd.log().matches(part).count()
}

#[test]
fn one_that_panics_when_it_is_made_is_not_there() {
    let ran = panicking("create", "").run();
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("loading plugins: plugin panics (panics): it panicked\n"), "{}", ran.err);
    let mut telexd = panicking("create", "required = false").start();
    assert_eq!(ask(&mut telexd.node("a"))["message_type"], json!("ask"));
    telexd.stop();
    assert_eq!(count(&telexd, "plugin panics: is missing (panics): it panicked"), 1, "{}", telexd.log());
}

#[test]
fn a_message_at_which_a_filter_panics_is_refused_or_passes() {
    const TOLD: &str = "plugin panics: panicked at a message";
    let mut telexd = panicking("judge", "strikes = 2").start();
    let mut client = telexd.node("a");
    for panics in [1, 2, 2] {
        let answer = ask(&mut client);
        assert_eq!(
            (&answer["body"]["code"], &answer["body"]["filter"]),
            (&json!("denied"), &json!("panics"))
        );
        assert_eq!(client.stats()["plugins"][0]["strikes"], json!(panics));
    }
    telexd.stop();
    assert!((1..=2).contains(&count(&telexd, TOLD)), "each is told once at most: {}", telexd.log());
    assert_eq!(count(&telexd, "failed or was late 2 times and is not called any more"), 1);

    let mut telexd = panicking("judge", "on_fault = \"pass\"").start();
    assert_eq!(ask(&mut telexd.node("a"))["message_type"], json!("ask"));
    telexd.stop();
    assert_eq!(count(&telexd, TOLD), 1, "{}", telexd.log());
}

#[test]
fn an_event_or_a_record_at_which_one_panics_is_told_once_and_all_goes_on() {
    for (at, told) in [
        ("event", "plugin panics: panicked at an event"),
        ("record", "plugin panics: panicked at a record of the log"),
        ("flush", "plugin panics: panicked at writing the log"),
    ] {
        let mut telexd = panicking(at, "strikes = 1").start();
        let mut client = telexd.node("a");
        client.ask_well("register", json!({"node_id": "b"}));
        telexd.wait_for_log(told);
        telexd.wait_for_log("failed or was late 1 times and is not called any more");
        client.ask_well("register", json!({"node_id": "c"}));
        telexd.stop();
        assert_eq!(count(&telexd, told), 1, "{at}: {}", telexd.log());
        for name in ["is a (uid ", "is b (uid ", "is c (uid "] {
            assert_eq!(count(&telexd, name), 1, "{at}: nothing is lost: {}", telexd.log());
        }
    }
}

#[test]
fn one_that_panics_at_its_end_has_ended() {
    let mut telexd = panicking("drop", "").start();
    let mut client = telexd.node("a");
    client.ask_well("reload", Value::Null);
    // The panic's own message, of the instance that was replaced.
    telexd.wait_for_log("at drop");
    assert_eq!(ask(&mut client)["message_type"], json!("ask"));
    telexd.stop();
    assert_eq!(count(&telexd, "at drop"), 2, "{}", telexd.log());
}

/// What it wants to see nobody knows then: it judges all, and hears of nothing.
#[test]
fn one_that_panics_when_it_is_asked_what_it_wants_is_there() {
    for (at, calls) in [("interests", 2), ("wants", 0)] {
        let mut telexd = panicking(at, "").start();
        assert_eq!(telexd.node("a").stats()["plugins"][0]["calls"], json!(calls), "{at}");
        telexd.stop();
    }
}
