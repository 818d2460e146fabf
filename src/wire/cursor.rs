//! Knows what valid JSON is (RFC 8259), one byte after the other.
//! Never: what any of it is for.

use crate::limits::DEPTH_MAX;

/// The line is no JSON, and the cursor stands on the byte at fault.
pub(super) struct Stuck;

/// A place in a text, which moves over JSON as far as that is valid.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    /// How many bytes are behind it.
    pub(super) at: usize,
    /// There is no control character anywhere, so long strings need no look for them.
    no_controls: bool,
}

/// A range of bytes in a line. Empty means that there is no such field: no JSON value is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    /// The length above the two bits of the kind: a line has 64 MiB at most.
    length_and_kind: u32,
}

/// What the scan has learned of a value by passing it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ValueKind {
    #[default]
    Other = 0,
    /// A string, which stands for itself between its quotes.
    PlainString = 1,
    /// A string with a backslash in it.
    EscapedString = 2,
}

impl Span {
    pub(super) fn new(start: usize, end: usize, kind: ValueKind) -> Span {
        Span { start: start as u32, length_and_kind: ((end - start) as u32) << 2 | kind as u32 }
    }

    pub(super) fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + (self.length_and_kind >> 2) as usize
    }

    pub(super) fn is_empty(self) -> bool {
        self.length_and_kind == 0
    }

    pub(super) fn kind(self) -> ValueKind {
        match self.length_and_kind & 3 {
            0 => ValueKind::Other,
            1 => ValueKind::PlainString,
            _ => ValueKind::EscapedString,
        }
    }
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        // A fold over all bytes, without an early end, is one the compiler makes vectors of.
        let lowest = bytes.iter().fold(u8::MAX, |lowest, &byte| lowest.min(byte));
        Cursor { bytes, at: 0, no_controls: lowest >= 0x20 }
    }

    /// The bytes between the quotes of a string that has been passed.
    #[inline(always)]
    pub(super) fn inside(&self, string: Span) -> &'a [u8] {
        let range = string.range();
        &self.bytes[range.start + 1..range.end - 1]
    }

    #[inline(always)]
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline(always)]
    pub(super) fn skip_space(&mut self) {
        // Most lines have none.
        if self.peek().is_some_and(|byte| byte > b' ') {
            return;
        }
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Result<(), Stuck> {
        if self.peek() != Some(byte) {
            return Err(Stuck);
        }
        self.at += 1;
        Ok(())
    }

    /// From an object's brace to behind its end. `member` is called with the cursor on each value,
    /// and has to move it behind that. `depth` counts this object and all around it.
    #[inline(always)]
    pub(super) fn members(
        &mut self,
        depth: usize,
        mut member: impl FnMut(&mut Self, Span) -> Result<(), Stuck>,
    ) -> Result<(), Stuck> {
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        debug_assert!(depth <= DEPTH_MAX);
        loop {
            let start = self.at;
            let kind = self.string()?;
            let key = Span::new(start, self.at, kind);
            self.colon()?;
            member(self, key)?;
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(Stuck),
            }
            self.skip_space();
        }
        self.at += 1;
        Ok(())
    }

    /// From an array's bracket to behind its end. `item` is called with the cursor on each value, and
    /// has to move it behind that.
    pub(super) fn items(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), Stuck>,
    ) -> Result<(), Stuck> {
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            item(self)?;
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(Stuck),
            }
            self.skip_space();
        }
        self.at += 1;
        Ok(())
    }

    #[inline(always)]
    fn colon(&mut self) -> Result<(), Stuck> {
        self.skip_space();
        self.expect(b':')?;
        self.skip_space();
        Ok(())
    }

    /// Passes one value of any kind, and says where it is.
    #[inline(always)]
    pub(super) fn spanned(&mut self, depth: usize) -> Result<Span, Stuck> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'"') => self.string()?,
            _ => self.value(depth).map(|()| ValueKind::Other)?,
        };
        Ok(Span::new(start, self.at, kind))
    }

    /// Passes one value of any kind, with `depth` objects and arrays around it.
    pub(super) fn value(&mut self, depth: usize) -> Result<(), Stuck> {
        // The kinds of what is open inside this value, innermost lowest: 1 an object, 0 an array.
        let mut kinds: u128 = 0;
        let mut open = depth;
        'value: loop {
            self.skip_space();
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                }
                Some(bracket @ (b'{' | b'[')) => {
                    if open == DEPTH_MAX {
                        return Err(Stuck);
                    }
                    self.at += 1;
                    self.skip_space();
                    let is_object = bracket == b'{';
                    if self.peek() == Some(if is_object { b'}' } else { b']' }) {
                        self.at += 1;
                    } else {
                        open += 1;
                        kinds = kinds << 1 | u128::from(is_object);
                        if is_object {
                            self.string()?;
                            self.colon()?;
                        }
                        continue 'value;
                    }
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal(b"true")?,
                Some(b'f') => self.literal(b"false")?,
                Some(b'n') => self.literal(b"null")?,
                _ => return Err(Stuck),
            }
            while open > depth {
                self.skip_space();
                let in_object = kinds & 1 == 1;
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        if in_object {
                            self.skip_space();
                            self.string()?;
                            self.colon()?;
                        }
                        continue 'value;
                    }
                    Some(b'}') if in_object => {}
                    Some(b']') if !in_object => {}
                    _ => return Err(Stuck),
                }
                self.at += 1;
                open -= 1;
                kinds >>= 1;
            }
            return Ok(());
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Stuck> {
        for &byte in word {
            self.expect(byte)?;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Stuck> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Stuck> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(Stuck) } else { Ok(()) }
    }

    /// Passes a string.
    #[inline(always)]
    fn string(&mut self) -> Result<ValueKind, Stuck> {
        self.expect(b'"')?;
        self.at += plain_run(self.bytes, self.at, self.no_controls);
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(ValueKind::PlainString);
        }
        self.rest_of_string()
    }

    /// Passes what is left of a string from its first special byte on.
    #[cold]
    fn rest_of_string(&mut self) -> Result<ValueKind, Stuck> {
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(ValueKind::EscapedString);
                }
                Some(b'\\') => self.escape()?,
                _ => return Err(Stuck),
            }
            self.at += plain_run(self.bytes, self.at, self.no_controls);
        }
    }

    fn escape(&mut self) -> Result<(), Stuck> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => self.unicode_escape(),
            _ => Err(Stuck),
        }
    }

    /// A surrogate counts only as the first of a pair with its second right behind it.
    fn unicode_escape(&mut self) -> Result<(), Stuck> {
        let start = self.at;
        match self.hex4()? {
            0xdc00..=0xdfff => {
                self.at = start;
                Err(Stuck)
            }
            0xd800..=0xdbff => {
                self.expect(b'\\')?;
                let second = self.at;
                match self.hex4()? {
                    0xdc00..=0xdfff => Ok(()),
                    _ => {
                        self.at = second;
                        Err(Stuck)
                    }
                }
            }
            _ => Ok(()),
        }
    }

    fn hex4(&mut self) -> Result<u32, Stuck> {
        self.expect(b'u')?;
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16)).ok_or(Stuck)?;
            self.at += 1;
            value = value << 4 | digit;
        }
        Ok(value)
    }
}

