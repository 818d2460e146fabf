use super::*;

const COMPACT_BYTES: usize = 64 * 1024;
const GATHERED_BYTES: usize = 512 * 1024;
use crate::wire::envelope::Envelope;
use slotmap::SlotMap;

fn keys() -> (SessionKey, SessionKey) {
    let mut sessions: SlotMap<SessionKey, ()> = SlotMap::with_key();
    (sessions.insert(()), sessions.insert(()))
}

fn label(origin: Origin, class: Class) -> Label {
    Label { origin, class, at: 0 }
}

fn waiting(outbox: &Outbox, blocks: &Blocks) -> Vec<String> {
    let mut slices = [IoSlice::new(b""); 8];
    let filled = outbox.transmit(blocks, &mut slices, 512 * 1024);
    slices[..filled].iter().map(|slice| String::from_utf8_lossy(slice).into_owned()).collect()
}

fn put(outbox: &mut Outbox, sender: SessionKey, class: Class, line: &str) {
    let line = format!("{line}\n");
    outbox.append(label(Origin::Peer(sender), class), &Tuning::default(), |bytes| {
        bytes.extend_from_slice(line.as_bytes())
    });
}

fn lost(outbox: &mut Outbox, blocks: &mut Blocks) -> Vec<(Option<SessionKey>, String)> {
    let mut all = Vec::new();
    outbox.rewind(blocks);
    // A line at a time, as little as one step may do.
    let mut take = |origin: Origin, _, line: &[u8]| {
        all.push((origin.peer(), String::from_utf8_lossy(line).into_owned()));
        1
    };
    while outbox.take_lines(blocks, 1, &mut take) == (1, 1) {
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
    outbox.push_written(label(Origin::Daemon, Class::Daemon), &Tuning::default(), |bytes| {
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
        outbox.push_shared(label(Origin::Peer(sender), Class::Topic), place, blocks);
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

#[test]
fn the_oldest_line_is_known_to_a_tenth_of_a_second() {
    let (a, _) = keys();
    let (mut outbox, mut blocks) = (Outbox::default(), Blocks::new(Tuning::default()));
    assert_eq!(outbox.oldest_at(), None);
    // The clock begins anew between them.
    for ms in [u32::MAX - 120, u32::MAX - 21, u32::MAX, 110] {
        let label = Label { at: ms, ..label(Origin::Peer(a), Class::Direct) };
        outbox.append(label, &Tuning::default(), |bytes| bytes.extend_from_slice(b"x\n"));
    }
    assert_eq!((outbox.runs.len(), outbox.oldest_at()), (3, Some(u32::MAX - 120)));
    outbox.wrote(2, &mut blocks);
    assert_eq!(outbox.oldest_at(), Some(u32::MAX - 120), "of the same tenth");
    outbox.wrote(2, &mut blocks);
    assert_eq!(outbox.oldest_at(), Some(u32::MAX));
    outbox.wrote(2, &mut blocks);
    assert_eq!(outbox.oldest_at(), Some(110));
}
