//! What is spread over several turns comes in the order in which it would have come at once.

use super::*;

/// So many subscribers of `t` that one step does not serve them all, and a publisher.
fn crowd(bench: &mut Bench) -> (Vec<SessionKey>, SessionKey) {
    let count = 12 * bench.core.desk.tuning.publish_step;
    let subscribers: Vec<_> = (0..count).map(|_| bench.connects()).collect();
    for &subscriber in &subscribers {
        bench.asks(subscriber, json!({"message_type": "subscribe", "body": {"topic": "t"}}));
    }
    let publisher = bench.connects();
    bench.registers(publisher, "p");
    bench.hears(publisher);
    (subscribers, publisher)
}

fn bodies(heard: &[Value]) -> Vec<Value> {
    heard.iter().map(|line| line["body"].clone()).collect()
}

#[test]
fn what_a_sender_says_behind_a_publication_comes_behind_it() {
    let mut bench = Bench::tuned(Limits::default(), small());
    let (subscribers, publisher) = crowd(&mut bench);
    let last = *subscribers.last().expect("one");
    let to = format!(":{}", subscribers.len());
    let lines = [
        json!({"message_type": "signal", "topic": "t", "body": 1}),
        json!({"message_type": "signal", "to": to, "body": 2}),
        json!({"message_type": "signal", "topic": "t", "body": 3}),
        json!({"message_type": "ping", "body": 4}),
    ];
    let bytes = lines.map(|line| format!("{line}\n")).concat();
    bench.handles(Input::Received { session: publisher, bytes: bytes.as_bytes() });
    assert!(bench.hears(last).is_empty() && bench.hears(publisher).is_empty(), "not yet");
    // Another one's line is not held up.
    let other = bench.connects();
    bench.says(other, json!({"message_type": "signal", "to": to, "body": 0}));
    assert_eq!(bodies(&bench.hears(last)), [json!(0)]);
    bench.turns_until_done();
    assert_eq!(bodies(&bench.hears(last)), [json!(1), json!(2), json!(3)]);
    assert_eq!(bench.hears(publisher).len(), 1);
    for &subscriber in &subscribers[..subscribers.len() - 1] {
        assert_eq!(bodies(&bench.hears(subscriber)), [json!(1), json!(3)]);
    }
}

#[test]
fn what_a_leaver_published_comes_before_the_news_that_it_left() {
    let mut bench = Bench::tuned(Limits::default(), small());
    let (subscribers, publisher) = crowd(&mut bench);
    let last = *subscribers.last().expect("one");
    bench.asks(last, json!({"message_type": "monitor", "body": {"node_id": "p"}}));
    bench.says(publisher, json!({"message_type": "signal", "topic": "t", "body": {"event": "said"}}));
    bench.handles(Input::Ended { session: publisher });
    bench.turns_until_done();
    let events: Vec<_> = bench.hears(last).iter().map(|line| line["body"]["event"].clone()).collect();
    assert_eq!(events, ["said", "node_down"]);
}

#[test]
fn a_subscriber_that_leaves_while_it_is_published_to_loses_nothing_for_others() {
    let mut bench = Bench::tuned(Limits::default(), small());
    let (subscribers, publisher) = crowd(&mut bench);
    bench.says(publisher, json!({"message_type": "signal", "topic": "t", "body": 1}));
    let last = subscribers.len() - 1;
    let administrator = bench.connects();
    let body = json!({"unique_id": format!(":{}", subscribers.len())});
    bench.says(administrator, json!({"message_type": "kill", "body": body}));
    let late = bench.connects();
    bench.asks(late, json!({"message_type": "subscribe", "body": {"topic": "t"}}));
    bench.turns_until_done();
    assert!(subscribers[..last].iter().all(|&subscriber| bench.hears(subscriber).len() == 1));
    assert_eq!(bench.core.connections(), subscribers.len() + 2);
}

