//! Knows how JSON is written into a buffer, member by member, and how a string token is read.
//! Never: builds a tree.

use std::borrow::Cow;

/// Writes one JSON object. The closing brace is [`Object::end`]'s.
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    /// Opens an object at the end of `out`.
    pub fn begin(out: &'a mut Vec<u8>) -> Object<'a> {
        out.push(b'{');
        Object { out, empty: true }
    }

    /// Starts the member `key`, which must need no escapes; its value is to be written next.
    pub fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A member with a string for its value.
    pub fn string(&mut self, key: &str, value: &str) -> &mut Self {
        write_string(self.key(key), value);
        self
    }

    /// A member with a number for its value.
    pub fn number(&mut self, key: &str, value: impl itoa::Integer) -> &mut Self {
        write_integer(self.key(key), value);
        self
    }

    /// A member with seconds for its value, to the microsecond.
    pub fn seconds(&mut self, key: &str, value: std::time::Duration) -> &mut Self {
        write_seconds(self.key(key), value);
        self
    }

    /// A member with true or false for its value.
    pub fn boolean(&mut self, key: &str, value: bool) -> &mut Self {
        self.raw(key, if value { b"true" } else { b"false" })
    }

    /// A member with null for its value.
    pub fn null(&mut self, key: &str) -> &mut Self {
        self.raw(key, b"null")
    }

    /// A member with `json` for its value, as it stands.
    pub fn raw(&mut self, key: &str, json: &[u8]) -> &mut Self {
        self.key(key).extend_from_slice(json);
        self
    }

    /// A member with an object for its value, which `fill` fills.
    pub fn object(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        let mut inner = Object::begin(self.key(key));
        fill(&mut inner);
        inner.end();
        self
    }

    /// A member with an array of strings for its value.
    pub fn strings<'s>(&mut self, key: &str, values: impl IntoIterator<Item = &'s str>) -> &mut Self {
        self.array(key, values, write_string)
    }

    /// A member with an array for its value, each of whose items `write` writes.
    pub fn array<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Vec<u8>, T),
    ) -> &mut Self {
        let out = self.key(key);
        out.push(b'[');
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write(out, item);
        }
        out.push(b']');
        self
    }

    /// Members that are written already, without the brace behind them.
    pub fn members(&mut self, members: &[u8]) {
        if !std::mem::take(&mut self.empty) && !members.is_empty() {
            self.out.push(b',');
        }
        self.out.extend_from_slice(members);
    }

    /// Closes the object.
    pub fn end(&mut self) {
        self.out.push(b'}');
    }
}

/// Appends `text` as a JSON string.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\r' => out.extend_from_slice(b"\\r"),
            byte if byte < 0x20 => {
                out.extend_from_slice(b"\\u00");
                out.push(b'0' + (byte >> 4));
                out.push(b"0123456789abcdef"[usize::from(byte & 15)]);
            }
            byte => out.extend_from_slice(&[b'\\', byte]),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Appends an integer.
pub fn write_integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Whether it can be seen at a glance that the object `json`, which is valid, has no member `name` or a null one: there is
/// no backslash in it, and the quoted name stands nowhere but before a null. False says nothing.
pub fn clearly_lacks(json: &str, name: &str) -> bool {
    let bytes = json.as_bytes();
    let says_nothing = |at: usize| {
        let is_quoted = at > 0 && bytes[at - 1] == b'"' && bytes[at + name.len()..].starts_with(b"\"");
        !is_quoted || bytes[at + name.len()..].starts_with(b"\":null")
    };
    memchr::memchr(b'\\', bytes).is_none() && memchr::memmem::find_iter(bytes, name).all(says_nothing)
}

/// Appends JSON that may stand on several lines as one: a line end in valid JSON is only space.
pub fn write_on_one_line(out: &mut Vec<u8>, json: &str) {
    let start = out.len();
    out.extend_from_slice(json.as_bytes());
    // Most have none.
    if memchr::memchr2(b'\n', b'\r', json.as_bytes()).is_some() {
        out[start..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    }
}

/// Appends a duration as a number of seconds: `60`, `0.5`, to the microsecond.
pub fn write_seconds(out: &mut Vec<u8>, value: std::time::Duration) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(digits.format(value.as_secs()).as_bytes());
    let micros = value.subsec_micros();
    if micros > 0 {
        let fraction = format!(".{micros:06}");
        out.extend_from_slice(fraction.trim_end_matches('0').as_bytes());
    }
}

/// The text of a string token (with its quotes) that is known to be valid JSON.
pub fn unescape(token: &str) -> Cow<'_, str> {
    let inner = token.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(token);
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    Cow::Owned(serde_json::from_str(token).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_lacks_a_member_at_a_glance() {
        let lacks = |json| clearly_lacks(json, "error");
        for json in [
            "{}",
            r#"{"error":null}"#,
            r#"{"a":[{"error":null}],"error":null}"#,
            r#"{"errors":1,"terror":2}"#,
        ] {
            assert!(lacks(json), "{json}");
        }
        let others = [r#"{"error":"x"}"#, r#"{"error": null}"#, r#"{"a":"error"}"#, r#"{"\u0065rror":1}"#];
        for json in others.into_iter().chain([r#"{"error":null,"error":1}"#, r#"{"a":{"error":0}}"#]) {
            assert!(!lacks(json), "{json}");
        }
    }

    #[test]
    fn strings_are_read_back_as_they_were() {
        for text in ["", "plain", "q\"b\\s/", "\u{0}\u{1}\n\r\t\u{1f}\u{7f}", "äöü😀", "\u{2028}"] {
            let mut out = Vec::new();
            write_string(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).ok().as_deref(), Some(text));
            let token = String::from_utf8(out).expect("UTF-8");
            assert_eq!(unescape(&token), text);
        }
        assert_eq!(unescape(r#""a\u0062\ud83d\ude00""#), "ab😀");
    }

    #[test]
    fn seconds() {
        for (value, text) in [(60_000_000, "60"), (500_000, "0.5"), (1_000_001, "1.000001"), (0, "0")] {
            let mut out = Vec::new();
            write_seconds(&mut out, Duration::from_micros(value));
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn an_object() {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.string("a", "x\n").number("b", -7).null("c").boolean("d", true).strings("e", ["1", "2"]);
        object.object("f", |inner| {
            inner.raw("g", b"[ ]");
        });
        object.end();
        assert_eq!(out, br#"{"a":"x\n","b":-7,"c":null,"d":true,"e":["1","2"],"f":{"g":[ ]}}"#);
    }
}
