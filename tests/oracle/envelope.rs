//! Envelopes, by serde_json. It judges the grammar (a `RawValue` is checked, whatever its depth) and
//! takes the object apart; what it is too lenient in, lone surrogates and depth, is looked at here.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use telex::wire::envelope::{Broken, Envelope, Field};

/// Every envelope field.
pub(crate) const FIELDS: [Field; 10] = [
    Field::MessageId,
    Field::MessageType,
    Field::From,
    Field::To,
    Field::Topic,
    Field::Body,
    Field::TimeoutMs,
    Field::Key,
    Field::Sender,
    Field::SpoolId,
];

/// What a line is.
#[derive(Debug)]
pub(crate) enum Verdict<'a> {
    BadJson,
    NotAnObject,
    Object(Members<'a>),
}

/// An object's members in their order, the keys decoded.
#[derive(Debug)]
pub(crate) struct Members<'a>(pub(crate) Vec<(String, &'a str)>);

impl<'a> Members<'a> {
    pub(crate) fn of(json: &'a str) -> Option<Members<'a>> {
        serde_json::from_str(json).ok()
    }

    /// The value of `key` as it stands; of several the last.
    pub(crate) fn raw(&self, key: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|&(_, value)| value)
    }

    /// `body.in_reply_to` as it stands.
    pub(crate) fn in_reply_to(&self) -> Option<&'a str> {
        self.raw("body").and_then(Members::of)?.raw("in_reply_to")
    }

    /// The first envelope field that there is already.
    pub(crate) fn doubled(&self) -> Option<Field> {
        let is_doubled = |at: usize, field: &Field| {
            let name = field.name();
            self.0[at].0 == name && self.0[..at].iter().any(|(earlier, _)| earlier == name)
        };
        (0..self.0.len()).find_map(|at| FIELDS.into_iter().find(|field| is_doubled(at, field)))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(String, &'de str)>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    all.push((key, value.get()));
                }
                Ok(all)
            }
        }
        deserializer.deserialize_map(Collect).map(Members)
    }
}

/// Judges a line.
pub(crate) fn judge(line: &[u8]) -> Verdict<'_> {
    let Ok(text) = std::str::from_utf8(line) else { return Verdict::BadJson };
    if serde_json::from_str::<&RawValue>(text).is_err() {
        return Verdict::BadJson;
    }
    let (strings, depth) = tokens(text);
    let decodes = |token: &&str| serde_json::from_str::<String>(token).is_ok();
    if depth > 128 || !strings.iter().all(decodes) {
        return Verdict::BadJson;
    }
    match Members::of(text) {
        Some(members) => Verdict::Object(members),
        None => Verdict::NotAnObject,
    }
}

/// The string tokens of valid JSON, and how many objects and arrays are open at most.
fn tokens(text: &str) -> (Vec<&str>, usize) {
    let bytes = text.as_bytes();
    let (mut strings, mut open, mut deepest) = (Vec::new(), 0_usize, 0);
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let start = at;
                at += 1;
                while bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                strings.push(&text[start..=at]);
            }
            b'{' | b'[' => {
                open += 1;
                deepest = deepest.max(open);
            }
            b'}' | b']' => open -= 1,
            _ => {}
        }
        at += 1;
    }
    (strings, deepest)
}

/// Compares what the scanner says of any bytes.
pub(crate) fn check(line: &[u8]) {
    let scanned = Envelope::scan(line);
    match (&scanned, judge(line)) {
        (Err(Broken::NotAnObject), Verdict::NotAnObject) => {}
        (Err(Broken::BadJson { column }), Verdict::BadJson) => check_column(line, *column),
        (Ok(envelope), Verdict::Object(members)) => {
            check_fields(envelope, &members);
            check_outgoing(envelope, &members);
        }
        (got, wanted) => panic!("{got:?}, not {wanted:?}, for {}", line.escape_ascii()),
    }
}

fn check_fields(envelope: &Envelope<'_>, members: &Members<'_>) {
    let line = envelope.line();
    for field in FIELDS {
        same_place(envelope.raw(field), members.raw(field.name()), field.name(), line);
    }
    same_place(
        envelope.in_reply_to().map(|value| value.raw),
        members.in_reply_to(),
        "body.in_reply_to",
        line,
    );
    assert_eq!(envelope.doubled(), members.doubled(), "{line}");
}

fn same_place(got: Option<&str>, wanted: Option<&str>, field: &str, line: &str) {
    assert_eq!(got, wanted, "{field} of {line}");
    assert_eq!(got.map(str::as_ptr), wanted.map(str::as_ptr), "{field} of {line}: another place");
}

