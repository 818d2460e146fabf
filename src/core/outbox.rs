//! Knows what one receiver is still owed: its lines in order, whose they are, and the two counts of
//! bytes that its bounds are put on (PROTOCOL.md section 4).
//! Never: what is done at a bound, or what a line means.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;

use crate::core::SessionKey;
use crate::wire::envelope::Outgoing;

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
    /// The bytes of all runs that are not shared, one behind the other; those before `head` are
    /// written. A line that is written in part is still there from its start.
    bytes: Vec<u8>,
    head: usize,
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
    /// One line that stands in several outboxes at once, in place of bytes of our own.
    shared: Option<Rc<Vec<u8>>>,
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

    /// The memory that this outbox holds for itself, without shared lines.
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
    pub(crate) fn push(&mut self, sender: SessionKey, class: Class, line: &Outgoing<'_>) -> usize {
        self.append(Some(sender), class, |bytes| line.write_to(bytes))
    }

    /// Appends a peer's line that is put together already, with its LF.
    pub(crate) fn push_copy(&mut self, sender: SessionKey, class: Class, line: &[u8]) -> usize {
        self.append(Some(sender), class, |bytes| bytes.extend_from_slice(line))
    }

    /// Appends a peer's line (with its LF) that other outboxes hold too.
    pub(crate) fn push_shared(&mut self, sender: SessionKey, class: Class, line: Rc<Vec<u8>>) -> usize {
        let len = line.len();
        self.runs.push_back(Run { sender: Some(sender), class, len, shared: Some(line) });
        self.count(class, len);
        len
    }

    /// Appends a line of the daemon's own, which `write` writes with its LF.
    pub(crate) fn push_own(&mut self, class: Class, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        self.append(None, class, write)
    }

    fn append(
        &mut self,
        sender: Option<SessionKey>,
        class: Class,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> usize {
        if self.head > COMPACT_BYTES && self.head > self.bytes.len() / 2 {
            self.compact();
        }
        let before = self.bytes.len();
        write(&mut self.bytes);
        let len = self.bytes.len() - before;
        match self.runs.back_mut() {
            Some(run) if run.sender == sender && run.class == class && run.shared.is_none() => run.len += len,
            _ => self.runs.push_back(Run { sender, class, len, shared: None }),
        }
        self.count(class, len);
        len
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
        let keep = self.line_start();
        if let Some(front) = self.runs.front_mut().filter(|run| run.shared.is_none()) {
            let forgotten = keep - (self.head - self.written);
            front.len -= forgotten;
            self.written -= forgotten;
        }
        self.bytes.drain(..keep);
        self.head -= keep;
    }

    /// Where in `bytes` the line begins that is to be written on.
    fn line_start(&self) -> usize {
        match self.runs.front() {
            Some(front) if front.shared.is_none() => {
                let run_start = self.head - self.written;
                let done = &self.bytes[run_start..self.head];
                run_start + memchr::memrchr(b'\n', done).map_or(0, |at| at + 1)
            }
            _ => self.head,
        }
    }

    /// Puts what is to be written next into `slices` and says how many it filled.
    pub(crate) fn transmit<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        // Neighbouring runs of our own bytes are one slice.
        let (mut start, mut end) = (self.head, self.head);
        let mut skip = self.written;
        for run in &self.runs {
            let Some(shared) = &run.shared else {
                end += run.len - std::mem::take(&mut skip);
                continue;
            };
            for slice in [&self.bytes[start..end], &shared[std::mem::take(&mut skip)..]] {
                if !slice.is_empty() {
                    if filled == slices.len() {
                        return filled;
                    }
                    slices[filled] = IoSlice::new(slice);
                    filled += 1;
                }
            }
            start = end;
        }
        if start < end && filled < slices.len() {
            slices[filled] = IoSlice::new(&self.bytes[start..end]);
            filled += 1;
        }
        filled
    }

    /// Takes note that `count` bytes of what [`Outbox::transmit`] gave are written. Lines that this
    /// was the last holder of are handed to `freed`.
    pub(crate) fn wrote(&mut self, mut count: usize, mut freed: impl FnMut(usize)) {
        while let Some(front) = self.runs.front() {
            let step = count.min(front.len - self.written);
            let (ends, class) = (step == front.len - self.written, front.class);
            if front.shared.is_none() {
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
            free(self.runs.pop_front(), &mut freed);
        }
        debug_assert_eq!(count, 0, "no more is written than was given out");
        if self.runs.is_empty() {
            self.bytes.clear();
            self.head = 0;
        }
    }

    /// Empties the queue. `lost` is told of each line (without its LF) that was not written whole:
    /// its sender (none for the daemon), its class, and the line.
    pub(crate) fn give_up(
        &mut self,
        mut lost: impl FnMut(Option<SessionKey>, Class, &[u8]),
        mut freed: impl FnMut(usize),
    ) {
        let mut at = self.line_start();
        let mut end = self.head - if self.front_is_own() { self.written } else { 0 };
        while let Some(run) = self.runs.pop_front() {
            let bytes = match &run.shared {
                Some(shared) => &shared[..],
                None => {
                    end += run.len;
                    let bytes = &self.bytes[at..end];
                    at = end;
                    bytes
                }
            };
            for line in bytes.split_inclusive(|&byte| byte == b'\n') {
                lost(run.sender, run.class, line.strip_suffix(b"\n").unwrap_or(line));
            }
            free(Some(run), &mut freed);
        }
        *self = Outbox::default();
    }

    fn front_is_own(&self) -> bool {
        self.runs.front().is_some_and(|run| run.shared.is_none())
    }
}

