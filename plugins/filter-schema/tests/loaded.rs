//! The library, loaded as telexd would: what it makes of messages.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "../../filter-example/tests/host/mod.rs"]
mod host;

use std::path::PathBuf;

use host::Loaded;
use telex_plugin::raw;

/// Cargo puts it beside the tests that need it.
fn library() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("libfilter_schema.so")
}

fn load(rule: &str) -> Result<Loaded, String> {
    Loaded::new(&library(), &format!(r#"{{"rules":[{rule}]}}"#))
}

#[test]
fn it_refuses_what_does_not_fit_and_tells_why() {
    let plugin = load(r#"{"message_type":"heat","schema":{"type":"object"}}"#).unwrap();
    assert_eq!(plugin.name()[0], "telex-filter-schema");
    let judge = |line| plugin.judge(line).unwrap();
    assert_eq!(judge(r#"{"message_type":"heat","to":"bob","body":{}}"#).verdict, raw::PASS);
    let refused = judge(r#"{"message_type":"heat","to":"bob","body":[1]}"#);
    assert_eq!(refused.verdict, raw::REJECT);
    let expected = "the body does not fit rule 1: the value is not of type \"object\"";
    assert_eq!(refused.reason.as_deref(), Some(expected));
    let refused = judge(r#"{"message_type":"heat","to":"bob"}"#);
    assert!(refused.reason.unwrap().starts_with("there is no body, and null does not fit rule 1"));
}

#[test]
fn each_field_is_matched_with_its_own_pattern() {
    for (pattern, line) in [
        (r#""message_type":"ask""#, r#"{"message_type":"ask","to":"bob"}"#),
        (r#""message_type":"ask_reply""#, r#"{"message_type":"ask_reply","to":"bob"}"#),
        (r#""to":"bob""#, r#"{"message_type":"ask","to":"bob"}"#),
        (r#""topic":"news""#, r#"{"message_type":"signal","topic":"news"}"#),
    ] {
        let plugin = load(&format!(r#"{{{pattern},"schema":false}}"#)).unwrap();
        assert_eq!(plugin.judge(line).map(|it| it.verdict), Some(raw::REJECT), "{pattern}");
        assert_eq!(plugin.judge(r#"{"message_type":"x","to":"x"}"#), None, "{pattern}");
    }
    let reply =
        load(r#"{"to":"bob","schema":false}"#).unwrap().judge(r#"{"message_type":"a_reply","to":"bob"}"#);
    assert_eq!(reply.map(|it| it.verdict), Some(raw::PASS));
}

#[test]
fn what_is_wrong_with_the_configuration_is_told() {
    let told = load(r#"{"message_type":"heat","schema":{"type":"objekt"}}"#).err().unwrap();
    assert!(told.starts_with("rule 1: schema: at \"/type\": \"objekt\" is not"), "{told}");
}
