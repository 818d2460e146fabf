//! The examples of the README are right, and decide what it says of them.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::HashMap;
use std::fs;

use filter_acl::attempt::{Said, Sender};
use filter_acl::config;
use filter_acl::door::Door;
use serde_json::{Value, json};
use telex_plugin::{Category, Transport, Verdict};
use telex_users::{Members, Users};

#[allow(dead_code, reason = "its main is not for tests")]
#[path = "../examples/explain.rs"]
mod explain;

const README: &str = include_str!("../README.md");
const PEOPLE: [&str; 6] = ["root", "db", "web", "backup", "weather", "eve"];

fn uid_of(user: &str) -> Option<u32> {
    PEOPLE.iter().position(|name| *name == user).map(|at| at as u32)
}

/// A machine with the people of the README. `weather` is in the group `adm`.
struct Town;

impl Users for Town {
    fn uid(&self, user: &str) -> Result<Option<u32>, String> {
        Ok(uid_of(user))
    }

    fn group(&self, group: &str) -> Result<Option<Members>, String> {
        let uids = uid_of("weather").into_iter().collect();
        Ok(["adm", "staff"].contains(&group).then_some(Members { gid: 4, uids }))
    }

    fn group_of(&self, gid: u32) -> Result<Members, String> {
        Ok(Members { gid, uids: Vec::new() })
    }
}