/// Tells `freed` the bytes of a shared line that nobody else holds.
fn free(run: Option<Run>, freed: &mut impl FnMut(usize)) {
    if let Some(shared) = run.and_then(|run| run.shared)
        && Rc::strong_count(&shared) == 1
    {
        freed(shared.len());
    }
}

/// How many written bytes may stay in front before what is behind them is moved down.
const COMPACT_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use slotmap::SlotMap;

    fn keys() -> (SessionKey, SessionKey) {
        let mut sessions: SlotMap<SessionKey, ()> = SlotMap::with_key();
        (sessions.insert(()), sessions.insert(()))
    }

    fn waiting(outbox: &Outbox) -> String {
        let mut slices = [IoSlice::new(b""); 8];
        let filled = outbox.transmit(&mut slices);
        slices[..filled].iter().map(|slice| String::from_utf8_lossy(slice)).collect()
    }

    fn put(outbox: &mut Outbox, sender: SessionKey, class: Class, line: &str) {
        let line = format!("{line}\n");
        outbox.append(Some(sender), class, |bytes| bytes.extend_from_slice(line.as_bytes()));
    }

    fn lost(outbox: &mut Outbox) -> Vec<(Option<SessionKey>, String)> {
        let mut all = Vec::new();
        outbox.give_up(
            |sender, _, line| all.push((sender, String::from_utf8_lossy(line).into_owned())),
            |_| {},
        );
        assert_eq!((outbox.direct, outbox.answers), (0, 0));
        all
    }

    #[test]
    fn counts_and_order() {
        let (a, b) = keys();
        let mut outbox = Outbox::default();
        put(&mut outbox, a, Class::Direct, "1");
        put(&mut outbox, a, Class::Direct, "22");
        put(&mut outbox, b, Class::Reply, "333");
        outbox.push_own(Class::Daemon, |bytes| bytes.extend_from_slice(b"4444\n"));
        assert_eq!(outbox.runs.len(), 3);
        assert_eq!((outbox.direct_bytes(), outbox.answer_bytes()), (5, 9));
        assert_eq!(waiting(&outbox), "1\n22\n333\n4444\n");
        outbox.wrote(3, |_| {});
        assert_eq!((outbox.direct_bytes(), outbox.answer_bytes()), (2, 9));
        assert_eq!(waiting(&outbox), "2\n333\n4444\n");
        outbox.wrote(11, |_| {});
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
            let mut outbox = Outbox::default();
            put(&mut outbox, a, Class::Direct, "11");
            put(&mut outbox, a, Class::Direct, "22");
            put(&mut outbox, b, Class::Direct, "33");
            outbox.wrote(written, |_| {});
            let lines = [(Some(a), "11".to_owned()), (Some(a), "22".into()), (Some(b), "33".into())];
            assert_eq!(lost(&mut outbox), lines[written / 3..], "{written}");
        }
    }

    #[test]
    fn shared_lines_stand_in_their_place_and_are_freed_once() {
        let (a, _) = keys();
        let shared = Rc::new(b"shared\n".to_vec());
        let mut outboxes = [Outbox::default(), Outbox::default()];
        for outbox in &mut outboxes {
            put(outbox, a, Class::Topic, "1");
            outbox.push_shared(a, Class::Topic, shared.clone());
            put(outbox, a, Class::Topic, "2");
            assert_eq!(waiting(outbox), "1\nshared\n2\n");
            assert_eq!(outbox.direct_bytes(), 11);
        }
        drop(shared);
        let mut freed = Vec::new();
        outboxes[0].wrote(4, |len| freed.push(len));
        assert_eq!(waiting(&outboxes[0]), "ared\n2\n");
        assert_eq!(lost(&mut outboxes[0]).len(), 2);
        outboxes[1].wrote(11, |len| freed.push(len));
        assert_eq!(freed, [7]);
    }

    #[test]
    fn what_is_written_is_forgotten_but_for_the_line_in_part() {
        let (a, _) = keys();
        let mut outbox = Outbox::default();
        let line = "x".repeat(999);
        for _ in 0..200 {
            put(&mut outbox, a, Class::Direct, &line);
        }
        outbox.wrote(150_500, |_| {});
        put(&mut outbox, a, Class::Direct, "last");
        assert!(outbox.bytes.len() < 52_000);
        assert_eq!(outbox.direct_bytes(), 49_505);
        assert_eq!(waiting(&outbox).len(), 49_505);
        let lines = lost(&mut outbox);
        assert_eq!(lines.len(), 51);
        assert!(lines[..50].iter().all(|(_, text)| *text == line));
    }
}
