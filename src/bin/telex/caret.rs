//! Knows how a fault in a text of the command line is shown: the text, with carets under the part at fault.
//! Never: what is a fault.

use std::ops::Range;

use unicode_width::UnicodeWidthStr;

use crate::exit::Failure;
use crate::output::safe;

/// A fault in the command line: what is wrong, and below it the line of `text` with the part at `at`, in bytes.
pub(crate) fn fault(text: &str, at: Range<usize>, why: &str) -> Failure {
    Failure::usage(format!("{why}\n{}", shown(text, at)))
}

fn shown(text: &str, at: Range<usize>) -> String {
    let begin = (0..=at.start.min(text.len())).rev().find(|&byte| text.is_char_boundary(byte)).unwrap_or(0);
    let (before, behind) = text.split_at(begin);
    let head = before.rsplit('\n').next().unwrap_or_default();
    let rest = behind.split('\n').next().unwrap_or_default();
    let end = (at.len()..=rest.len()).find(|&byte| rest.is_char_boundary(byte)).unwrap_or(rest.len());
    let (part, tail) = rest.split_at(end);
    let [head, part, tail] = [head, part, tail].map(safe);
    let carets = "^".repeat(part.width().max(1));
    format!("  {head}{part}{tail}\n  {:space$}{carets}", "", space = head.width())
}

#[cfg(test)]
mod tests {
    use super::shown;

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
            assert_eq!(shown(text, at), told, "{text:?}");
        }
    }
}
