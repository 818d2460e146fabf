//! How long plugins may take, by `witness.c`.

use serde_json::json;

use super::witness::{sent, starter};
use crate::support::{Client, Telexd, wait_until};

const GIVEN_UP: &str = "failed or was late 2 times and is not called any more";
/// The lateness of a call with little in it.
const LITTLE: &str = "and its budget is 1.0 ms";

/// Sends `a` a message of this many bytes, and expects it.
fn send_large(a: &mut Client, bytes: usize) {
    a.send(&json!({"message_type": "large", "to": "a", "body": "x".repeat(bytes)}));
    assert_eq!(a.message()["message_type"], json!("large"));
}

fn strikes(client: &mut Client) -> u64 {
    client.stats()["plugins"][0]["strikes"].as_u64().expect("a number")
}

#[test]
fn a_budget_grows_with_the_message() {
    // 3 ms for a message of 500 kB.
    let telexd = starter(&["works"]).start();
    let mut a = telexd.node("a");
    (0..12).for_each(|_| send_large(&mut a, 500_000));
    assert_eq!(strikes(&mut a), 0, "{}", telexd.log());

    // 30 ms.
    let telexd = starter(&["works_hard"]).start();
    let mut a = telexd.node("a");
    (0..2).for_each(|_| send_large(&mut a, 500_000));
    wait_until("it is told", || {
        a.send(&json!({"message_type": "large", "to": "a", "body": "x".repeat(500_000)}));
        a.message();
        telexd.log().contains("ms for a message, and its budget is 7.6 ms")
    });
    telexd.wait_for_log(GIVEN_UP);
}

/// What a daemon does in which each of these calls comes again and again.
fn keep_busy(telexd: &Telexd, until: &str) {
    let mut a = telexd.node("a");
    wait_until(until, || {
        // It may be refused already.
        drop(telexd.client());
        sent(&mut a, "say_all_levels");
        telexd.log().contains(until)
    });
}

#[test]
fn whatever_a_filter_is_called_for_counts() {
    for (does, what) in [
        ("log late_judge", "a message"),
        ("log late_event", "an event"),
        ("log timer late_timer", "a timer"),
        ("log late_record", "a record of the log"),
        ("log late_flush", "writing the log"),
    ] {
        let telexd = starter(&[does]).start();
        keep_busy(&telexd, GIVEN_UP);
        let log = telexd.log();
        assert!(log.contains(&format!("ms for {what}, {LITTLE}")), "{does}: {log}");
    }
}

/// Calls that are late now and then do not pass among many others that are not.
#[test]
fn a_late_timer_counts_among_many_quick_messages() {
    let telexd = starter(&["timer late_timer"]).start();
    let mut a = telexd.client();
    wait_until(GIVEN_UP, || {
        a.write("{\"message_type\":\"ping\"}\n".repeat(2000).as_bytes());
        (0..2000).for_each(|_| drop(a.message()));
        telexd.log().contains(GIVEN_UP)
    });
}

#[test]
fn a_log_plugin_that_is_late_is_told_of_and_goes_on() {
    for (does, what) in [
        ("no_filter log late_record", "a record of the log"),
        ("no_filter log late_flush", "writing the log"),
    ] {
        let mut telexd = starter(&[does, ""]).start();
        let told = "plugin p0: took ";
        keep_busy(&telexd, told);
        let mut client = telexd.client();
        wait_until("many late calls", || {
            telexd.client().ping();
            strikes(&mut client) > 20
        });
        telexd.client().ask_well("register", json!({"node_id": "late"}));
        telexd.stop();
        let (log, records) = (telexd.log(), super::witness::records(&telexd, "p0"));
        assert!(log.contains(&format!("ms for {what}, {LITTLE}")), "{log}");
        assert!(!log.contains("is not called any more"), "{log}");
        assert!(records.contains("is late"), "{does}: {records}");
        assert!(!records.contains("its budget"), "it is not told of itself: {records}");
        assert!(log.matches("its budget").count() < 10, "told once a second at most: {log}");
    }
}
