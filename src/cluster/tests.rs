//! One rule of the cluster each, over a wire that the test plays.

mod property;

use std::collections::VecDeque;
use std::time::Duration;

use super::*;

/// Writes down what is asked of it, and tells what the test says.
#[derive(Default)]
struct Wire {
    log: Vec<String>,
    facts: VecDeque<Fact<String>>,
    last: Option<TryId>,
}

impl Connector for Wire {
    type Request = &'static str;
    type Answer = String;

    fn open(&mut self, link: LinkId, server: &Server, _: &LinkOptions) {
        self.log.push(format!("open {} {server}", link.number()));
    }

    fn send(&mut self, link: LinkId, one: Try<'_>, request: &&'static str) {
        self.log.push(format!("send {} {request} {}", link.number(), one.id.nth));
        self.last = Some(one.id);
    }

    fn probe(&mut self, link: LinkId) {
        self.log.push(format!("probe {}", link.number()));
    }

    fn close(&mut self, link: LinkId) {
        self.log.push(format!("close {}", link.number()));
    }

    fn answer(&mut self) -> Option<Fact<String>> {
        self.facts.pop_front()
    }
}

struct Bench {
    cluster: Cluster<Wire>,
    now: Duration,
}

type Request = Message<&'static str, String>;

impl Bench {
    fn new(settings: Settings) -> Bench {
        Bench { cluster: Cluster::new(settings, Wire::default()), now: Duration::from_secs(100) }
    }

    /// Servers a, b, c; each is called by its letter.
    fn of(list: &str) -> Bench {
        Bench::new(Settings::of(list).unwrap())
    }

    fn submit(&mut self, message: Request) -> RequestId {
        let id = self.cluster.submit(message, self.now);
        self.cluster.check();
        id
    }

    fn fact(&mut self, fact: Fact<String>) {
        self.cluster.connector().facts.push_back(fact);
        self.cluster.step(self.now);
        self.cluster.check();
    }

    fn opened(&mut self, link: u64) {
        self.fact(Fact::Opened(LinkId(link)));
    }

    fn ended(&mut self, link: u64) {
        self.fact(Fact::Ended { link: LinkId(link), why: "reset".to_owned() });
    }

    /// The try that was sent last is answered.
    fn answered(&mut self, answer: &str) {
        let id = self.cluster.connector().last.unwrap();
        self.fact(Fact::Answered { id, answer: answer.to_owned() });
    }

    fn failed(&mut self, fate: Fate) {
        let id = self.cluster.connector().last.unwrap();
        self.fact(Fact::Failed { id, fate, why: "no".to_owned() });
    }

    fn passes(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.cluster.step(self.now);
        self.cluster.check();
    }

    fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.cluster.connector().log)
    }

    fn done(&mut self) -> Vec<Result<Option<String>, (ErrorKind, u32, bool)>> {
        let done = std::iter::from_fn(|| self.cluster.next_done());
        done.map(|it| it.outcome.map_err(|why| (why.kind, why.tries, why.may_be_executed))).collect()
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_connection_is_made_at_the_first_send_and_kept() {
    let mut bench = Bench::of("a:1");
    assert!(bench.log().is_empty());
    bench.submit(Message::new("x"));
    bench.opened(1);
    bench.answered("y");
    bench.submit(Message::new("z"));
    assert_eq!(bench.log(), ["open 1 tcp:a:1", "send 1 x 1", "send 1 z 1"]);
    assert_eq!(bench.done(), [Ok(Some("y".to_owned()))]);
}

#[test]
fn what_was_not_executed_is_tried_elsewhere() {
    let mut bench = Bench::of("a:1,b:1");
    bench.submit(Message::new("x"));
    bench.ended(1);
    bench.opened(2);
    bench.failed(Fate::NotExecuted);
    assert_eq!(
        bench.log(),
        ["open 1 tcp:a:1", "open 2 tcp:b:1", "send 2 x 1"].map(|it| it.replace("x 1", "x 2"))
    );
    assert_eq!(bench.done(), [Err((ErrorKind::Refused, 2, false))], "two tries are all");
    assert!(bench.cluster.is_out(0) && !bench.cluster.is_out(1));
}

#[test]
fn what_may_have_been_executed_is_tried_again_only_if_the_message_says_so() {
    for (message, done) in
        [(Message::new("x"), vec![Err((ErrorKind::Lost, 1, true))]), (Message::new("x").retry(), vec![])]
    {
        let mut bench = Bench::of("a:1,b:1");
        bench.submit(message);
        bench.opened(1);
        bench.ended(1);
        assert_eq!(bench.done(), done);
        assert_eq!(bench.log().len() - done.len(), if done.is_empty() { 3 } else { 1 });
    }
    let mut bench = Bench::of("a:1,b:1");
    bench.submit(Message::new("x").retry());
    bench.opened(1);
    bench.failed(Fate::Final(ErrorKind::Unsendable));
    assert_eq!(bench.done(), [Err((ErrorKind::Unsendable, 1, false))]);
}

#[test]
fn a_retry_goes_along_the_walk_of_its_key() {
    let list = "10.0.0.1:33013:1,10.0.0.2:33013:2,10.0.0.3:33013:3";
    for (key, order) in [("c", [3, 2]), ("key2", [3, 1]), ("user:1", [3, 2])] {
        let settings = Settings { balance: Balance::HashCrc32, ..Settings::of(list).unwrap() };
        let mut bench = Bench::new(settings);
        bench.submit(Message::new("x").key(key).retry());
        bench.opened(1);
        bench.ended(1);
        let opened: Vec<String> = bench.log().into_iter().filter(|line| line.starts_with("open")).collect();
        assert_eq!(opened, [1, 2].map(|nth| format!("open {nth} tcp:10.0.0.{}:33013", order[nth - 1])));
    }
}

#[test]
fn a_key_is_needed_where_there_is_a_choice() {
    for (list, done) in [("a:1", vec![]), ("a:1,b:1", vec![Err((ErrorKind::NoKey, 0, false))])] {
        let mut bench = Bench::new(Settings { balance: Balance::Ketama, ..Settings::of(list).unwrap() });
        bench.submit(Message::new("x"));
        assert_eq!(bench.done(), done);
    }
}

#[test]
fn queues_are_first_come_first_served() {
    let settings = Settings { max_parallel: 3, max_parallel_per_server: 2, ..Settings::of("a:1").unwrap() };
    let mut bench = Bench::new(settings);
    for name in ["1", "2", "3", "4", "5"] {
        bench.submit(Message::new(name));
    }
    bench.opened(1);
    assert_eq!(bench.log(), ["open 1 tcp:a:1", "send 1 1 1", "send 1 2 1"]);
    for name in ["3", "4", "5"] {
        bench.answered("");
        assert_eq!(bench.log(), [format!("send 1 {name} 1")]);
    }
    // Waiting is no time of theirs.
    bench.passes(1999);
    assert_eq!(bench.done().len(), 3);
}

#[test]
fn an_answer_may_ask_for_another_try() {
    let mut bench = Bench::of("a:1,b:1");
    let asks = || Message::new("x").is_retry(|answer: &String| answer == "busy");
    bench.submit(asks().retry());
    bench.opened(1);
    bench.answered("busy");
    bench.opened(2);
    bench.answered("busy");
    assert_eq!(bench.done(), [Ok(Some("busy".to_owned()))]);
    bench.submit(asks());
    bench.answered("busy");
    assert_eq!(bench.done(), [Ok(Some("busy".to_owned()))]);
    let sent: Vec<String> = bench.log().into_iter().filter(|line| line.starts_with("send")).collect();
    assert_eq!(sent, ["send 1 x 1", "send 2 x 2", "send 2 x 1"]);
}

#[test]
fn each_try_has_its_time() {
    let mut bench = Bench::of("a:1,b:1");
    bench.submit(Message::new("x").retry());
    bench.opened(1);
    assert_eq!(bench.cluster.next_deadline(), Some(bench.now + ms(2000)));
    bench.passes(1999);
    assert!(!bench.cluster.is_out(0));
    bench.passes(1);
    assert!(bench.cluster.is_out(0), "not a word came");
    assert_eq!(bench.log(), ["open 1 tcp:a:1", "send 1 x 1", "probe 1", "open 2 tcp:b:1"]);
    bench.opened(2);
    let late = TryId { request: RequestId(1), nth: 1 };
    bench.fact(Fact::Answered { id: late, answer: "late".to_owned() });
    assert_eq!(bench.done(), []);
    bench.answered("y");
    assert_eq!(bench.done(), [Ok(Some("y".to_owned()))]);
    bench.fact(Fact::Probed(LinkId(1)));
    assert!(!bench.cluster.is_out(0));
}

#[test]
fn a_busy_server_is_not_out_for_one_answer_that_did_not_come() {
    let mut bench = Bench::of("a:1");
    bench.submit(Message::new("x"));
    bench.opened(1);
    bench.passes(1500);
    bench.submit(Message::new("y"));
    bench.answered("y");
    bench.passes(500);
    assert_eq!(bench.done(), [Ok(Some("y".to_owned())), Err((ErrorKind::Timeout, 1, true))]);
    assert!(!bench.cluster.is_out(0));
    // A new timeout holds from then on, and there may be none.
    bench.cluster.set_timeout(None);
    bench.submit(Message::new("z"));
    assert_eq!(bench.cluster.next_deadline(), None);
}

#[test]
fn silence_is_of_the_connection() {
    let settings = Settings { timeout_of: TimeoutOf::Silence, ..Settings::of("a:1").unwrap() };
    let mut bench = Bench::new(settings);
    bench.submit(Message::new("x"));
    bench.opened(1);
    for _ in 0..5 {
        bench.passes(1900);
        bench.submit(Message::new("y"));
        bench.answered("y");
    }
    assert_eq!(bench.done().len(), 5, "x is still waited for");
    bench.passes(2000);
    assert_eq!(bench.done(), [Err((ErrorKind::Timeout, 1, true))]);
    assert_eq!(bench.log().last().map(String::as_str), Some("close 1"));
    assert!(bench.cluster.is_out(0));
}

#[test]
fn a_server_that_is_out_comes_back_when_it_answers_a_probe() {
    let mut bench = Bench::of("a:1,b:1");
    bench.cluster.set_timeout(None);
    bench.submit(Message::new("x"));
    bench.ended(1);
    bench.opened(2);
    bench.log();
    bench.submit(Message::new("y"));
    assert_eq!(bench.log(), ["send 2 y 1"], "a is passed over");
    // Every second: refused, then connected but silent, then well.
    bench.passes(1000);
    assert_eq!(bench.log(), ["open 3 tcp:a:1"]);
    bench.ended(3);
    bench.passes(1000);
    bench.opened(4);
    bench.passes(2000);
    assert_eq!(bench.log(), ["open 4 tcp:a:1", "probe 4", "close 4"]);
    bench.passes(1000);
    bench.opened(5);
    bench.fact(Fact::Probed(LinkId(5)));
    assert!(!bench.cluster.is_out(0));
    bench.submit(Message::new("z"));
    bench.submit(Message::new("z"));
    assert_eq!(bench.log()[2..], ["send 2 z 1", "send 5 z 1"].map(str::to_owned));
}

#[test]
fn where_all_are_out_they_are_used_all_the_same() {
    let mut bench = Bench::of("a:1");
    bench.submit(Message::new("x"));
    bench.ended(1);
    bench.ended(2);
    assert_eq!(bench.done(), [Err((ErrorKind::Connect, 2, false))]);
    bench.submit(Message::new("y"));
    bench.opened(3);
    bench.answered("y");
    assert_eq!(bench.done(), [Ok(Some("y".to_owned()))]);
    assert!(!bench.cluster.is_out(0));
}

#[test]
fn connecting_has_its_time_and_retries_their_delay() {
    let settings =
        Settings { connect_timeout: ms(300), retry_delay: ms(50), ..Settings::of("a:1,b:1").unwrap() };
    let mut bench = Bench::new(settings);
    bench.submit(Message::new("x"));
    bench.passes(300);
    assert_eq!(bench.log(), ["open 1 tcp:a:1", "close 1"]);
    bench.passes(49);
    assert!(bench.log().is_empty());
    bench.passes(1);
    assert_eq!(bench.log(), ["open 2 tcp:b:1"]);
    bench.opened(1);
    assert!(bench.log().is_empty(), "nothing more is heard of a closed link");
}

#[test]
fn what_wants_no_reply_is_done_when_it_is_written() {
    let mut bench = Bench::of("a:1");
    let id = bench.submit(Message::new("x").no_reply());
    bench.opened(1);
    bench.fact(Fact::Written(TryId { request: id, nth: 1 }));
    assert_eq!(bench.done(), [Ok(None)]);
    let id = bench.submit(Message::new("y"));
    bench.fact(Fact::Written(TryId { request: id, nth: 1 }));
    assert_eq!(bench.done(), []);
}

#[test]
fn servers_are_switched_off_and_weighed_while_it_runs() {
    let mut bench = Bench::of("a:1,b:1");
    bench.submit(Message::new("x"));
    assert!(bench.cluster.set_active(0, false, bench.now));
    assert_eq!(bench.log(), ["open 1 tcp:a:1", "open 2 tcp:b:1"], "what waits goes to the other");
    bench.cluster.set_active(1, false, bench.now);
    bench.cluster.check();
    assert_eq!(bench.done(), [Err((ErrorKind::NoServer, 0, false))]);
    for server in [0, 1] {
        bench.cluster.set_active(server, true, bench.now);
    }
    assert!(
        bench.cluster.set_weight(1, 3) && !bench.cluster.set_weight(1, 0) && !bench.cluster.set_weight(2, 1)
    );
    bench.opened(1);
    bench.opened(2);
    bench.log();
    for _ in 0..4 {
        bench.submit(Message::new("x"));
    }
    assert_eq!(bench.log().iter().filter(|line| line.starts_with("send 2")).count(), 3);
    assert!(!bench.cluster.set_active(2, true, bench.now));
}

#[test]
fn the_end_of_all_connections_is_told_to_all() {
    let mut bench = Bench::new(Settings { max_parallel: 2, ..Settings::of("a:1").unwrap() });
    bench.submit(Message::new("flies"));
    bench.opened(1);
    bench.submit(Message::new("flies"));
    bench.submit(Message::new("waits"));
    bench.cluster.disconnect_all();
    bench.cluster.check();
    let told = bench.done();
    let kind = ErrorKind::Disconnected;
    assert_eq!(told, [Err((kind, 1, true)), Err((kind, 1, true)), Err((kind, 0, false))]);
    bench.submit(Message::new("anew"));
    assert_eq!(bench.log()[3..], ["close 1", "open 2 tcp:a:1"].map(str::to_owned));
}

#[test]
fn an_idle_connection_is_probed_if_that_is_wanted() {
    let settings = Settings { tcp_keepalive: Some(ms(5000)), ..Settings::of("a:1").unwrap() };
    let mut bench = Bench::new(settings);
    bench.submit(Message::new("x"));
    bench.opened(1);
    bench.answered("y");
    bench.passes(4999);
    assert_eq!(bench.log().len(), 2);
    bench.passes(1);
    assert_eq!(bench.log(), ["probe 1"]);
    bench.fact(Fact::Probed(LinkId(1)));
    bench.passes(5000);
    bench.passes(2000);
    assert_eq!(bench.log(), ["probe 1", "close 1"]);
    assert!(bench.cluster.is_out(0));
}

#[test]
fn two_clusters_of_one_server_share_nothing() {
    let settings = Settings::of("a:1").unwrap();
    let mut one = Bench::new(settings.clone());
    let mut other = Bench::new(Settings { timeout: Some(ms(10)), ..settings });
    for bench in [&mut one, &mut other] {
        bench.submit(Message::new("x"));
        bench.opened(1);
        bench.passes(10);
    }
    assert_eq!((one.done().len(), other.done().len()), (0, 1));
    assert!(!one.cluster.is_out(0) && other.cluster.is_out(0));
}

#[test]
fn what_happens_is_told_to_the_debug_callback() {
    let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = std::sync::Arc::clone(&lines);
    let mut bench = Bench::of("a:1,b:1");
    bench.cluster.set_debug(move |event| told.lock().unwrap().push(event.to_string()));
    bench.submit(Message::new("x"));
    bench.ended(1);
    bench.opened(2);
    bench.ended(2);
    let lines = lines.lock().unwrap();
    assert_eq!(
        *lines,
        [
            "connects to tcp:a:1",
            "has no connection to tcp:a:1: reset",
            "passes over tcp:a:1",
            "tries request 1 again: tcp:a:1: reset",
            "connects to tcp:b:1",
            "is connected to tcp:b:1",
            "sends request 1 to tcp:b:1, try 2",
            "has no connection to tcp:b:1: reset",
            "passes over tcp:b:1",
            "gives up request 1: tcp:b:1: reset (try 2)",
        ]
    );
}
