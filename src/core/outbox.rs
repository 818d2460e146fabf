//! Knows what one receiver is still owed: its lines in order, whose they are, and the two counts of
//! bytes that its bounds are put on (PROTOCOL.md section 4).
//! Never: what is done at a bound, or what a line means.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;

use crate::core::SessionKey;
use crate::core::blocks::{BlockKey, Blocks, Place};
use crate::wire::envelope::Outgoing;

/// How many written bytes may stay in front before what is behind them is moved down.
const COMPACT_BYTES: usize = 64 * 1024;
/// What is looked for to be written at once is about this: sockets hardly take more, and the runs of a long
/// queue may be short ones.
const GATHERED_BYTES: usize = 512 * 1024;
/// What is kept of the memory of outboxes that have been emptied: of each, and of all.
const SPARE_BYTES_EACH_MAX: usize = 1024 * 1024;
const SPARE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a line counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A topic message or a tap's copy; the first count.
    Topic,
    /// A request or a signal to this receiver; the first count.
    Direct,
    /// A peer's reply; the second count.
    Reply,
    /// What the daemon says; the second count.
    Daemon,
}

impl Class {
    fn is_answer(self) -> bool {
        matches!(self, Class::Reply | Class::Daemon)
    }
}

/// The queue of one receiver. Neighbouring lines of one sender and class are one run, so that a
/// flood is one entry and not a list of messages.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// The bytes of all runs that are no parts of blocks, one behind the other; those before `head` are
    /// written. A line that is written in part is still there from its start.
    bytes: Vec<u8>,
    head: usize,
    /// `head` after the last compaction: what has stayed in front of it is a line that is written in part.
    compacted: usize,
    runs: VecDeque<Run>,
    /// How many bytes of the first run are written.
    written: usize,
    /// Unwritten bytes of topic messages, requests and signals.
    direct: usize,
    /// Unwritten bytes of replies and of what the daemon says.
    answers: usize,
}

#[derive(Debug)]
struct Run {
    /// The session whose lines these are; none for the daemon's own.
    sender: Option<SessionKey>,
    class: Class,
    len: usize,
    /// Where its bytes are, where those are not our own.
    part: Option<Part>,
}

/// A part of a block that several outboxes share.
#[derive(Clone, Copy, Debug)]
struct Part {
    block: BlockKey,
    start: usize,
}

/// Memory of outboxes that have been emptied, for those that are filled next.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    parts: Vec<(Vec<u8>, VecDeque<Run>)>,
    bytes: usize,
}

impl Spare {
    fn take(&mut self) -> Option<(Vec<u8>, VecDeque<Run>)> {
        let (bytes, runs) = self.parts.pop()?;
        self.bytes -= footprint(&bytes, &runs);
        Some((bytes, runs))
    }

    fn put(&mut self, bytes: Vec<u8>, runs: VecDeque<Run>) {
        let size = footprint(&bytes, &runs);
        if (1..=SPARE_BYTES_EACH_MAX).contains(&size) && self.bytes + size <= SPARE_BYTES_MAX {
            self.bytes += size;
            self.parts.push((bytes, runs));
        }
    }
}

