//! The fake daemon, and the glue of `export!` with it: what a plugin in Rust says arrives, and what it is
//! handed is what was meant.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::time::Duration;

use telex_plugin::testing::{self, Emitted, FakeDaemon, Peer};
use telex_plugin::{
    Call, Event, Events, Fault, Filter, Heard, Host, Interest, Kind, Level, Log, Message, Plugin, Record,
    Refused, Replacement, Target, Transport, Verdict,
};

/// Does what the type of a message says, and logs what it is handed.
struct Parrot(Host);

impl Plugin for Parrot {
    fn create(host: Host, config: &str) -> Result<Parrot, String> {
        host.log(Level::Notice, &format!("{} {} {config}", host.daemon(), host.name()));
        assert_eq!(host.set_timer(9), Err(Refused::BadValue));
        host.set_timer(20).unwrap();
        if config == "{}" { Ok(Parrot(host)) } else { Err("not so".to_owned()) }
    }
}

impl Drop for Parrot {
    fn drop(&mut self) {
        self.0.log(Level::Debug, "farewell");
    }
}

impl Filter for Parrot {
    fn judge(&mut self, message: &Message<'_>, call: &Call<'_>) -> Verdict {
        let said = format!(
            "{}\n{:?} {} {:?} {:?} {:?} {:?} {:?} {:?}",
            message.line(),
            message.category(),
            message.from(),
            message.message_id(),
            message.to(),
            message.topic(),
            message.key(),
            message.body(),
            message.in_reply_to()
        );
        self.0.log(Level::Info, &said);
        let replaced = |with: Replacement| Verdict::Replace(with);
        match message.message_type() {
            "reject" => Verdict::Reject(message.value("/why").unwrap_or("nothing").to_owned()),
            "drop" => Verdict::Drop,
            "fault" => Verdict::Fault,
            "panic" => panic!("as it was asked to"),
            "emit" => {
                let mut count = 0;
                while call.emit(Target::Topic("news"), "{}").is_ok() {
                    count += 1;
                }
                assert_eq!(call.emit(Target::To("a"), "{}"), Err(Refused::TooMany));
                Verdict::Reject(count.to_string())
            }
            "emit_junk" => {
                assert_eq!(call.emit(Target::To("a"), "7"), Err(Refused::BadValue));
                call.emit(Target::To("a"), " {\"b\":1} ").unwrap();
                Verdict::Pass
            }
            "to" => replaced(Replacement { to: Some("b".to_owned()), ..Replacement::default() }),
            "body" => replaced(Replacement { body: Some("[1]".to_owned()), ..Replacement::default() }),
            "junk" => replaced(Replacement { body: Some("[1".to_owned()), ..Replacement::default() }),
            "x_reply" => replaced(Replacement { topic: Some("b".to_owned()), ..Replacement::default() }),
            "category" => {
                replaced(Replacement { message_type: Some("signal".to_owned()), ..Replacement::default() })
            }
            _ => Verdict::Pass,
        }
    }

    fn interests(&self) -> Vec<Interest> {
        let of = |pattern: &str| Some(pattern.to_owned());
        vec![
            Interest { to: of("a"), from: of("al*"), ..Interest::default() },
            Interest { topic: of("news"), ..Interest::default() },
        ]
    }
}

impl Events for Parrot {
    fn event(&mut self, event: &Event<'_>, call: &Call<'_>) -> Heard {
        call.emit(Target::To("a"), "{}").unwrap();
        let (node_id, topic, group) = (event.node_id(), event.topic(), event.group());
        let Some(peer) = event.peer() else { return Heard::Fault };
        let node_ids: Vec<_> = peer.node_ids().collect();
        let said = format!(
            "{:?} {} {node_id:?} {topic:?} {group:?} {:?} {} {node_ids:?} {:?} {:?} {:?} {:?} {:?} {}",
            event.kind(),
            event.is_replayed(),
            event.reason(),
            peer.unique_id(),
            peer.transport(),
            peer.uid(),
            peer.gid(),
            peer.pid(),
            peer.user(),
            peer.is_administrator()
        );
        self.0.log(Level::Info, &said);
        if event.kind() == Kind::Connected { Heard::Refused("full".to_owned()) } else { Heard::Yes }
    }

