//! Knows what a record looks like as a line.
//! Never: where the line goes.

use std::io::Write;

use telex_log::Line;
use telex_plugin::Record;
use time::OffsetDateTime;

/// Appends a record as a JSON object; what a record does not have has no member.
pub(crate) fn write_json(record: &Record<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"time":""#);
    write_time(record.time, out);
    let _ = write!(out, r#"","level":"{}","event":"#, record.level.word());
    write_string(record.event, out);
    if let Some(number) = record.connection {
        let _ = write!(out, r#","connection":{number}"#);
    }
    if let Some(node_id) = record.node_id {
        out.extend_from_slice(br#","node_id":"#);
        write_string(node_id, out);
    }
    if let Some(uid) = record.uid {
        let _ = write!(out, r#","uid":{uid}"#);
    }
    out.extend_from_slice(br#","message":"#);
    write_string(record.message, out);
    if record.fields != "{}" {
        out.extend_from_slice(br#","fields":"#);
        // A control character in JSON can only be white space, so a space says the same on one line.
        out.extend(record.fields.bytes().map(|byte| byte.max(b' ')));
    }
    out.extend_from_slice(b"}\n");
}

/// Appends a record as text for people: `TIME LEVEL EVENT :7 is alice`.
pub(crate) fn write_text(record: &Record<'_>, out: &mut Vec<u8>) {
    write_time(record.time, out);
    let _ = writeln!(out, " {} {} {}", record.level.word(), record.event, Line(record));
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    // Neither a text nor a Vec can fail.
    let _ = serde_json::to_writer(out, text);
}

/// RFC 3339, UTC, with milliseconds.
fn write_time(nanoseconds: i64, out: &mut Vec<u8>) {
    // All that fits into an i64 is a time: 1677 to 2262.
    let time =
        OffsetDateTime::from_unix_timestamp_nanos(nanoseconds.into()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (hour, minute, second) = time.to_hms();
    let _ = write!(
        out,
        "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.millisecond()
    );
}

#[cfg(test)]
mod tests {
    use telex_log::testing::ALICE;

    use super::*;

    fn json(entry: &Record<'_>) -> String {
        let mut out = Vec::new();
        write_json(entry, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_record_is_one_object() {
        assert_eq!(
            json(&Record { fields: r#"{"since":1.5}"#, ..ALICE }),
            "{\"time\":\"2026-10-31T12:00:00.123Z\",\"level\":\"info\",\"event\":\"registered\",\
             \"connection\":7,\"node_id\":\"alice\",\"uid\":1000,\"message\":\"is alice\",\
             \"fields\":{\"since\":1.5}}\n"
        );
        let bare = Record { connection: None, node_id: None, uid: None, ..ALICE };
        assert_eq!(
            json(&bare),
            "{\"time\":\"2026-10-31T12:00:00.123Z\",\"level\":\"info\",\"event\":\"registered\",\
             \"message\":\"is alice\"}\n"
        );
    }

    #[test]
    fn times_are_times() {
        for (nanoseconds, told) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_709_210_096_001_999_999, "2024-02-29T12:34:56.001Z"),
            (-1_000_000, "1969-12-31T23:59:59.999Z"),
            (i64::MAX, "2262-04-11T23:47:16.854Z"),
        ] {
            let mut out = Vec::new();
            write_time(nanoseconds, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), told);
        }
    }

    #[test]
    fn text_is_for_people() {
        let mut out = Vec::new();
        write_text(&ALICE, &mut out);
        assert_eq!(out, b"2026-10-31T12:00:00.123Z info registered :7 is alice\n");
    }

    #[test]
    fn nobody_forges_a_record() {
        let forged = "is \"a\"\n2026-10-31T12:00:00.123Z error left :1 root\u{1b}[2J\u{85}";
        let entry = Record { node_id: Some("a\nb"), message: forged, fields: "{\n\"a\":\r1}", ..ALICE };
        let line = json(&entry);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&read["message"], &read["node_id"]), (&forged.into(), &"a\nb".into()));
        assert_eq!(read["fields"]["a"], 1);
        let mut out = Vec::new();
        write_text(&entry, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.chars().filter(|c| c.is_control()).collect::<String>(), "\n", "{text}");
    }
}
