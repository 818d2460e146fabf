//! What is spread over turns while others go on, and what all of it costs.

use super::*;
use crate::core::peer::{Identity, Peer, Transport};

impl Bench {
    /// A turn as the daemon's: time, then all that may go on.
    fn turns(&mut self) {
        self.passes(Duration::from_micros(10));
        for order in self.orders() {
            if let Order::Resume(session) = order {
                self.handles(Input::Resumed { session });
            }
        }
    }

    fn calms_down(&mut self) {
        for _ in 0..10_000 {
            self.turns();
            if self.core.desk.after.is_empty() {
                return;
            }
        }
        panic!("it goes on and on");
    }
}

fn slow() -> Tuning {
    Tuning { settle_effort: 1, publish_step: 1, check_every: 1, ..Tuning::default() }
}

/// A core that does next to nothing of what is left to do in each turn.
fn slowly(limits: Limits) -> Bench {
    Bench { effort_max: usize::MAX, ..Bench::tuned(limits, slow()) }
}

fn subscribes(bench: &mut Bench, session: SessionKey, body: Value) {
    bench.asks(session, json!({"message_type": "subscribe", "body": body}));
}

#[test]
fn a_leaver_is_struck_off_in_steps() {
    let mut bench = Bench::tuned(Limits::default(), Tuning { settle_effort: 60, ..Tuning::default() });
    let (a, b, c) = (bench.connects(), bench.connects(), bench.connects());
    bench.registers(b, "n");
    bench.registers(c, "n");
    for _ in 0..300 {
        bench.says(a, json!({"message_type": "ask", "to": "n"}));
    }
    bench.hears(b);
    bench.hears(c);
    bench.calms_down();
    bench.turns();
    bench.handles(Input::Ended { session: b });
    let owed = bench.core.requests.owed_by(b);
    assert!(
        owed >= 240,
        "300 less {owed} are struck off in one step of 60 units, {:?}",
        bench.core.desk.effort
    );
}

#[test]
fn news_of_a_leaver_survive_the_beginning_of_the_end() {
    let mut bench = slowly(Limits::default());
    let monitors: Vec<_> = (0..8).map(|_| bench.connects()).collect();
    let v = bench.connects();
    bench.registers(v, "v");
    for &monitor in &monitors {
        bench.says(monitor, json!({"message_type": "monitor", "body": {"node_id": "*"}}));
        bench.calms_down();
        bench.hears(monitor);
    }
    bench.turns();
    bench.handles(Input::Ended { session: v });
    bench.handles(Input::StopAsked);
    bench.calms_down();
    let downs: Vec<usize> = monitors
        .iter()
        .map(|&monitor| {
            bench.hears(monitor).iter().filter(|line| line["body"]["event"] == "node_down").count()
        })
        .collect();
    assert_eq!(downs, [1; 8]);
}

#[test]
fn the_end_comes_while_a_publication_is_on_its_way() {
    let mut bench = slowly(Limits::default());
    let p = bench.connects();
    for _ in 0..20 {
        let s = bench.connects();
        subscribes(&mut bench, s, json!({"topic": "t"}));
    }
    bench.turns();
    bench.says(p, json!({"message_type": "signal", "topic": "t"}));
    bench.handles(Input::StopAsked);
    let lost = bench.core.end_drain();
    assert!(lost <= 20, "{lost}");
}

#[test]
fn one_that_has_ended_leaves_under_load() {
    let mut bench = slowly(Limits::default());
    let publishers = [bench.connects(), bench.connects(), bench.connects()];
    let subscribers: Vec<_> = (0..20).map(|_| bench.connects()).collect();
    for &s in &subscribers {
        subscribes(&mut bench, s, json!({"topic": "t"}));
    }
    let e = bench.connects();
    bench.registers(e, "e");
    bench.calms_down();
    let mut published = 0;
    for turn in 0..2000 {
        for p in publishers {
            if bench.core.wants_bytes(p) {
                published += 1;
                bench.says(p, json!({"message_type": "signal", "topic": "t"}));
            }
        }
        if turn == 10 {
            bench.handles(Input::Ended { session: e });
        }
        bench.turns();
        subscribers.iter().for_each(|&s| drop(bench.hears(s)));
    }
    assert!(published > 100, "{published}");
    assert!(
        !bench.core.sessions.is_here(e),
        "it is still an instance after 2000 turns, {published} published"
    );
}

#[test]
fn publications_on_their_way_are_counted() {
    let mut bench = slowly(Limits::default());
    for _ in 0..4 {
        let s = bench.connects();
        subscribes(&mut bench, s, json!({"topic": "t"}));
    }
    let publishers: Vec<_> = (0..20).map(|_| bench.connects()).collect();
    bench.calms_down();
    bench.turns();
    let before = bench.core.kept_bytes();
    for &p in &publishers {
        bench.says(p, json!({"message_type": "signal", "topic": "t", "body": "x".repeat(100_000)}));
    }
    let kept = bench.core.kept_bytes() - before;
    assert!(kept > 1_500_000, "{kept} bytes are counted of 20 lines of 100 kB");
}

