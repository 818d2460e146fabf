//! Messages, by the table of the protocol's section 2, with serde_json to decode the values.

use telex::wire::envelope::{Envelope, Value};
use telex::wire::message::{Id, Kind, Message, Refusal, Target, Told};

use super::envelope::{Members, Verdict, judge};

/// Compares what is read of any bytes that are an object.
pub(crate) fn check(line: &[u8]) {
    let (Ok(envelope), Verdict::Object(members)) = (Envelope::scan(line), judge(line)) else { return };
    let told = Told::of(&envelope);
    let faults = faults(&members);
    match Message::read(&envelope) {
        Ok(message) => {
            assert!(faults.is_empty(), "read in spite of {faults:?}: {}", message.envelope.line());
            check_decoded(&message, &members);
        }
        Err(refusal) => check_refusal(&refusal, &faults, &members),
    }
    let has_fault = |field: &str| faults.iter().any(|(_, of)| *of == field);
    assert_eq!(told.id.is_some(), members.raw("message_id").is_some());
    if let Some(id) = told.id {
        assert_eq!(id.is_err(), has_fault("message_id"));
    }
    if let Some(request_type) = told.request_type {
        assert_eq!(Some(request_type.into_owned()), members.raw("message_type").and_then(text));
    }
    if !has_fault("from") {
        assert_eq!(told.from.map(String::from), members.raw("from").and_then(text));
    }
}

fn text(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}

/// A string of 1 to `most` bytes.
fn is_text(raw: &str, most: usize) -> bool {
    text(raw).is_some_and(|text| !text.is_empty() && text.len() <= most)
}

fn is_id(raw: &str) -> bool {
    let digits = raw.trim_start_matches('-');
    let is_integer = !raw.contains(['.', 'e', 'E']) && serde_json::from_str::<f64>(&digits[..1]).is_ok();
    is_text(raw, 255) || (is_integer && digits.len() <= 255)
}

/// Every fault of a message: the code of the refusal, and the field that it has to name.
fn faults(members: &Members<'_>) -> Vec<(&'static str, &'static str)> {
    let mut faults = Vec::new();
    let mut look = |field: &'static str, is_right: &dyn Fn(&str) -> bool| {
        if members.raw(field).is_some_and(|raw| !is_right(raw)) {
            faults.push(("bad_field", field));
        }
    };
    look("message_id", &is_id);
    look("message_type", &|raw| match text(raw) {
        Some(text) if text.ends_with("_reply") => text.len() <= 261,
        _ => is_text(raw, 255),
    });
    look("from", &|raw| raw == "null" || is_text(raw, 511));
    look("to", &|raw| raw == "null" || is_text(raw, 511));
    look("topic", &|raw| {
        let is_token = |token: &str| !matches!(token, "" | "*" | ">");
        is_text(raw, 255) && text(raw).is_some_and(|text| text.split('.').all(is_token))
    });
    look("timeout_ms", &|raw| serde_json::from_str(raw).is_ok_and(|ms: u64| (1..=3_600_000).contains(&ms)));
    look("key", &|raw| is_text(raw, 255));
    look("sender", &|_| false);
    look("spool_id", &|_| false);
    for (code, field) in &mut faults {
        if matches!(*field, "sender" | "spool_id") {
            *code = "not_yours";
        }
    }
    if members.raw("topic").is_some() && members.raw("to").is_some_and(|to| to != "null") {
        faults.push(("bad_field", "topic"));
    }
    match members.raw("message_type").map(text) {
        None => faults.push(("missing_field", "message_type")),
        Some(Some(text)) if text == "error" => faults.push(("not_yours", "message_type")),
        Some(Some(text)) if text.ends_with("_reply") => match members.in_reply_to() {
            None => faults.push(("missing_field", "body.in_reply_to")),
            Some(raw) if !is_id(raw) => faults.push(("bad_field", "body.in_reply_to")),
            Some(_) => {}
        },
        _ => {}
    }
    faults
}

fn check_refusal(refusal: &Refusal, faults: &[(&str, &str)], members: &Members<'_>) {
    let is_it = |(code, field): &(&str, &str)| {
        refusal.code.word() == *code && refusal.error.contains(&format!("\"{field}\""))
    };
    assert!(faults.iter().any(is_it), "{refusal:?}, not one of {faults:?}, for {members:?}");
}

fn check_id(id: &Id<'_>, raw: &str) {
    assert_eq!(id.integer, !raw.starts_with('"'));
    assert_eq!(id.text, text(raw).unwrap_or_else(|| raw.to_owned()));
    let mut written = Vec::new();
    id.write_to(&mut written);
    let written = String::from_utf8(written).expect("UTF-8");
    assert_eq!(Id::read("message_id", Value::new(&written)).as_ref(), Ok(id), "written as {written}");
}

fn check_decoded(message: &Message<'_>, members: &Members<'_>) {
    let decoded = |field: &str| members.raw(field).and_then(text);
    let message_type = decoded("message_type").expect("no fault was found");
    assert_eq!(message.message_type, message_type);
    assert_eq!(message.id.is_some(), members.raw("message_id").is_some());
    if let (Some(id), Some(raw)) = (&message.id, members.raw("message_id")) {
        check_id(id, raw);
    }
    assert_eq!(message.from.clone().map(String::from), decoded("from"));
    assert_eq!(message.key.clone().map(String::from), decoded("key"));
    let timeout = message.timeout.map(|timeout| timeout.as_millis().to_string());
    assert_eq!(timeout.as_deref(), members.raw("timeout_ms"));
    match (&message.target, decoded("to"), decoded("topic")) {
        (Target::Daemon, None, None) => {}
        (Target::Address(got), Some(wanted), None) => assert_eq!(*got, wanted),
        (Target::Topic(got), None, Some(wanted)) => assert_eq!(*got, wanted),
        (got, to, topic) => panic!("{got:?}, not {to:?} or {topic:?}"),
    }
    match &message.kind {
        Kind::Signal => assert_eq!(message_type, "signal"),
        Kind::Request => assert!(message_type != "signal" && !message_type.ends_with("_reply")),
        Kind::Reply(id) => {
            assert!(message_type.ends_with("_reply"));
            check_id(id, members.in_reply_to().expect("no fault was found"));
        }
    }
}