#[test]
fn a_monitor_that_begins_while_news_are_spread_hears_nothing_twice() {
    let mut bench = Bench::tuned(Limits::default(), small());
    let monitors: Vec<_> = (0..2_000).map(|_| bench.connects()).collect();
    for &monitor in &monitors {
        bench.asks(monitor, json!({"message_type": "monitor", "body": {"node_id": "*"}}));
    }
    let (came, late) = (bench.connects(), bench.connects());
    bench.registers(came, "n");
    bench.says(late, json!({"message_type": "monitor", "body": {"node_id": "*"}}));
    bench.says(late, json!({"message_type": "ping"}));
    bench.turns_until_done();
    let types: Vec<_> = bench.hears(late).iter().map(|line| line["message_type"].clone()).collect();
    assert_eq!(types, ["signal", "monitor_reply", "ping_reply"]);
    for monitor in monitors {
        assert_eq!(bench.hears(monitor).len(), 1);
    }
}
/// What it leads to that others come and go takes many turns, and more comes in each.
#[test]
fn who_leaves_does_not_wait_for_what_others_lead_to() {
    let mut bench = Bench::new();
    let tuning = Tuning { settle_effort: 1, ..Tuning::default() };
    bench.core = Core::tuned(bench.core.about.clone(), Limits::default(), tuning, bench.now);
    let [monitor, leaver] = [(); 2].map(|()| bench.connects());
    let others = [(); 4].map(|()| bench.connects());
    bench.says(monitor, json!({"message_type": "monitor", "body": {"node_id": "*"}}));
    others.iter().for_each(|&other| bench.registers(other, "first"));
    bench.handles(Input::Ended { session: leaver });
    let mut is_closed = false;
    for turn in 0..100 {
        let line = json!({"message_type": "register", "body": {"node_id": format!("n{turn}")}});
        others.iter().for_each(|&other| bench.says(other, line.clone()));
        let mut resumed = Vec::new();
        while let Some(order) = bench.core.next_order() {
            match order {
                Order::Resume(session) => resumed.push(session),
                Order::Close(session) => is_closed |= session == leaver,
                _ => {}
            }
        }
        for session in resumed {
            bench.handles(Input::Resumed { session });
        }
        bench.handles(Input::TimePassed);
    }
    assert!(is_closed);
}

/// A publication to `t` of which not all have been served, in a crowd; gives those as well that were.
fn published_in_part(bench: &mut Bench) -> (Vec<SessionKey>, SessionKey) {
    let (subscribers, publisher) = crowd(bench);
    bench.says(publisher, json!({"message_type": "signal", "topic": "t", "body": 1}));
    (subscribers, publisher)
}

#[test]
fn behind_the_reply_to_unsubscribe_nothing_more_comes() {
    let mut bench = Bench::tuned(Limits::default(), small());
    let (subscribers, _) = published_in_part(&mut bench);
    let (last, before) = (subscribers[subscribers.len() - 1], subscribers[subscribers.len() - 2]);
    bench.says(last, json!({"message_type": "unsubscribe", "body": {"topic": "t"}}));
    // One that subscribes in another way, too, still gets it.
    for line in [
        json!({"message_type": "subscribe", "body": {"topic": ">"}}),
        json!({"message_type": "unsubscribe", "body": {"topic": "t"}}),
    ] {
        bench.says(before, line);
    }
    bench.turns_until_done();
    let types: Vec<_> = bench.hears(last).iter().map(|line| line["message_type"].clone()).collect();
    assert_eq!(types, ["unsubscribe_reply"]);
    let heard = bench.hears(before);
    assert_eq!(heard.iter().filter(|line| line["message_type"] == "signal").count(), 1, "{heard:?}");
    assert_eq!(bench.hears(subscribers[0]).len(), 1);
}

