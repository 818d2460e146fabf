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
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
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
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
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

/// What is kept of a line beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Label {
    pub(crate) origin: Origin,
    pub(crate) class: Class,
    /// When it was queued, in milliseconds of a clock that begins anew every 49 days.
    pub(crate) at: u32,
}

/// Lines that were queued within so many milliseconds may be one run: so well the age of the oldest is known.
const RUN_MS_MAX: u32 = 100;

impl Label {
    /// Whether a line with this label may be in one run with those before it, which have the label `before`.
    #[inline]
    fn goes_on(self, before: Label) -> bool {
        self.origin == before.origin
            && self.class == before.class
            && self.at.wrapping_sub(before.at) < RUN_MS_MAX
    }
}

/// The queue of one receiver. Neighbouring lines of one sender and class are one run, so that a
/// flood is one entry and not a list of messages.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Outbox {
    /// The bytes of all runs that are no parts of blocks, one behind the other; those before `head` are
    /// written. A line that is written in part is still there from its start.
    #[cfg_attr(feature = "daemon", serde(with = "serde_bytes"))]
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
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
struct Run {
    /// Of its first line.
    label: Label,
    len: usize,
    /// Where its bytes are, where those are not our own.
    part: Option<Part>,
}

/// A part of a block that several outboxes share.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
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

    /// When the oldest of its lines was queued, about; none if it is empty.
    pub(crate) fn oldest_at(&self) -> Option<u32> {
        self.runs.front().map(|run| run.label.at)
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
    pub(crate) fn push(&mut self, label: Label, line: &Outgoing<'_>, tuning: &Tuning) {
        self.append(label, tuning, |bytes| line.write_to(bytes));
    }

    /// Appends a line that is put together already, with its LF.
    pub(crate) fn push_copy(&mut self, label: Label, line: &[u8], tuning: &Tuning) {
        self.append(label, tuning, |bytes| bytes.extend_from_slice(line));
    }

    /// Appends a line that other outboxes share.
    pub(crate) fn push_shared(&mut self, label: Label, place: Place, blocks: &mut Blocks) {
        let Place { block, start, len } = place;
        let goes_on = |run: &Run| {
            let is_next = |part: &Part| part.block == block && part.start + run.len == start;
            label.goes_on(run.label) && run.part.as_ref().is_some_and(is_next)
        };
        match self.runs.back_mut() {
            Some(run) if goes_on(run) => run.len += len,
            _ => {
                blocks.hold(block);
                self.runs.push_back(Run { label, len, part: Some(Part { block, start }) });
            }
        }
        self.count(label.class, len);
    }

    /// Appends a line that `write` writes, without its LF.
    pub(crate) fn push_written(&mut self, label: Label, tuning: &Tuning, write: impl FnOnce(&mut Vec<u8>)) {
        self.append(label, tuning, |bytes| {
            write(bytes);
            bytes.push(b'\n');
        });
    }

    fn append(&mut self, label: Label, tuning: &Tuning, write: impl FnOnce(&mut Vec<u8>)) {
        if self.head > self.compacted + tuning.compact_bytes && self.head > self.bytes.len() / 2 {
            self.compact();
        }
        let before = self.bytes.len();
        write(&mut self.bytes);
        let len = self.bytes.len() - before;
        match self.runs.back_mut() {
            Some(run) if run.part.is_none() && label.goes_on(run.label) => run.len += len,
            _ => self.runs.push_back(Run { label, len, part: None }),
        }
        self.count(label.class, len);
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
            let (ends, class) = (step == front.len - self.written, front.label.class);
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
        let (class, is_own) = (front.label.class, front.part.is_none());
        self.written -= again;
        if is_own {
            self.head -= again;
        }
        self.count(class, again);
    }

    /// Takes lines from the front until that has cost `most` units of effort; `lost` is told of each (without its
    /// LF): whose it is, its class, and the line, and gives what that costs. Says how many there were, and what they
    /// cost. The queue has been rewound before.
    pub(crate) fn take_lines(
        &mut self,
        blocks: &mut Blocks,
        most: usize,
        mut lost: impl FnMut(Origin, Class, &[u8]) -> usize,
    ) -> (usize, usize) {
        let (mut lines, mut effort) = (0, 0);
        while effort < most
            && let Some(front) = self.runs.front()
        {
            let start = self.head - if front.part.is_none() { self.written } else { 0 };
            let bytes = &self.bytes_of(front, start, blocks)[self.written..];
            let mut taken = 0;
            for line in bytes.split_inclusive(|&byte| byte == b'\n') {
                effort +=
                    lost(front.label.origin, front.label.class, line.strip_suffix(b"\n").unwrap_or(line));
                taken += line.len();
                lines += 1;
                if effort >= most {
                    break;
                }
            }
            self.wrote(taken, blocks);
        }
        (lines, effort)
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
            self.runs.iter().filter(|run| run.label.class.is_answer() == is_answer).map(|run| run.len).sum()
        };
        let (direct, answers) = (bytes_of(false), bytes_of(true));
        let written =
            self.runs.front().map_or(0, |front| if front.label.class.is_answer() { 0 } else { self.written });
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
mod tests;
