use proptest::prelude::*;

use crate::config;
use crate::stage::{Peer, Town, alice, bob, carol, policy, tcp};

/// Whether all of these are allowed, and by what: `0` is the default.
fn decisions<const N: usize>(rules: &str, asked: [(&Peer, &str); N]) -> [(bool, usize); N] {
    let policy = policy(rules);
    asked.map(|(peer, line)| {
        let decision = peer.asks(&policy, line);
        (decision.allowed, decision.rule.unwrap_or_default())
    })
}

fn send(to: &str) -> String {
    format!(r#"{{"message_type":"ask","to":"{to}"}}"#)
}

fn subscribe(topic: &str) -> String {
    format!(r#"{{"message_type":"subscribe","body":{{"topic":"{topic}"}}}}"#)
}

fn monitor(pattern: &str) -> String {
    format!(r#"{{"message_type":"monitor","body":{{"node_id":"{pattern}"}}}}"#)
}

fn register(node_id: &str) -> String {
    format!(r#"{{"message_type":"register","body":{{"node_id":"{node_id}"}}}}"#)
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = r#"
        default = "allow"
        rule = [
            { user = "alice", allow.send = "db" },
            { deny.send = ["db", "web-*"] },
            { user = "bob", allow.send = "db" },
        ]"#;
    assert_eq!(
        decisions(
            rules,
            [
                (&alice(), &send("db")),
                (&bob(), &send("db")),
                (&alice(), &send("web-1")),
                (&bob(), &send("x"))
            ]
        ),
        [(true, 1), (false, 2), (false, 2), (true, 0)]
    );
    assert_eq!(decisions(r#"default = "deny""#, [(&alice(), &send("db"))]), [(false, 0)]);
}

#[test]
fn who_it_is() {
    let rules = r#"
        default = "deny"
        rule = [
            { user = ["alice", "carol"], allow.send = "to-users" },
            { uid = 1001, allow.send = "to-uid" },
            { group = "staff", allow.send = "to-group" },
            { group = ["staff", "users"], allow.send = "to-groups" },
            { transport = "tcp", allow.send = "to-tcp" },
            { transport = "tcp", user = "alice", allow.send = "to-tcp-user" },
            { node = "web-*", allow.send = "to-node" },
            { user = "alice", node = "web-1", group = "users", allow.send = "to-all" },
            { transport = "unix", allow.send = "to-unix" },
        ]"#;
    let in_staff_by_gid = Peer { gid: Some(50), ..carol() };
    let elsewhere = |peer: Peer| Peer { gid: Some(7), ..peer };
    let members = [elsewhere(alice()), elsewhere(bob()), elsewhere(carol())];
    let stranger = Peer { uid: Some(9), gid: Some(7), ..alice() };
    let guest = Peer { uid: Some(9), gid: Some(100), ..alice() };
    let web = Peer { node_ids: vec!["x", "web-1"], ..alice() };
    let tcp_alice = Peer { user: Some("alice"), ..tcp() };
    for (to, yes, no) in [
        ("to-users", vec![&alice(), &carol()], vec![&bob(), &tcp_alice]),
        ("to-uid", vec![&bob()], vec![&alice(), &tcp()]),
        ("to-group", vec![&bob(), &in_staff_by_gid], vec![&alice(), &carol(), &tcp()]),
        ("to-groups", members.iter().chain([&guest]).collect(), vec![&stranger, &tcp()]),
        ("to-tcp", vec![&tcp(), &tcp_alice], vec![&alice()]),
        ("to-tcp-user", vec![&tcp_alice], vec![&alice(), &tcp()]),
        ("to-node", vec![&web], vec![&alice(), &Peer { node_ids: vec!["xweb-1"], ..bob() }]),
        ("to-all", vec![&web], vec![&alice(), &Peer { node_ids: vec!["web-1"], ..bob() }]),
        ("to-unix", vec![&alice()], vec![&tcp()]),
    ] {
        let policy = policy(rules);
        for peer in yes {
            assert!(peer.asks(&policy, &send(to)).allowed, "{to} {peer:?}");
        }
        for peer in no {
            assert!(!peer.asks(&policy, &send(to)).allowed, "{to} {peer:?}");
        }
    }
}

#[test]
fn types_narrow_what_is_sent_and_published() {
    let rules = r#"
        default = "deny"
        rule = [{ type = ["query", "get-*"], allow = { send = "db", publish = "db.>", own = "db" } }]"#;
    let line = |kind: &str, to: &str| format!(r#"{{"message_type":"{kind}",{to}}}"#);
    assert_eq!(
        decisions(
            rules,
            [
                (&alice(), &line("query", r#""to":"db""#)),
                (&alice(), &line("drop", r#""to":"db""#)),
                (&alice(), &line("get-all", r#""topic":"db.x""#)),
                (&alice(), &line("signal", r#""topic":"db.x""#)),
                (&alice(), &register("db")),
            ]
        ),
        [(true, 1), (false, 0), (true, 1), (false, 0), (true, 1)]
    );
}

#[test]
fn a_pattern_is_allowed_where_one_rule_covers_it_and_denied_where_one_touches_it() {
    let rules = r#"
        default = "deny"
        rule = [
            { user = "alice", allow.subscribe = "audit.login" },
            { deny = { subscribe = "audit.>", monitor = "secret*", own = "db" } },
            { allow = { subscribe = ["audit.>", "*.*", "news.>"], monitor = ["secret*", "web*"], own = ["d*", "web-*"] } },
        ]"#;
    for (line, expected) in [
        (subscribe("audit.login"), (true, 1)),
        (subscribe("audit.*"), (false, 2)),
        (subscribe("*.login"), (false, 2)),
        (subscribe(">"), (false, 2)),
        (subscribe("news.*"), (true, 3)),
        (subscribe("news.>"), (true, 3)),
        (subscribe("sport.>"), (false, 0)),
        (monitor("web-*"), (true, 3)),
        (monitor("*1"), (false, 2)),
        (monitor("s*t"), (false, 2)),
        (monitor("w*"), (false, 0)),
        (register("db"), (false, 2)),
        (register("dc"), (true, 3)),
        (register("d%n"), (false, 2)),
        (register("d%%n"), (true, 3)),
        (register("web-%u"), (true, 3)),
        (register("web%u"), (false, 0)),
    ] {
        assert_eq!(decisions(rules, [(&alice(), &line)]), [expected], "{line}");
    }
}

#[test]
fn everything_is_a_star() {
    let lines = [
        register("x"),
        register("%u"),
        send("x"),
        r#"{"message_type":"signal","topic":"a.b"}"#.into(),
        subscribe(">"),
        monitor("*"),
        r#"{"message_type":"kill","body":{"node_id":"x"}}"#.into(),
    ];
    let rules = r#"default = "deny"
        rule = [{ user = "alice", deny = "*" }, { allow = "*" }]"#;
    for line in &lines {
        assert_eq!(decisions(rules, [(&alice(), line), (&bob(), line)]), [(false, 1), (true, 2)], "{line}");
    }
}

#[test]
fn rules_that_come_too_late() {
    let late = |rules: &str| policy(&format!("default = \"deny\"\nrule = [{rules}]")).late_rules();
    for rules in [
        r#"{ allow.send = "*" }, { user = "bob", deny.send = "db" }"#,
        r#"{ user = ["alice", "bob"], deny = "*" }, { user = "bob", allow = { own = "x", subscribe = "a" } }"#,
        r#"{ group = "staff", deny.send = "a*" }, { group = "staff", node = "x", allow.send = "ab*" }"#,
        r#"{ node = "w*", deny.publish = "a.>" }, { node = "web", allow.publish = "a.*.b", type = "x" }"#,
        r#"{ allow.publish = "a", type = "x*" }, { allow.publish = "a", type = ["xx", "xy*"] }"#,
        r#"{ allow.own = "x", type = "y", allow.send = "z" }, { allow.own = "x" }"#,
    ] {
        assert_eq!(late(rules), [(2, 1)], "{rules}");
    }
    for rules in [
        r#"{ user = "bob", deny.send = "db" }, { allow.send = "*" }"#,
        r#"{ user = "bob", deny.send = "db" }, { user = "alice", allow.send = "db" }"#,
        r#"{ group = "staff", deny.send = "*" }, { user = "bob", allow.send = "*" }"#,
        r#"{ allow.send = "*", type = "x" }, { allow.send = "db" }"#,
        r#"{ allow.send = "*" }, { allow = { send = "db", own = "db" } }"#,
        r#"{ transport = "tcp", user = "a", allow.send = "*" }, { transport = "tcp", allow.send = "*" }"#,
    ] {
        assert_eq!(late(rules), [], "{rules}");
    }
}

/// Rules on a few users, with patterns of a few letters.
fn some_rules() -> impl Strategy<Value = String> {
    let rule = (
        prop::sample::select(vec!["", r#"user = "alice", "#, r#"group = "staff", "#, r#"node = "w*", "#]),
        prop::sample::select(vec!["allow", "deny"]),
        prop::collection::vec("([ab*]\\.)?[ab*>]", 1..3),
        prop::collection::vec("[ab*]{1,3}", 1..3),
    );
    let text = |(who, effect, topics, nodes): (&str, &str, Vec<String>, Vec<String>)| {
        format!(
            "{{ {who}{effect} = {{ subscribe = {topics:?}, monitor = {nodes:?}, send = {nodes:?} }} }},\n"
        )
    };
    let rules = prop::collection::vec(rule.prop_map(text), 0..6);
    ("allow|deny", rules)
        .prop_map(|(default, rules)| format!("default = \"{default}\"\nrule = [\n{}]", rules.concat()))
}

proptest! {
    /// Names are looked up and patterns are tried; together they must decide as if all rules were tried
    /// in their order.
    #[test]
    fn the_first_rule_decides_however_it_is_found(rules in some_rules(), name in "[ab]{1,3}") {
        let policy = policy(&rules);
        for peer in [alice(), bob(), Peer { node_ids: vec!["web"], ..carol() }] {
            let decision = peer.asks(&policy, &send(&name));
            let matching = |at: &usize| {
                let rule = policy.rules[*at].clone();
                let alone = super::Policy::new(!rule.allows, vec![rule]);
                peer.asks(&alone, &send(&name)).rule.is_some()
            };
            let first = (0..policy.rules.len()).find(matching);
            prop_assert_eq!(decision.rule, first.map(|at| at + 1));
            prop_assert_eq!(decision.allowed, first.map_or(policy.default_allows, |at| policy.rules[at].allows));
        }
    }

    /// Who is allowed a pattern is allowed each thing that it stands for.
    #[test]
    fn a_pattern_gives_nothing_that_is_not_allowed(
        rules in some_rules(),
        topics in "([ab*]\\.){0,2}[ab*>]",
        topic in "([abc]\\.){0,3}[abc]",
        nodes in "[ab*]{1,4}",
        node in "[abc]{1,5}",
    ) {
        let policy = policy(&rules);
        let matches = |verb: super::Verb, pattern: &str, text: &str| {
            verb.pattern(pattern).expect("a pattern").covers(text)
        };
        for peer in [alice(), bob(), Peer { node_ids: vec!["web"], ..carol() }] {
            if matches(super::Verb::Subscribe, &topics, &topic) && peer.asks(&policy, &subscribe(&topics)).allowed {
                prop_assert!(peer.asks(&policy, &subscribe(&topic)).allowed);
            }
            if matches(super::Verb::Monitor, &nodes, &node) && peer.asks(&policy, &monitor(&nodes)).allowed {
                prop_assert!(peer.asks(&policy, &monitor(&node)).allowed);
            }
        }
    }

    /// Without its late rules a policy decides the same on every single thing.
    #[test]
    fn a_late_rule_makes_no_difference(rules in some_rules(), name in "[abc]{1,4}", topic in "([abc]\\.)?[abc]") {
        let whole = policy(&rules);
        let late = whole.late_rules();
        let kept = whole.rules.iter().enumerate();
        let kept = kept.filter(|(at, _)| !late.iter().any(|(number, _)| *number == at + 1));
        let pruned = super::Policy::new(whole.default_allows, kept.map(|(_, rule)| rule.clone()).collect());
        for peer in [alice(), bob(), Peer { node_ids: vec!["web"], ..carol() }] {
            for line in [send(&name), subscribe(&topic), monitor(&name)] {
                prop_assert_eq!(peer.asks(&whole, &line).allowed, peer.asks(&pruned, &line).allowed);
            }
        }
    }
}

#[test]
fn a_thousand_rules_are_read() {
    let rules: Vec<String> =
        (0..1000).map(|number| format!(r#"{{"uid":{number},"allow":{{"send":"node-{number}"}}}}"#)).collect();
    let json = format!(r#"{{"default":"deny","rule":[{}]}}"#, rules.join(","));
    let policy = config::read(&json, &Town).expect("rules").policy;
    let peer = Peer { uid: Some(999), ..alice() };
    assert_eq!(peer.asks(&policy, &send("node-999")).rule, Some(1000));
    assert_eq!(peer.asks(&policy, &send("node-998")).rule, None);
}
