//! Knows as much of JSON as a fake daemon needs: what a value is, and where a JSON Pointer leads in one.
//! Never: what stands in it.

/// How deep values may be nested.
const DEPTH_MAX: usize = 128;

/// The one value that a text is, without the space around it.
pub(super) fn value(text: &str) -> Option<&str> {
    let mut cursor = Cursor { text, at: 0, depth: 0 };
    let found = cursor.pass(Some(&[]))?;
    cursor.space();
    if cursor.at == text.len() { found } else { None }
}

/// No JSON Pointer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadPointer;

/// What `pointer` leads to in `json`; of doubled keys the last one counts.
pub(super) fn find<'a>(json: &'a str, pointer: &str) -> Result<Option<&'a str>, BadPointer> {
    let mut tokens = pointer.split('/');
    let is_escaped = |token: &str| token.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if tokens.next() != Some("") || !tokens.clone().all(is_escaped) {
        return Err(BadPointer);
    }
    let path: Vec<_> = tokens.map(|token| token.replace("~1", "/").replace("~0", "~")).collect();
    Ok(Cursor { text: json, at: 0, depth: 0 }.pass(Some(&path)).flatten())
}

/// The text that a string is.
pub(super) fn text(token: &str) -> Option<String> {
    let mut rest = token.strip_prefix('"')?.strip_suffix('"')?;
    let mut units = Vec::new();
    while let Some(at) = rest.find('\\') {
        units.extend(rest[..at].encode_utf16());
        let (escape, mut behind) = rest[at + 1..].split_at_checked(1)?;
        units.push(match escape {
            "n" => 0x0a,
            "t" => 0x09,
            "r" => 0x0d,
            "b" => 0x08,
            "f" => 0x0c,
            "u" => {
                let (digits, after) = behind.split_at_checked(4)?;
                behind = after;
                u16::from_str_radix(digits, 16).ok()?
            }
            itself => u16::from(*itself.as_bytes().first()?),
        });
        rest = behind;
    }
    units.extend(rest.encode_utf16());
    String::from_utf16(&units).ok()
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// What is left of a path behind a member; none where it does not lead there.
fn below(path: Option<&[String]>, is_it: impl Fn(&str) -> bool) -> Option<&[String]> {
    path?.split_first().filter(|(token, _)| is_it(token)).map(|(_, rest)| rest)
}

impl<'a> Cursor<'a> {
    /// Passes a value; gives what `path` leads to in it. None where there is no value.
    fn pass(&mut self, path: Option<&[String]>) -> Option<Option<&'a str>> {
        self.space();
        let start = self.at;
        let mut found = None;
        match self.peek()? {
            b'{' => self.items(b'}', |cursor, _| {
                let key = text(cursor.string()?)?;
                cursor.space();
                cursor.eat(b':').then_some(())?;
                let below = below(path, |token| token == key);
                let inside = cursor.pass(below)?;
                if below.is_some() {
                    found = inside;
                }
                Some(())
            })?,
            b'[' => self.items(b']', |cursor, nth| {
                let below = below(path, |token| token == nth.to_string());
                found = cursor.pass(below)?.or(found);
                Some(())
            })?,
            b'"' => drop(self.string()?),
            _ => self.word()?,
        }
        if path.is_some_and(<[_]>::is_empty) {
            found = Some(&self.text[start..self.at]);
        }
        Some(found)
    }

    /// Passes what stands between a brace or bracket and the one that closes it.
    fn items(&mut self, end: u8, mut item: impl FnMut(&mut Self, usize) -> Option<()>) -> Option<()> {
        self.at += 1;
        self.depth += 1;
        self.space();
        let mut nth = 0;
        let mut is_over = self.depth > DEPTH_MAX || self.eat(end);
        while !is_over {
            self.space();
            item(self, nth)?;
            nth += 1;
            self.space();
            is_over = self.eat(end);
            (is_over || self.eat(b',')).then_some(())?;
        }
        (self.depth <= DEPTH_MAX).then_some(())?;
        self.depth -= 1;
        Some(())
    }

    fn string(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.eat(b'"').then_some(())?;
        while !self.eat(b'"') {
            match self.peek()? {
                ..=0x1f => return None,
                b'\\' => {
                    self.at += 1;
                    let escape = self.peek()?;
                    br#""\/bfnrtu"#.contains(&escape).then_some(())?;
                }
                _ => {}
            }
            self.at += 1;
        }
        let token = &self.text[start..self.at];
        text(token).map(|_| token)
    }

    /// A number, or one of the three words.
    fn word(&mut self) -> Option<()> {
        let rest = &self.text[self.at..];
        let is_in_it = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let word = &rest[..rest.find(|c| !is_in_it(c)).unwrap_or(rest.len())];
        self.at += word.len();
        (matches!(word, "true" | "false" | "null") || is_number(word)).then_some(())
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

fn is_number(word: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let word = word.strip_prefix('-').unwrap_or(word);
    let (word, exponent) = word.split_once(['e', 'E']).unwrap_or((word, "0"));
    let (whole, fraction) = word.split_once('.').unwrap_or((word, "0"));
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && digits(fraction)
        && digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// All texts of up to so many of these pieces, put together.
    fn each_text(pieces: &[&str], count: usize, text: &mut String, check: &mut dyn FnMut(&str)) {
        check(text);
        for piece in if count == 0 { &[] } else { pieces } {
            text.push_str(piece);
            each_text(pieces, count - 1, text, check);
            text.truncate(text.len() - piece.len());
        }
    }

    #[test]
    fn a_value_is_what_serde_takes_for_one_and_a_pointer_leads_where_it_leads_there() {
        let mut valid = 0;
        let mut check = |text: &str| {
            let parsed: Option<Value> = serde_json::from_str(text).ok();
            let ours = value(text).map(|value| serde_json::from_str::<Value>(value).unwrap());
            assert_eq!(ours, parsed, "{text}");
            let Some(parsed) = parsed else { return };
            valid += 1;
            for pointer in ["", "/", "/a", "/a/0", "/0", "/1", "/0/a", "/00", "/-", "/~1", "/~01"] {
                let ours = find(text, pointer).unwrap().map(|it| serde_json::from_str::<Value>(it).unwrap());
                assert_eq!(ours.as_ref(), parsed.pointer(pointer), "{text} {pointer}");
            }
        };
        let pieces = ["{", "}", "[", "]", "\"a\":", "\"/\":", "\"~1\":", "\"\":", ",", "0", " "];
        each_text(&pieces, 5, &mut String::new(), &mut check);
        each_text(
            &["{\"a\":", "{\"\\u0061\":", "[", "]", "}", ",\"a\":", ",", "1", "0"],
            6,
            &mut String::new(),
            &mut check,
        );
        each_text(&["0", "1", "-", "+", ".", "e", "E"], 5, &mut String::new(), &mut check);
        let pieces = ["\"", "\\", "n", "u", "d83d", "de00", "0061", "ä", "\n", "x", "/"];
        each_text(&pieces, 6, &mut String::new(), &mut check);
        for text in ["true", "false", "null", "nul", "truefalse", "+1", "[\ttrue\r\n]"] {
            check(text);
        }
        assert!(valid > 1000, "{valid}");
    }

    #[test]
    fn what_is_no_pointer() {
        for pointer in ["a", "~0", " /", "/~", "/a~/b", "/~2"] {
            assert_eq!(find("{}", pointer), Err(BadPointer), "{pointer}");
        }
    }

    #[test]
    fn as_deep_as_a_line_may_nest() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(value(&nested(DEPTH_MAX)).is_some());
        assert!(value(&nested(DEPTH_MAX + 1)).is_none());
        assert!(value(&"[".repeat(1_000_000)).is_none());
    }
}
