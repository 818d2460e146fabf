//! Knows how what is given on the command line is read, and how a fault in it is pointed at.
//! Never: what it is for.

use std::time::Duration;

use crate::caret;
use serde_json::value::RawValue;
use telex::duration;

/// The longest timeout of a request.
const TIMEOUT_MAX: Duration = Duration::from_millis(telex::limits::TIMEOUT_MS_MAX);

/// What is wrong with a text, and below it the text with a caret under the byte at fault.
pub(crate) fn pointed(why: &str, text: &str, at: usize) -> String {
    caret::pointed(why, text, at..at)
}

/// Reads a duration.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|bad| pointed(&bad.to_string(), text, bad_in_duration(text)))
}

/// Where a text ceases to be a duration.
fn bad_in_duration(text: &str) -> usize {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let second_point = text[..end].match_indices('.').nth(1);
    match second_point {
        Some((at, _)) => at,
        None if text[..end].parse::<f64>().is_err() => 0,
        // It may be right but too long.
        None if duration::parse(&format!("1{}", &text[end..])).is_ok() => 0,
        None => end,
    }
}

/// Reads the time of a request.
pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text)?;
    if timeout > TIMEOUT_MAX { Err(pointed("1h is the most", text, 0)) } else { Ok(timeout) }
}

/// Reads JSON, as it stands there but on one line.
pub(crate) fn json(text: &str) -> Result<String, String> {
    match serde_json::from_str::<&RawValue>(text) {
        // No line end stands within a string.
        Ok(json) => Ok(json.get().replace(['\n', '\r'], " ")),
        Err(error) => {
            let line_start: usize = text.split_inclusive('\n').take(error.line() - 1).map(str::len).sum();
            let at = if error.is_eof() { text.len() } else { line_start + error.column().saturating_sub(1) };
            // Of a control character in a string the place before it is told.
            let is_before = text.as_bytes().get(at + 1).is_some_and(u8::is_ascii_control);
            let is_control = error.to_string().starts_with("control character");
            Err(pointed(&error.to_string(), text, at + usize::from(is_before && is_control)))
        }
    }
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;

    /// What stands at the caret, and the line that it points into.
    fn at_caret(told: &str) -> (String, String) {
        let lines: Vec<&str> = told.lines().collect();
        let [.., text, caret] = &lines[..] else { panic!("{told}") };
        let column = caret.find('^').expect("a caret");
        let mut shown = String::new();
        let behind = text.chars().skip_while(|&c| {
            let is_before = shown.width() < column;
            shown.push(c);
            is_before
        });
        (behind.collect(), (*text).to_owned())
    }

    #[test]
    fn a_caret_stands_under_the_fault_of_a_duration() {
        for (text, fault) in
            [("5x", "x"), ("1.2.3", ".3"), ("soon", "soon"), ("1 s", " s"), ("", ""), ("-1s", "-1s")]
        {
            assert_eq!(at_caret(&duration(text).expect_err(text)).0, fault, "{text}");
        }
        assert_eq!(at_caret(&timeout("2h").expect_err("too long")).0, "2h");
        assert_eq!(timeout("1h"), Ok(TIMEOUT_MAX));
    }

    #[test]
    fn a_caret_stands_under_the_fault_of_json() {
        for (text, fault) in [
            ("hello", "hello"),
            (r#"{"a":}"#, "}"),
            (r#"{"a":1"#, ""),
            ("[1] x", "x"),
            ("{\n \"a\": x}", "x}"),
            (r#"{"名前":x}"#, "x}"),
            ("{\"\u{1b}", "\\u{1b}"),
        ] {
            assert_eq!(at_caret(&json(text).expect_err(text)).0, fault, "{text}");
        }
        assert_eq!(json("[1,\n 2]").as_deref(), Ok("[1,  2]"));
    }

    #[test]
    fn long_texts_are_cut_around_the_fault() {
        let text = format!("[{}x{}]", "1,".repeat(500), ",1".repeat(500));
        let (fault, line) = at_caret(&json(&text).expect_err("an x"));
        assert!(fault.starts_with("x,1") && fault.ends_with('…') && line.trim().starts_with('…'), "{line}");
        assert!(line.width() < 80, "{line}");
        let wide = format!("[\"{}\"x]", "字".repeat(100));
        let (fault, line) = at_caret(&json(&wide).expect_err("an x"));
        assert!(fault == "x]" && line.width() < 80, "{line}");
    }
}
