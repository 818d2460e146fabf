//! Knows what valid JSON is (RFC 8259), one byte after the other.
//! Never: what any of it is for.

use crate::limits::DEPTH_MAX;
use crate::wire::marks::Marks;

/// The line is no JSON, and the cursor stands on the byte at fault.
pub(super) struct Stuck;

/// A place in a text, which moves over JSON as far as that is valid.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    /// How many bytes are behind it.
    pub(super) at: usize,
    marks: Marks,
}

/// Where a span ends at the latest: its length has two bits less than a word of 32.
pub(super) const SPAN_END_MAX: usize = (1 << 30) - 1;

/// A range of bytes in a line. Empty means that there is no such field: no JSON value is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    /// The length above the two bits of the kind.
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

/// A member's key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<'a> {
    /// The bytes between its quotes.
    pub(super) inside: &'a [u8],
    /// Where it stands.
    pub(super) token: Span,
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
        Cursor { bytes, at: 0, marks: Marks::default() }
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
    pub(super) fn members(
        &mut self,
        depth: usize,
        mut member: impl FnMut(&mut Self, Key<'a>) -> Result<(), Stuck>,
    ) -> Result<(), Stuck> {
        self.members_passed(depth, |cursor, key, passed| {
            if let Some(value) = passed {
                cursor.at = value.range().start;
            }
            member(cursor, key)
        })
    }

    /// Passes an object's members as [`Cursor::members`] does, but a value that has been passed already is told
    /// with its key.
    #[inline(always)]
    pub(super) fn members_passed(
        &mut self,
        depth: usize,
        mut member: impl FnMut(&mut Self, Key<'a>, Option<Span>) -> Result<(), Stuck>,
    ) -> Result<(), Stuck> {
        debug_assert!(depth <= DEPTH_MAX);
        self.at += 1;
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let (key, passed) = match self.plain_member() {
                Some((key, value)) => (key, Some(value)),
                None => (self.key()?, None),
            };
            member(self, key, passed)?;
            if self.bytes.get(self.at..self.at + 2) == Some(b",\"") {
                self.at += 1;
                continue;
            }
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

    /// Passes a key and the colon behind it, with all the space that may be there.
    fn key(&mut self) -> Result<Key<'a>, Stuck> {
        let start = self.at;
        let kind = self.string()?;
        let key = Key { inside: &self.bytes[start + 1..self.at - 1], token: Span::new(start, self.at, kind) };
        self.colon()?;
        Ok(key)
    }

    /// Passes a member as most programs write most of theirs, `"key":"text"` without space or backslash.
    /// Where something else stands the cursor stays.
    #[inline(always)]
    fn plain_member(&mut self) -> Option<(Key<'a>, Span)> {
        let bytes = self.bytes;
        let key = self.at;
        if bytes.get(key) != Some(&b'"') {
            return None;
        }
        let key_end = self.marks.next(bytes, key + 1);
        if bytes.get(key_end..key_end + 3)? != b"\":\"" {
            return None;
        }
        let value = key_end + 2;
        let value_end = self.marks.next(bytes, value + 1);
        if bytes.get(value_end) != Some(&b'"') {
            return None;
        }
        self.at = value_end + 1;
        let plain = |start, end| Span::new(start, end, ValueKind::PlainString);
        let key = Key { inside: bytes.get(key + 1..key_end)?, token: plain(key, key_end + 1) };
        Some((key, plain(value, value_end + 1)))
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
        self.at = self.marks.next(self.bytes, self.at);
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(ValueKind::PlainString);
        }
        self.rest_of_string()
    }

    /// Passes what is left of a string from its first mark on.
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
            self.at = self.marks.next(self.bytes, self.at);
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
