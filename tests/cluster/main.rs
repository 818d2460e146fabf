//! The cluster of switches from outside: real daemons, which are killed, frozen and started again.
//!
//! `TELEX_CLUSTER_SECONDS` says how long the daemons are killed under load: 4 s, unless it says more.

#![cfg(feature = "daemon")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "figures, and the daemon's log")]

#[allow(unreachable_pub, reason = "it stands in the documentation, too")]
mod bank;
mod direct;
mod load;
mod worker;

#[expect(dead_code, unused_imports, reason = "other tests use the rest")]
#[path = "../support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::pin::pin;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use support::{PATIENCE, Starter, Telexd, wait_until};
use telex::client::switches::{Answer, Ask, CallError, Outcome, Request, SendError, Switches};
use telex::cluster::{Balance, Call, ErrorKind, Message, Settings};
use worker::Worker;

fn ask(body: &str) -> Request {
    Message::new(Ask::new("worker", "work", body))
}

/// A request that names itself.
fn tagged(tag: u64) -> Request {
    ask(&format!(r#"{{"tag":{tag}}}"#))
}

fn settings(daemons: &[&Telexd]) -> Settings {
    let list: Vec<&str> = daemons.iter().map(|daemon| daemon.addresses[0].as_str()).collect();
    Settings::of(&list.join(",")).expect("a list of servers")
}

fn tag_of(outcome: Outcome) -> u64 {
    let reply = outcome.expect("a reply").expect("one is wanted");
    reply.body_value()["tag"].as_u64().expect("a tag")
}

fn tags_of(outcomes: Vec<Outcome>) -> Vec<u64> {
    outcomes.into_iter().map(tag_of).collect()
}

/// What a callback tells its test, which may be over.
type Told = Result<u64, ErrorKind>;

fn tell(sender: &Sender<Told>, told: Told) {
    let _ = sender.send(told);
}

fn kind_of(outcome: Outcome) -> ErrorKind {
    match outcome {
        Err(SendError::Failed(why)) => why.kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn replies_come_in_the_order_of_the_requests() {
    let (tcp, unix) = (Starter::new().listen("127.0.0.1:0").start(), Telexd::start());
    let workers = [Worker::start(&tcp.addresses[0]), Worker::start(&unix.addresses[0])];
    let switches = Switches::new(settings(&[&tcp, &unix])).expect("a cluster");
    let outcomes = switches.send_bulk((0..100).map(tagged));
    assert_eq!(tags_of(outcomes), (0..100).collect::<Vec<_>>());
    assert_eq!(workers.each_ref().map(|worker| worker.counts().len()), [50, 50], "in turn");
    assert!(switches.send_bulk([]).is_empty());
    // A node's own error is an answer; one in the bulk hides no other.
    let mut outcomes = switches.send_bulk([ask(r#"{"fail":true}"#), tagged(7), ask("{")]);
    assert_eq!(kind_of(outcomes.pop().expect("three")), ErrorKind::Unsendable);
    assert_eq!(tag_of(outcomes.pop().expect("two")), 7);
    match outcomes.pop().expect("one") {
        Err(SendError::Refused(refused)) => assert_eq!(refused.error(), "as you wish"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_switch_refuses_is_tried_at_the_next() {
    let (empty, full) = (Telexd::start(), Telexd::start());
    let worker = Worker::start(&full.addresses[0]);
    let switches = Switches::new(settings(&[&empty, &full])).expect("a cluster");
    for tag in 0..4 {
        assert_eq!(tag_of(switches.send(tagged(tag))), tag);
    }
    assert_eq!(worker.counts().len(), 4);
    let lost = Message::new(Ask::new("nobody", "work", ""));
    match switches.send(lost) {
        Err(SendError::Failed(why)) => {
            assert_eq!((why.kind, why.tries, why.may_be_executed), (ErrorKind::Refused, 2, false));
            assert!(why.to_string().contains("no_such_node"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    // Signals are done when they are written.
    assert!(matches!(switches.send(Ask::signal("worker", r#"{"tag":9}"#)), Ok(None)));
    let all =
        || worker.counts().len() + usize::from(switches.send(Ask::signal("worker", r#"{"tag":9}"#)).is_err());
    wait_until("a signal", || all() == 5);
}

#[test]
fn a_frozen_switch_is_passed_over_until_it_answers() {
    let (frozen, well) = (Telexd::start(), Telexd::start());
    let workers = [Worker::start(&frozen.addresses[0]), Worker::start(&well.addresses[0])];
    let timeout = Some(Duration::from_millis(1500));
    let probe_interval = Duration::from_millis(100);
    let switches = Switches::new(Settings { timeout, probe_interval, ..settings(&[&frozen, &well]) });
    let switches = switches.expect("a cluster");
    assert_eq!(tags_of(switches.send_bulk((0..2).map(tagged))), (0..2).collect::<Vec<_>>());
    frozen.suspend();
    let outcomes = switches.send_bulk((2..4).map(|tag| tagged(tag).retry()));
    assert_eq!(tags_of(outcomes), [2, 3]);
    assert_eq!(switches.send_bulk((4..14).map(tagged)).into_iter().map(tag_of).max(), Some(13));
    frozen.resume();
    let before = workers[0].counts().len();
    wait_until("the switch is used again", || {
        tag_of(switches.send(tagged(99).retry()));
        workers[0].counts().len() > before
    });
}

#[test]
fn callbacks_are_told_everything_and_must_not_wait() {
    let telexd = Telexd::start();
    let worker = Worker::start(&telexd.addresses[0]);
    let switches = Switches::new(settings(&[&telexd])).expect("a cluster");
    let (sender, told) = channel();
    let inner = switches.clone();
    let again = sender.clone();
    switches.send_then(tagged(1), move |outcome| {
        tell(&sender, Ok(tag_of(outcome)));
        tell(&sender, Err(kind_of(inner.send(tagged(2)))));
        inner.send_then(tagged(3), move |outcome| tell(&sender, Ok(tag_of(outcome))));
        panic!("a callback's own");
    });
    let next = || told.recv_timeout(PATIENCE).expect("a callback");
    assert_eq!([next(), next(), next()], [Ok(1), Err(ErrorKind::InCallback), Ok(3)]);
    let sender = again.clone();
    switches.send_then(ask(r#"{"silent":true}"#), move |outcome| tell(&sender, Err(kind_of(outcome))));
    wait_until("a request in flight", || worker.silenced() == 1);
    switches.disconnect_all();
    assert_eq!(next(), Err(ErrorKind::Disconnected));
    assert_eq!(tag_of(switches.send(tagged(5))), 5, "it connects anew");
    let sender = again.clone();
    switches.send_then(ask(r#"{"silent":true}"#), move |outcome| tell(&sender, Err(kind_of(outcome))));
    drop(switches);
    // The handle in the callback went with it.
    assert_eq!(next(), Err(ErrorKind::Disconnected));
}

/// What a server does that is no switch, once it has been asked.
#[derive(Clone, Copy, Debug)]
enum Rogue {
    TalksRubbish,
    EndsInMidLine,
    Ends,
    AnswersTwice,
    SaysNothing,
    NeverEndsALine,
}

/// A rogue at its address, for as long as the test program runs.
fn rogue(what: Rogue) -> String {
    let name = format!("telex-rogue-{}-{what:?}", std::process::id());
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).expect("a name"));
    let listener = listener.expect("a listener");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|count| count > 0) {
                let asked: serde_json::Value = serde_json::from_str(&line).expect(&line);
                let reply = serde_json::json!({
                    "message_type": "work_reply",
                    "from": "worker",
                    "body": {"in_reply_to": asked["message_id"], "error": null, "tag": asked["body"]["tag"]},
                });
                let said = match what {
                    Rogue::NeverEndsALine => "x".repeat(100 << 20),
                    Rogue::TalksRubbish => "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(),
                    Rogue::EndsInMidLine => reply.to_string()[..40].to_owned(),
                    Rogue::AnswersTwice => format!("{reply}\n{reply}\n"),
                    Rogue::Ends | Rogue::SaysNothing => String::new(),
                };
                // It may have been left by then.
                let _ = stream.get_mut().write_all(said.as_bytes());
                if matches!(what, Rogue::Ends | Rogue::EndsInMidLine) {
                    break;
                }
                line.clear();
            }
        }
    });
    format!("unix:@{name}")
}

#[test]
fn what_a_rogue_does_is_an_error_or_another_try() {
    let telexd = Telexd::start();
    let _worker = Worker::start(&telexd.addresses[0]);
    for (what, kind) in [
        (Rogue::TalksRubbish, ErrorKind::Lost),
        (Rogue::EndsInMidLine, ErrorKind::Lost),
        (Rogue::Ends, ErrorKind::Lost),
        (Rogue::SaysNothing, ErrorKind::Timeout),
        (Rogue::NeverEndsALine, ErrorKind::Timeout),
    ] {
        let list = format!("{},{}", rogue(what), telexd.addresses[0]);
        let timeout = Some(Duration::from_secs(1));
        let new = || Switches::new(Settings { timeout, ..Settings::of(&list).expect("a list") });
        match new().expect("a cluster").send(tagged(1)) {
            Err(SendError::Failed(why)) => {
                assert_eq!((why.kind, why.tries, why.may_be_executed), (kind, 1, true), "{what:?}: {why}");
            }
            other => panic!("{what:?}: {other:?}"),
        }
        let switches = new().expect("a cluster");
        let mut outcomes = switches.send_bulk([tagged(3).retry(), tagged(4).retry()]);
        assert_eq!(tag_of(outcomes.remove(1)), 4, "{what:?}");
        assert_eq!(tag_of(outcomes.remove(0)), 3, "{what:?}");
    }
    let switches = Switches::new(Settings::of(&rogue(Rogue::AnswersTwice)).expect("a list"));
    let outcomes = switches.expect("a cluster").send_bulk((0..20).map(tagged));
    assert_eq!(tags_of(outcomes), (0..20).collect::<Vec<_>>());
}

/// Awaits on this thread, as the smallest of executors does.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park_timeout(PATIENCE),
        }
    }
}

#[test]
fn futures_are_ready_when_the_answer_is_there() {
    let telexd = Telexd::start();
    let worker = Worker::start(&telexd.addresses[0]);
    let switches = Switches::new(settings(&[&telexd])).expect("a cluster");
    let both = async {
        let first = switches.send_async(tagged(1));
        (tag_of(switches.send_async(tagged(2)).await), tag_of(first.await))
    };
    assert_eq!(block_on(both), (2, 1));
    // One that is never awaited is sent, too.
    drop(switches.send_async(tagged(3)));
    wait_until("the third", || worker.counts().len() == 3);
    let last = switches.send_async(ask(r#"{"silent":true}"#));
    drop(switches);
    assert_eq!(kind_of(block_on(last)), ErrorKind::Disconnected);
}

/// A number, which is doubled if its answer is believed.
struct Twice(u64);

impl Call<Ask, Answer> for Twice {
    type Reply = u64;
    type Error = String;
    const RETRY: bool = true;

    fn request(&self) -> Ask {
        Ask::new("worker", "work", &format!(r#"{{"tag":{},"fail":{}}}"#, self.0, self.0 == 0))
    }

    fn key(&self) -> Option<String> {
        Some(self.0.to_string())
    }

    fn is_retry(answer: &Answer) -> bool {
        answer.is_err()
    }

    fn reply(answer: Answer) -> Result<u64, String> {
        let reply = answer.map_err(|refused| refused.error().to_owned())?;
        reply.body_value()["tag"].as_u64().map(|tag| 2 * tag).ok_or("no tag".to_owned())
    }
}

#[test]
fn typed_calls_have_their_replies_keys_and_retries() {
    let (one, other) = (Telexd::start(), Telexd::start());
    let workers = [Worker::start(&one.addresses[0]), Worker::start(&other.addresses[0])];
    let balance = Balance::HashCrc32;
    let switches = Switches::new(Settings { balance, ..settings(&[&one, &other]) }).expect("a cluster");
    (1..9).for_each(|number| assert_eq!(switches.call(&Twice(number)), Ok(2 * number)));
    let counts = workers.each_ref().map(|worker| worker.counts().len());
    assert!(counts.iter().all(|count| *count > 0) && counts.iter().sum::<usize>() == 8, "{counts:?}");
    assert_eq!(switches.call(&Twice(0)), Err(CallError::Answer("as you wish".to_owned())));
    let tries: u32 = workers.iter().filter_map(|worker| worker.counts().get(&0).copied()).sum();
    assert_eq!(tries, 2, "the answer asked for another try");
    let no_key = switches.send(tagged(1));
    assert_eq!(kind_of(no_key), ErrorKind::NoKey);
}

#[test]
fn settings_change_while_it_runs() {
    let (one, other) = (Telexd::start(), Telexd::start());
    let workers = [Worker::start(&one.addresses[0]), Worker::start(&other.addresses[0])];
    let switches = Switches::new(settings(&[&one, &other])).expect("a cluster");
    let counts = || workers.each_ref().map(|worker| worker.counts().len());
    assert!(switches.set_weight(1, 3) && !switches.set_weight(1, 0) && !switches.set_active(2, true));
    assert_eq!(tags_of(switches.send_bulk((0..8).map(tagged))), (0..8).collect::<Vec<_>>());
    assert_eq!(counts(), [2, 6]);
    assert!(switches.set_active(1, false));
    assert_eq!(tags_of(switches.send_bulk((8..12).map(tagged))), (8..12).collect::<Vec<_>>());
    assert_eq!(counts(), [6, 6]);
    switches.set_timeout(Some(Duration::from_millis(50)));
    assert_eq!(kind_of(switches.send(ask(r#"{"silent":true}"#))), ErrorKind::Timeout);
}

#[test]
fn a_forked_child_leaves_the_parents_sockets_alone() {
    let telexd = Telexd::start();
    let _worker = Worker::start(&telexd.addresses[0]);
    let switches = Switches::new(settings(&[&telexd])).expect("a cluster");
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&events);
    switches.set_debug(move |event| told.lock().expect("events").push(event.to_string()));
    assert_eq!(tag_of(switches.send(tagged(1))), 1);
    let settings = settings(&[&telexd]);
    // SAFETY: the child makes threads and memory of its own, touches no lock of the parent's threads, and ends
    // by _exit.
    #[expect(unsafe_code, reason = "fork(2) is what this is about")]
    let child = match unsafe { nix::unistd::fork() }.expect("a child") {
        nix::unistd::ForkResult::Parent { child } => child,
        nix::unistd::ForkResult::Child => {
            let is_gone = kind_of(switches.send(tagged(2))) == ErrorKind::Disconnected;
            drop(switches);
            let anew = Switches::new(settings).is_ok_and(|anew| tag_of(anew.send(tagged(3))) == 3);
            unsafe { nix::libc::_exit(i32::from(!(is_gone && anew))) }
        }
    };
    let status = nix::sys::wait::waitpid(child, None).expect("its end");
    assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
    assert_eq!(tag_of(switches.send(tagged(4))), 4);
    let events = events.lock().expect("events");
    let connected = events.iter().filter(|event| event.starts_with("connects to")).count();
    assert_eq!(connected, 1, "{events:?}");
}
