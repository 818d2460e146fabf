//! Lines, by looking at the whole stream at once.

use telex::wire::frame::{Deframer, Frame};

/// What one line of a stream gives.
#[derive(Debug)]
struct Expected<'a> {
    /// How many bytes of the stream have to be there before it can be said; nothing where it takes
    /// the end of the stream.
    told_after: Option<usize>,
    /// Where in the stream the line begins.
    start: usize,
    /// The line, or nothing where it is too long.
    line: Option<&'a [u8]>,
}

/// Every line of `stream`. One that is too long is told by the first byte that leaves no other end.
fn expected(stream: &[u8], cap: usize) -> Vec<Expected<'_>> {
    let mut all = Vec::new();
    let mut start = 0;
    let segments: Vec<&[u8]> = stream.split(|&byte| byte == b'\n').collect();
    for (number, segment) in segments.iter().enumerate() {
        let end = (number + 1 < segments.len()).then_some(start + segment.len() + 1);
        let proof = (1..=segment.len()).find(|&length| without_cr(&segment[..length]).len() > cap);
        if let Some(length) = proof {
            all.push(Expected { told_after: Some(start + length), start, line: None });
        } else if !without_cr(segment).is_empty() {
            all.push(Expected { told_after: end, start, line: Some(without_cr(segment)) });
        }
        start += segment.len() + 1;
    }
    all
}

fn without_cr(line: &[u8]) -> &[u8] {
    match line {
        [front @ .., b'\r'] => front,
        all => all,
    }
}

/// Whether the unfinished line of `stream` takes no memory: there is none, or it is already refused.
fn keeps_nothing(stream: &[u8], cap: usize) -> bool {
    let unfinished = stream.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
    unfinished.is_empty() || without_cr(unfinished).len() > cap || unfinished.len() > cap + 1
}

/// Feeds `stream` to a deframer in chunks of the sizes `cuts` (in turn, again and again; without any,
/// in one piece) and compares all that it says, when it says it, and what it keeps.
pub(crate) fn check(stream: &[u8], cap: usize, cuts: &[usize]) {
    let all = expected(stream, cap);
    let mut expected = all.iter().peekable();
    let mut deframer = Deframer::default();
    let mut sizes = cuts.iter().map(|&size| size.max(1)).cycle();
    let mut from = 0;
    while from < stream.len() {
        let to = sizes.next().map_or(stream.len(), |size| stream.len().min(from + size));
        let mut input = &stream[from..to];
        while let Some(frame) = deframer.next(&mut input, cap) {
            let wanted = expected.next().unwrap_or_else(|| panic!("{frame:?} too many by byte {to}"));
            assert!(wanted.told_after.is_some_and(|at| at <= to), "{frame:?} too early, by byte {to}");
            match frame {
                Frame::Whole(line) => {
                    assert_eq!(Some(line), wanted.line, "by byte {to}");
                    assert!(wanted.start >= from, "{line:?} came in parts and is lent");
                    assert_eq!(line.as_ptr(), stream[wanted.start..].as_ptr(), "{line:?} is a copy");
                }
                Frame::Joined(line) => {
                    assert_eq!(Some(&line[..]), wanted.line, "by byte {to}");
                    assert!(wanted.start < from, "{line:?} lay whole and was copied");
                }
                Frame::TooLong => assert_eq!(None, wanted.line, "by byte {to}"),
            }
        }
        assert!(input.is_empty(), "bytes left over: {input:?}");
        if let Some(late) = expected.peek().filter(|next| next.told_after.is_some_and(|at| at <= to)) {
            panic!("not told by byte {to}: {late:?}");
        }
        // A vector that grows step by step takes at most twice its length.
        assert!(deframer.kept_bytes() <= 2 * (cap + 1).max(8), "{} bytes kept", deframer.kept_bytes());
        if keeps_nothing(&stream[..to], cap) {
            assert_eq!(deframer.kept_bytes(), 0, "kept for nothing at byte {to}");
        }
        from = to;
    }
    match (deframer.finish(cap), expected.next()) {
        (None, None) => {}
        (Some(Frame::Joined(line)), Some(wanted)) => assert_eq!(Some(&line[..]), wanted.line, "at the end"),
        (got, wanted) => panic!("at the end {got:?}, not {wanted:?}"),
    }
    assert!(expected.next().is_none(), "a line was never told");
    assert_eq!(deframer.finish(cap), None, "the end is told once");
    assert_eq!(deframer.kept_bytes(), 0);
}
