use std::fs;

use proptest::prelude::*;

use super::*;
use crate::stage::{Peer, alice, bob, carol, door, policy, tcp};

const ASK_DB: &str = r#"{"message_type":"ask","to":"db"}"#;

fn rejected(reason: &str) -> Verdict {
    Verdict::Reject(reason.into())
}

#[test]
fn who_is_refused_is_told_why_and_the_log_how_to_allow_it() {
    let mut door = door(
        r#"
        default = "deny"
        rule = [{ allow.send = "web" }, { user = "bob", deny.publish = ">" }]"#,
    );
    let web = r#"{"message_type":"ask","to":"web"}"#;
    assert_eq!(alice().tries(&mut door, web), (Verdict::Pass, vec![]));
    for (peer, line, reason, log) in [
        (
            alice(),
            ASK_DB,
            r#"send "ask" to "db" is denied by the default"#,
            r#"user "alice": send "ask" to "db" is denied by the default; this rule would allow it: { user = "alice", allow.send = "db", type = "ask" },"#,
        ),
        (
            bob(),
            r#"{"message_type":"signal","topic":"a.b"}"#,
            r#"publish "signal" to "a.b" is denied by rule 2"#,
            r#"user "bob": publish "signal" to "a.b" is denied by rule 2; put before rule 2, this would allow it: { user = "bob", allow.publish = "a.b", type = "signal" },"#,
        ),
        (
            carol(),
            r#"{"message_type":"register","from":"w-%u"}"#,
            r#"own "w-*" is denied by the default"#,
            r#"uid 1002: own "w-*" is denied by the default; this rule would allow it: { uid = 1002, allow.own = "w-*" },"#,
        ),
        (
            tcp(),
            r#"{"message_type":"list"}"#,
            r#"ask the daemon for "list" is denied by the default"#,
            r#"transport "tcp": ask the daemon for "list" is denied by the default; this rule would allow it: { transport = "tcp", allow.ask = "list" },"#,
        ),
        (
            Peer { user: Some("edge"), ..tcp() },
            r#"{"message_type":"subscribe","body":{"topic":">"}}"#,
            r#"subscribe to ">" is denied by the default"#,
            r#"transport "tcp" user "edge": subscribe to ">" is denied by the default; this rule would allow it: { transport = "tcp", user = "edge", allow.subscribe = ">" },"#,
        ),
        (
            alice(),
            r#"{"message_type":"register","from":"a*"}"#,
            r#"own "a*" is denied by the default"#,
            r#"user "alice": own "a*" is denied by the default; no rule can allow just that"#,
        ),
    ] {
        assert_eq!(peer.tries(&mut door, line), (rejected(reason), vec![log.to_owned()]));
        assert_eq!(peer.tries(&mut door, line), (rejected(reason), vec![]), "the log is told once");
    }
}

