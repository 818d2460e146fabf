//! The queue in front of a sink that does what it is told: takes all, some or nothing, or fails.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use telex_log::testing::{PATIENCE, record, tell, wait_until};
use telex_log::{Batch, Queue, STEP, Sink};
use telex_plugin::{Fault, Record};

/// What the sink does when it is called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    TakeAll,
    /// So many bytes at a time.
    Take(usize),
    /// One record at a time.
    TakeRecord,
    /// So many bytes, and then no more.
    TakeOnce(usize),
    Wait,
    Fail,
}

struct Played {
    does: Does,
    written: Vec<u8>,
    reopened: usize,
    /// What is odd about it.
    odd: Option<String>,
}

#[derive(Clone)]
struct Fake(Arc<Mutex<Played>>);

impl Fake {
    fn new(does: Does) -> Fake {
        Fake(Arc::new(Mutex::new(Played { does, written: Vec::new(), reopened: 0, odd: None })))
    }

    fn does(&self, does: Does) {
        self.0.lock().unwrap().does = does;
    }

    fn lines(&self) -> Vec<String> {
        let written = String::from_utf8(self.0.lock().unwrap().written.clone()).unwrap();
        written.lines().map(str::to_owned).collect()
    }

    fn reopened(&self) -> usize {
        self.0.lock().unwrap().reopened
    }

    fn queue(&self, max_bytes: usize) -> (Queue, Receiver<String>) {
        let (tell, told) = tell();
        let format = |entry: &Record<'_>, out: &mut Vec<u8>| {
            out.extend_from_slice(entry.message.as_bytes());
            out.push(b'\n');
        };
        (Queue::start("test", max_bytes, Box::new(format), self.clone(), tell).unwrap(), told)
    }
}

impl Sink for Fake {
    fn name(&self) -> String {
        "the fake".to_owned()
    }

    fn write(&mut self, batch: &mut Batch) -> io::Result<usize> {
        let mut played = self.0.lock().unwrap();
        let taken = match played.does {
            Does::TakeAll => batch.rest(),
            Does::Take(most) => &batch.rest()[..most.min(batch.rest().len())],
            Does::TakeRecord => batch.record(),
            Does::TakeOnce(most) => {
                played.does = Does::Wait;
                &batch.rest()[..most]
            }
            Does::Fail => return Err(io::Error::other("out of order")),
            Does::Wait => {
                drop(played);
                sleep(STEP);
                return Ok(0);
            }
        };
        played.written.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn reopen(&mut self, batch: &mut Batch) -> io::Result<()> {
        let mut played = self.0.lock().unwrap();
        if played.does == Does::Fail {
            return Err(io::Error::other("out of order"));
        }
        played.reopened += 1;
        batch.restart_record();
        Ok(())
    }

    fn look(&mut self, _: SystemTime) -> Option<String> {
        self.0.lock().unwrap().odd.take()
    }
}

/// Adds `count` records of ten bytes each.
fn add(queue: &mut Queue, numbers: std::ops::Range<usize>) -> Vec<Result<(), Fault>> {
    let added = numbers.map(|number| queue.add(&record(&format!("record{number:03}")))).collect();
    queue.flush();
    added
}

fn records(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("record{number:03}")).collect()
}

#[test]
fn all_is_written_in_order_and_the_end_waits_for_it() {
    for does in [Does::TakeAll, Does::Take(7), Does::TakeRecord] {
        let fake = Fake::new(does);
        let (mut queue, told) = fake.queue(1 << 20);
        add(&mut queue, 0..300);
        wait_until("the first are written without an end", || fake.lines().len() >= 300);
        add(&mut queue, 300..600);
        drop(queue);
        assert_eq!(fake.lines(), records(0..600));
        assert_eq!(told.iter().collect::<Vec<_>>(), [""; 0]);
    }
}

#[test]
fn what_finds_no_room_is_counted_and_told_of_in_its_place() {
    let fake = Fake::new(Does::Wait);
    let (mut queue, _told) = fake.queue(105);
    add(&mut queue, 0..1);
    // The thread has the first one in hand; ten more have room.
    wait_until("the thread takes the first", || !format!("{queue:?}").contains("1 records left"));
    assert_eq!(add(&mut queue, 1..17), [Ok(()); 16]);
    queue.add(&record("few")).unwrap();
    fake.does(Does::TakeAll);
    wait_until("what waited is written", || fake.lines().len() == 12);
    add(&mut queue, 17..18);
    drop(queue);
    let right = [records(0..11), vec!["7 records lost".to_owned()], records(17..18)].concat();
    assert_eq!(fake.lines(), right, "what would have found room again is lost as well, in its order");
}

