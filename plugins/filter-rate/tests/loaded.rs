//! The library, loaded as telexd would: what it makes of messages and events.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "../../filter-example/tests/host/mod.rs"]
mod host;

use std::path::PathBuf;

use host::Loaded;
use telex_plugin::raw;

/// Cargo puts it beside the tests that need it.
fn library() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("libfilter_rate.so")
}

fn load(limits: &str) -> Result<Loaded, String> {
    Loaded::new(&library(), &format!(r#"{{"limits":[{limits}]}}"#))
}

fn verdict(plugin: &Loaded, line: &str) -> Option<i32> {
    plugin.judge(line).map(|judged| judged.verdict)
}

const ASK: &str = r#"{"message_type":"ask","to":"bob"}"#;

#[test]
fn it_refuses_and_tells_why_and_a_connection_that_is_gone_is_forgotten() {
    let plugin = load(r#"{"per":"connection","messages_per_second":0.001}"#).unwrap();
    assert_eq!(plugin.name()[0], "telex-filter-rate");
    assert_eq!(verdict(&plugin, ASK), Some(raw::PASS));
    let refused = plugin.judge(ASK).unwrap();
    assert_eq!(refused.verdict, raw::REJECT);
    let reason = refused.reason.unwrap();
    assert!(reason.starts_with("limit \"1\" is reached (0.001 messages per second for each con"), "{reason}");
    for free in [
        r#"{"message_type":"ask_reply","to":"bob","body":{"in_reply_to":1,"error":null}}"#,
        r#"{"message_type":"ping"}"#,
        r#"{"message_type":"signal"}"#,
    ] {
        assert_eq!(verdict(&plugin, free), Some(raw::PASS), "{free}");
    }
    assert!(plugin.event(raw::RELOADED, None).is_some());
    assert_eq!(verdict(&plugin, ASK), Some(raw::REJECT));
    assert!(plugin.event(raw::DISCONNECTED, None).is_some());
    assert_eq!(verdict(&plugin, ASK), Some(raw::PASS));
}

#[test]
fn users_are_uids_and_authenticated_names_and_all_the_others() {
    let mut plugin = load(r#"{"per":"user","messages_per_second":0.001}"#).unwrap();
    for (uid, user) in
        [(Some(1000), None), (Some(1001), None), (None, Some("ann")), (None, Some("bob")), (None, None)]
    {
        (plugin.uid, plugin.user) = (uid, user);
        assert_eq!(verdict(&plugin, ASK), Some(raw::PASS), "{uid:?} {user:?}");
        assert_eq!(verdict(&plugin, ASK), Some(raw::REJECT), "{uid:?} {user:?}");
    }
}

#[test]
fn each_field_is_matched_with_its_own_pattern() {
    for (pattern, line) in [
        (r#""message_type":"ask""#, ASK),
        (r#""to":"bob""#, ASK),
        (r#""from":"alice""#, ASK),
        (r#""topic":"news""#, r#"{"message_type":"signal","topic":"news"}"#),
    ] {
        let limit = format!(r#"{{"per":"user","bytes_per_second":1,{pattern},"action":"drop"}}"#);
        let plugin = load(&limit).unwrap();
        assert_eq!(verdict(&plugin, line), Some(raw::PASS), "{pattern}");
        assert_eq!(verdict(&plugin, line), Some(raw::DROP), "{pattern}");
        assert_eq!(verdict(&plugin, r#"{"message_type":"x","from":"x","to":"x"}"#), None, "{pattern}");
    }
}

#[test]
fn what_is_wrong_with_the_configuration_is_told() {
    let told = load(r#"{"per":"everybody","messages_per_second":1}"#).err().unwrap();
    assert!(told.starts_with("limit 1: per: unknown variant `everybody`"), "{told}");
}
