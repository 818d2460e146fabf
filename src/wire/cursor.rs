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
}

/// A range of bytes in a line. Empty means that there is no such field: no JSON value is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Span {
        Span { start: start as u32, end: end as u32 }
    }
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }
}

impl Cursor<'_> {
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Stuck> {
        if self.peek() != Some(byte) {
            return Err(Stuck);
        }
        self.at += 1;
        Ok(())
    }

    /// From an object's brace to behind its end. `member` is called with the cursor on each value,
    /// and has to move it behind that. `depth` counts this object and all around it.
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
        debug_assert!(depth < DEPTH_MAX);
        loop {
            let start = self.at;
            self.string()?;
            let key = Span::new(start, self.at);
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

    fn colon(&mut self) -> Result<(), Stuck> {
        self.skip_space();
        self.expect(b':')?;
        self.skip_space();
        Ok(())
    }

    /// Passes one value of any kind, with `depth` objects and arrays around it.
    pub(super) fn value(&mut self, depth: usize) -> Result<(), Stuck> {
        // The kinds of what is open inside this value, innermost lowest: 1 an object, 0 an array.
        let mut kinds: u128 = 0;
        let mut open = depth;
        'value: loop {
            self.skip_space();
            match self.peek() {
                Some(b'"') => self.string()?,
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

    fn string(&mut self) -> Result<(), Stuck> {
        self.expect(b'"')?;
        loop {
            self.at += plain_run(&self.bytes[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                _ => return Err(Stuck),
            }
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

/// How many bytes at the front of `bytes` need no look inside a string: neither quote nor backslash
/// nor a control character. Eight at a time, and 32 in long strings.
fn plain_run(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = bytes[at..].first_chunk::<8>() {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
        if at == 32 {
            at += plain_blocks(&bytes[at..]);
        }
    }
    let is_special = |&byte: &u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    at + bytes[at..].iter().position(is_special).unwrap_or(bytes.len() - at)
}

/// The bytes in whole blocks of 32 that are plain. Written so that the compiler uses vectors.
fn plain_blocks(bytes: &[u8]) -> usize {
    let is_special = |&byte: &u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    let blocks = bytes.chunks_exact(32);
    32 * blocks.take_while(|block| !block.iter().fold(false, |any, byte| any | is_special(byte))).count()
}

/// The high bit of each byte of `word` that is a quote, a backslash or a control character. Bits
/// above the lowest one may be false (borrows run upwards); the lowest never is.
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word;
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let equal_bytes = |byte: u8| zero_bytes(word ^ (ONES * u64::from(byte)));
    (equal_bytes(b'"') | equal_bytes(b'\\') | below_space) & HIGHS
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
                    assert_eq!(plain_run(&bytes), at);
                }
            }
            assert_eq!(plain_run(&vec![0x7f; length]), length);
            assert_eq!(plain_run(&vec![0xff; length]), length);
        }
    }
}
