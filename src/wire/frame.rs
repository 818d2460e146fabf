//! Knows how a stream of bytes falls into lines: LF ends one, a CR before it is ignored.
//! Never: what a line holds.

/// Cuts the bytes of one connection into lines. Lines that lie whole in what was received are lent
/// out where they lie; only an unfinished one is copied, and no byte is searched twice.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub struct Deframer {
    /// The unfinished line: it has no LF in it and at most `max_line_bytes` and a CR.
    #[cfg_attr(feature = "daemon", serde(with = "serde_bytes"))]
    partial: Vec<u8>,
    /// The unfinished line was too long: what comes is skipped up to its LF.
    skipping: bool,
}

/// What [`Deframer::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A line that lies whole in the bytes handed in, without CR and LF.
    Whole(&'a [u8]),
    /// A line whose beginning had come before. Its buffer is the caller's now: a connection that is
    /// between two lines keeps none.
    Joined(Vec<u8>),
    /// A line passed the cap. Said once; the rest of it is skipped.
    TooLong,
}

impl Deframer {
    /// The next line of `input`, which is advanced past what was used; `None` when it is used up.
    /// `cap` is the longest line in bytes, CR and LF not counted. Empty lines are not reported.
    pub fn next<'a>(&mut self, input: &mut &'a [u8], cap: usize) -> Option<Frame<'a>> {
        while !input.is_empty() {
            let Some(end) = memchr::memchr(b'\n', input) else {
                return self.keep(std::mem::take(input), cap);
            };
            let (head, rest) = (&input[..end], &input[end + 1..]);
            *input = rest;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if self.partial.is_empty() {
                match without_cr(head) {
                    [] => continue,
                    line if line.len() > cap => return Some(Frame::TooLong),
                    line => return Some(Frame::Whole(line)),
                }
            }
            if self.partial.len() + head.len() > cap + 1 {
                self.partial = Vec::new();
                return Some(Frame::TooLong);
            }
            self.partial.extend_from_slice(head);
            if let Some(frame) = self.take_partial(cap) {
                return Some(frame);
            }
        }
        None
    }

    /// The last line, if the stream has ended without its LF. `cap` is the longest line in bytes.
    pub fn finish(&mut self, cap: usize) -> Option<Frame<'static>> {
        self.take_partial(cap)
    }

    /// The bytes that an unfinished line takes.
    pub fn kept_bytes(&self) -> usize {
        self.partial.capacity()
    }

    /// The unfinished line so far.
    pub fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// Whether the next byte that is no white space begins a line.
    pub fn is_between_lines(&self) -> bool {
        !self.skipping && self.partial.trim_ascii_start().is_empty()
    }

    /// Forgets the unfinished line, if there is one; what is still to come of it is skipped.
    pub fn refuse_partial(&mut self) {
        // Between two lines the next one is not to blame.
        self.skipping |= !self.partial.is_empty();
        self.partial = Vec::new();
    }

    fn keep<'a>(&mut self, bytes: &'a [u8], cap: usize) -> Option<Frame<'a>> {
        if self.skipping {
            return None;
        }
        let length = self.partial.len() + bytes.len();
        // One byte over the cap may yet be the CR before the LF.
        if length > cap + 1 || (length == cap + 1 && bytes.last() != Some(&b'\r')) {
            self.partial = Vec::new();
            self.skipping = true;
            return Some(Frame::TooLong);
        }
        self.partial.extend_from_slice(bytes);
        None
    }

    fn take_partial(&mut self, cap: usize) -> Option<Frame<'static>> {
        let mut line = std::mem::take(&mut self.partial);
        line.truncate(without_cr(&line).len());
        match line.len() {
            0 => None,
            n if n > cap => Some(Frame::TooLong),
            _ => Some(Frame::Joined(line)),
        }
    }
}

/// How many of `bytes` are whole lines of about `most` bytes together: up to the first end of a line from there
/// on, or all if there is none.
pub fn whole_lines(bytes: &[u8], most: usize) -> usize {
    let Some(rest) = bytes.get(most..) else { return bytes.len() };
    memchr::memchr(b'\n', rest).map_or(bytes.len(), |at| most + at + 1)
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_end_with_a_line() {
        for (bytes, most, right) in [
            ("", 0, 0),
            ("a\nb\n", 0, 2),
            ("a\nb\n", 1, 2),
            ("a\nb\n", 2, 4),
            ("a\nb\n", 5, 4),
            ("a\nbc", 2, 4),
        ] {
            assert_eq!(whole_lines(bytes.as_bytes(), most), right, "{bytes:?} {most}");
        }
    }

    /// All lines of `chunks`, the last one ended by the end of the stream; `None` for one too long.
    fn lines(chunks: &[&[u8]], cap: usize) -> Vec<Option<Vec<u8>>> {
        let mut deframer = Deframer::default();
        let mut out = Vec::new();
        let mut put = |frame| {
            out.push(match frame {
                Frame::Whole(line) => Some(line.to_vec()),
                Frame::Joined(line) => Some(line),
                Frame::TooLong => None,
            });
        };
        for chunk in chunks {
            let mut input = *chunk;
            while let Some(frame) = deframer.next(&mut input, cap) {
                put(frame);
            }
            assert!(deframer.kept_bytes() <= 2 * (cap + 1).max(8));
        }
        deframer.finish(cap).into_iter().for_each(&mut put);
        out
    }

    fn check(input: &[u8], cap: usize, expected: &[Option<&str>]) {
        let expected: Vec<_> =
            expected.iter().map(|line| line.map(|text| text.as_bytes().to_vec())).collect();
        assert_eq!(lines(&[input], cap), expected);
        for cut in 0..=input.len() {
            assert_eq!(lines(&[&input[..cut], &input[cut..]], cap), expected, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(lines(&bytes, cap), expected, "byte by byte");
    }

    #[test]
    fn lf_ends_a_line_and_one_cr_is_ignored() {
        check(b"a\nbc\r\nd\r\r\n", 9, &[Some("a"), Some("bc"), Some("d\r")]);
    }

    #[test]
    fn empty_lines_are_ignored() {
        check(b"\n\r\n\na\n\n", 9, &[Some("a")]);
    }

    #[test]
    fn the_last_line_needs_no_lf() {
        check(b"a\nb", 9, &[Some("a"), Some("b")]);
        check(b"a\nb\r", 9, &[Some("a"), Some("b")]);
        check(b"a\n\r", 9, &[Some("a")]);
    }

    #[test]
    fn the_cap_counts_neither_cr_nor_lf() {
        check(b"1234\n1234\r\n12345\n1\n", 4, &[Some("1234"), Some("1234"), None, Some("1")]);
        check(b"12345\r\n1\n", 4, &[None, Some("1")]);
        check(b"1234\rx\n1\n", 4, &[None, Some("1")]);
        check(b"1234567890\n1\n123456789", 4, &[None, Some("1"), None]);
        check(b"1234\r", 4, &[Some("1234")]);
    }
}