    fn wants(&self) -> &'static [Kind] {
        &[Kind::Connected, Kind::Subscribed, Kind::Timer]
    }
}

impl Log for Parrot {
    fn record(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        let said = format!(
            "{:?} {} {} {:?} {:?} {:?} {} {}",
            record.level,
            record.time,
            record.event,
            record.connection,
            record.node_id,
            record.uid,
            record.message,
            record.fields
        );
        self.0.log(Level::Info, &said);
        if record.message.is_empty() { Err(Fault) } else { Ok(()) }
    }
}

telex_plugin::export!(Parrot, filter, events, log);

fn start() -> FakeDaemon {
    let mut daemon = FakeDaemon::start(&telex_plugin, "{}").unwrap();
    daemon.logged();
    daemon
}

fn judged(message_type: &str) -> Option<Verdict> {
    start().judge(&Peer::default(), &format!(r#"{{"message_type":"{message_type}","to":"a"}}"#))
}

fn said(daemon: &mut FakeDaemon) -> String {
    let said: Vec<_> = daemon.logged().into_iter().map(|(_, said)| said).collect();
    said.join("\n")
}

#[test]
fn an_instance_begins_and_ends() {
    let mut daemon = FakeDaemon::start(&telex_plugin, "{}").unwrap();
    assert_eq!((daemon.plugin_name(), daemon.plugin_version()), ("telex-plugin", env!("CARGO_PKG_VERSION")));
    assert_eq!(daemon.logged(), [(Level::Notice, "telexd 0.0.0 tested {}".to_owned())]);
    assert_eq!(daemon.timer(), Some(Duration::from_millis(20)));
    assert_eq!(daemon.end_plugin(), [(Level::Debug, "farewell".to_owned())]);
    assert_eq!(FakeDaemon::start(&telex_plugin, "{ }").err().as_deref(), Some("not so"));
}

#[test]
fn every_verdict_arrives() {
    assert_eq!(judged("x"), Some(Verdict::Pass));
    assert_eq!(judged("drop"), Some(Verdict::Drop));
    for fault in ["fault", "panic", "junk", "category", "x_reply"] {
        assert_eq!(judged(fault), Some(Verdict::Fault), "{fault}");
    }
    let to = Replacement { to: Some("b".to_owned()), ..Replacement::default() };
    assert_eq!(judged("to"), Some(Verdict::Replace(to)));
    let body = Replacement { body: Some("[1]".to_owned()), ..Replacement::default() };
    assert_eq!(judged("body"), Some(Verdict::Replace(body)));
    let mut daemon = start();
    let mut reject = |body| {
        daemon.judge(&Peer::default(), &format!(r#"{{"message_type":"reject","to":"a"{body}}}"#)).unwrap()
    };
    assert_eq!(reject(r#","body":{"why":"a"}"#), Verdict::Reject("\"a\"".to_owned()));
    assert_eq!(reject(r#","body":{}"#), Verdict::Reject("nothing".to_owned()));
    assert_eq!(reject(""), Verdict::Reject("nothing".to_owned()));
}

#[test]
fn only_what_it_is_interested_in_is_judged() {
    let mut daemon = start();
    let bob = Peer { node_ids: vec!["bob".to_owned()], ..Peer::default() };
    for (line, is_judged) in [
        (r#"{"message_type":"x","to":"a"}"#, false),
        (r#"{"message_type":"x","to":"a","from":"alf"}"#, true),
        (r#"{"message_type":"signal","topic":"news"}"#, true),
        (r#"{"message_type":"x"}"#, false),
    ] {
        assert_eq!(daemon.judge(&bob, line).is_some(), is_judged, "{line}");
    }
}

#[test]
fn a_message_is_what_the_line_says() {
    let mut daemon = start();
    let nobody = Peer { node_ids: Vec::new(), connection: 9, ..Peer::default() };
    for (line, seen) in [
        (
            concat!(
                r#"{"message_id":7,"message_type":"x","from":"\u0061l","to":"a","key":"k","#,
                r#""body":{"in_reply_to":1}}"#
            ),
            r#"Request al Some("7") Some("a") None Some("k") Some("{\"in_reply_to\":1}") Some("1")"#,
        ),
        (
            r#"{"message_type":"signal","topic":"news","body":null}"#,
            r#"Signal :9 None None Some("news") None Some("null") None"#,
        ),
        (
            r#"{"message_type":"y_reply","topic":"news","to":null}"#,
            r#"Reply :9 None None Some("news") None None None"#,
        ),
    ] {
        assert_eq!(daemon.judge(&nobody, line), Some(Verdict::Pass), "{line}");
        assert_eq!(said(&mut daemon), format!("{line}\n{seen}"));
    }
}

#[test]
fn what_is_emitted_is_there_to_be_seen() {
    let mut daemon = start();
    let mut judge = |message_type| {
        daemon.judge(&Peer::default(), &format!(r#"{{"message_type":"{message_type}","to":"a"}}"#))
    };
    assert_eq!(judge("emit"), Some(Verdict::Reject("16".to_owned())));
    assert_eq!(judge("emit_junk"), Some(Verdict::Pass));
    let emitted = daemon.emitted();
    assert_eq!(emitted.len(), 17);
    let [to, topic] = ["a", "news"].map(|it| Some(it.to_owned()));
    assert_eq!(emitted[0], Emitted { to: None, topic, body: "{}".to_owned() });
    assert_eq!(emitted[16], Emitted { to, topic: None, body: "{\"b\":1}".to_owned() });
    assert_eq!(daemon.emitted(), []);
}

#[test]
fn an_event_is_what_the_test_says() {
    let mut daemon = start();
    let peer = Peer {
        transport: Transport::Tcp,
        uid: None,
        gid: None,
        pid: None,
        user: Some("ann".to_owned()),
        administrator: true,
        ..Peer::default()
    };
    let about = |kind| testing::Event { peer: Some(&peer), ..testing::Event::new(kind) };
    assert_eq!(daemon.event(&about(Kind::Registered)), None);
    assert_eq!(daemon.event(&about(Kind::Connected)), Some(Heard::Refused("full".to_owned())));
    let seen = r#"Connected false None None None None :1 ["alice"] Tcp None None None Some("ann") true"#;
    assert_eq!(said(&mut daemon), seen);
    let [node_id, topic, group, reason] = ["n", "t", "g", "r"].map(Some);
    let peer = Peer { node_ids: vec!["a".to_owned(), "b".to_owned()], ..Peer::default() };
    let event = testing::Event {
        peer: Some(&peer),
        node_id,
        topic,
        group,
        reason,
        replayed: true,
        kind: Kind::Subscribed,
    };
    assert_eq!(daemon.event(&event), Some(Heard::Yes));
    let seen = concat!(
        r#"Subscribed true Some("n") Some("t") Some("g") Some("r") "#,
        r#":1 ["a", "b"] Unix Some(1000) Some(1000) Some(4711) None false"#
    );
    assert_eq!(said(&mut daemon), seen);
    assert_eq!(daemon.event(&testing::Event::new(Kind::Timer)), Some(Heard::Fault));
    assert_eq!(daemon.emitted().len(), 3);
}

#[test]
fn a_record_is_what_the_test_says() {
    let mut daemon = start();
    assert_eq!(daemon.record(&Record::default()), Err(Fault));
    assert_eq!(said(&mut daemon), "Info 0 daemon None None None  {}");
    let record = Record {
        level: Level::Warning,
        time: 7,
        event: "left",
        connection: Some(3),
        node_id: Some("a"),
        uid: Some(0),
        message: "gone",
        fields: "{\"a\":1}",
    };
    assert_eq!(daemon.record(&record), Ok(()));
    assert_eq!(said(&mut daemon), r#"Warning 7 left Some(3) Some("a") Some(0) gone {"a":1}"#);
    assert_eq!(daemon.flush(), Ok(()));
}

#[test]
fn a_library_that_is_no_plugin_is_told() {
    let told = testing::load(std::path::Path::new("/nowhere/libnothing.so")).err().unwrap();
    assert!(told.contains("libnothing.so"), "{told}");
    let told = testing::load(std::path::Path::new("libc.so.6")).err().unwrap();
    assert!(told.contains("telex_plugin"), "{told}");
}
