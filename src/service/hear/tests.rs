use super::*;

fn about() -> About {
    About { node_id: "svc".to_owned(), max_line_bytes: 1000, max_requests: 64, last_id: AtomicU64::new(0) }
}

fn asker() -> Asker {
    Asker { number: 7, process: Some(Peer { uid: Some(1000), gid: Some(100), pid: 42 }), unnamed: 0 }
}

fn said(line: &str) -> String {
    match hear(line.as_bytes(), &mut asker(), &about()) {
        Heard::Say(line) | Heard::Broken(line) => String::from_utf8(line).expect("UTF-8"),
        other => panic!("{line}: {other:?}"),
    }
}

fn done(line: &str) -> Message {
    match hear(line.as_bytes(), &mut asker(), &about()) {
        Heard::Do(message) => message,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn what_is_for_the_service_has_its_sender_and_an_id() {
    for to in ["", r#","to":null"#, r#","to":"svc""#, r#","to":"svc#port""#, r#","from":null"#] {
        let message = done(&format!(r#"{{"message_type":"read"{to},"body":[1]}}"#));
        assert_eq!((message.message_type(), message.from(), message.body()), ("read", None, Some("[1]")));
        assert_eq!(message.sender(), Some(r#"{"uid":1000,"gid":100,"pid":42}"#));
        assert_eq!(message.id().expect("an id").text, ":7-1");
    }
    assert_eq!(done(r#"{"message_id":5,"message_type":"read"}"#).id().expect("an id").text, "5");
    // Words of the daemon are the service's own when they are said to it.
    assert_eq!(done(r#"{"message_type":"list","to":"svc"}"#).message_type(), "list");
    assert!(!done(r#"{"message_type":"signal"}"#).is_request());
    let tcp = &mut Asker { process: None, ..asker() };
    let Heard::Do(message) = hear(br#"{"message_type":"read"}"#, tcp, &about()) else {
        panic!("heard otherwise")
    };
    assert_eq!(message.sender(), Some("{}"));
}

#[test]
fn what_it_answers_by_itself() {
    assert_eq!(
        said(r#"{"message_id":"w","message_type":"whoami"}"#),
        format!(
            concat!(
                r#"{{"message_id":":0-1","message_type":"whoami_reply","from":null,"body":{{"in_reply_to":"w","error":null,"#,
                r#""uid":1000,"gid":100,"pid":42,"node_ids":[],"administrator":false,"transport":"unix","#,
                r#""service":"svc","daemon":{{"name":"service","version":"{}","protocol":1,"#,
                r#""limits":{{"max_line_bytes":1000,"max_requests":64}}}}}}}}"#,
                "\n"
            ),
            env!("CARGO_PKG_VERSION")
        )
    );
    let pong = said(r#"{"message_type":"ping","body":{"x":1}}"#);
    assert!(pong.contains(r#""body":{"in_reply_to":":7-1","error":null,"body":{"x":1},"time":"#), "{pong}");
}

#[test]
fn faults_are_told_with_their_codes() {
    let deep = format!(r#"{{"message_type":"ping","body":{}0{}}}"#, "[".repeat(127), "]".repeat(127));
    for (line, code, in_reply_to) in [
        ("{", "bad_json", "null"),
        ("[]", "not_an_object", "null"),
        (r#"{"message_type":"a","message_type":"a"}"#, "duplicate_field", "null"),
        (r#"{"message_id":1}"#, "missing_field", "1"),
        (r#"{"message_id":1,"message_type":"a","to":5}"#, "bad_field", "1"),
        (r#"{"message_id":[],"message_type":"a"}"#, "bad_field", "null"),
        (r#"{"message_id":1,"message_type":"a","sender":{"uid":0}}"#, "not_yours", "1"),
        (r#"{"message_id":1,"message_type":"a","from":"root"}"#, "not_yours", "1"),
        (r#"{"message_id":1,"message_type":"signal","from":"root"}"#, "not_yours", "1"),
        (r#"{"message_type":"error"}"#, "not_yours", "\":7-1\""),
        (r#"{"message_id":1,"message_type":"a","to":"svcs"}"#, "no_such_node", "1"),
        (r#"{"message_id":1,"message_type":"a","topic":"b.c"}"#, "no_subscribers", "1"),
        (r#"{"message_id":1,"message_type":"a_reply","body":{"in_reply_to":1}}"#, "no_such_request", "1"),
        (r#"{"message_id":1,"message_type":"register","body":{"node_id":"me"}}"#, "unknown_type", "1"),
        (r#"{"message_id":1,"message_type":"spool_put"}"#, "unknown_type", "1"),
        (&deep, "bad_field", "\":7-1\""),
    ] {
        let said = said(line);
        assert!(said.contains(&format!(r#""code":"{code}""#)), "{line}: {said}");
        assert!(said.contains(&format!(r#""in_reply_to":{in_reply_to}"#)), "{line}: {said}");
        assert!(said.contains(r#""from":null"#) && said.ends_with("}\n"), "{line}: {said}");
    }
    // A signal to a topic without subscribers is simply gone.
    let signal = br#"{"message_type":"signal","topic":"b.c"}"#;
    assert!(matches!(hear(signal, &mut asker(), &about()), Heard::Nothing));
}
