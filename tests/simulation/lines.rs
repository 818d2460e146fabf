//! Knows how to take a JSON line apart without touching its bytes. Shares nothing with the core's own
//! reader: whether a line is JSON is decided by serde_json, and the rest is cutting.
//! Never: what a line means.

use serde_json::Value;

/// The keys (decoded) and values (as they stand) of a JSON object that is known to be valid.
pub(crate) fn split(object: &str) -> Vec<(String, String)> {
    let bytes = object.as_bytes();
    let mut fields = Vec::new();
    let mut at = skip_space(bytes, 0) + 1;
    loop {
        at = skip_space(bytes, at);
        match bytes[at] {
            b'}' => return fields,
            b',' => {
                at += 1;
                continue;
            }
            _ => {}
        }
        let key_end = end_of_value(bytes, at);
        let key = serde_json::from_str(&object[at..key_end]).expect("a key of a valid object");
        at = skip_space(bytes, key_end) + 1;
        at = skip_space(bytes, at);
        let end = end_of_value(bytes, at);
        fields.push((key, object[at..end].to_owned()));
        at = end;
    }
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes[at], b' ' | b'\t' | b'\r' | b'\n') {
        at += 1;
    }
    at
}

fn end_of_value(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    loop {
        match bytes[at] {
            b'"' => {
                at += 1;
                while bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        let ends = match bytes.get(at) {
            None => true,
            Some(next) => matches!(next, b',' | b'}' | b']' | b':' | b' ' | b'\t' | b'\r' | b'\n'),
        };
        if depth == 0 && ends {
            return at;
        }
    }
}

pub(crate) fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(key, _)| key == name).map(|(_, raw)| raw.as_str())
}

/// A string field's decoded text.
pub(crate) fn text(fields: &[(String, String)], name: &str) -> Option<String> {
    field(fields, name).and_then(|raw| serde_json::from_str(raw).ok())
}

/// A `message_id` so that two are equal where their JSON type and their text are; none where it is
/// no id.
pub(crate) fn id(raw: &str) -> Option<String> {
    if raw.starts_with('"') {
        let decoded: String = serde_json::from_str(raw).ok()?;
        return (1..=255).contains(&decoded.len()).then(|| format!("s{decoded}"));
    }
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    let is_integer = (1..=255).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_integer.then(|| format!("i{raw}"))
}

/// A line that the core put into a queue, taken apart.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Without its LF.
    pub(crate) raw: String,
    pub(crate) fields: Vec<(String, String)>,
    /// Of `body`, where it is an object.
    pub(crate) body: Vec<(String, String)>,
}

impl Seen {
    pub(crate) fn parse(raw: &[u8]) -> Result<Seen, String> {
        let raw =
            std::str::from_utf8(raw).map_err(|error| format!("a line is no UTF-8: {error}"))?.to_owned();
        match serde_json::from_str(&raw) {
            Ok(Value::Object(_)) => {}
            Ok(_) => return Err(format!("a line is no object: {raw}")),
            Err(error) => return Err(format!("a line does not parse ({error}): {raw}")),
        }
        let fields = split(&raw);
        for (at, (key, _)) in fields.iter().enumerate() {
            if fields[..at].iter().any(|(earlier, _)| earlier == key) {
                return Err(format!("a line has {key:?} twice: {raw}"));
            }
        }
        let body = match field(&fields, "body") {
            Some(body) if body.starts_with('{') => split(body),
            _ => Vec::new(),
        };
        Ok(Seen { raw, fields, body })
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        text(&self.fields, name)
    }

    pub(crate) fn body_text(&self, name: &str) -> Option<String> {
        text(&self.body, name)
    }

    pub(crate) fn body_value(&self, name: &str) -> Option<Value> {
        field(&self.body, name).and_then(|raw| serde_json::from_str(raw).ok())
    }

    /// `body.in_reply_to` as an id; `null` as nothing.
    pub(crate) fn in_reply_to(&self) -> Option<String> {
        field(&self.body, "in_reply_to").and_then(id)
    }

    pub(crate) fn is_own(&self) -> bool {
        field(&self.fields, "from") == Some("null")
    }
}
