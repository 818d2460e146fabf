//! The plugin in a fake daemon: what it makes of messages and events.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use telex_plugin::testing::{Event, FakeDaemon, Peer};
use telex_plugin::{Heard, Kind, Transport, Verdict};

fn start(limit: &str) -> Result<FakeDaemon, String> {
    FakeDaemon::start(&filter_rate::telex_plugin, &format!(r#"{{"limits":[{limit}]}}"#))
}

const ASK: &str = r#"{"message_type":"ask","to":"bob"}"#;

#[test]
fn it_refuses_and_tells_why_and_a_connection_that_is_gone_is_forgotten() {
    let mut daemon = start(r#"{"per":"connection","messages_per_second":0.001}"#).unwrap();
    assert_eq!(daemon.plugin_name(), "telex-filter-rate");
    let alice = Peer::default();
    assert_eq!(daemon.judge(&alice, ASK), Some(Verdict::Pass));
    let Some(Verdict::Reject(reason)) = daemon.judge(&alice, ASK) else { panic!("it is refused") };
    assert!(reason.starts_with("limit \"1\" is reached (0.001 messages per second for each con"), "{reason}");
    for free in [
        r#"{"message_type":"ask_reply","to":"bob","body":{"in_reply_to":1,"error":null}}"#,
        r#"{"message_type":"ping"}"#,
        r#"{"message_type":"signal"}"#,
    ] {
        assert_eq!(daemon.judge(&alice, free), Some(Verdict::Pass), "{free}");
    }
    assert_eq!(daemon.event(&Event::new(Kind::Reloaded)), Some(Heard::Yes));
    assert_eq!(daemon.judge(&alice, ASK), Some(Verdict::Reject(reason)));
    let gone = Event { peer: Some(&alice), ..Event::new(Kind::Disconnected) };
    assert_eq!(daemon.event(&gone), Some(Heard::Yes));
    assert_eq!(daemon.judge(&alice, ASK), Some(Verdict::Pass));
}

#[test]
fn users_are_uids_and_authenticated_names_and_all_the_others() {
    let mut daemon = start(r#"{"per":"user","messages_per_second":0.001}"#).unwrap();
    for (uid, user) in
        [(Some(1000), None), (Some(1001), None), (None, Some("ann")), (None, Some("bob")), (None, None)]
    {
        let transport = if uid.is_some() { Transport::Unix } else { Transport::Tcp };
        let peer = Peer { uid, user: user.map(str::to_owned), transport, ..Peer::default() };
        assert_eq!(daemon.judge(&peer, ASK), Some(Verdict::Pass), "{peer:?}");
        assert!(matches!(daemon.judge(&peer, ASK), Some(Verdict::Reject(_))), "{peer:?}");
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
        let mut daemon = start(&limit).unwrap();
        let mut judge = |line| daemon.judge(&Peer::default(), line);
        assert_eq!(judge(line), Some(Verdict::Pass), "{pattern}");
        assert_eq!(judge(line), Some(Verdict::Drop), "{pattern}");
        assert_eq!(judge(r#"{"message_type":"x","from":"x","to":"x"}"#), None, "{pattern}");
    }
}

#[test]
fn what_is_wrong_with_the_configuration_is_told() {
    let told = start(r#"{"per":"everybody","messages_per_second":1}"#).err().unwrap();
    assert!(told.starts_with("limit 1: per: unknown variant `everybody`"), "{told}");
}

#[test]
fn what_is_only_asked_takes_nothing_from_a_bucket() {
    let mut daemon = start(r#"{"per":"connection","messages_per_second":0.001}"#).unwrap();
    let alice = Peer::default();
    for _ in 0..3 {
        assert_eq!(daemon.explain(&alice, ASK), Some(Verdict::Pass));
    }
    assert_eq!(daemon.judge(&alice, ASK), Some(Verdict::Pass));
    let Some(Verdict::Reject(asked)) = daemon.explain(&alice, ASK) else { panic!("it would be refused") };
    assert!(asked.starts_with("limit \"1\" is reached"), "{asked}");
    assert!(matches!(daemon.judge(&alice, ASK), Some(Verdict::Reject(_))));
}
