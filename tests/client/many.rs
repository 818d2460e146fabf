//! Many calls at once, from many threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{scope, sleep};
use std::time::Duration;

use telex::client::{Arrival, To};

use crate::daemon::{Daemon, SOON};

const CALLS: usize = 10_000;

#[test]
fn ten_thousand_calls_at_once_are_all_answered_once() {
    let daemon = Daemon::start(&["max_requests=300"]);
    let service = daemon.connect();
    service.register("double").wait().expect("registered");
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    service.on("double", move |request| {
        count.fetch_add(1, Ordering::Relaxed);
        let n = request.body_value().as_u64().ok_or("no number")?;
        Ok::<_, &str>((2 * n).to_string())
    });
    let client = daemon.connect();
    let (tell, told) = mpsc::channel();
    let answers: Vec<_> =
        (0..CALLS).map(|n| client.call("double", "double", &n.to_string(), 4 * SOON)).collect();
    for (n, answer) in answers.into_iter().enumerate() {
        let tell = tell.clone();
        answer.then(move |answer| tell.send((n, answer)).expect("told"));
    }
    for _ in 0..CALLS {
        let (n, answer) = told.recv_timeout(SOON).expect("an answer");
        assert_eq!(answer.expect("a reply").result(), Some(&*(2 * n).to_string()));
    }
    assert_eq!(served.load(Ordering::Relaxed), CALLS);
}

#[test]
fn threads_share_a_handle() {
    let daemon = Daemon::start(&[]);
    let service = daemon.connect();
    service.register("echo").wait().expect("registered");
    service.on("echo", |request| Ok::<_, String>(request.body().unwrap_or("null").to_owned()));
    let client = daemon.connect();
    scope(|threads| {
        for thread in 0..8 {
            let client = client.clone();
            threads.spawn(move || {
                for n in 0..200 {
                    let body = format!("\"{thread}-{n}\"");
                    let reply = client.call("echo", "echo", &body, SOON).wait().expect("a reply");
                    assert_eq!(reply.result(), Some(&*body));
                }
            });
        }
    });
}

#[test]
fn what_is_published_comes_in_order_or_is_told_to_be_missing() {
    const MESSAGES: u64 = 20_000;
    let daemon = Daemon::start(&[]);
    let subscriber = daemon.connect();
    let mut news = subscriber.subscribe("news.>", None).wait().expect("subscribed");
    let publisher = daemon.connect();
    for n in 0..MESSAGES {
        publisher.publish("news.all", &n.to_string()).expect("sent");
    }
    publisher.ping().wait().expect("all is handled");
    let mut expected = 0;
    while expected < MESSAGES {
        match news.wait(Some(SOON)).expect("no error").expect("an arrival") {
            Arrival::Message(message) => {
                assert_eq!(message.body_value(), expected);
                expected += 1;
            }
            Arrival::Missed(count) => expected += count.expect("a count"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn all_subscribers_of_a_topic_are_gathered() {
    let daemon = Daemon::start(&[]);
    let sensors: Vec<_> = (0..5).map(|_| daemon.connect()).collect();
    let topics: Vec<_> = sensors
        .iter()
        .map(|sensor| {
            sensor.on("read", |_| Ok::<_, String>("1"));
            sensor.subscribe("sensors", None).wait().expect("subscribed")
        })
        .collect();
    let client = daemon.connect();
    let mut replies = client.gather(To::Topic("sensors"), "read", "", Duration::from_secs(1));
    assert_eq!(replies.iter().filter(Result::is_ok).count(), topics.len());
}

/// Callers that wait, and a service that takes its time, cost next to nothing meanwhile.
#[test]
fn waiting_does_not_spin() {
    let daemon = Daemon::start_alone(&["max_requests=5"]);
    let service = daemon.connect();
    service.register("slow").wait().expect("registered");
    service.on("ask", |_| {
        sleep(Duration::from_millis(20));
        Ok::<_, String>("")
    });
    let client = daemon.connect();
    let before = cpu();
    let answers: Vec<_> = (0..50).map(|_| client.call("slow", "ask", "", SOON)).collect();
    answers.into_iter().for_each(|answer| drop(answer.wait().expect("a reply")));
    assert!(cpu() - before < Duration::from_millis(500), "{:?}", cpu() - before);
}

/// Time that this process has spent on a processor.
fn cpu() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).expect("usage");
    let time = usage.user_time() + usage.system_time();
    let micros = nix::sys::time::TimeValLike::num_microseconds(&time);
    Duration::from_micros(micros.unsigned_abs())
}
