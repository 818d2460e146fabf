//! Knows what a record looks like in the journal's native protocol: fields with a name and a value each.
//! Never: how it gets there.

use std::io::Write;

use serde_json::{Map, Value};
use telex_log::Line;
use telex_plugin::Record;

/// The `MESSAGE_ID` of each event, by which `journalctl` and programs find it. They never change.
pub const MESSAGE_IDS: &[(&str, &str)] = &[
    ("opened", "0c1a9c0cff6a45f8b54272d2b7313fb7"),
    ("refused", "4c5e11b20d204b6689153d1eda0c339d"),
    ("registered", "ce7a341dc0034a2690d77d9f2710c4aa"),
    ("unregistered", "d2ee1da333ca4c069934ee5b07d5a8a0"),
    ("lagged", "f54266d881cdf61108af3bb2c61ea96c"),
    ("left", "b6d30b936bae45de9842784087c4e921"),
    ("closed", "bc875299d4ad41b6a2f7efc77d005ac6"),
    ("stalled", "17cc87ae690f4bc1b468c90aebb81874"),
    ("broken", "ca8057b94b984543ad931a3e8be0c3c9"),
    ("overloaded", "23e66cba35894f8abd2b47b6cbfb3264"),
    ("internal", "707f3d8d98994dcd89278a3f055e6f87"),
    ("plugin", "dfbea13f51914f21a1babc2afa07ded5"),
    ("daemon", "6b961853c84d49ebbf480c081651c50d"),
    ("lost", "f1a27d8fd1b440378890deda6dbcf3dc"),
];

/// The longest name of a field that the journal takes.
const NAME_BYTES_MAX: usize = 64;

/// What all fields of the daemon's own are called.
const PREFIX: &str = "TELEX_";

/// The fields that every record has. A member of its `fields` that is called the same is left out, for the
/// journal would take both.
const RESERVED: &[&str] = &["TELEX_EVENT", "TELEX_CONNECTION", "TELEX_NODE_ID", "TELEX_UID"];