/// What stands before the column begins some JSON, and with the byte at the column it does not.
fn check_column(line: &[u8], column: usize) {
    let shown = line.escape_ascii();
    assert!((1..=line.len() + 1).contains(&column), "column {column} of {shown}");
    let before = std::str::from_utf8(&line[..column - 1]).unwrap_or_else(|_| panic!("{column} of {shown}"));
    assert!(may_go_on(before), "column {column} is too late in {shown}");
    let Some(through) = line.get(..column) else { return };
    // serde_json finds no fault in surrogates, depth, and what stands at the end of a \u escape.
    let lenient = tail_has_escape(before) || depth_reached(before);
    let goes_on = std::str::from_utf8(through).is_ok_and(may_go_on);
    assert!(lenient || !goes_on, "column {column} is too early in {shown}");
}

/// Whether `text` begins some JSON. For a number that ends behind its minus serde_json does not say
/// that more is wanted, so one more digit is tried.
fn may_go_on(text: &str) -> bool {
    let ends_early = |text: &str| match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => true,
        Err(error) => error.is_eof(),
    };
    ends_early(text) || ends_early(&format!("{text}0"))
}

fn tail_has_escape(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes[bytes.len().saturating_sub(6)..].contains(&b'\\')
}

fn depth_reached(text: &str) -> bool {
    text.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count() >= 128
}

/// Adding members and replacing `from` leaves all else as it was.
fn check_outgoing(envelope: &Envelope<'_>, members: &Members<'_>) {
    let write = |outgoing: &telex::wire::envelope::Outgoing<'_>| {
        let mut out = b"kept".to_vec();
        outgoing.write_to(&mut out);
        assert_eq!(out.len(), 4 + outgoing.len(), "len() of {}", envelope.line());
        assert!(out.starts_with(b"kept") && out.ends_with(b"\n"));
        String::from_utf8(out[4..out.len() - 1].to_vec()).expect("UTF-8")
    };
    assert_eq!(write(&envelope.outgoing()), envelope.line());
    // A member can be added only in front of another one; a message has a `message_type`.
    if members.0.is_empty() {
        return;
    }
    const ADDED: &str = r#""message_id":"x","from":":7","#;
    const SENDER: &str = r#""sender":{"unique_id":":7","uid":1},"#;
    let from_at = members.0.iter().rposition(|(key, _)| key == "from");
    for (added, sender, from) in [
        (ADDED, "", None),
        ("", SENDER, None),
        (ADDED, SENDER, None),
        ("", "", from_at),
        (ADDED, "", from_at),
        ("", SENDER, from_at),
        (ADDED, SENDER, from_at),
    ] {
        for from_text in [r#"":7""#, r#""a much longer address than before""#] {
            let mut outgoing = envelope.outgoing();
            outgoing.added = added.as_bytes();
            outgoing.from = from.map(|_| (envelope.from_range(), from_text.as_bytes()));
            let written = write(&outgoing.with_sender(sender.as_bytes()));
            assert!(!written.contains('\n') || envelope.line().contains('\n'), "two lines: {written}");
            let got = Members::of(&written).unwrap_or_else(|| panic!("no object: {written}"));
            let mut wanted = Vec::new();
            if !added.is_empty() {
                wanted.push(("message_id".to_owned(), r#""x""#));
                wanted.push(("from".to_owned(), r#"":7""#));
            }
            if !sender.is_empty() {
                wanted.push(("sender".to_owned(), r#"{"unique_id":":7","uid":1}"#));
            }
            wanted.extend(
                members.0.iter().enumerate().map(|(at, (key, value))| {
                    (key.clone(), if from == Some(at) { from_text } else { *value })
                }),
            );
            assert_eq!(got.0, wanted, "{} became {written}", envelope.line());
        }
    }
}

/// Every beginning of a valid line is refused one byte behind its end, unless it is whole by itself
/// or ends inside a character.
pub(crate) fn check_truncations(line: &str) {
    for length in 0..line.len() {
        let cut = &line.as_bytes()[..length];
        let column = match std::str::from_utf8(cut) {
            Ok(_) if matches!(judge(cut), Verdict::BadJson) => length + 1,
            Ok(_) => continue,
            Err(error) => error.valid_up_to() + 1,
        };
        let got = Envelope::scan(cut).err();
        assert_eq!(got, Some(Broken::BadJson { column }), "{length} bytes of {line}");
    }
}
