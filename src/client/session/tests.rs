use super::*;
use crate::client::{Category, To, text};
use crate::limits::{ADDED_BYTES_MAX, MAX_LINE_BYTES_MAX};

/// All that `session` makes of `lines`.
fn take(session: &mut Session, lines: &str) -> Vec<Event> {
    let mut input = lines.as_bytes();
    std::iter::from_fn(|| session.take(&mut input)).collect()
}

/// What `write` appends, as one line without its LF.
fn line(write: impl FnOnce(&mut Vec<u8>) -> Result<Ticket, Unsendable>) -> Result<String, Unsendable> {
    let mut out = Vec::new();
    write(&mut out)?;
    let line = String::from_utf8(out).expect("UTF-8");
    let line = line.strip_suffix('\n').expect("an LF");
    assert!(!line.contains(['\n', '\r']));
    Ok(line.to_owned())
}

fn request(session: &mut Session, to: To<'_>, message_type: &str) -> Ticket {
    session.request(to, message_type, "", None, &mut Vec::new()).expect("a request")
}

fn message(line: &str) -> Message {
    Message::read(line.as_bytes().to_vec()).expect("a message")
}

#[test]
fn the_lines_it_writes() {
    let mut session = Session::new("p");
    assert_eq!(
        line(|out| session.signal("a#b".into(), " {\"x\":\r\n1} ", out)).as_deref(),
        Ok(r#"{"message_id":"p-1","message_type":"signal","to":"a#b","body":{"x":  1}}"#)
    );
    assert_eq!(
        line(|out| session.signal(To::Topic("t.u"), &text("\"\n"), out)).as_deref(),
        Ok(r#"{"message_id":"p-2","message_type":"signal","topic":"t.u","body":"\"\n"}"#)
    );
    let hour = Some(Duration::from_secs(7200));
    assert_eq!(
        line(|out| session.request(To::Daemon, "whoami", "", hour, out)).as_deref(),
        Ok(r#"{"message_id":"p-3","message_type":"whoami","timeout_ms":3600000}"#)
    );
    let none = Some(Duration::ZERO);
    assert_eq!(
        line(|out| session.request("a\"".into(), "ask", "null", none, out)).as_deref(),
        Ok(r#"{"message_id":"p-4","message_type":"ask","to":"a\"","timeout_ms":1,"body":null}"#)
    );
    assert_eq!(session.pending(), 2);
}

#[test]
fn bodies_that_are_none() {
    let mut session = Session::new("p");
    let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
    for (body, why) in [
        ("{", "EOF"),
        ("{\"a\":1,}", "column 8"),
        ("hello", "column 1"),
        ("1 2", "column 3"),
        ("1}", "column 2"),
        ("1,\"to\":\"evil\"", "column 2"),
        ("1},{\"body\":1", "column 2"),
        ("\"\\ud800\"", "surrogate"),
        (&deep, "nested"),
    ] {
        let mut out = b"before".to_vec();
        let error = session.signal("a".into(), body, &mut out).expect_err(body);
        assert!(error.to_string().contains(why), "{body}: {error}");
        assert_eq!(out, b"before", "{body}");
    }
    assert!(session.signal("a".into(), &deep[1..255], &mut Vec::new()).is_ok());
}

#[test]
fn what_is_no_request() {
    let mut session = Session::new("p");
    for message_type in ["signal", "error", "x_reply", ""] {
        let refused = session.request(To::Daemon, message_type, "", None, &mut Vec::new());
        assert_eq!(refused, Err(Unsendable::NotARequest));
    }
    assert_eq!(session.pending(), 0);
}

#[test]
fn lines_longer_than_the_daemon_takes() {
    let mut session = Session::new("p");
    session.set_max_line_bytes(80);
    let body = text(&"x".repeat(80));
    let refused = session.request("a".into(), "ask", &body, None, &mut Vec::new());
    assert!(matches!(refused, Err(Unsendable::LineTooLong { most: 80, .. })), "{refused:?}");
    assert_eq!(session.pending(), 0);
}

#[test]
fn replies() {
    let mut session = Session::new("p");
    let ask = message(r#"{"message_id":7,"message_type":"ask","from":":3","to":"me"}"#);
    for (body, expected) in [
        ("", r#"{"in_reply_to":7,"error":null}"#),
        (" {} ", r#"{"in_reply_to":7,"error":null}"#),
        ("{\n\"c\":21}", r#"{"in_reply_to":7,"error":null, "c":21}"#),
        (r#"{"error":"no"}"#, r#"{"in_reply_to":7,"error":"no"}"#),
        (" [1,\n2] ", r#"{"in_reply_to":7,"error":null,"result":[1, 2]}"#),
        ("null", r#"{"in_reply_to":7,"error":null,"result":null}"#),
    ] {
        let written = line(|out| session.reply(&ask, body, out)).expect(body);
        let written = message(&written);
        assert_eq!((written.message_type(), written.to()), ("ask_reply", Some(":3")));
        assert_eq!(written.body(), Some(expected));
    }
    let refused = |session: &mut Session, request: &Message, body: &str| {
        session.reply(request, body, &mut Vec::new()).err()
    };
    for none in ["no", "1 2", "1,\"x\":2", "1}"] {
        assert!(matches!(refused(&mut session, &ask, none), Some(Unsendable::BadBody { .. })), "{none}");
    }
    for (body, fault) in [(" [1, x]", 5), ("{\"a\":1,}", 7), ("[", 1), ("1 2", 2)] {
        let Some(Unsendable::BadBody { at, .. }) = refused(&mut session, &ask, body) else {
            panic!("{body}")
        };
        assert_eq!(at, fault, "{body}");
    }
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(refused(&mut session, &ask, &deep(126)).is_none());
    let Some(Unsendable::BadBody { why, .. }) = refused(&mut session, &ask, &deep(127)) else {
        panic!("too deep")
    };
    assert!(why.contains("nested deeper than 126"), "{why}");
    assert_eq!(refused(&mut session, &ask, r#"{"in_reply_t\u006f":8}"#), Some(Unsendable::BadReply));
    assert!(matches!(refused(&mut session, &ask, "{1}"), Some(Unsendable::BadBody { .. })));
    for none in [
        r#"{"message_id":7,"message_type":"signal","from":"a"}"#,
        r#"{"message_id":7,"message_type":"ask","from":null}"#,
        r#"{"message_type":"ask","from":"a"}"#,
    ] {
        assert_eq!(refused(&mut session, &message(none), ""), Some(Unsendable::NotAnswerable));
    }
}

#[test]
fn answers_find_their_requests_in_any_order() {
    let mut session = Session::new("p");
    let first = request(&mut session, "a".into(), "ask");
    let second = request(&mut session, "a".into(), "ask");
    let events = take(
        &mut session,
        concat!(
            r#"{"message_type":"ask_reply","from":"a","body":{"in_reply_to":"p-2","error":null,"c":1}}"#,
            "\n",
            r#"{"message_type":"ask_reply","from":null,"body":{"in_reply_to":"p-1","error":"gone","code":"node_gone"}}"#,
            "\r\n",
        ),
    );
    let [Event::Answer { to, answer: Ok(reply) }, Event::Answer { to: other, answer: Err(refused) }] =
        &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!((*to, reply.body_value()["c"].as_i64()), (second, Some(1)));
    assert_eq!(*other, first);
    assert_eq!((refused.code(), refused.error(), refused.by_daemon()), (Some("node_gone"), "gone", true));
    assert_eq!(refused.to_string(), "gone (node_gone)");
    assert_eq!(session.pending(), 0);
}

#[test]
fn an_error_line_fails_the_request_that_it_names() {
    let mut session = Session::new("p");
    let ticket = request(&mut session, "a".into(), "ask");
    let lines = concat!(
        r#"{"message_type":"error","from":null,"body":{"error":"twice","code":"duplicate_id","in_reply_to":"p-1"}}"#,
        "\n"
    );
    let events = take(&mut session, lines);
    assert!(
        matches!(&events[..], [Event::Answer { to, answer: Err(refused) }] if *to == ticket && refused.code() == Some("duplicate_id")),
        "{events:?}"
    );
    // The same about a signal, or about nothing that is known, is told as a message.
    let signal = session.signal("a".into(), "", &mut Vec::new()).expect("a signal");
    let lines = lines.replace("p-1", "p-2") + &lines.replace("\"p-1\"", "null");
    let events = take(&mut session, &lines);
    let [Event::Message(about), Event::Message(unknown)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(session.answered(about), Some(signal));
    assert_eq!(session.answered(unknown), None);
    assert_eq!(about.category(), Category::Error);
}

#[test]
fn answers_nobody_waits_for_are_dropped_and_others_told() {
    let mut session = Session::new("p");
    let given_up = request(&mut session, "a".into(), "ask");
    session.forget(given_up);
    let reply = |id: &str| {
        format!("{{\"message_type\":\"ask_reply\",\"from\":\"a\",\"body\":{{\"in_reply_to\":{id}}}}}\n")
    };
    assert!(take(&mut session, &reply("\"p-1\"")).is_empty());
    for other in ["\"q-1\"", "\"p-x\"", "1"] {
        assert!(matches!(&take(&mut session, &reply(other))[..], [Event::Message(_)]), "{other}");
    }
}

#[test]
fn errors_of_nodes_in_any_shape() {
    for (body, code, error) in [
        (r#"{"in_reply_to":"p-1","error":"no","code":"mine"}"#, Some("mine"), "no"),
        (r#"{"in_reply_to":"p-1","error":{"why":1}}"#, None, r#"{"why":1}"#),
    ] {
        let mut session = Session::new("p");
        request(&mut session, "a".into(), "ask");
        let line = format!("{{\"message_type\":\"ask_reply\",\"from\":\"a\",\"body\":{body}}}\n");
        let events = take(&mut session, &line);
        let [Event::Answer { answer: Err(refused), .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!((refused.code(), refused.error(), refused.by_daemon()), (code, error, false));
    }
}

#[test]
fn what_is_not_the_protocol_does_not_stop_it() {
    let mut session = Session::new("p");
    let events = take(&mut session, "220 smtp.example ready\n\n{\"message_type\":\"signal\"}\n{\"mess");
    assert!(
        matches!(&events[..], [Event::Fault(Fault::Foreign { excerpt }), Event::Message(_)] if excerpt.starts_with("220")),
        "{events:?}"
    );
    assert!(session.finish().is_none());
    assert!(take(&mut session, "{\"message_type\":\"signal\"}").is_empty());
    assert!(matches!(session.finish(), Some(Event::Message(_))));
}

#[test]
fn cutting_the_input_anywhere_changes_nothing() {
    let stream = concat!(
        "{\"message_type\":\"signal\",\"body\":\"ä\"}\r\n\nno\n",
        "{\"message_type\":\"ask_reply\",\"from\":\"a\",\"body\":{\"in_reply_to\":\"p-1\"}}\n",
        "{\"message_type\":\"error\",\"from\":null,\"body\":{\"error\":\"x\",\"in_reply_to\":\"p-2\"}}"
    )
    .as_bytes();
    let told = |chunks: &[&[u8]]| {
        let mut session = Session::new("p");
        request(&mut session, "a".into(), "ask");
        request(&mut session, "a".into(), "ask");
        let mut events = Vec::new();
        for chunk in chunks {
            let mut input = *chunk;
            events.extend(std::iter::from_fn(|| session.take(&mut input)));
        }
        events.extend(session.finish());
        events.iter().map(|event| format!("{event:?}")).collect::<Vec<_>>()
    };
    let whole = told(&[stream]);
    assert_eq!(whole.len(), 4);
    for cut in 0..=stream.len() {
        assert_eq!(told(&[&stream[..cut], &stream[cut..]]), whole, "cut at {cut}");
    }
    assert_eq!(told(&stream.chunks(1).collect::<Vec<_>>()), whole);
}

#[test]
fn the_longest_lines_that_a_daemon_can_send_are_taken() {
    // A tap's line holds another as a string, in which each byte may need an escape.
    let inner = MAX_LINE_BYTES_MAX + ADDED_BYTES_MAX;
    let mut line = String::from(r#"{"message_type":"signal","from":null,"body":{"event":"tap","line":""#);
    line.push_str(&r#"\""#.repeat(inner));
    line.push_str("\"}}\n");
    let mut session = Session::new("p");
    let mut input = line.as_bytes();
    let (first, rest) = input.split_at(1 << 20);
    for mut part in [first, rest] {
        input = part;
        match session.take(&mut part) {
            None => assert_eq!(input.len(), first.len()),
            Some(Event::Message(message)) => assert_eq!(message.line().len(), line.len() - 1),
            Some(other) => panic!("{other:?}"),
        }
    }
}