#[test]
fn a_message_to_a_connection_is_one_to_each_of_its_nodes() {
    let mut door = door(
        r#"
        default = "deny"
        rule = [{ deny.send = "secret" }, { allow.send = ["public", ":*"] }, { user = "bob", allow.send = "*" }]"#,
    );
    let ask = |to: &str| format!(r#"{{"message_type":"ask","to":"{to}"}}"#);
    let verdict = |door: &mut Door, to: &str| alice().tries(door, &ask(to)).0;
    let denied = rejected(r#"send "ask" to "secret" is denied by rule 1"#);
    assert_eq!(verdict(&mut door, ":9"), Verdict::Pass, "it has no node ID");
    door.registered(9, "public");
    assert_eq!(verdict(&mut door, ":9"), Verdict::Pass);
    door.registered(9, "secret");
    assert_eq!(verdict(&mut door, ":9#port"), denied);
    assert_eq!(verdict(&mut door, ":8"), Verdict::Pass);
    assert_eq!(bob().tries(&mut door, &ask(":9")).0, denied);
    door.unregistered(9, "secret");
    assert_eq!(verdict(&mut door, ":9"), Verdict::Pass);
    door.registered(9, "secret");
    door.disconnected(9);
    assert_eq!(verdict(&mut door, ":9"), Verdict::Pass);
    door.unregistered(9, "secret");
    door.registered(8, "x");
    door.unregistered(8, "x");
    assert!(door.node_ids.is_empty(), "nothing is kept of who is gone");
}

#[test]
fn all_numbers_of_connections_are_one_rule() {
    let mut door = door("default = \"deny\"");
    let ask = |number: u32| format!(r#"{{"message_type":"ask","to":":{number}"}}"#);
    let (verdict, log) = alice().tries(&mut door, &ask(8));
    assert_eq!(verdict, rejected(r#"send "ask" to ":8" is denied by the default"#));
    assert!(log[0].ends_with(r#"{ user = "alice", allow.send = ":*", type = "ask" },"#), "{log:?}");
    let (verdict, log) = alice().tries(&mut door, &ask(9));
    assert_eq!((verdict, log), (rejected(r#"send "ask" to ":9" is denied by the default"#), vec![]));
}

#[test]
fn rules_are_learned() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("learned.toml");
    let rules = format!(
        r#"
        default = "allow"
        learn = true
        learn_file = {path:?}
        rule = [{{ user = "alice", allow.send = "web" }}, {{ deny.send = "secret" }}]"#
    );
    let mut door = door(&rules);
    door.registered(9, "one");
    door.registered(9, "two");
    let lines = [
        r#"{"message_type":"ask","to":"web"}"#,
        ASK_DB,
        ASK_DB,
        r#"{"message_type":"signal","to":":8"}"#,
        r#"{"message_type":"signal","to":":9"}"#,
        r#"{"message_type":"register","from":"alice"}"#,
        r#"{"message_type":"monitor","body":{"node_id":"*"}}"#,
        r#"{"message_type":"ask_reply","to":"db"}"#,
    ];
    for line in lines {
        assert_eq!(alice().tries(&mut door, line), (Verdict::Pass, vec![]), "{line}");
    }
    let (verdict, log) = alice().tries(&mut door, r#"{"message_type":"ask","to":"secret"}"#);
    assert_eq!((verdict, log.len()), (Verdict::Pass, 1));
    assert!(log[0].contains("would be denied by rule 2"), "{log:?}");
    let (verdict, log) = alice().tries(&mut door, r#"{"message_type":"register","from":"*"}"#);
    assert_eq!((verdict, log.len()), (Verdict::Pass, 1));
    assert!(log[0].contains("cannot be learned"), "{log:?}");
    let asked = r#"{"message_type":"ask","to":"never"}"#;
    assert_eq!(alice().looks(&door, asked), Verdict::Pass, "what is only asked is not learned");
    drop(door);
    let learned = fs::read_to_string(&path).unwrap();
    assert_eq!(
        learned,
        r#"{ user = "alice", allow.send = "db", type = "ask" },
{ user = "alice", allow.send = ":*", type = "signal" },
{ user = "alice", allow.send = "one", type = "signal" },
{ user = "alice", allow.send = "two", type = "signal" },
{ user = "alice", allow.own = "alice" },
{ user = "alice", allow.monitor = "*" },
"#
    );
    let learned = policy(&format!("default = \"deny\"\nrule = [\n{learned}]"));
    for line in [ASK_DB, r#"{"message_type":"signal","to":":5"}"#] {
        assert!(alice().asks(&learned, line).allowed, "{line}");
    }
}

#[test]
fn only_what_can_be_denied_is_asked_for() {
    let interests = |rules: &str| door(rules).interests();
    let typed = |interests: Vec<Interest>| -> Vec<String> {
        interests.into_iter().map(|interest| interest.message_type.unwrap_or_default()).collect()
    };
    let idle = interests(
        r#"default = "allow"
        rule = [{ allow.send = "db" }]"#,
    );
    assert_eq!(typed(idle), [""], "no type is empty");
    let some = door(
        r#"default = "allow"
        rule = [{ deny = { own = "a", ask = "list" } }]"#,
    );
    assert!(!some.follows_names());
    let some = some.interests();
    assert!(
        some.iter()
            .all(|interest| interest.to.as_deref() == Some("") && interest.topic.as_deref() == Some(""))
    );
    assert_eq!(typed(some), ["register", "list", "resolve", "subscribers", "stats", "kill", "tap", "reload"]);
    let empty = || Some(String::new());
    let sends = interests(
        r#"default = "allow"
        rule = [{ deny.send = "a" }]"#,
    );
    assert_eq!(sends, [Interest { topic: empty(), ..Interest::default() }]);
    let publishes = interests(
        r#"default = "allow"
        rule = [{ deny.publish = "a" }]"#,
    );
    assert_eq!(publishes, [Interest { to: empty(), ..Interest::default() }]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("learned.toml");
    let learning = format!("default = \"allow\"\nlearn = true\nlearn_file = {path:?}");
    for rules in [r#"default = "deny""#, &learning] {
        let all = door(rules);
        assert!(all.follows_names());
        assert_eq!(all.interests().len(), 5 + ASKS.len());
    }
}

#[test]
fn a_name_that_is_unknown_matches_nobody_and_is_told() {
    let mut door = door(
        r#"
        default = "allow"
        rule = [
            { user = "dave", deny = "*" },
            { group = ["ghosts", "staff"], deny.send = "db" },
            { group = "ghosts", allow = "*" },
        ]"#,
    );
    let told = |level, rule, name| {
        (level, format!("rule {rule}: {name} is not on this machine, and matches no connection"))
    };
    assert_eq!(
        door.unknown(),
        [
            told(Level::Error, 1, "user \"dave\""),
            told(Level::Error, 2, "group \"ghosts\""),
            told(Level::Warning, 3, "group \"ghosts\""),
        ]
    );
    assert_eq!(door.doubts(), [""; 0], "they do not come too late, too");
    assert_eq!(alice().tries(&mut door, ASK_DB).0, Verdict::Pass);
    assert!(matches!(bob().tries(&mut door, ASK_DB).0, Verdict::Reject(_)), "he is in staff");
}

#[test]
fn what_is_odd_about_the_rules_is_told() {
    let doubts = |rules: &str| door(rules).doubts().join("\n");
    assert_eq!(doubts(r#"default = "deny""#), "");
    assert!(doubts(r#"default = "allow""#).contains("everything is allowed"));
    assert!(
        doubts(
            r#"default = "deny"
            rule = [{ allow.send = "*" }, { deny.send = "db" }]"#
        )
        .contains("rule 2 comes too late: rule 1")
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("learned.toml");
    assert!(
        doubts(&format!("default = \"deny\"\nlearn = true\nlearn_file = {path:?}")).contains("let through")
    );
}

proptest! {
    /// The rule that the log proposes is TOML, is taken, and allows what was refused.
    #[test]
    fn what_is_proposed_allows_it(
        message_type in "\\PC{0,8}[^*]",
        name in "\\PC{0,5}",
        line in prop::sample::select(vec!["to", "topic", "register", "subscribe", "monitor"]),
    ) {
        let (kind, name) = (quoted(&message_type), quoted(&name));
        let line = match line {
            "to" | "topic" => format!(r#"{{"message_type":{kind},"{line}":{name}}}"#),
            _ => format!(r#"{{"message_type":"{line}","body":{{"node_id":{name},"topic":{name}}}}}"#),
        };
        for peer in [alice(), carol(), tcp(), Peer { user: Some("e \"d\""), ..tcp() }] {
            let (verdict, log) = peer.tries(&mut door("default = \"deny\""), &line);
            let Some((_, rule)) = log.first().and_then(|log| log.split_once("would allow it: ")) else {
                continue;
            };
            prop_assert_ne!(verdict, Verdict::Pass);
            prop_assert!(!rule.contains(|c: char| c.is_ascii_control()), "{}", rule);
            let mut door = door(&format!("default = \"deny\"\nrule = [\n{rule}\n]"));
            prop_assert_eq!(peer.tries(&mut door, &line).0, Verdict::Pass, "{}", rule);
        }
    }
}