fn footprint(bytes: &Vec<u8>, runs: &VecDeque<Run>) -> usize {
    bytes.capacity() + runs.capacity() * size_of::<Run>()
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The first count: unwritten bytes of topic messages, requests and signals.
    pub(crate) fn direct_bytes(&self) -> usize {
        self.direct
    }

    /// The second count: unwritten bytes of replies and of what the daemon says.
    pub(crate) fn answer_bytes(&self) -> usize {
        self.answers
    }

    /// Both counts together.
    pub(crate) fn queue_bytes(&self) -> usize {
        self.direct + self.answers
    }

    /// The memory that this outbox holds for itself, without blocks.
    pub(crate) fn footprint(&self) -> usize {
        footprint(&self.bytes, &self.runs)
    }

    /// Gets memory for what is pushed next, where it has none and there is some.
    pub(crate) fn borrow(&mut self, spare: &mut Spare) {
        if self.bytes.capacity() == 0
            && self.runs.capacity() == 0
            && let Some((bytes, runs)) = spare.take()
        {
            (self.bytes, self.runs) = (bytes, runs);
        }
    }

    /// Gives its memory up where nothing is queued, so that idle connections hold none.
    pub(crate) fn give_back(&mut self, spare: &mut Spare) {
        if self.runs.is_empty() {
            spare.put(std::mem::take(&mut self.bytes), std::mem::take(&mut self.runs));
        }
    }

    /// Appends a peer's line.
    pub(crate) fn push(&mut self, sender: SessionKey, class: Class, line: &Outgoing<'_>) {
        self.append(Some(sender), class, |bytes| line.write_to(bytes));
    }

    /// Appends a peer's line that is put together already, with its LF.
    pub(crate) fn push_copy(&mut self, sender: SessionKey, class: Class, line: &[u8]) {
        self.append(Some(sender), class, |bytes| bytes.extend_from_slice(line));
    }

    /// Appends a peer's line that other outboxes share.
    pub(crate) fn push_shared(
        &mut self,
        sender: SessionKey,
        class: Class,
        place: Place,
        blocks: &mut Blocks,
    ) {
        let Place { block, start, len } = place;
        let sender = Some(sender);
        let goes_on = |run: &Run| {
            let is_next = |part: &Part| part.block == block && part.start + run.len == start;
            run.sender == sender && run.class == class && run.part.as_ref().is_some_and(is_next)
        };
        match self.runs.back_mut() {
            Some(run) if goes_on(run) => run.len += len,
            _ => {
                blocks.hold(block);
                self.runs.push_back(Run { sender, class, len, part: Some(Part { block, start }) });
            }
        }
        self.count(class, len);
    }

    /// Appends a line of the daemon's own, which `write` writes with its LF.
    pub(crate) fn push_own(&mut self, class: Class, write: impl FnOnce(&mut Vec<u8>)) {
        self.append(None, class, write);
    }

    fn append(&mut self, sender: Option<SessionKey>, class: Class, write: impl FnOnce(&mut Vec<u8>)) {
        if self.head > self.compacted + COMPACT_BYTES && self.head > self.bytes.len() / 2 {
            self.compact();
        }
        let before = self.bytes.len();
        write(&mut self.bytes);
        let len = self.bytes.len() - before;
        match self.runs.back_mut() {
            Some(run) if run.sender == sender && run.class == class && run.part.is_none() => run.len += len,
            _ => self.runs.push_back(Run { sender, class, len, part: None }),
        }
        self.count(class, len);
    }

    fn count(&mut self, class: Class, len: usize) {
        match class.is_answer() {
            true => self.answers += len,
            false => self.direct += len,
        }
    }

    /// Forgets what is written, but for the beginning of a line that is written in part: should
    /// the receiver go, its sender is told of that line.
    fn compact(&mut self) {
        let mut keep = self.head;
        if let Some(front) = self.runs.front_mut().filter(|run| run.part.is_none()) {
            let run_start = self.head - self.written;
            // The last time there was none in front of `compacted`, and a line may be long.
            let from = run_start.max(self.compacted);
            keep = match line_start(&self.bytes[from..self.head]) {
                0 => run_start,
                begun => from + begun,
            };
            let forgotten = keep - run_start;
            front.len -= forgotten;
            self.written -= forgotten;
        }
        self.bytes.drain(..keep);
        self.head -= keep;
        self.compacted = self.head;
    }

    /// Puts what is to be written next into `slices` and says how many it filled.
    pub(crate) fn transmit<'a>(&'a self, blocks: &'a Blocks, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        // Says whether there is room for more.
        let mut put = |(block, range): (Option<BlockKey>, Range<usize>)| {
            if !range.is_empty() {
                let bytes = block.map_or(&self.bytes[..], |block| blocks.bytes_of(block));
                slices[filled] = IoSlice::new(&bytes[range]);
                filled += 1;
            }
            filled < slices.len()
        };
        let mut own = self.head;
        let mut written = self.written;
        let mut gathered = 0;
        // Neighbouring runs whose bytes are neighbours too are one slice.
        let mut slice = (None, own..own);
        for run in &self.runs {
            let len = run.len - written;
            let (block, start) = match run.part {
                Some(part) => (Some(part.block), part.start + written),
                None => (None, own),
            };
            written = 0;
            gathered += len;
            if block.is_none() {
                own += len;
            }
            if slice.0 == block && slice.1.end == start {
                slice.1.end += len;
            } else if !put(std::mem::replace(&mut slice, (block, start..start + len))) {
                return filled;
            }
            if gathered >= GATHERED_BYTES {
                break;
            }
        }
        put(slice);
        filled
    }

    /// Takes note that `count` bytes of what [`Outbox::transmit`] gave are written.
    pub(crate) fn wrote(&mut self, mut count: usize, blocks: &mut Blocks) {
        while let Some(front) = self.runs.front() {
            let step = count.min(front.len - self.written);
            let (ends, class) = (step == front.len - self.written, front.class);
            if front.part.is_none() {
                self.head += step;
            }
            match class.is_answer() {
                true => self.answers -= step,
                false => self.direct -= step,
            }
            self.written += step;
            count -= step;
            if !ends {
                break;
            }
            self.written = 0;
            release(self.runs.pop_front(), blocks);
        }
        debug_assert_eq!(count, 0, "no more is written than was given out");
        if self.runs.is_empty() {
            self.bytes.clear();
            (self.head, self.compacted) = (0, 0);
        }
    }

    /// Empties the queue. `lost` is told of each line (without its LF) that was not written whole:
    /// its sender (none for the daemon), its class, and the line.
    pub(crate) fn give_up(
        &mut self,
        blocks: &mut Blocks,
        mut lost: impl FnMut(Option<SessionKey>, Class, &[u8]),
    ) {
        let mut written = std::mem::take(&mut self.written);
        let mut own = self.head;
        if self.runs.front().is_some_and(|run| run.part.is_none()) {
            own -= written;
        }
        while let Some(run) = self.runs.pop_front() {
            let bytes = match run.part {
                Some(Part { block, start }) => &blocks.bytes_of(block)[start..start + run.len],
                None => {
                    own += run.len;
                    &self.bytes[own - run.len..own]
                }
            };
            let from = line_start(&bytes[..std::mem::take(&mut written)]);
            for line in bytes[from..].split_inclusive(|&byte| byte == b'\n') {
                lost(run.sender, run.class, line.strip_suffix(b"\n").unwrap_or(line));
            }
            release(Some(run), blocks);
        }
        *self = Outbox::default();
    }
}