/// How many bytes from `start` on need no look inside a string: neither quote nor backslash nor a
/// control character. Most strings are short, so the first bytes are looked at eight at a time,
/// which costs no call.
#[inline(always)]
fn plain_run(bytes: &[u8], start: usize, no_controls: bool) -> usize {
    const SHORT_BYTES: usize = 24;
    let mut at = start;
    loop {
        let special = special_bytes(word_at(bytes, at));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8 - start;
        }
        at += 8;
        if no_controls && at - start == SHORT_BYTES {
            return at - start + memchr::memchr2(b'"', b'\\', &bytes[at..]).unwrap_or(bytes.len() - at);
        }
    }
}

/// The eight bytes from `at` on, with zeros (which are control characters) behind the last one.
#[inline(always)]
fn word_at(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..at + 8) {
        Some(word) => u64::from_le_bytes(word.try_into().unwrap_or_default()),
        None => last_word_at(bytes, at),
    }
}

fn last_word_at(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    let mut word = [0; 8];
    word[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(word)
}

/// The high bit of each byte of `word` that is a quote, a backslash or a control character. Bits
/// above the lowest one may be false (borrows run upwards); the lowest never is.
#[inline(always)]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word;
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    (zero_bytes(word ^ (ONES * u64::from(b'"'))) | zero_bytes(word ^ (ONES * u64::from(b'\\'))) | below_space)
        & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_bytes_are_found_wherever_they_stand() {
        for length in 0..100 {
            for special in [0u8, 0x1f, b'"', b'\\'] {
                for at in 0..length {
                    let mut bytes = vec![b'x'; length];
                    bytes[at] = special;
                    assert_eq!(plain_run(&bytes, 0, false), at);
                    if special >= 0x20 {
                        assert_eq!(plain_run(&bytes, 0, true), at);
                        assert_eq!(plain_run(&bytes, at / 2, true), at - at / 2);
                    }
                }
            }
            for no_controls in [true, false] {
                assert_eq!(plain_run(&vec![0x7f; length], 0, no_controls), length);
                assert_eq!(plain_run(&vec![0xff; length], 0, no_controls), length);
            }
        }
    }
}
