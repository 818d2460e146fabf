//! Those who send much, and who else is there: nobody waits for more than his turn, and who reads all the
//! time misses nothing.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex};

use nix::sys::socket::{setsockopt, sockopt::SndBuf};
use serde_json::{Value, json};

use crate::support::{Client, PATIENCE, Telexd, wait_until};

#[test]
fn a_quiet_peer_is_served_within_the_turn_however_many_flood() {
    const FLOODERS: usize = 20;
    const TURN_BYTES: usize = 256 * 1024;
    const SHARE_BYTES: usize = TURN_BYTES / FLOODERS;
    let telexd = Telexd::with(&[&format!("turn_bytes={TURN_BYTES}")]);
    let mut witness = telexd.node("witness");
    let mut quiet = telexd.node("quiet");
    let mut flooders: Vec<_> = (0..FLOODERS).map(|n| telexd.node(&flooder(n))).collect();
    let before = Counted::by(&mut quiet);

    // All of it is there when the daemon looks, and the quiet one comes last.
    telexd.suspend();
    let (mut lines, mut bytes) = (0, 0);
    for (n, client) in flooders.iter_mut().enumerate() {
        setsockopt(&client.fd(), SndBuf, &(2 * TURN_BYTES)).expect("a larger buffer");
        let flood: String = (1..2000).map(|id| requests(&flooder(n), id)).collect();
        let wrote = client.write_until_stuck(flood.as_bytes(), std::time::Duration::from_millis(1));
        assert!(wrote > TURN_BYTES, "one read would take it all: {wrote} bytes");
        lines += flood[..wrote].matches('\n').count();
        bytes += wrote;
    }
    quiet.send(&json!({"message_type": "signal", "to": "witness"}));
    quiet.send(&json!({"message_id": "stats", "message_type": "stats"}));
    telexd.resume();

    let mut handled: BTreeMap<String, usize> = BTreeMap::new();
    loop {
        let seen = witness.message();
        let from = seen["from"].as_str().expect("an address").to_owned();
        if from == "quiet" {
            break;
        }
        handled.insert(from, seen["message_id"].as_u64().expect("a number") as usize);
    }
    for (from, id) in &handled {
        let bytes: usize = (1..=*id).map(|id| requests(from, id).len()).sum();
        assert!(
            bytes <= SHARE_BYTES,
            "{from} has had more than its share: {id} times three lines are {bytes} bytes"
        );
    }
    let answer = quiet.message();
    assert_eq!(answer["message_type"], "stats_reply");
    let at_answer = Counted::of(&answer["body"]);
    // That one, and those in which it was stopped and began.
    let turns = at_answer.turns - before.turns;
    assert!(turns <= 4, "{turns} turns until the answer");

    let mut watcher = telexd.client();
    wait_until("an end of the flood", || Counted::by(&mut watcher).lines >= before.lines + lines);
    let after = Counted::by(&mut watcher);
    let turns = after.turns - before.turns;
    assert!(bytes <= turns * TURN_BYTES, "{bytes} bytes in {turns} turns are more than turns may take");
}

fn flooder(n: usize) -> String {
    format!("flooder-{n}")
}

/// What the daemon answers, what comes back to the sender itself, and what another one sees.
fn requests(from: &str, id: usize) -> String {
    let ping = json!({"message_id": format!("ping-{id}"), "message_type": "ping"});
    let own = json!({"message_id": format!("own-{id}"), "message_type": "ask", "to": from});
    let other = json!({"message_id": id, "message_type": "signal", "to": "witness"});
    format!("{ping}\n{own}\n{other}\n")
}

#[derive(Debug)]
struct Counted {
    lines: usize,
    turns: usize,
}

impl Counted {
    fn of(stats: &Value) -> Counted {
        let number = |name: &str| stats[name].as_u64().expect(name) as usize;
        Counted { lines: number("lines_in"), turns: number("turns") }
    }

    fn by(client: &mut Client) -> Counted {
        Counted::of(&client.stats())
    }
}

const PUBLISHERS: usize = 10;

/// What one publisher says at `nth`; all lines are equally long.
fn publication(publisher: usize, nth: usize) -> String {
    format!(
        "{{\"message_id\":{nth},\"message_type\":\"signal\",\"topic\":\"news\",\
         \"body\":{{\"publisher\":{publisher},\"nth\":\"{nth:06}\",\"text\":\"{}\"}}}}\n",
        "x".repeat(128)
    )
}

