//! Knows how JSON is read where nobody may see anything else in it than was judged.
//! Never: what it means.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Value};

/// Characters of a number that are told.
const NUMBER_CHARS_MAX: usize = 40;

/// Reads a JSON text in which no object has the same key twice: some readers take the first of them, others
/// the last one. An integer that has no exact value here is refused, too.
pub(crate) fn read(text: &str) -> Result<Value, serde_json::Error> {
    let has_large = Cell::new(false);
    let mut json = serde_json::Deserializer::from_str(text);
    let value = Exact { has_large: &has_large }.deserialize(&mut json)?;
    json.end()?;
    match has_large.get().then(|| large_integer(text)).flatten() {
        None => Ok(value),
        Some(integer) => {
            let integer: String = integer.chars().take(NUMBER_CHARS_MAX).collect();
            let (least, most) = (i64::MIN, u64::MAX);
            Err(Error::custom(format_args!("the integer {integer} is not from {least} to {most}")))
        }
    }
}

/// The first integer of a right JSON text that is neither an `i64` nor a `u64`.
fn large_integer(text: &str) -> Option<&str> {
    let mut rest = text;
    loop {
        let at = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit())?;
        rest = &rest[at..];
        let length = match rest.strip_prefix('"') {
            Some(inside) => 1 + string_length(inside),
            None => rest.find(|c: char| !"+-.eE".contains(c) && !c.is_ascii_digit()).unwrap_or(rest.len()),
        };
        let (token, behind) = rest.split_at(length);
        let is_integer = !token.contains(['"', '.', 'e', 'E']);
        if is_integer && token.parse::<u64>().is_err() && token.parse::<i64>().is_err() {
            return Some(token);
        }
        rest = behind;
    }
}

/// The bytes of a string behind its first quote, with the last one.
fn string_length(inside: &str) -> usize {
    let mut is_escaped = false;
    let end = inside.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(inside.len(), |end| end + 1)
}

/// Reads a value, and says whether there was a number in it that an integer may have become.
#[derive(Clone, Copy)]
struct Exact<'a> {
    has_large: &'a Cell<bool>,
}

impl<'de> DeserializeSeed<'de> for Exact<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Exact<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        // Smaller integers are no floats.
        if value.abs() >= i64::MAX as f64 {
            self.has_large.set(true);
        }
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self)?;
            match object.entry(key) {
                Entry::Vacant(place) => place.insert(value),
                Entry::Occupied(place) => {
                    return Err(A::Error::custom(format_args!("the key {:?} is given twice", place.key())));
                }
            };
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_serde_json_reads() {
        for text in [
            "null",
            "true",
            "-7",
            "18446744073709551615",
            "-0.0",
            "1.5e3",
            r#""a\u0062c\n""#,
            "[]",
            r#"[1,[2,{"a":null}],"x"]"#,
            r#"{"a":{"a":1},"b":[{"a":1},{"a":2}],"":false}"#,
        ] {
            assert_eq!(read(text).unwrap(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
        for text in ["", "1e999", "[1,]", "nul", "1 2"] {
            let expected = serde_json::from_str::<Value>(text).unwrap_err().to_string();
            assert_eq!(read(text).unwrap_err().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn no_key_is_there_twice() {
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"c":2,"\u0061":3}}]"#] {
            let told = read(text).unwrap_err().to_string();
            assert!(told.starts_with("the key \"a\" is given twice at line 1 column"), "{told}");
        }
    }
}