#[test]
fn in_a_group_another_member_gets_what_one_that_left_was_picked_for() {
    for leaves in [true, false] {
        let mut bench = Bench::tuned(Limits::default(), small());
        let (subscribers, publisher) = crowd(&mut bench);
        let members: Vec<_> = (0..3).map(|_| bench.connects()).collect();
        for &member in &members {
            let body = json!({"topic": "t", "group": "g"});
            bench.asks(member, json!({"message_type": "subscribe", "body": body}));
            bench.hears(member);
        }
        bench.says(publisher, json!({"message_type": "signal", "topic": "t", "body": 1}));
        let signals = |line: &&Value| line["message_type"] == "signal";
        let count = |bench: &mut Bench, member| bench.hears(member).iter().filter(signals).count();
        let heard =
            |bench: &mut Bench| -> Vec<_> { members.iter().map(|&member| count(bench, member)).collect() };
        assert_eq!(heard(&mut bench), [0, 0, 0], "not yet");
        // The first is the next in turn.
        match leaves {
            true => bench.handles(Input::Ended { session: members[0] }),
            false => bench.says(
                members[0],
                json!({"message_type": "unsubscribe", "body": {"topic": "t", "group": "g"}}),
            ),
        }
        bench.turns_until_done();
        assert_eq!(heard(&mut bench), [0, 1, 0], "leaves: {leaves}");
        assert_eq!(bench.hears(subscribers[0]).len(), 1);
    }
}

#[test]
fn those_that_have_all_left_are_gone_through_in_steps_too() {
    let mut bench = Bench::tuned(Limits::default(), small());
    let (subscribers, publisher) = crowd(&mut bench);
    for &subscriber in &subscribers {
        bench.registers(subscriber, "n");
    }
    let administrator = bench.connects();
    bench.says(publisher, json!({"message_type": "signal", "topic": "t", "body": 1}));
    let effort_max = std::mem::replace(&mut bench.effort_max, usize::MAX);
    bench.says(administrator, json!({"message_type": "kill", "body": {"node_id": "n"}}));
    bench.effort_max = effort_max;
    bench.turns_until_done();
    assert!(!bench.core.sessions.is_here(subscribers[0]));
}

#[test]
fn a_receipt_comes_when_all_have_been_served() {
    let mut bench = Bench::tuned(Limits::default(), small());
    let (subscribers, publisher) = crowd(&mut bench);
    let line = json!({"message_id": "r", "message_type": "signal", "topic": "t", "receipt": true});
    bench.says(publisher, line);
    assert!(bench.hears(publisher).is_empty(), "not yet");
    bench.leaves(subscribers[subscribers.len() - 1]);
    bench.turns_until_done();
    let told = bodies(&bench.hears(publisher));
    let right = json!({"in_reply_to": "r", "error": null, "receivers": subscribers.len() - 1, "missed": 0});
    assert_eq!(told, [right]);
}

/// Half a line may have been written to it: what follows would be read as the rest of that.
#[test]
fn behind_the_last_try_nothing_is_written_to_one_that_was_killed() {
    let mut bench = Bench::new();
    let tuning = Tuning { settle_effort: 1, ..Tuning::default() };
    bench.core = Core::tuned(bench.core.about.clone(), Limits::default(), tuning, bench.now);
    let [killer, killed, worker] = [(); 3].map(|()| bench.connects());
    bench.registers(killed, "killed");
    bench.registers(worker, "worker");
    bench.hears(killed);
    bench.says(killed, json!({"message_id": 1, "message_type": "work", "to": "worker"}));
    for n in 0..100 {
        bench.says(worker, json!({"message_type": "signal", "to": "killed", "body": n}));
    }
    bench.core.wrote(killed, 10, bench.now);
    bench.says(killer, json!({"message_type": "kill", "body": {"node_id": "killed"}}));
    let mut owed = 0;
    for _ in 0..1000 {
        bench.turn();
        bench.says(worker, json!({"message_type": "signal", "to": ":2", "body": "late"}));
        let reply =
            json!({"message_type": "work_reply", "to": ":2", "body": {"in_reply_to": 1, "error": null}});
        bench.says(worker, reply);
        owed += usize::from(bench.core.is_owed(killed));
        assert_eq!(bench.core.transmit(killed, &mut [IoSlice::new(b""); 4]), 0);
    }
    assert_eq!(owed, 0);
    assert_eq!(bench.core.connections(), 2);
}