/// Takes the next line of a subscriber, which must be the one that comes next of its publisher.
fn take_next(subscriber: &mut Client, next: &mut [usize; PUBLISHERS]) -> usize {
    let message = subscriber.message();
    assert_eq!(message["topic"], "news", "{message}");
    let publisher = message["body"]["publisher"].as_u64().expect("a number") as usize;
    assert_eq!(message["message_id"], next[publisher], "{message}");
    next[publisher] += 1;
    publisher
}

fn subscriber(telexd: &Telexd) -> Client {
    let mut subscriber = telexd.node("subscriber");
    subscriber.ask_well("subscribe", json!({"topic": "news"}));
    subscriber
}

fn assert_nothing_missed(telexd: &Telexd) {
    assert_eq!(telexd.client().stats()["missed"], json!(0));
}

/// All of it is taken in one turn, and the queue has no room for that: but the socket has.
#[test]
fn a_subscriber_is_written_to_within_the_turn() {
    const EACH: usize = 160;
    let telexd = Telexd::with(&["max_line_bytes=64KiB", "max_queue_bytes=512KiB"]);
    let mut subscriber = subscriber(&telexd);
    let mut publishers: Vec<_> = (0..PUBLISHERS).map(|_| telexd.client()).collect();
    telexd.suspend();
    let mut bytes = 0;
    for (p, publisher) in publishers.iter_mut().enumerate() {
        let lines: String = (0..EACH).map(|nth| publication(p, nth)).collect();
        publisher.write(lines.as_bytes());
        bytes += lines.len();
    }
    assert!(bytes > 300 * 1024, "{bytes} bytes, of which the queue would take 256 KiB");
    telexd.resume();
    let mut next = [0; PUBLISHERS];
    for _ in 0..PUBLISHERS * EACH {
        take_next(&mut subscriber, &mut next);
    }
    assert_nothing_missed(&telexd);
}

/// One read could take it all, which is more than the queue has room for.
#[test]
fn a_subscriber_is_written_to_within_a_read() {
    const LINES: usize = 700;
    let telexd = Telexd::with(&["max_line_bytes=64KiB", "max_queue_bytes=256KiB"]);
    let mut subscriber = subscriber(&telexd);
    let mut publisher = telexd.client();
    setsockopt(&publisher.fd(), SndBuf, &(1 << 20)).expect("a larger buffer");
    telexd.suspend();
    let lines: String = (0..LINES).map(|nth| publication(0, nth)).collect();
    assert!((150 * 1024..250 * 1024).contains(&lines.len()), "{} bytes", lines.len());
    publisher.write(lines.as_bytes());
    telexd.resume();
    let mut next = [0; PUBLISHERS];
    for _ in 0..LINES {
        take_next(&mut subscriber, &mut next);
    }
    assert_nothing_missed(&telexd);
}

/// With every default. Who reads all the time is never far behind, also where the machine lets him wait:
/// so the publishers, who could be as fast as they like, are never further ahead than his queue is long.
#[test]
fn a_fast_subscriber_of_ten_fast_publishers_misses_nothing() {
    const EACH: usize = 5000;
    const AHEAD: usize = 800;
    let telexd = Telexd::start();
    let mut subscriber = subscriber(&telexd);
    let (taken, more) = (Mutex::new([0; PUBLISHERS]), Condvar::new());
    std::thread::scope(|scope| {
        for p in 0..PUBLISHERS {
            let (telexd, taken, more) = (&telexd, &taken, &more);
            scope.spawn(move || {
                let mut publisher = telexd.client();
                for first in (0..EACH).step_by(AHEAD / 4) {
                    let lines: String = (first..first + AHEAD / 4).map(|nth| publication(p, nth)).collect();
                    let is_ahead = |taken: &mut [usize; PUBLISHERS]| first >= taken[p] + AHEAD;
                    let guard = taken.lock().expect("the counts");
                    let (guard, waited) =
                        more.wait_timeout_while(guard, PATIENCE, is_ahead).expect("the counts");
                    drop(guard);
                    assert!(!waited.timed_out(), "the subscriber gets nothing more");
                    publisher.write(lines.as_bytes());
                }
                publisher.ping();
            });
        }
        let mut next = [0; PUBLISHERS];
        for _ in 0..PUBLISHERS * EACH {
            let publisher = take_next(&mut subscriber, &mut next);
            if next[publisher] % (AHEAD / 4) == 0 {
                *taken.lock().expect("the counts") = next;
                more.notify_all();
            }
        }
    });
    assert_nothing_missed(&telexd);
}
