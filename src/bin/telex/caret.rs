//! Knows how a fault in a text of the command line is shown: the text, with carets under the part at fault.
//! Never: what is a fault.

use std::ops::Range;

use unicode_width::UnicodeWidthStr;

use crate::exit::Failure;
use crate::output::safe;

/// So many columns are shown on either side of where a fault begins.
const BESIDE_COLUMNS: usize = 36;

/// A fault in the command line, as [`pointed`] shows it.
pub(crate) fn fault(text: &str, at: Range<usize>, why: &str) -> Failure {
    Failure::usage(pointed(why, text, at))
}

/// What is wrong, and below it the line of `text` with carets under the part at `at`, in bytes: one caret if that is
/// empty. A long line is cut around it.
pub(crate) fn pointed(why: &str, text: &str, at: Range<usize>) -> String {
    let begin = (0..=at.start.min(text.len())).rev().find(|&byte| text.is_char_boundary(byte)).unwrap_or(0);
    let (before, behind) = text.split_at(begin);
    let rest = behind.split('\n').next().unwrap_or_default();
    let end = (at.len()..=rest.len()).find(|&byte| rest.is_char_boundary(byte)).unwrap_or(rest.len());
    let head = last_columns(before.rsplit('\n').next().unwrap_or_default());
    let part = first_columns(&rest[..end]);
    let tail = if part.ends_with('…') { String::new() } else { first_columns(&rest[end..]) };
    let carets = "^".repeat(part.width().max(1));
    format!("{why}\n  {head}{part}{tail}\n  {:space$}{carets}", "", space = head.width())
}

fn first_columns(text: &str) -> String {
    let mut shown = String::new();
    for (at, c) in text.char_indices() {
        shown.push_str(&safe(c.encode_utf8(&mut [0; 4])));
        if shown.width() > BESIDE_COLUMNS && at + c.len_utf8() < text.len() {
            return shown + "…";
        }
    }
    shown
}

fn last_columns(text: &str) -> String {
    let mut start = text.len();
    let mut width = 0;
    for (at, c) in text.char_indices().rev() {
        width += safe(c.encode_utf8(&mut [0; 4])).width();
        if width > BESIDE_COLUMNS {
            return format!("…{}", safe(&text[start..]));
        }
        start = at;
    }
    safe(text)
}

#[cfg(test)]
mod tests {
    use super::pointed;

    #[test]
    fn carets_stand_under_what_they_are_about() {
        for (text, at, told) in [
            ("abc", 1..2, "  abc\n   ^"),
            ("abc", 3..3, "  abc\n     ^"),
            ("abc", 7..9, "  abc\n     ^"),
            ("", 0..0, "  \n  ^"),
            ("名前 x", 7..8, "  名前 x\n       ^"),
            ("名前 x", 1..3, "  名前 x\n  ^^"),
            ("\u{1b}x", 1..2, "  \\u{1b}x\n        ^"),
            ("first\nsecond\nthird", 6..12, "  second\n  ^^^^^^"),
            ("first\nsecond", 0..9, "  first\n  ^^^^^"),
        ] {
            assert_eq!(pointed("why", text, at), format!("why\n{told}"), "{text:?}");
        }
    }
}
