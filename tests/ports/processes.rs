//! Knows nodes in processes of their own: this test program, started again with one of its tests, which plays the
//! part.
//! Never: what nodes say to each other in one process.

use std::io::{BufRead, BufReader, Read, stdin};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use telex::address::Address;
use telex::node::{CalError, Down, Node, NodeChange, json};

use crate::chat::Guest;
use crate::supervisor::News;
use crate::support::{PATIENCE, Process, Starter, Telexd, wait_for, wait_until};
use crate::{address, connect, listener, monitor, next, ping_pong, supervisor};

const PART: &str = "TELEX_TEST_PART";
const ADDRESS: &str = "TELEX_TEST_ADDRESS";

/// A node in a process of its own; it ends with the test.
struct Other {
    process: Child,
    /// What it has said when it was ready.
    said: String,
}

impl Other {
    /// Starts it and waits until it is ready.
    fn start(part: &str, address: &str) -> Other {
        Other::start_with(part, address, |command| command)
    }

    fn start_with(part: &str, address: &str, set: impl FnOnce(&mut Command) -> &mut Command) -> Other {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "processes::part", "--nocapture"]);
        command.env(PART, part).env(ADDRESS, address);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let process = set(&mut command).spawn().expect("a child");
        let mut other = Other { process, said: String::new() };
        let stdout = BufReader::new(other.process.stdout.take().expect("its stdout"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        loop {
            let line: String = next(&lines);
            if line.ends_with("@ready") {
                return other;
            }
            other.said = line;
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).expect("a signal");
    }

    fn suspend(&self) {
        self.signal(Signal::SIGSTOP);
        wait_until("a suspended node", || Process(self.process.id()).is_stopped());
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A part in other tests: by itself it does nothing.
#[test]
fn part() {
    let Ok(part) = std::env::var(PART) else { return };
    let address = Address::parse(&std::env::var(ADDRESS).expect("an address")).expect("an address");
    let _node = match part.as_str() {
        "table" => ping_pong::table(&address).expect("a node"),
        "factory" => supervisor::factory(&address).expect("a node"),
        "bob" => return bob(&address),
        "configured" => {
            let node = Node::configure().profile("worker").address([address]).start().expect("a node");
            println!("\n{}", node.id());
            node
        }
        // One whose ports are members of a group: the first for ever, the second takes messages.
        other => {
            let node = Node::connect(&address, other).expect("a node");
            let port = node.port();
            port.rcv_default(|_, _| {});
            node.grp_reg("g", &port);
            println!("\n{port}");
            node
        }
    };
    println!("@ready");
    // It lives as long as the test does.
    let _ = stdin().read(&mut [0]);
}

/// Enters the room and answers what is said there, until the room is empty but for itself.
fn bob(address: &Address) {
    let (heard, said) = channel();
    let bob = Guest::enter(address, "bob", heard).expect("bob");
    println!("@ready");
    bob.wait_for_guests(2);
    let line: String = said.recv().expect("something");
    bob.say(&format!("you said: {line}"));
    bob.wait_for_guests(1);
    bob.leave();
    let _ = stdin().read(&mut [0]);
}

#[test]
fn ping_pong_between_processes() {
    let telexd = Telexd::start();
    let _table = Other::start("table", &telexd.addresses[0]);
    let balls = ping_pong::guest(&address(&telexd), 100).expect("a game");
    assert_eq!(balls, (1..=100).collect::<Vec<u64>>());
}

#[test]
fn a_worker_in_another_process_is_replaced_when_it_dies() {
    let telexd = Telexd::start();
    let _factory = Other::start("factory", &telexd.addresses[0]);
    let story = supervisor::office(&address(&telexd)).expect("a story");
    let [News::Started(_), News::Died(Down::Killed(why)), News::Started(_), News::Died(end)] = &story[..]
    else {
        panic!("{story:?}");
    };
    assert_eq!(*why, [json!("die"), json!("attempt to divide by zero")]);
    assert_eq!(*end, Down::Killed(vec![]));
}

#[test]
fn a_worker_is_replaced_when_its_process_is() {
    let telexd = Telexd::start();
    let office = connect(&telexd, "office");
    let (port, quotients) = listener(&office);
    let (sender, news) = channel();
    supervisor::supervise(&office, sender);
    for _ in 0..3 {
        let factory = Other::start("factory", &telexd.addresses[0]);
        let quotient = wait_for("a worker that works", || {
            if let Ok(News::Started(worker)) = news.try_recv() {
                office.snd(&worker, json!(["divide", 6, 3, port]));
            }
            quotients.try_recv().ok()
        });
        assert_eq!(quotient, [json!("quotient"), json!(2)]);
        factory.signal(Signal::SIGKILL);
        wait_until(
            "the end of the worker",
            || matches!(news.try_recv(), Ok(News::Died(Down::NodeLost { node, .. })) if node == "factory"),
        );
    }
}

#[test]
fn a_chat_between_processes() {
    let telexd = Telexd::start();
    let _bob = Other::start("bob", &telexd.addresses[0]);
    let (heard, lines) = channel();
    let alice = Guest::enter(&address(&telexd), "alice", heard).expect("alice");
    alice.wait_for_guests(2);
    alice.say("hello");
    assert_eq!(next(&lines), "alice: <alice> hello");
    assert_eq!(next(&lines), "alice: <bob> you said: bob: <alice> hello");
    alice.leave();
    let watcher = connect(&telexd, "watcher");
    wait_until("the room is empty", || watcher.grp_get("chat.lobby").is_empty());
}

#[test]
fn a_process_that_is_stopped_is_found_out_by_the_beat_alone() {
    const BEAT: Duration = Duration::from_secs(1);
    let telexd = Telexd::start();
    let node = connect(&telexd, "node");
    let other = Other::start("other", &telexd.addresses[0]);
    let port = other.said.clone();
    let beaten = |target: &str| {
        let (sender, downs) = channel();
        node.mon(target).beat(BEAT).call(move |_, down| drop(sender.send(down.clone())));
        downs
    };
    let (of_port, of_node, without) = (beaten(&port), beaten("other"), monitor(&node, &port));
    // While it runs, nothing is found.
    assert!(of_port.recv_timeout(4 * BEAT).is_err() && of_node.try_recv().is_err());
    let stopped = Instant::now();
    other.suspend();
    for downs in [&of_port, &of_node] {
        let down = next(downs);
        let Down::NodeLost { node, why } = &down else { panic!("{down:?}") };
        assert_eq!((node.as_str(), why.as_str()), ("other", "it gives no sign of life"));
    }
    assert!(stopped.elapsed() < PATIENCE / 2, "{:?}", stopped.elapsed());
    assert!(without.try_recv().is_err(), "the kernel keeps the connection");
    other.signal(Signal::SIGCONT);
    // It lives, and is monitored anew.
    let of_port = monitor(&node, &port);
    let of_beat = beaten(&port);
    node.kil_with(&port, json!(["that is", "all"]));
    let killed = Down::Killed(vec![json!("that is"), json!("all")]);
    for downs in [of_port, of_beat, without] {
        assert_eq!(next(&downs), killed);
    }
}

#[test]
fn a_process_that_is_killed_is_told_in_every_way() {
    let telexd = Telexd::start();
    let node = connect(&telexd, "node");
    let (sender, news) = channel();
    node.mon_nodes(move |_, change| drop(sender.send(change.clone())));
    let other = Other::start("other", &telexd.addresses[0]);
    assert_eq!(next(&news), NodeChange::Up { node: "other".to_owned() });
    let port = other.said.clone();
    wait_until("the member is known", || node.grp_get("g") == [port.as_str()]);
    let downs = [monitor(&node, &port), monitor(&node, "other")];
    let linked = node.port();
    linked.rcv_default(|_, _| {});
    linked.link(&port);
    let of_linked = monitor(&node, &linked);
    let (sink, messages) = listener(&node);
    node.mon(&port).send(&sink, json!(["lost", 1]));
    let (sender, answers) = channel();
    node.cal(&port, "never answered", PATIENCE, move |_, answer| drop(sender.send(answer.map(|_| ()))));
    node.handle().ping().wait().expect("a switch");
    other.signal(Signal::SIGKILL);
    for downs in &downs {
        let down = next(downs);
        assert!(matches!(&down, Down::NodeLost { node, .. } if node == "other"), "{down:?}");
    }
    let Down::Killed(reason) = next(&of_linked) else { panic!("it was no kill") };
    assert_eq!((&reason[0], &reason[1]), (&json!("transport_error"), &json!("other")));
    let message = next(&messages);
    assert_eq!((&message[..2], &message[2..4]), (&[json!("lost"), json!(1)][..], &reason[..2]));
    assert!(matches!(next(&answers), Err(CalError::NodeLost { node, .. }) if node == "other"));
    assert_eq!(next(&news), NodeChange::Down { node: "other".to_owned(), why: "lost".to_owned() });
    assert!(node.grp_get("g").is_empty() && !node.node_is_up("other"));
}

#[test]
fn a_switch_that_is_killed_and_started_again_is_got_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = format!("unix:{}", dir.path().join("s").display());
    let start = || Starter::new().listen(&socket).state_dir(&dir.path().join("state")).start();
    let telexd = start();
    let (_table, other) = (Other::start("table", &socket), Other::start("other", &socket));
    let node = connect(&telexd, "node");
    wait_until("the member is known", || node.grp_get("g") == [other.said.as_str()]);
    let downs = monitor(&node, &other.said);
    telexd.signal(Signal::SIGKILL);
    assert!(matches!(next(&downs), Down::NodeLost { .. }));
    drop(telexd);
    let _again = start();
    wait_until("all are there", || ["table", "other", "node"].iter().all(|name| node.node_is_up(name)));
    wait_until("the member is known again", || node.grp_get("g") == [other.said.as_str()]);
    let balls = ping_pong::guest(&Address::parse(&socket).expect("an address"), 10).expect("a game");
    assert_eq!(balls, (1..=10).collect::<Vec<u64>>());
    // A port of the time before has its ID still.
    let downs = monitor(&node, &other.said);
    node.kil(&other.said);
    assert_eq!(next(&downs), Down::Killed(vec![]));
}

#[test]
fn the_users_own_profiles_are_found() {
    let telexd = Telexd::start();
    let file = telexd.dir().join("config/telex/profiles.toml");
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    std::fs::write(&file, "[profile.worker]\nnode_id = 'own'\n").expect("a file");
    let address = &telexd.addresses[0];
    let home = telexd.dir().join("home");
    std::fs::create_dir_all(home.join(".config/telex")).expect("a folder");
    let empty = Other::start_with("configured", address, |command| {
        command.env_remove("XDG_CONFIG_HOME").env("HOME", &home)
    });
    assert!(empty.said.starts_with("worker/"), "{}", empty.said);
    let own = Other::start_with("configured", address, |command| {
        command.env("XDG_CONFIG_HOME", telexd.dir().join("config")).env("HOME", &home)
    });
    assert_eq!(own.said, "own");
    drop(own);
    std::fs::copy(&file, home.join(".config/telex/profiles.toml")).expect("a copy");
    let at_home = Other::start_with("configured", address, |command| {
        command.env("XDG_CONFIG_HOME", "relative").env("HOME", &home)
    });
    assert_eq!(at_home.said, "own");
}