/// Where the line begins that comes behind `written` bytes, or has begun in them.
fn line_start(written: &[u8]) -> usize {
    memchr::memrchr(b'\n', written).map_or(0, |at| at + 1)
}

fn release(run: Option<Run>, blocks: &mut Blocks) {
    if let Some(part) = run.and_then(|run| run.part) {
        blocks.release(part.block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::envelope::Envelope;
    use slotmap::SlotMap;

    fn keys() -> (SessionKey, SessionKey) {
        let mut sessions: SlotMap<SessionKey, ()> = SlotMap::with_key();
        (sessions.insert(()), sessions.insert(()))
    }

    fn waiting(outbox: &Outbox, blocks: &Blocks) -> Vec<String> {
        let mut slices = [IoSlice::new(b""); 8];
        let filled = outbox.transmit(blocks, &mut slices);
        slices[..filled].iter().map(|slice| String::from_utf8_lossy(slice).into_owned()).collect()
    }

    fn put(outbox: &mut Outbox, sender: SessionKey, class: Class, line: &str) {
        let line = format!("{line}\n");
        outbox.append(Some(sender), class, |bytes| bytes.extend_from_slice(line.as_bytes()));
    }

    fn lost(outbox: &mut Outbox, blocks: &mut Blocks) -> Vec<(Option<SessionKey>, String)> {
        let mut all = Vec::new();
        outbox.give_up(blocks, |sender, _, line| {
            all.push((sender, String::from_utf8_lossy(line).into_owned()));
        });
        assert_eq!((outbox.direct, outbox.answers), (0, 0));
        all
    }

    #[test]
    fn counts_and_order() {
        let (a, b) = keys();
        let (mut outbox, mut blocks) = (Outbox::default(), Blocks::default());
        put(&mut outbox, a, Class::Direct, "1");
        put(&mut outbox, a, Class::Direct, "22");
        put(&mut outbox, b, Class::Reply, "333");
        outbox.push_own(Class::Daemon, |bytes| bytes.extend_from_slice(b"4444\n"));
        assert_eq!(outbox.runs.len(), 3);
        assert_eq!((outbox.direct_bytes(), outbox.answer_bytes()), (5, 9));
        assert_eq!(waiting(&outbox, &blocks), ["1\n22\n333\n4444\n"]);
        outbox.wrote(3, &mut blocks);
        assert_eq!((outbox.direct_bytes(), outbox.answer_bytes()), (2, 9));
        assert_eq!(waiting(&outbox, &blocks), ["2\n333\n4444\n"]);
        outbox.wrote(11, &mut blocks);
        assert!(outbox.is_empty());
        let (mut spare, held) = (Spare::default(), outbox.footprint());
        outbox.give_back(&mut spare);
        assert_eq!((outbox.footprint(), spare.bytes), (0, held));
        outbox.borrow(&mut spare);
        assert_eq!((outbox.footprint(), spare.bytes), (held, 0));
    }

    #[test]
    fn a_line_in_part_is_lost_whole() {
        let (a, b) = keys();
        for written in 0..=9 {
            let (mut outbox, mut blocks) = (Outbox::default(), Blocks::default());
            put(&mut outbox, a, Class::Direct, "11");
            put(&mut outbox, a, Class::Direct, "22");
            put(&mut outbox, b, Class::Direct, "33");
            outbox.wrote(written, &mut blocks);
            let lines = [(Some(a), "11".to_owned()), (Some(a), "22".into()), (Some(b), "33".into())];
            assert_eq!(lost(&mut outbox, &mut blocks), lines[written / 3..], "{written}");
        }
    }

    const LINE: &str = r#"{"message_type":"signal"}"#;

    /// Puts a line into all of `outboxes`, which share it.
    fn share(outboxes: &mut [Outbox], blocks: &mut Blocks, sender: SessionKey, with_sender: bool) {
        let envelope = Envelope::scan(LINE.as_bytes()).expect("valid");
        let place = blocks.append(&envelope.outgoing(), with_sender);
        for outbox in outboxes {
            outbox.push_shared(sender, Class::Topic, place, blocks);
        }
    }

    #[test]
    fn shared_lines_stand_in_their_place() {
        let (a, b) = keys();
        let mut blocks = Blocks::default();
        let mut outboxes = [Outbox::default(), Outbox::default()];
        assert!(!blocks.begin_line(&[a, b], 1000));
        put(&mut outboxes[0], a, Class::Topic, "1");
        share(&mut outboxes, &mut blocks, a, false);
        assert!(!blocks.begin_line(&[a, b], 3000));
        assert!(blocks.begin_line(&[a, b], 100));
        share(&mut outboxes, &mut blocks, a, false);
        share(&mut outboxes, &mut blocks, b, false);
        put(&mut outboxes[0], a, Class::Topic, "2");
        share(&mut outboxes, &mut blocks, b, false);
        share(&mut outboxes, &mut blocks, b, true);
        let all = |lines: usize| format!("{LINE}\n").repeat(lines);
        assert_eq!(waiting(&outboxes[0], &blocks), ["1\n", &all(3), "2\n", &all(1), &all(1)]);
        assert_eq!(waiting(&outboxes[1], &blocks), [all(4), all(1)]);
        assert_eq!(outboxes.each_ref().map(|outbox| outbox.runs.len()), [6, 3]);
        assert_eq!(outboxes[0].direct_bytes(), all(5).len() + 4);
        // Other receivers have blocks of their own.
        assert!(!blocks.begin_line(&[a], 4000));
        share(&mut outboxes[1..], &mut blocks, a, false);
        assert_eq!(waiting(&outboxes[1], &blocks), [all(4), all(1), all(1)]);

        // The first line is written, and a part of the second.
        outboxes[0].wrote(2 + LINE.len() + 4, &mut blocks);
        let rest = &all(2)[3..];
        assert_eq!(waiting(&outboxes[0], &blocks), [rest, "2\n", &all(1), &all(1)]);
        let is_lost: Vec<_> = lost(&mut outboxes[0], &mut blocks).into_iter().map(|(_, line)| line).collect();
        assert_eq!(is_lost, [LINE, LINE, "2", LINE, LINE]);
        assert!(blocks.kept_bytes() > 0);
        outboxes[1].wrote(all(6).len(), &mut blocks);
        assert_eq!(blocks.kept_bytes(), 0);
        // Where nobody holds the last block any more, there is a new one.
        share(&mut outboxes, &mut blocks, a, false);
        assert_eq!(waiting(&outboxes[0], &blocks), [all(1)]);
    }

    #[test]
    fn a_block_that_is_full_is_followed_by_another() {
        let (a, b) = keys();
        let mut blocks = Blocks::default();
        let mut outboxes = [Outbox::default(), Outbox::default()];
        blocks.begin_line(&[a, b], 0);
        let (line, count) = (format!("{LINE}\n"), 10_000);
        for _ in 0..count {
            share(&mut outboxes, &mut blocks, a, false);
        }
        let slices = waiting(&outboxes[0], &blocks);
        assert_eq!(slices.len(), (count * line.len()).div_ceil(64 * 1024));
        assert!(slices.iter().all(|slice| slice.len() <= 64 * 1024));
        assert_eq!(slices.concat(), line.repeat(count));
        // Who has read frees nothing of it; whoever reads more slowly keeps only what he has not read.
        let kept = blocks.kept_bytes();
        outboxes[0].wrote(count * line.len(), &mut blocks);
        assert_eq!(blocks.kept_bytes(), kept);
        outboxes[1].wrote(slices[0].len() - 1, &mut blocks);
        assert_eq!(blocks.kept_bytes(), kept);
        outboxes[1].wrote(1, &mut blocks);
        assert!((kept - blocks.kept_bytes()).abs_diff(64 * 1024) < 1024);
        outboxes[1].wrote((count * line.len()) - slices[0].len(), &mut blocks);
        assert_eq!(blocks.kept_bytes(), 0);
    }

    #[test]
    fn no_more_is_given_out_than_there_are_slices() {
        let (a, _) = keys();
        let (mut outboxes, mut blocks) = ([Outbox::default()], Blocks::default());
        for _ in 0..5 {
            put(&mut outboxes[0], a, Class::Topic, "own");
            share(&mut outboxes, &mut blocks, a, false);
        }
        let shared = format!("{LINE}\n");
        assert_eq!(waiting(&outboxes[0], &blocks), ["own\n", &shared].repeat(4));
        outboxes[0].wrote(4 * (4 + shared.len()), &mut blocks);
        assert_eq!(waiting(&outboxes[0], &blocks), ["own\n", &shared]);
    }

    #[test]
    fn what_a_socket_will_hardly_take_is_not_looked_for() {
        let (a, b) = keys();
        let (mut outbox, mut blocks) = (Outbox::default(), Blocks::default());
        let line = "x".repeat(999);
        for nth in 0..2000 {
            put(&mut outbox, if nth % 2 == 0 { a } else { b }, Class::Direct, &line);
        }
        let gathered = |outbox: &Outbox, blocks: &Blocks| waiting(outbox, blocks).concat().len();
        assert_eq!(gathered(&outbox, &blocks), GATHERED_BYTES.next_multiple_of(1000));
        outbox.wrote(1_999_000, &mut blocks);
        assert_eq!(gathered(&outbox, &blocks), 1000);
    }

    #[test]
    fn a_long_line_in_part_is_looked_at_once() {
        let (a, _) = keys();
        let (mut outbox, mut blocks) = (Outbox::default(), Blocks::default());
        let (line, short) = ("x".repeat(10 * COMPACT_BYTES), "y".repeat(99));
        put(&mut outbox, a, Class::Direct, &short);
        put(&mut outbox, a, Class::Direct, &line);
        outbox.wrote(100 + 9 * COMPACT_BYTES, &mut blocks);
        put(&mut outbox, a, Class::Direct, &short);
        assert_eq!((outbox.head, outbox.compacted), (9 * COMPACT_BYTES, 9 * COMPACT_BYTES));
        // There is nothing to be won by the next ones, which do not even try.
        outbox.compacted -= 1;
        for _ in 0..10 {
            put(&mut outbox, a, Class::Direct, &short);
        }
        assert_eq!(outbox.compacted, 9 * COMPACT_BYTES - 1);
        outbox.wrote(COMPACT_BYTES + 1, &mut blocks);
        put(&mut outbox, a, Class::Direct, &short);
        assert_eq!(waiting(&outbox, &blocks), [format!("{short}\n").repeat(12)]);
        assert_eq!((outbox.head, outbox.bytes.len()), (0, 1200));
        assert_eq!(lost(&mut outbox, &mut blocks).len(), 12);
    }

    #[test]
    fn what_is_written_is_forgotten_but_for_the_line_in_part() {
        let (a, _) = keys();
        let (mut outbox, mut blocks) = (Outbox::default(), Blocks::default());
        let line = "x".repeat(999);
        for _ in 0..200 {
            put(&mut outbox, a, Class::Direct, &line);
        }
        outbox.wrote(150_500, &mut blocks);
        put(&mut outbox, a, Class::Direct, "last");
        assert!(outbox.bytes.len() < 52_000);
        assert_eq!(outbox.direct_bytes(), 49_505);
        assert_eq!(waiting(&outbox, &blocks).concat().len(), 49_505);
        let lines = lost(&mut outbox, &mut blocks);
        assert_eq!(lines.len(), 51);
        assert!(lines[..50].iter().all(|(_, text)| *text == line));
    }
}