/// The block that is marked with a word.
fn block(mark: &str) -> &'static str {
    let (_, rest) = README.split_once(&format!("```toml {mark}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

fn door(telexd_toml: &str) -> Door {
    let settings: Value = toml::from_str(telexd_toml).unwrap();
    let config = config::read(&settings["plugin"][0]["config"].to_string(), &Town).unwrap();
    let names = PEOPLE.iter().enumerate().map(|(uid, name)| (uid as u32, (*name).to_owned()));
    Door::new(config, names.collect(), Box::new(|_, _| {})).unwrap()
}

fn door_with(rules: &str) -> Door {
    door(&format!("[[plugin]]\nconfig.default = \"deny\"\nconfig.rule = [\n{rules}]"))
}

/// What becomes of a message, and what the log is told.
fn say(door: &mut Door, user: &str, message: &Value) -> (Verdict, Vec<String>) {
    let field = |name: &str| message[name].as_str();
    let texts: HashMap<String, String> = match message["body"].as_object() {
        Some(body) => body.iter().map(|(key, value)| (format!("/{key}"), value.to_string())).collect(),
        None => HashMap::new(),
    };
    let message_type = field("message_type").unwrap();
    let said = Said {
        sender: Sender {
            transport: Transport::Unix,
            uid: uid_of(user),
            gid: Some(100),
            user: None,
            unique_id: ":7",
            holds: &|_| false,
        },
        category: if message_type == "signal" { Category::Signal } else { Category::Request },
        message_type,
        from: ":7",
        to: field("to"),
        topic: field("topic"),
        value: &|pointer| texts.get(pointer).map(String::as_str),
    };
    let mut log = Vec::new();
    let verdict = door.judge(&said, &mut |text| log.push(text.to_owned()));
    (verdict, log)
}

fn own(node_id: &str) -> Value {
    json!({"message_type": "register", "body": {"node_id": node_id}})
}

fn send(message_type: &str, to: &str) -> Value {
    json!({"message_type": message_type, "to": to})
}

fn publish(topic: &str) -> Value {
    json!({"message_type": "signal", "topic": topic})
}

fn subscribe(topic: &str) -> Value {
    json!({"message_type": "subscribe", "body": {"topic": topic}})
}

fn ask(message_type: &str) -> Value {
    json!({"message_type": message_type})
}

/// Who may do what, and who may not.
fn check(mut door: Door, expected: &[(&str, Value, bool)]) {
    assert_eq!(door.doubts(), [""; 0]);
    for (user, message, allowed) in expected {
        assert_eq!(say(&mut door, user, message).0 == Verdict::Pass, *allowed, "{user} {message}");
    }
}

#[test]
fn a_rule_is_a_line() {
    check(
        door_with(block("rule")),
        &[
            ("web", send("drop", "db"), true),
            ("weather", send("query", "db"), true),
            ("weather", send("drop", "db"), false),
        ],
    );
}

#[test]
fn a_machine_with_a_few_services() {
    check(
        door(block("services")),
        &[
            ("db", own("db"), true),
            ("web", own("db"), false),
            ("web", own("web-1"), true),
            ("web", own("web-%u"), true),
            ("eve", own("web-1"), false),
            ("eve", own("eve"), true),
            ("eve", own("%n"), false),
            ("web", send("query", "db"), true),
            ("backup", send("query", "db#7"), true),
            ("eve", send("query", "db"), false),
            ("eve", send("query", "web-1"), true),
            ("eve", subscribe(">"), true),
            ("eve", ask("list"), true),
            ("eve", ask("tap"), false),
            ("root", ask("tap"), true),
        ],
    );
}

#[test]
fn a_topic_for_everybody_and_one_for_few() {
    check(
        door(block("topics")),
        &[
            ("weather", publish("weather.today"), true),
            ("eve", publish("weather.today"), false),
            ("eve", publish("audit.login"), true),
            ("eve", subscribe("weather.>"), true),
            ("eve", subscribe("audit.login"), false),
            ("eve", subscribe("*.login"), false),
            ("eve", subscribe(">"), false),
            ("weather", subscribe("audit.>"), true),
        ],
    );
}

#[test]
fn nothing_but_what_is_needed() {
    let needed = [
        ("db", own("db")),
        ("web", own("web-1")),
        ("web", subscribe("news.>")),
        ("web", send("query", "db")),
        ("backup", send("dump", "db")),
        ("backup", publish("news.backup")),
        ("root", ask("list")),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("learned.toml");
    let mut learning = door(&block("learn").replace("/var/lib/telexd/learned.toml", path.to_str().unwrap()));
    for (user, message) in needed.iter().chain(&needed) {
        assert_eq!(say(&mut learning, user, message), (Verdict::Pass, vec![]));
    }
    drop(learning);
    assert_eq!(fs::read_to_string(path).unwrap(), block("learned"));

    let needed: Vec<_> = needed.map(|(user, message)| (user, message, true)).into();
    let other =
        [("web", own("web-2"), false), ("web", send("drop", "db"), false), ("eve", own("eve"), false)];
    check(door_with(block("learned")), &[&needed[..], &other].concat());
    let other = [("web", own("web-2"), true), ("web", send("drop", "db"), false), ("eve", own("eve"), false)];
    check(door(block("learnt")), &[&needed[..], &other].concat());

    let (verdict, log) = say(&mut door(block("learnt")), "web", &send("drop", "db"));
    let Verdict::Reject(reason) = verdict else { panic!("it is denied") };
    assert!(README.contains(&format!("told `{reason}`")), "{reason}");
    assert!(README.contains(&format!("```text\n{}\n```", log[0])), "{log:?}");
}

#[test]
fn which_rule_decides_can_be_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("telexd.toml");
    let rules = r#"{ user = "root", allow.send = "db" }, { node = "web-*", deny.monitor = "*" }, { transport = "tcp", user = "edge", allow.subscribe = "news.>" }"#;
    let text = format!(
        "[[plugin]]\npath = \"log-file\"\n[[plugin]]\npath = \"filter-acl\"\nconfig.default = \"deny\"\nconfig.rule = [{rules}]"
    );
    fs::write(&path, text).unwrap();
    let explain = |words: &str| {
        let arguments: Vec<String> =
            [path.to_str().unwrap()].into_iter().chain(words.split(' ')).map(String::from).collect();
        explain::explain(&arguments)
    };
    for (words, answer) in [
        (
            "user=root send db query",
            r#"send "query" to "db" is allowed by rule 1: {"allow":{"send":"db"},"user":"root"}"#,
        ),
        ("uid=7 send db", r#"send "signal" to "db" is denied by the default"#),
        (
            "node=x node=web-1 monitor db*",
            r#"monitor "db*" is denied by rule 2: {"deny":{"monitor":"*"},"node":"web-*"}"#,
        ),
        ("transport=tcp user=edge subscribe >", r#"subscribe to ">" is denied by the default"#),
        (
            "transport=tcp user=edge subscribe news.*",
            r#"subscribe to "news.*" is allowed by rule 3: {"allow":{"subscribe":"news.>"},"transport":"tcp","user":"edge"}"#,
        ),
    ] {
        assert_eq!(explain(words).as_deref(), Ok(answer), "{words}");
    }
    assert!(explain("uid=x send db").unwrap_err().contains("must be a number"));
    assert!(explain("sent db").unwrap_err().contains("usage"));
}
