//! The plugin in a fake daemon: what it makes of messages.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use telex_plugin::Verdict;
use telex_plugin::testing::{FakeDaemon, Peer};

fn start(rule: &str) -> Result<FakeDaemon, String> {
    FakeDaemon::start(&filter_schema::telex_plugin, &format!(r#"{{"rules":[{rule}]}}"#))
}

/// What becomes of a line under one rule.
fn judge(rule: &str, line: &str) -> Option<Verdict> {
    start(rule).unwrap().judge(&Peer::default(), line)
}

/// Why it is refused.
fn reason(rule: &str, line: &str) -> String {
    let Some(Verdict::Reject(reason)) = judge(rule, line) else { panic!("{line} fits {rule}") };
    reason
}

#[test]
fn it_refuses_what_does_not_fit_and_tells_why() {
    let rule = r#"{"message_type":"heat","schema":{"type":"object"}}"#;
    assert_eq!(start(rule).unwrap().plugin_name(), "telex-filter-schema");
    assert_eq!(judge(rule, r#"{"message_type":"heat","to":"bob","body":{}}"#), Some(Verdict::Pass));
    let told = reason(rule, r#"{"message_type":"heat","to":"bob","body":[1]}"#);
    assert_eq!(told, "the body does not fit rule 1: the value is not of type \"object\"");
    let told = reason(rule, r#"{"message_type":"heat","to":"bob"}"#);
    assert!(told.starts_with("there is no body, and null does not fit rule 1"), "{told}");
}

#[test]
fn each_field_is_matched_with_its_own_pattern() {
    for (pattern, line) in [
        (r#""message_type":"ask""#, r#"{"message_type":"ask","to":"bob"}"#),
        (r#""message_type":"ask_reply""#, r#"{"message_type":"ask_reply","to":"bob"}"#),
        (r#""to":"bob""#, r#"{"message_type":"ask","to":"bob"}"#),
        (r#""topic":"news""#, r#"{"message_type":"signal","topic":"news"}"#),
    ] {
        let rule = format!(r#"{{{pattern},"schema":false}}"#);
        reason(&rule, line);
        assert_eq!(judge(&rule, r#"{"message_type":"x","to":"x"}"#), None, "{pattern}");
    }
    let reply = judge(r#"{"to":"bob","schema":false}"#, r#"{"message_type":"a_reply","to":"bob"}"#);
    assert_eq!(reply, Some(Verdict::Pass));
}

#[test]
fn what_is_wrong_with_the_configuration_is_told() {
    let told = start(r#"{"message_type":"heat","schema":{"type":"objekt"}}"#).err().unwrap();
    assert!(told.starts_with("rule 1: schema: at \"/type\": \"objekt\" is not"), "{told}");
}