#[test]
fn trouble_is_told_once_and_its_end_too() {
    let fake = Fake::new(Does::Fail);
    let (mut queue, told) = fake.queue(100);
    assert_eq!(add(&mut queue, 0..1), [Ok(())]);
    let trouble = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(trouble, "error: cannot write to the fake: out of order; what comes waits");
    let added = add(&mut queue, 1..13);
    assert_eq!(added[..10], [Ok(()); 10]);
    assert_eq!(added[10..], [Err(Fault); 2], "what is lost in trouble is no better for being counted");
    assert!(told.recv_timeout(Duration::from_millis(2500)).is_err(), "it is tried again, and not told");
    fake.does(Does::TakeAll);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "notice: the fake is written to again");
    assert_eq!(fake.lines(), [records(0..11), vec!["2 records lost".to_owned()]].concat());
    fake.does(Does::Fail);
    add(&mut queue, 13..14);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), trouble, "it is a new trouble");
}

#[test]
fn who_does_not_read_is_told_of() {
    let fake = Fake::new(Does::Wait);
    let (mut queue, told) = fake.queue(1 << 20);
    add(&mut queue, 0..1);
    let trouble = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(trouble, "error: cannot write to the fake: nobody has read for 5 s; what comes waits");
    fake.does(Does::TakeAll);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "notice: the fake is written to again");
}

#[test]
fn what_is_odd_is_told_when_there_is_a_record_to_write() {
    let fake = Fake::new(Does::TakeAll);
    let (mut queue, told) = fake.queue(1 << 20);
    fake.0.lock().unwrap().odd = Some("it has been moved".to_owned());
    queue.flush();
    assert!(told.recv_timeout(Duration::from_millis(200)).is_err(), "nothing is to be written");
    add(&mut queue, 0..1);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "warning: it has been moved");
    drop(queue);
    assert_eq!(fake.lines(), records(0..1));
}

#[test]
fn the_end_does_not_wait_for_ever() {
    let fake = Fake::new(Does::Wait);
    let (mut queue, told) = fake.queue(100);
    assert_eq!(add(&mut queue, 0..20), [Ok(()); 20]);
    let begun = Instant::now();
    drop(queue);
    let took = begun.elapsed();
    assert!((1..10).contains(&took.as_secs()), "{took:?}");
    let told: Vec<_> = told.iter().collect();
    assert_eq!(told, ["error: 20 records lost, which the fake has not taken at the end"]);
}

#[test]
fn the_end_does_not_wait_for_what_fails() {
    let fake = Fake::new(Does::Fail);
    let (mut queue, told) = fake.queue(1 << 20);
    add(&mut queue, 0..3);
    told.recv_timeout(PATIENCE).unwrap();
    let begun = Instant::now();
    drop(queue);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let told: Vec<_> = told.iter().collect();
    assert_eq!(told, ["error: 3 records lost, which the fake has not taken at the end"]);
}

#[test]
fn a_record_that_was_torn_begins_anew_where_the_sink_is_opened_anew() {
    let fake = Fake::new(Does::TakeOnce(4));
    let (mut queue, _told) = fake.queue(1 << 20);
    add(&mut queue, 0..2);
    wait_until("half of the first is written", || fake.lines() == ["reco"]);
    fake.0.lock().unwrap().written.clear();
    queue.reopen();
    wait_until("it is opened anew", || fake.reopened() == 1);
    fake.does(Does::TakeAll);
    drop(queue);
    assert_eq!(fake.lines(), records(0..2));
}

#[test]
fn what_cannot_be_opened_anew_is_tried_again_and_nothing_written_before() {
    let fake = Fake::new(Does::Fail);
    let (mut queue, told) = fake.queue(1 << 20);
    queue.reopen();
    let trouble = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(trouble, "error: cannot write to the fake: out of order; what comes waits");
    add(&mut queue, 0..1);
    fake.does(Does::TakeAll);
    wait_until("it is written", || !fake.lines().is_empty());
    assert_eq!(fake.reopened(), 1);
}

#[test]
fn what_can_be_sent_at_once_does_not_wait_and_keeps_its_place() {
    let fake = Fake::new(Does::Wait);
    let (mut queue, _told) = fake.queue(1 << 20);
    let mut sent = Vec::new();
    let mut send = |record: &[u8]| {
        sent.push(String::from_utf8(record.to_vec()).unwrap());
        sent.len() < 3
    };
    for number in 0..5 {
        queue.add_unless(&record(&format!("record{number:03}")), &mut send).unwrap();
    }
    assert_eq!(sent, ["record000\n", "record001\n", "record002\n"], "the third finds nobody");
    fake.does(Does::TakeAll);
    queue.flush();
    wait_until("the others are written", || fake.lines() == records(2..5));
    wait_until("nothing waits any more", || {
        let mut is_sent = false;
        queue
            .add_unless(&record("at once"), |_| {
                is_sent = true;
                true
            })
            .unwrap();
        queue.flush();
        is_sent
    });
}