/// Appends records, as of a program that is called `identifier`.
pub(crate) fn format(identifier: String) -> impl Fn(&Record<'_>, &mut Vec<u8>) + Send + Sync + 'static {
    move |record, out| {
        write_field(out, "MESSAGE", &Line(record).to_string());
        write_number(out, "PRIORITY", record.level.number());
        write_field(out, "SYSLOG_IDENTIFIER", &identifier);
        if let Some((_, id)) = MESSAGE_IDS.iter().find(|(event, _)| *event == record.event) {
            write_field(out, "MESSAGE_ID", id);
        }
        write_field(out, "TELEX_EVENT", record.event);
        if let Some(number) = record.connection {
            write_number(out, "TELEX_CONNECTION", number);
        }
        if let Some(node_id) = record.node_id {
            write_field(out, "TELEX_NODE_ID", node_id);
        }
        if let Some(uid) = record.uid {
            write_number(out, "TELEX_UID", uid);
        }
        if record.fields != "{}" {
            write_members(out, record.fields);
        }
    }
}

/// The members of an object, which the daemon promises to be one.
fn write_members(out: &mut Vec<u8>, fields: &str) {
    let members: Map<String, Value> = serde_json::from_str(fields).unwrap_or_default();
    for (name, value) in &members {
        let name = field_name(name);
        if RESERVED.contains(&&*name) {
            continue;
        }
        match value {
            Value::String(text) => write_field(out, &name, text),
            value => write_field(out, &name, &value.to_string()),
        }
    }
}

/// `TELEX_REASON` of `reason`: the journal takes capital letters, digits and `_`.
fn field_name(member: &str) -> String {
    let letters = member.chars().map(|c| match c.to_ascii_uppercase() {
        c @ ('A'..='Z' | '0'..='9') => c,
        _ => '_',
    });
    PREFIX.chars().chain(letters).take(NAME_BYTES_MAX).collect()
}

fn write_number(out: &mut Vec<u8>, name: &str, number: impl std::fmt::Display) {
    // Writing to a Vec cannot fail.
    let _ = writeln!(out, "{name}={number}");
}

/// A value with a line end in it goes with its length before it, so that it can be no other field.
fn write_field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use telex_log::testing::ALICE;

    use super::*;

    fn bytes(entry: &Record<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        format("telexd".to_owned())(entry, &mut out);
        out
    }

    fn text(entry: &Record<'_>) -> String {
        String::from_utf8(bytes(entry)).unwrap()
    }

    #[test]
    fn a_record_is_a_list_of_fields() {
        let id = MESSAGE_IDS.iter().find(|(event, _)| *event == "registered").unwrap().1;
        let right = format!(
            "MESSAGE=:7 is alice\nPRIORITY=6\nSYSLOG_IDENTIFIER=telexd\nMESSAGE_ID={id}\n\
             TELEX_EVENT=registered\nTELEX_CONNECTION=7\nTELEX_NODE_ID=alice\nTELEX_UID=1000\n"
        );
        assert_eq!(text(&ALICE), right);
        let bare = Record { event: "new", connection: None, node_id: None, uid: None, ..ALICE };
        assert_eq!(text(&bare), "MESSAGE=is alice\nPRIORITY=6\nSYSLOG_IDENTIFIER=telexd\nTELEX_EVENT=new\n");
    }

    #[test]
    fn members_are_fields_of_their_own() {
        let fields =
            r#"{"reason":"lost","open requests":3,"node_ids":["a","b"],"größe":null,"uid":0,"Event":"x"}"#;
        let text = text(&Record { fields, ..ALICE });
        let members = text.split_once("TELEX_UID=1000\n").unwrap().1;
        let mut members: Vec<_> = members.lines().collect();
        members.sort_unstable();
        let right = [
            "TELEX_GR__E=null",
            "TELEX_NODE_IDS=[\"a\",\"b\"]",
            "TELEX_OPEN_REQUESTS=3",
            "TELEX_REASON=lost",
        ];
        assert_eq!(members, right);
        let long = format!("{{\"{}\":1}}", "x".repeat(100));
        let bytes = bytes(&Record { fields: &long, ..ALICE });
        assert!(String::from_utf8(bytes).unwrap().ends_with(&format!("\nTELEX_{}=1\n", "X".repeat(58))));
    }

    #[test]
    fn nobody_forges_a_field() {
        let forged = "is a\nPRIORITY=0\nMESSAGE=root";
        let fields = r#"{"why":"x\n_UID=0","x\ny=1":"z"}"#;
        let entry = Record { message: forged, node_id: Some("a\n_UID=0"), fields, ..ALICE };
        let out = bytes(&entry);
        let has = |part: &[u8]| out.windows(part.len()).any(|window| window == part);
        assert!(
            out.starts_with("MESSAGE=:7 is a\u{fffd}PRIORITY=0\u{fffd}MESSAGE=root\nPRIORITY=6\n".as_bytes())
        );
        assert!(has(b"\nTELEX_NODE_ID\n\x08\0\0\0\0\0\0\0a\n_UID=0\nTELEX_UID="));
        assert!(has(b"\nTELEX_WHY\n\x08\0\0\0\0\0\0\0x\n_UID=0\nTELEX_X_Y_1=z\n"));
    }

    #[test]
    fn each_event_has_an_id_of_its_own_and_the_readme_has_them_all() {
        let readme = include_str!("../README.md");
        for (event, id) in MESSAGE_IDS {
            let is_right = id.len() == 32 && id.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
            assert!(is_right, "{event}: {id}");
            assert!(
                readme.contains(&format!("| `{event}` | `{id}` |")),
                "README.md has no {event} with {id}"
            );
        }
        let events: BTreeSet<_> = MESSAGE_IDS.iter().map(|(event, _)| event).collect();
        let ids: BTreeSet<_> = MESSAGE_IDS.iter().map(|(_, id)| id).collect();
        assert_eq!((events.len(), ids.len()), (MESSAGE_IDS.len(), MESSAGE_IDS.len()));
    }
}
