//! Senders that wait for room.

use super::*;

/// A request waits for room at two instances in turn, behind so many answered requests, and its time is over
/// before the second one has any. Gives what its sender hears of it.
fn time_out_behind(answered: usize) -> Vec<Value> {
    let limits = Limits { max_line_bytes: 1024, max_queue_bytes: 8192, ..Limits::default() };
    let limits = Limits { stall_timeout: Duration::from_secs(3600), ..limits };
    let mut bench = Bench::with(limits);
    let (asker, helper) = (bench.connects(), bench.connects());
    let instances = [bench.connects(), bench.connects()];
    bench.registers(helper, "helper");
    for instance in instances {
        bench.registers(instance, "n");
        bench.hears(instance);
    }
    for nth in 0..answered {
        bench.asks(asker, json!({"message_id": nth, "message_type": "ask", "to": "helper"}));
        let body = json!({"in_reply_to": nth});
        bench.asks(helper, json!({"message_type": "ask_reply", "to": ":1", "body": body}));
    }
    bench.hears(asker);
    let signal = json!({"message_type": "signal", "to": "n", "body": "x".repeat(900)});
    for _ in 0..9 {
        bench.asks(helper, signal.clone());
    }
    bench.says(asker, json!({"message_id": "q", "message_type": "ask", "to": "n", "timeout_ms": 5000}));
    assert!(!bench.core.wants_bytes(asker), "it waits for the first instance");
    assert_eq!(bench.hears(instances[0]).len(), 9);
    bench.turn();
    assert!(!bench.core.wants_bytes(asker), "it waits for the second one");
    bench.core.check();
    assert_eq!(bench.core.next_deadline(), Some(Duration::from_secs(5)));
    bench.passes(Duration::from_secs(5));
    bench.turn();
    assert!(bench.core.wants_bytes(asker));
    bench.hears(asker)
}

#[test]
fn a_request_that_waits_on_for_another_instance_keeps_its_time() {
    // Timers that have gone stale are dropped when there are more than 64 of them.
    for answered in [0, 62, 63, 64, 65, 66] {
        let told = time_out_behind(answered);
        assert_eq!(told.len(), 1, "behind {answered}: {told:?}");
        assert_eq!(told[0]["body"]["code"], "timeout", "behind {answered}");
        assert_eq!(told[0]["body"]["in_reply_to"], "q");
    }
}

#[test]
fn the_time_of_all_instances_that_read_nothing_runs_at_once() {
    let limits = Limits { max_line_bytes: 1024, max_queue_bytes: 8192, ..Limits::default() };
    let mut bench = Bench::with(limits);
    let sender = bench.connects();
    let instances: Vec<_> = (0..4).map(|_| bench.connects()).collect();
    for &instance in &instances {
        bench.registers(instance, "n");
    }
    let signal = json!({"message_type": "signal", "to": "n", "body": "x".repeat(900)});
    while bench.core.wants_bytes(sender) {
        bench.says(sender, signal.clone());
    }
    let is_watched = |instance| bench.core.sessions.get(instance).is_some_and(|session| session.is_watched());
    assert!(instances.into_iter().all(is_watched));
}
