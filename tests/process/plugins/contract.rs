//! What the comments of telex_plugin.h promise to who writes a plugin, one by one, by `contract.c`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{closed_to_others, compile};
use crate::support::{Client, Starter, Telexd, wait_until};

/// A daemon with one plugin for each `does`, called `p0`, `p1` and so on.
fn starter(does: &[&str]) -> Starter {
    let starter = Starter::new();
    closed_to_others(starter.dir());
    compile("contract.c", &[], &starter.dir().join("libcontract.so"));
    configure(starter.dir(), does);
    starter.argument("--config").argument("telexd.toml")
}

fn configure(dir: &Path, does: &[&str]) {
    let mut text = format!("plugin_dir = {:?}\n", dir.display().to_string());
    for (at, does) in does.iter().enumerate() {
        text +=
            &format!("[[plugin]]\npath = \"contract\"\nname = \"p{at}\"\nconfig = {{ does = {does:?} }}\n");
    }
    fs::write(dir.join("telexd.toml"), text).expect("a configuration");
}

/// Sends a message of this type from `a` to itself; gives the next line that `a` gets.
fn sent(client: &mut Client, message_type: &str, body: &str) -> Value {
    let body = if body.is_empty() { String::new() } else { format!(",\"body\":{body}") };
    let line = format!("{{\"message_id\":\"q\",\"message_type\":\"{message_type}\",\"to\":\"a\"{body}}}\n");
    client.write(line.as_bytes());
    client.message()
}

/// What the plugins have said, in its order, each line with the plugin's name in front.
fn said(telexd: &Telexd) -> Vec<String> {
    let log = telexd.log();
    let words = log.lines().filter_map(|line| line.strip_prefix("telexd: notice: plugin "));
    words.filter(|words| !words.contains("is in force")).map(str::to_owned).collect()
}

/// Waits until this has been said `times` times; gives all that has been.
fn said_until(telexd: &Telexd, last: &str, times: usize) -> Vec<String> {
    wait_until(last, || said(telexd).iter().filter(|said| *said == last).count() >= times);
    said(telexd)
}

