//! The rows of jQluster::Server, as PROTOCOL.md has them.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use super::*;

type Records = Arc<Mutex<Vec<(Level, String)>>>;

struct Bench {
    hub: Hub,
    time: Arc<Mutex<Duration>>,
    records: Records,
}

impl Bench {
    fn new() -> Bench {
        let (time, records) = (Arc::new(Mutex::new(Duration::ZERO)), Records::default());
        let (clock, log) = (Arc::clone(&time), Arc::clone(&records));
        let now = move || {
            let mono = *clock.lock().unwrap();
            Now { mono, wall: Duration::from_secs(1_800_000_000) + mono }
        };
        let logger = move |level, text: &str| log.lock().unwrap().push((level, text.to_owned()));
        Bench { hub: Hub::with(Limits::default(), now, logger), time, records }
    }

    /// A connection `unique_id` of `node`, which has taken its `register_reply`.
    fn joins(&mut self, unique_id: &str, node: &str) -> Receiver<String> {
        let (sender, inbox) = channel();
        let message = register(node);
        let registered =
            self.hub.register(unique_id, &message, move |line| Ok(sender.send(line.to_owned())?)).unwrap();
        assert_eq!((registered.node_id.as_str(), registered.failed.len()), (node, 0));
        let reply = inbox.try_recv().unwrap();
        assert!(reply.contains(r#""message_type":"register_reply","from":null"#), "{reply}");
        assert!(reply.contains(r#""in_reply_to":1,"error":null"#), "{reply}");
        assert!(reply.contains(&format!(r#""to":"{node}""#)), "{reply}");
        inbox
    }

    fn sends(&mut self, message: &str) {
        assert_eq!(self.hub.distribute(message), Ok(Vec::new()), "{message}");
    }

    fn passes(&mut self, time: Duration) {
        *self.time.lock().unwrap() += time;
    }
}

fn register(node: &str) -> String {
    format!(r#"{{"message_id":1,"message_type":"register","from":"{node}","to":null,"body":{{}}}}"#)
}

fn lines(inbox: &Receiver<String>) -> Vec<String> {
    inbox.try_iter().collect()
}

/// The one line that came, which has all of these parts.
fn one(inbox: &Receiver<String>, parts: &[&str]) -> String {
    let mut lines = lines(inbox);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = lines.remove(0);
    assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    line
}

#[test]
fn the_reply_to_a_register_goes_to_the_new_connection_alone() {
    let mut bench = Bench::new();
    let old = bench.joins("a", "n");
    let new = bench.joins("b", "n");
    assert_eq!((lines(&old).len(), lines(&new).len()), (0, 0));
}

#[test]
fn a_unique_id_twice_is_an_error() {
    let mut bench = Bench::new();
    let inbox = bench.joins("a", "n");
    assert_eq!(bench.hub.register("a", &register("m"), |_| Ok(())), Err(Error::UniqueIdTaken));
    bench.sends(r#"{"message_type":"signal","from":"n","to":"n"}"#);
    one(&inbox, &["signal"]);
    bench.hub.unregister("a");
    bench.joins("a", "m");
}

#[test]
fn what_happens_is_told_to_the_logger() {
    let mut bench = Bench::new();
    bench.joins("page", "n");
    bench.hub.unregister("page");
    let records = bench.records.lock().unwrap();
    let about: Vec<&str> = records.iter().filter_map(|(_, text)| text.strip_prefix("page ")).collect();
    assert!(about[0].starts_with("connected"), "{records:?}");
    assert!(about.iter().any(|text| text.starts_with("left (lost): n")), "{records:?}");
    assert!(records.iter().any(|(level, _)| *level == Level::Info), "{records:?}");
}

#[test]
fn what_is_no_registration_is_refused() {
    let mut bench = Bench::new();
    for (message, why) in [
        ("hello", "no JSON at byte 1"),
        ("[]", "no JSON object"),
        (r#"{"message_type":"signal","from":"n"}"#, "must be a \"register\""),
        (r#"{"message_id":1,"message_type":"register","from":"n","to":"m"}"#, "must be a \"register\""),
        (r#"{"message_id":1,"message_type":"register","from":""}"#, "\"from\" is"),
    ] {
        let error = bench.hub.register("a", message, |_| Ok(())).expect_err(message).to_string();
        assert!(error.contains(why), "{error}");
    }
    let (sender, inbox) = channel();
    let refused =
        bench.hub.register("a", &register("telex.n"), move |line| Ok(sender.send(line.to_owned())?));
    assert!(matches!(&refused, Err(Error::Refused { code, .. }) if code == "denied"), "{refused:?}");
    one(&inbox, &["register_reply", r#""code":"denied""#]);
    assert_eq!(bench.hub.core.connections(), 0);
    bench.joins("a", "n");
}

#[test]
fn every_connection_of_a_node_gets_each_message() {
    let mut bench = Bench::new();
    let (page1, page2, ctrl) =
        (bench.joins("1", "display"), bench.joins("2", "display"), bench.joins("3", "ctrl"));
    // Ids are plain numbers or strings.
    for id in ["7", "\"q\""] {
        let request = format!(
            r#"{{"message_id":{id},"message_type":"select_and_get","from":"ctrl","to":"display","body":{{"eval_code":"1"}}}}"#
        );
        bench.sends(&request);
        assert_eq!((lines(&page1), lines(&page2)), (vec![request.clone()], vec![request]));
        // Each of the two answers; the getter takes any one.
        for result in ["one", "two"] {
            bench.sends(&format!(
                r#"{{"message_id":2,"message_type":"select_and_get_reply","from":"display","to":"ctrl","body":{{"error":null,"in_reply_to":{id},"result":"{result}"}}}}"#
            ));
            one(&ctrl, &[result]);
        }
    }
    assert_eq!((lines(&page1).len(), lines(&page2).len()), (0, 0));
    // Signals have in_reply_to, too, and pass as often as they come.
    for _ in 0..2 {
        bench.sends(
            r#"{"message_id":9,"message_type":"signal","from":"display","to":"ctrl","body":{"error":null,"in_reply_to":7,"callback_this":null,"callback_args":[1]}}"#,
        );
        one(&ctrl, &["callback_args"]);
    }
}

#[test]
fn a_message_without_a_receiver_is_told() {
    let mut bench = Bench::new();
    let ctrl = bench.joins("3", "ctrl");
    for kind in ["select_and_get", "select_and_listen", "anything"] {
        bench.sends(&format!(r#"{{"message_id":4,"message_type":"{kind}","from":"ctrl","to":"x"}}"#));
        one(
            &ctrl,
            &[&format!("{kind}_reply"), r#""from":null"#, r#""code":"no_such_node""#, r#""in_reply_to":4"#],
        );
    }
    bench.sends(r#"{"message_id":4,"message_type":"signal","from":"ctrl","to":"x"}"#);
    one(&ctrl, &[r#""message_type":"error""#, "no_such_node"]);
    // No `to` is the same as null: the hub itself, which ignores signals and knows few requests.
    for to in ["", r#","to":null"#] {
        bench.sends(&format!(r#"{{"message_id":4,"message_type":"signal","from":"ctrl"{to}}}"#));
        assert_eq!(lines(&ctrl).len(), 0);
        bench.sends(&format!(r#"{{"message_id":4,"message_type":"ask","from":"ctrl"{to}}}"#));
        one(&ctrl, &["unknown_type"]);
        bench.sends(&format!(r#"{{"message_id":4,"message_type":"ping","from":"ctrl"{to}}}"#));
        one(&ctrl, &["ping_reply", r#""error":null"#]);
    }
}

#[test]
fn a_second_register_on_a_connection_adds_a_node() {
    let mut bench = Bench::new();
    let inbox = bench.joins("1", "n");
    bench.hub.distribute_from("1", &register("m")).unwrap();
    one(&inbox, &["register_reply", r#""to":"m""#]);
    bench.sends(r#"{"message_type":"signal","from":"m","to":"n"}"#);
    one(&inbox, &["signal"]);
}

#[test]
fn unregister_ends_one_connection_and_no_other() {
    let mut bench = Bench::new();
    let (page1, page2, ctrl) =
        (bench.joins("1", "display"), bench.joins("2", "display"), bench.joins("3", "ctrl"));
    assert_eq!(bench.hub.unregister("unknown"), []);
    bench.hub.unregister("1");
    bench.sends(r#"{"message_type":"signal","from":"ctrl","to":"display"}"#);
    assert_eq!((lines(&page1).len(), lines(&page2).len()), (0, 1));
    bench.sends(r#"{"message_id":1,"message_type":"ask","from":"ctrl","to":"display"}"#);
    bench.hub.unregister("2");
    one(&ctrl, &["ask_reply", "node_gone"]);
    let gone = bench.hub.distribute(r#"{"message_type":"signal","from":"display","to":"ctrl"}"#);
    assert_eq!(gone, Err(Error::NoSuchSender));
    assert_eq!(bench.hub.distribute_from("1", "{}"), Err(Error::NoSuchSender));
}

#[test]
fn a_sender_that_fails_or_panics_hides_the_message_from_no_other() {
    let mut bench = Bench::new();
    let first = bench.joins("first", "n");
    let calls = |ill: fn() -> Sent| {
        let mut count = 0;
        move |_: &str| {
            count += 1;
            if count > 1 { ill() } else { Ok(()) }
        }
    };
    bench.hub.register("failing", &register("n"), calls(|| Err("full".into()))).unwrap();
    bench.hub.register("panicking", &register("n"), calls(|| panic!("at the sender"))).unwrap();
    let last = bench.joins("last", "n");
    bench
        .hub
        .distribute_from("last", r#"{"message_id":"m","message_type":"monitor","body":{"node_id":"n"}}"#)
        .unwrap();
    assert_eq!(lines(&last).len(), 5);
    let failed = bench.hub.distribute(r#"{"message_type":"signal","from":"n","to":"n"}"#).unwrap();
    let told: Vec<_> = failed.iter().map(|it| (it.unique_id.as_str(), it.why.as_str())).collect();
    assert_eq!(told, [("failing", "full"), ("panicking", "panicked: at the sender")]);
    // The sender is told of the two that did not get it.
    let to_first = lines(&first);
    assert!(to_first[0].contains("signal") && to_first[1..].iter().all(|line| line.contains("node_gone")));
    assert_eq!(to_first.len(), 3);
    let to_last = lines(&last);
    assert!(to_last[0].contains(r#""message_type":"signal","from":"n""#), "{to_last:?}");
    assert_eq!(to_last.iter().filter(|line| line.contains(r#""event":"node_down""#)).count(), 2);
    // They have ended, and their unique ids are free.
    bench.sends(r#"{"message_type":"signal","from":"n","to":"n"}"#);
    bench.joins("failing", "n");
    let records = bench.records.lock().unwrap();
    assert!(records.contains(&(Level::Warning, "failing takes no more: full".to_owned())), "{records:?}");
}

#[test]
fn a_new_connection_whose_sender_fails_is_not_there() {
    let mut bench = Bench::new();
    let refused = bench.hub.register("1", &register("n"), |_| Err("full".into()));
    assert_eq!(refused, Err(Error::SenderFailed { why: "full".into() }));
    assert_eq!(bench.hub.core.connections(), 0);
    bench.joins("1", "n");
}

#[test]
fn names_that_the_protocol_knows() {
    let mut bench = Bench::new();
    let zero = bench.joins("1", "0");
    bench.sends(r#"{"message_id":5,"message_type":"signal","from":"0","to":0}"#);
    one(&zero, &["bad_field"]);
    // Fields that are not known pass.
    bench.sends(r#"{"message_type":"signal","from":"0","to":"0","extra":[1,{"a":2}]}"#);
    one(&zero, &[r#""extra":[1,{"a":2}]"#]);
}

#[test]
fn what_is_at_fault_is_told() {
    let mut bench = Bench::new();
    let inbox = bench.joins("1", "n");
    assert!(matches!(bench.hub.distribute("nonsense"), Err(Error::BadMessage { .. })));
    assert_eq!(bench.hub.distribute(r#"{"message_type":"signal","to":"n"}"#), Err(Error::NoSuchSender));
    bench.hub.distribute_from("1", "nonsense").unwrap();
    one(&inbox, &["bad_json"]);
    bench.hub.distribute_from("1", "{\n\"message_type\":\"signal\",\r\n\"to\":\"n\"}").unwrap();
    one(&inbox, &[r#""from":"n""#]);
    for _ in 0..100 {
        bench.hub.distribute_from("1", "nonsense").unwrap_or_default();
    }
    assert_eq!(bench.hub.distribute_from("1", "nonsense"), Err(Error::NoSuchSender));
    bench.joins("1", "n");
}

#[test]
fn time_is_told_by_ticks() {
    let mut bench = Bench::new();
    let (asker, _silent) = (bench.joins("1", "asker"), bench.joins("2", "silent"));
    assert_eq!(bench.hub.next_tick(), None);
    bench.sends(r#"{"message_id":1,"message_type":"ask","from":"asker","to":"silent","timeout_ms":500}"#);
    assert_eq!(bench.hub.next_tick(), Some(Duration::from_millis(500)));
    bench.passes(Duration::from_millis(499));
    assert_eq!((bench.hub.tick(), lines(&asker).len()), (vec![], 0));
    bench.passes(Duration::from_millis(1));
    assert_eq!(bench.hub.next_tick(), Some(Duration::ZERO));
    bench.hub.tick();
    one(&asker, &["ask_reply", r#""code":"timeout""#]);
    assert_eq!(bench.hub.next_tick(), None);
}

#[test]
fn a_long_line_and_a_crowd_pass_in_one_call() {
    let mut bench = Bench::new();
    let sender = bench.joins("s", "s");
    let crowd: Vec<_> = (0..3000).map(|at| bench.joins(&at.to_string(), "crowd")).collect();
    let body = "x".repeat(900_000);
    bench.sends(&format!(r#"{{"message_type":"signal","from":"s","to":"s","body":"{body}"}}"#));
    assert!(one(&sender, &[]).contains(&body));
    bench.sends(r#"{"message_type":"signal","from":"s","to":"crowd"}"#);
    assert!(crowd.iter().all(|inbox| lines(inbox).len() == 1));
}

#[test]
fn the_end_is_told() {
    let mut bench = Bench::new();
    let (a, b) = (bench.joins("1", "a"), bench.joins("2", "b"));
    bench.sends(r#"{"message_id":1,"message_type":"ask","from":"a","to":"b"}"#);
    assert_eq!(bench.hub.shut_down(), []);
    let to_a = lines(&a);
    assert!(to_a[0].contains("node_gone") && to_a[1].contains("shutdown"), "{to_a:?}");
    assert_eq!(lines(&b).len(), 2);
}
