//! Knows how a value is found in a JSON text by its JSON Pointer (RFC 6901).
//! Never: builds a tree, or says what the value means.

use std::borrow::Cow;
use std::fmt;

use crate::limits::DEPTH_MAX;
use crate::wire::cursor::{Cursor, Span, Stuck, ValueKind};
use crate::wire::json::unescape;

/// Why a text is no JSON Pointer; its `Display` is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPointer {
    /// It is not empty, and does not begin with `/`.
    NoSlash,
    /// A `~` that is neither `~0` nor `~1`.
    Tilde,
}

impl fmt::Display for BadPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadPointer::NoSlash => "is neither empty nor begins with '/'",
            BadPointer::Tilde => "has a '~' that is neither ~0 (for '~') nor ~1 (for '/')",
        })
    }
}

impl std::error::Error for BadPointer {}

/// Finds the value that `pointer` names in `json`, as it stands there; `""` names the whole. `json` is
/// valid already: nested as deeply as a line may be at most. Of doubled keys the last one counts, as for
/// serde_json and in bodies elsewhere, also if only an earlier one leads to a value. One pass, however
/// long the pointer is.
pub fn find<'a>(json: &'a str, pointer: &str) -> Result<Option<&'a str>, BadPointer> {
    Ok(place(json, pointer)?.map(|place| &json[place.range()]))
}

/// The same text with `value` in the place of what [`find`] finds; all else stays as it is.
pub fn replace(json: &str, pointer: &str, value: &str) -> Result<Option<String>, BadPointer> {
    let place = place(json, pointer)?.map(|place| place.range());
    Ok(place.map(|place| [&json[..place.start], value, &json[place.end..]].concat()))
}

fn place(json: &str, pointer: &str) -> Result<Option<Span>, BadPointer> {
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return Err(BadPointer::NoSlash);
    }
    let is_escape = |behind: &str| behind.starts_with(['0', '1']);
    if pointer.match_indices('~').any(|(at, _)| !is_escape(&pointer[at + 1..])) {
        return Err(BadPointer::Tilde);
    }
    let mut cursor = Cursor::new(json.as_bytes());
    cursor.skip_space();
    // What turns out to be no such JSON has no values.
    Ok(seek(&mut cursor, json, pointer, 0).unwrap_or(None))
}

/// Passes the value that the cursor stands on, which is inside `depth` others, and gives the place of what
/// `pointer` names in it. It calls itself for each token that leads on, so no deeper than the text nests.
fn seek(cursor: &mut Cursor<'_>, json: &str, pointer: &str, depth: usize) -> Result<Option<Span>, Stuck> {
    let Some(rest) = pointer.strip_prefix('/') else { return cursor.spanned(depth).map(Some) };
    let (token, below) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let mut found = None;
    match cursor.peek() {
        Some(b'{' | b'[') if depth == DEPTH_MAX => return Err(Stuck),
        Some(b'{') => {
            let token = decoded(token);
            cursor.members(depth + 1, |cursor, key| {
                let is_it = match key.token.kind() {
                    ValueKind::EscapedString => unescape(&json[key.token.range()]) == token,
                    _ => key.inside == token.as_bytes(),
                };
                if is_it {
                    found = seek(cursor, json, below, depth + 1)?;
                    return Ok(());
                }
                cursor.value(depth + 1)
            })?;
        }
        Some(b'[') => {
            let wanted = index(token);
            let mut at = 0;
            cursor.items(|cursor| {
                if wanted == Some(at) {
                    found = seek(cursor, json, below, depth + 1)?;
                } else {
                    cursor.value(depth + 1)?;
                }
                at += 1;
                Ok(())
            })?;
        }
        _ => cursor.value(depth)?,
    }
    Ok(found)
}

/// In this order, so that `~01` is `~1` and not `/`.
fn decoded(token: &str) -> Cow<'_, str> {
    match token.contains('~') {
        false => Cow::Borrowed(token),
        true => Cow::Owned(token.replace("~1", "/").replace("~0", "~")),
    }
}

/// The index that a token is to an array. `-`, which is the place behind the last one, is none.
fn index(token: &str) -> Option<usize> {
    let is_plain =
        token.bytes().all(|byte| byte.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
    if is_plain { token.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        let json = r#"{ "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8 }"#;
        for (pointer, value) in [
            ("", Some(json)),
            ("/foo", Some(r#"["bar", "baz"]"#)),
            ("/foo/0", Some(r#""bar""#)),
            ("/", Some("0")),
            ("/a~1b", Some("1")),
            ("/c%d", Some("2")),
            ("/e^f", Some("3")),
            ("/g|h", Some("4")),
            ("/i\\j", Some("5")),
            ("/k\"l", Some("6")),
            ("/ ", Some("7")),
            ("/m~0n", Some("8")),
            ("/foo/2", None),
            ("/foo/-", None),
            ("/foo/00", None),
            ("/foo/01", None),
            ("/foo/+1", None),
            ("/foo/", None),
            ("/foo/0/0", None),
            ("/foo/99999999999999999999999", None),
            ("/fo", None),
        ] {
            assert_eq!(find(json, pointer), Ok(value), "{pointer}");
        }
    }

    #[test]
    fn what_is_replaced_stands_where_it_was_found() {
        let json = r#" {"a":[1, {"b" : "x"}],"c":2} "#;
        for (pointer, new) in [
            ("/a/1/b", Some(r#" {"a":[1, {"b" : null}],"c":2} "#)),
            ("/a", Some(r#" {"a":null,"c":2} "#)),
            ("", Some(" null ")),
            ("/d", None),
        ] {
            assert_eq!(replace(json, pointer, "null").unwrap().as_deref(), new, "{pointer}");
        }
        assert_eq!(replace(json, "a", "null"), Err(BadPointer::NoSlash));
    }

    #[test]
    fn no_pointers() {
        for pointer in ["x", "~0", " /", "#/a"] {
            assert_eq!(find("{}", pointer), Err(BadPointer::NoSlash), "{pointer}");
        }
        for pointer in ["/~", "/a~/b", "/~2", "/~ä"] {
            assert_eq!(find("{}", pointer), Err(BadPointer::Tilde), "{pointer}");
        }
        assert_eq!(find(r#"{"~1":7,"/":8}"#, "/~01"), Ok(Some("7")));
    }

    #[test]
    fn keys_in_any_spelling_and_of_doubled_ones_the_last() {
        assert_eq!(find(r#" {"\u0061\n" : {"b":[ 1 , {"ä":"x"} ]}} "#, "/a\n/b/1/ä"), Ok(Some(r#""x""#)));
        assert_eq!(find(r#"{"a":{"b":1},"\u0061":{"b":2}}"#, "/a/b"), Ok(Some("2")));
        assert_eq!(find(r#"{"a":{"b":1},"a":3}"#, "/a/b"), Ok(None));
    }

    #[test]
    fn as_deep_as_a_line_may_nest() {
        let json = format!("{}7{}", "{\"a\":".repeat(128), "}".repeat(128));
        assert_eq!(find(&json, &"/a".repeat(128)), Ok(Some("7")));
        assert_eq!(find(&json, &"/a".repeat(129)), Ok(None));
        let json = format!("{}{}", "[".repeat(128), "]".repeat(128));
        assert_eq!(find(&json, &"/0".repeat(127)), Ok(Some("[]")));
        assert_eq!(find(&"[".repeat(100_000), &"/0".repeat(100_000)), Ok(None));
    }
}