#[test]
fn a_refused_message_has_its_reason() {
    let telexd = starter(&[""]).start();
    let mut a = telexd.node("a");
    let long = "x".repeat(1000);
    for (message_type, body, reason) in [
        // Of a doubled key the last one counts.
        ("value", r#"{"a":1,"b":0,"\u0061":[ 2 ]}"#, "[ 2 ]"),
        ("value", r#"{"b":1}"#, "-3"),
        ("value", "", "-3"),
        ("value_of_all", r#"{"b": 1}"#, r#"{"b": 1}"#),
        ("value_of_all", "", "-3"),
        ("value_of_no_pointer", "{}", "-4"),
        ("value_of_nothing", "{}", "-4"),
        ("value_after_replace", r#"{"a":"old"}"#, r#""old""#),
        ("no_reason", "", "a filter refused it"),
        ("two_reasons", "", "two"),
        ("a_reason_taken_back", "", "a filter refused it"),
        ("a_long_reason", "", &long),
        ("a_strange_reason", "", "one\ntwo\r\u{1}\""),
        ("emit_nothing", "", "thrice refused"),
        ("replace_at_in_junk", "{}", "junk"),
    ] {
        let answer = sent(&mut a, message_type, body);
        assert_eq!(answer["body"]["code"], json!("denied"), "{message_type} {body}: {answer}");
        assert_eq!(answer["body"]["error"], json!(reason), "{message_type} {body}");
    }
}

#[test]
fn what_is_replaced_and_what_is_not() {
    let telexd = starter(&[""]).start();
    let mut a = telexd.node("a");
    for (message_type, body, becomes) in [
        ("replace_nothing", "7", json!(7)),
        ("replace_with_nothing", "7", json!(7)),
        ("replace_twice", "7", json!(2)),
        ("replace_and_forget", "7", json!(7)),
        ("replace_with_lines", "7", json!({"a": 1})),
        (
            "replace_at_twice",
            r#"{"a":[0,1],"b":"x","c":0}"#,
            json!({"a": [0, {"new": 2}], "b": null, "c": 0}),
        ),
        ("replace_at_after_replace", "7", json!({"a": 2})),
    ] {
        let message = sent(&mut a, message_type, body);
        assert_eq!(message["message_type"], json!(message_type), "{message}");
        assert_eq!(message["body"], becomes, "{message_type}");
        let body = json!({"in_reply_to": "q", "error": null});
        a.send(&json!({"message_type": format!("{message_type}_reply"), "to": "a", "body": body}));
        assert_eq!(a.message()["body"]["in_reply_to"], json!("q"));
    }
    assert_eq!(a.stats()["plugins"][0]["replace"], json!(6));
    let signal = sent(&mut a, "emit_lines", "0");
    assert_eq!((&signal["from"], &signal["body"]), (&Value::Null, &json!({"a": 1})));
}

#[test]
fn what_cannot_be_replaced_is_told_at_once() {
    let telexd = starter(&[""]).set("max_line_bytes=4096").start();
    let mut a = telexd.node("a");
    for (body, told) in [(r#"{"a":1}"#, "-5 -3 -4 -4 -4 -4"), ("", "-3 -3 -3 -3 -4 -4")] {
        assert_eq!(sent(&mut a, "replace_at_wrongly", body)["body"]["error"], json!(told), "{body}");
    }
}

#[test]
fn a_record_is_on_one_line_and_may_be_empty() {
    let telexd = starter(&[""]).start();
    sent(&mut telexd.node("a"), "log_nothing", "0");
    let said = said_until(&telexd, "p0: on\u{fffd}two lines", 1);
    assert!(said.contains(&"p0: ".to_owned()), "{said:?}");
}

#[test]
fn interests_that_are_none() {
    for does in ["null list", "list of none"] {
        let telexd = starter(&[does]).start();
        assert_eq!(
            sent(&mut telexd.node("a"), "no_reason", "0")["body"],
            json!(0),
            "{does}: it is not asked"
        );
    }
    let ran = starter(&["null list of 1"]).run();
    assert!(ran.err.contains("its list of interests is not right: 1 of them"), "{}", ran.err);
}

#[test]
fn node_ids_are_those_after_the_event() {
    let telexd = starter(&[""]).start();
    let mut a = telexd.node("a");
    a.register("b");
    a.ask_well("unregister", json!({"node_id": "a"}));
    drop(a);
    let said = said_until(&telexd, "p0: disconnected b; ; lost", 1);
    let events: Vec<_> = said.iter().filter(|said| !said.contains("judged")).collect();
    let expected = [
        "p0: started; ; ",
        "p0: connected; ; ",
        "p0: registered a; a; ",
        "p0: registered a b; b; ",
        "p0: unregistered b; a; unregistered",
        "p0: disconnected b; ; lost",
    ];
    assert_eq!(events, expected);
}

/// The one before it was told of the connection, and the one behind it is not asked.
#[test]
fn those_before_a_refusal_hear_of_it() {
    for (does, reason) in [("refuse politely", "not today"), ("refuse", "a plugin refused the connection")] {
        let telexd = starter(&["", does, ""]).start();
        let told = telexd.client().rest();
        assert_eq!(
            (&told[0]["body"]["filter"], &told[0]["body"]["error"]),
            (&json!("p1"), &json!(reason)),
            "{told:?}"
        );
        let last = "p0: disconnected; ; refused";
        let said: Vec<_> =
            said_until(&telexd, last, 1).into_iter().filter(|said| !said.contains("started")).collect();
        let (p0, p1): (Vec<_>, Vec<_>) = said.iter().partition(|said| said.starts_with("p0"));
        assert_eq!(p0, ["p0: connected; ; ", last]);
        assert_eq!(p1, ["p1: connected; ; "]);
    }
}

/// Under load, so that there would be a message to be judged too early.
#[test]
fn a_new_instance_hears_what_there_is_before_it_judges() {
    const RELOADS: usize = 10;
    let telexd = starter(&[""]).start();
    let mut a = telexd.node("a");
    a.ask_well("subscribe", json!({"topic": "news"}));
    let mut load = telexd.client();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                load.ping();
            }
        });
        // It refuses all who come: those who are there already stay, and it is no fault.
        for nth in 0..RELOADS {
            configure(telexd.dir(), &[&format!("refuse politely {nth}")]);
            a.ask_well("reload", Value::Null);
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(a.stats()["plugins"][0]["strikes"], json!(0));
    let last = "p0: replayed subscribed a; ; ";
    said_until(&telexd, last, RELOADS);
    wait_until("the old instances' ends", || {
        said(&telexd).iter().filter(|said| *said == "p0: the last words").count() >= RELOADS
    });
    // Those that are new say first what was told to them again.
    let said: Vec<_> = said(&telexd).into_iter().filter(|said| !said.contains("last words")).collect();
    let firsts: Vec<_> = (1..said.len())
        .filter(|&at| said[at].contains("replayed") && !said[at - 1].contains("replayed"))
        .collect();
    assert_eq!(firsts.len(), RELOADS, "{said:?}");
    for at in firsts {
        let replayed = [
            "p0: replayed connected a; ; ",
            "p0: replayed registered a; a; ",
            last,
            "p0: replayed connected; ; ",
        ];
        assert_eq!(said[at..at + replayed.len()], replayed);
    }
}

#[test]
fn the_last_words_of_all_are_heard() {
    let mut telexd = starter(&["", ""]).start();
    telexd.client().ping();
    telexd.stop();
    let said = said(&telexd);
    assert!(said.ends_with(&["p0: the last words".to_owned(), "p1: the last words".to_owned()]), "{said:?}");
}