#[test]
fn whoami_is_answered_while_memory_is_short() {
    let mut bench = Bench::new();
    let identity = Identity::Kernel { uid: Some(7), gid: Some(7), pid: 7 };
    let peer = Peer { transport: Transport::Unix, identity, administrator: false };
    let plain = bench.core.open(77, peer, bench.now).unwrap();
    for n in 0..60 {
        bench.asks(plain, json!({"message_type": "register", "from": format!("{n}{}", "n".repeat(200))}));
    }
    let limits = Limits { max_memory_bytes: 1, ..Limits::default() };
    bench.handles(Input::LimitsChanged(Box::new(limits)));
    let heard = bench.asks(plain, json!({"message_type": "whoami"}));
    assert_eq!(heard[0]["body"]["code"], Value::Null, "{}", heard[0]);
}

#[test]
fn a_ping_in_two_pieces_is_answered_while_memory_is_short() {
    let mut bench = Bench::new();
    let a = bench.connects();
    let limits = Limits { max_memory_bytes: 1, ..Limits::default() };
    bench.handles(Input::LimitsChanged(Box::new(limits)));
    bench.handles(Input::Received { session: a, bytes: b"{\"message_type\":\"pi" });
    bench.handles(Input::Received { session: a, bytes: b"ng\"}\n" });
    let heard = bench.hears(a);
    assert_eq!(heard[0]["message_type"], "ping_reply", "{heard:?}");
}

#[test]
fn what_a_leaver_leaves_behind_is_counted_as_work() {
    let mut bench = Bench::new();
    let a = bench.connects();
    for n in 0..1000 {
        subscribes(&mut bench, a, json!({"topic": format!("t.{n}")}));
    }
    bench.turns();
    bench.handles(Input::Ended { session: a });
    assert!(bench.core.desk.effort.call >= 1000, "{:?}", bench.core.desk.effort);
}

#[test]
fn killing_many_is_counted_as_work() {
    let mut bench = Bench::new();
    let a = bench.connects();
    for _ in 0..500 {
        let b = bench.connects();
        bench.registers(b, "n");
        bench.hears(b);
    }
    bench.turns();
    bench.says(a, json!({"message_type": "kill", "body": {"node_id": "n"}}));
    assert!(bench.core.desk.effort.call >= 500 * 6, "{:?}", bench.core.desk.effort);
}

#[test]
fn requests_beyond_max_requests_are_counted_as_work() {
    let mut bench = Bench::with(Limits { max_requests: 500, ..Limits::default() });
    let (a, b) = (bench.connects(), bench.connects());
    bench.registers(b, "b");
    for _ in 0..500 {
        bench.says(a, json!({"message_type": "ask", "to": "b"}));
    }
    bench.hears(b);
    bench.turns();
    let line = json!({"message_type": "ask", "to": "b"});
    let flood = format!("{line}\n").repeat(100);
    bench.handles(Input::Received { session: a, bytes: flood.as_bytes() });
    // 100 times 500 open requests are looked at.
    let heard = bench.hears(a).len();
    assert!(heard < 100 || bench.core.desk.effort.call >= 10_000, "{heard} {:?}", bench.core.desk.effort);
}

#[test]
fn news_of_a_doomed_instance_survive_the_beginning_of_the_end() {
    let mut bench = slowly(Limits { max_queue_bytes: 4096, ..Limits::default() });
    let m = bench.connects();
    let (v, a) = (bench.connects(), bench.connects());
    bench.registers(v, "v");
    bench.hears(v);
    bench.says(m, json!({"message_type": "monitor", "body": {"node_id": "*"}}));
    bench.calms_down();
    bench.hears(m);
    // Its time-out to read comes, and the end right behind it.
    while bench.core.wants_bytes(a) {
        bench.says(a, json!({"message_type": "signal", "to": "v", "body": "x".repeat(500)}));
        bench.calms_down();
    }
    bench.passes(Duration::from_secs(11));
    bench.core.desk.effort.settled = 1000;
    bench.orders();
    bench.handles(Input::StopAsked);
    bench.calms_down();
    let downs: Vec<_> = bench.hears(m).into_iter().filter(|l| l["body"]["event"] == "node_down").collect();
    assert_eq!(downs.len(), 1, "{downs:?}");
}

#[test]
fn a_request_whose_time_is_over_while_it_waits_is_not_handed_over() {
    let mut bench = slowly(Limits { max_queue_bytes: 4096, ..Limits::default() });
    let (r, d, a, others) = (bench.connects(), bench.connects(), bench.connects(), bench.connects());
    bench.registers(r, "r");
    bench.registers(d, "d");
    bench.hears(r);
    for _ in 0..50 {
        bench.says(others, json!({"message_type": "ask", "to": "d", "timeout_ms": 99}));
        bench.hears(d);
    }
    let mut n = 0;
    while bench.core.wants_bytes(a) {
        n += 1;
        let body = "x".repeat(500);
        bench.says(
            a,
            json!({"message_type": "ask", "message_id": n, "to": "r", "timeout_ms": 100, "body": body}),
        );
    }
    // 50 others are due before it.
    bench.passes(Duration::from_millis(200));
    let first = bench.hears(r);
    assert!(first.iter().all(|line| line["message_id"] != n));
    for order in bench.orders() {
        if let Order::Resume(session) = order {
            bench.handles(Input::Resumed { session });
        }
    }
    let late = bench.hears(r);
    assert!(late.is_empty(), "handed over after its time: {late:?}");
}
