//! Knows what one receiver is still owed: its lines in order, whose they are, and the two counts of
//! bytes that its bounds are put on (PROTOCOL.md section 4).
//! Never: what is done at a bound, or what a line means.

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::ops::Range;

use crate::core::SessionKey;
use crate::core::blocks::{BlockKey, Blocks, Place};
use crate::core::tuning::Tuning;
use crate::wire::envelope::Outgoing;

/// Whose a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// The daemon's own.
    Daemon,
    /// This connection's.
    Peer(SessionKey),
}

impl Origin {
    /// The connection whose it is.
    pub(crate) fn peer(self) -> Option<SessionKey> {
        match self {
            Origin::Daemon => None,
            Origin::Peer(session) => Some(session),
        }
    }
}

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
    /// Whether it is in the second count.
    pub(crate) fn is_answer(self) -> bool {
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
    origin: Origin,
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

    fn put(&mut self, bytes: Vec<u8>, runs: VecDeque<Run>, each_max: usize, all_max: usize) {
        let size = footprint(&bytes, &runs);
        if (1..=each_max).contains(&size) && self.bytes + size <= all_max {
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

    /// Gets memory for what is pushed next, if it has none and there is some.
    pub(crate) fn borrow(&mut self, spare: &mut Spare) {
        if self.bytes.capacity() == 0
            && self.runs.capacity() == 0
            && let Some((bytes, runs)) = spare.take()
        {
            (self.bytes, self.runs) = (bytes, runs);
        }
    }

    /// Gives its memory up if nothing is queued, so that idle connections hold none. Of one outbox at most
    /// `each_max` bytes are kept for others, of all at most `all_max`.
    pub(crate) fn give_back(&mut self, spare: &mut Spare, each_max: usize, all_max: usize) {
        if self.runs.is_empty() {
            spare.put(std::mem::take(&mut self.bytes), std::mem::take(&mut self.runs), each_max, all_max);
        }
    }

    /// Appends a line.
    pub(crate) fn push(&mut self, origin: Origin, class: Class, line: &Outgoing<'_>, tuning: &Tuning) {
        self.append(origin, class, tuning, |bytes| line.write_to(bytes));
    }

    /// Appends a line that is put together already, with its LF.
    pub(crate) fn push_copy(&mut self, origin: Origin, class: Class, line: &[u8], tuning: &Tuning) {
        self.append(origin, class, tuning, |bytes| bytes.extend_from_slice(line));
    }

    /// Appends a line that other outboxes share.
    pub(crate) fn push_shared(&mut self, origin: Origin, class: Class, place: Place, blocks: &mut Blocks) {
        let Place { block, start, len } = place;
        let goes_on = |run: &Run| {
            let is_next = |part: &Part| part.block == block && part.start + run.len == start;
            run.origin == origin && run.class == class && run.part.as_ref().is_some_and(is_next)
        };
        match self.runs.back_mut() {
            Some(run) if goes_on(run) => run.len += len,
            _ => {
                blocks.hold(block);
                self.runs.push_back(Run { origin, class, len, part: Some(Part { block, start }) });
            }
        }
        self.count(class, len);
    }

    /// Appends a line that `write` writes, without its LF.
    pub(crate) fn push_written(
        &mut self,
        origin: Origin,
        class: Class,
        tuning: &Tuning,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.append(origin, class, tuning, |bytes| {
            write(bytes);
            bytes.push(b'\n');
        });
    }

    fn append(&mut self, origin: Origin, class: Class, tuning: &Tuning, write: impl FnOnce(&mut Vec<u8>)) {
        if self.head > self.compacted + tuning.compact_bytes && self.head > self.bytes.len() / 2 {
            self.compact();
        }
        let before = self.bytes.len();
        write(&mut self.bytes);
        let len = self.bytes.len() - before;
        match self.runs.back_mut() {
            Some(run) if run.origin == origin && run.class == class && run.part.is_none() => run.len += len,
            _ => self.runs.push_back(Run { origin, class, len, part: None }),
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
    /// At about `most` bytes it stops.
    pub(crate) fn transmit<'a>(
        &'a self,
        blocks: &'a Blocks,
        slices: &mut [IoSlice<'a>],
        most: usize,
    ) -> usize {
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
            if gathered >= most {
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

    /// Takes a line that is written in part for not written at all: its receiver is gone, so that it counts
    /// as lost whole.
    pub(crate) fn rewind(&mut self, blocks: &Blocks) {
        let Some(front) = self.runs.front() else { return };
        let bytes =
            self.bytes_of(front, self.head - if front.part.is_none() { self.written } else { 0 }, blocks);
        let again = self.written - line_start(&bytes[..self.written]);
        let (class, is_own) = (front.class, front.part.is_none());
        self.written -= again;
        if is_own {
            self.head -= again;
        }
        self.count(class, again);
    }

    /// Takes up to `most` lines from the front; `lost` is told of each (without its LF): whose it is, its
    /// class, and the line. Says how many there were. The queue has been rewound before.
    pub(crate) fn take_lines(
        &mut self,
        blocks: &mut Blocks,
        most: usize,
        mut lost: impl FnMut(Origin, Class, &[u8]),
    ) -> usize {
        let mut lines = 0;
        while lines < most
            && let Some(front) = self.runs.front()
        {
            let start = self.head - if front.part.is_none() { self.written } else { 0 };
            let bytes = &self.bytes_of(front, start, blocks)[self.written..];
            let mut taken = 0;
            for line in bytes.split_inclusive(|&byte| byte == b'\n').take(most - lines) {
                lost(front.origin, front.class, line.strip_suffix(b"\n").unwrap_or(line));
                taken += line.len();
                lines += 1;
            }
            self.wrote(taken, blocks);
        }
        lines
    }

    /// All bytes of a run; `start` is where its own ones begin.
    fn bytes_of<'a>(&'a self, run: &Run, start: usize, blocks: &'a Blocks) -> &'a [u8] {
        match run.part {
            Some(Part { block, start }) => &blocks.bytes_of(block)[start..start + run.len],
            None => &self.bytes[start..start + run.len],
        }
    }

    /// Counts the runs that are made of each block.
    pub(crate) fn count_holders(&self, holders: &mut HashMap<BlockKey, usize>) {
        for part in self.runs.iter().filter_map(|run| run.part) {
            *holders.entry(part.block).or_default() += 1;
        }
    }

    /// Panics if the two counts are not those of the runs.
    pub(crate) fn check(&self) {
        let bytes_of = |is_answer| -> usize {
            self.runs.iter().filter(|run| run.class.is_answer() == is_answer).map(|run| run.len).sum()
        };
        let (direct, answers) = (bytes_of(false), bytes_of(true));
        let written =
            self.runs.front().map_or(0, |front| if front.class.is_answer() { 0 } else { self.written });
        let answered = self.written - written;
        assert_eq!((self.direct, self.answers), (direct - written, answers - answered), "counts of a queue");
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

    const COMPACT_BYTES: usize = 64 * 1024;
    const GATHERED_BYTES: usize = 512 * 1024;
    use crate::wire::envelope::Envelope;
    use slotmap::SlotMap;

    fn keys() -> (SessionKey, SessionKey) {
        let mut sessions: SlotMap<SessionKey, ()> = SlotMap::with_key();
        (sessions.insert(()), sessions.insert(()))
    }

    fn waiting(outbox: &Outbox, blocks: &Blocks) -> Vec<String> {
        let mut slices = [IoSlice::new(b""); 8];
        let filled = outbox.transmit(blocks, &mut slices, 512 * 1024);
        slices[..filled].iter().map(|slice| String::from_utf8_lossy(slice).into_owned()).collect()
    }

    fn put(outbox: &mut Outbox, sender: SessionKey, class: Class, line: &str) {
        let line = format!("{line}\n");
        outbox.append(Origin::Peer(sender), class, &Tuning::default(), |bytes| {
            bytes.extend_from_slice(line.as_bytes())
        });
    }

    fn lost(outbox: &mut Outbox, blocks: &mut Blocks) -> Vec<(Option<SessionKey>, String)> {
        let mut all = Vec::new();
        outbox.rewind(blocks);
        // A line at a time, as little as one step may do.
        while outbox.take_lines(blocks, 1, |origin, _, line| {
            all.push((origin.peer(), String::from_utf8_lossy(line).into_owned()));
        }) > 0
        {
            outbox.check();
        }
        assert_eq!((outbox.direct, outbox.answers), (0, 0));
        all
    }

    #[test]
    fn counts_and_order() {
        let (a, b) = keys();
        let (mut outbox, mut blocks) = (Outbox::default(), Blocks::new(Tuning::default()));
        put(&mut outbox, a, Class::Direct, "1");
        put(&mut outbox, a, Class::Direct, "22");
        put(&mut outbox, b, Class::Reply, "333");
        outbox.push_written(Origin::Daemon, Class::Daemon, &Tuning::default(), |bytes| {
            bytes.extend_from_slice(b"4444")
        });
        assert_eq!(outbox.runs.len(), 3);
        assert_eq!((outbox.direct_bytes(), outbox.answer_bytes()), (5, 9));
        assert_eq!(waiting(&outbox, &blocks), ["1\n22\n333\n4444\n"]);
        outbox.wrote(3, &mut blocks);
        assert_eq!((outbox.direct_bytes(), outbox.answer_bytes()), (2, 9));
        assert_eq!(waiting(&outbox, &blocks), ["2\n333\n4444\n"]);
        outbox.wrote(11, &mut blocks);
        assert!(outbox.is_empty());
        let (mut spare, held) = (Spare::default(), outbox.footprint());
        outbox.give_back(&mut spare, 1 << 20, 1 << 20);
        assert_eq!((outbox.footprint(), spare.bytes), (0, held));
        outbox.borrow(&mut spare);
        assert_eq!((outbox.footprint(), spare.bytes), (held, 0));
    }

    #[test]
    fn a_line_in_part_is_lost_whole() {
        let (a, b) = keys();
        for written in 0..=9 {
            let (mut outbox, mut blocks) = (Outbox::default(), Blocks::new(Tuning::default()));
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
            outbox.push_shared(Origin::Peer(sender), Class::Topic, place, blocks);
        }
    }

    #[test]
    fn shared_lines_stand_in_their_place() {
        let (a, b) = keys();
        let mut blocks = Blocks::new(Tuning::default());
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
        // If none holds the last block any more, there is a new one.
        share(&mut outboxes, &mut blocks, a, false);
        assert_eq!(waiting(&outboxes[0], &blocks), [all(1)]);
    }

    #[test]
    fn a_block_that_is_full_is_followed_by_another() {
        let (a, b) = keys();
        let mut blocks = Blocks::new(Tuning::default());
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
        // A receiver that has read frees nothing of it; a slower one keeps only what it has not read.
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
        let (mut outboxes, mut blocks) = ([Outbox::default()], Blocks::new(Tuning::default()));
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
        let (mut outbox, mut blocks) = (Outbox::default(), Blocks::new(Tuning::default()));
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
        let (mut outbox, mut blocks) = (Outbox::default(), Blocks::new(Tuning::default()));
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
        let (mut outbox, mut blocks) = (Outbox::default(), Blocks::new(Tuning::default()));
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
