//! A restart that no client notices: SIGUSR2 has the daemon hand everything over to the program as it is now.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Client, Starter, Telexd, wait_until};

/// Has the daemon hand over, and waits until the other program has taken over.
fn hand_over(telexd: &Telexd) {
    let count = || telexd.log().matches("taken over, with").count();
    let before = count();
    telexd.signal(Signal::SIGUSR2);
    wait_until("another program", || count() > before);
}

fn both_ways() -> Telexd {
    let starter = Starter::new();
    let socket = format!("unix:{}", starter.dir().join("telex.sock").display());
    starter.listen(&socket).listen("tcp:127.0.0.1:0").start()
}

fn signal(to: &str, n: u64) -> Value {
    json!({"message_type": "signal", "to": to, "body": {"n": n}})
}

#[test]
fn under_traffic_nothing_is_lost_doubled_or_out_of_order() {
    const HAND_OVERS: usize = 10;
    let telexd = both_ways();
    let ends = AtomicBool::new(false);
    let process = telexd.process();
    std::thread::scope(|scope| {
        let pairs: Vec<_> = (0..6)
            .map(|pair| {
                let (from, to) = (&telexd.addresses[pair % 2], &telexd.addresses[pair / 2 % 2]);
                let node_id = format!("node-{pair}");
                let mut receiver = Client::connect(to);
                receiver.register(&node_id);
                let (mut sender, ends) = (Client::connect(from), &ends);
                let sends = scope.spawn(move || {
                    let mut sent = 0;
                    while !ends.load(Ordering::Relaxed) {
                        sender.send(&signal(&node_id, sent));
                        sent += 1;
                        // An answer comes to each question, also across a restart.
                        if sent % 100 == 0 {
                            sender.ping();
                        }
                    }
                    sender.send(&signal(&node_id, u64::MAX));
                    sent
                });
                let receives = scope.spawn(move || {
                    for due in 0.. {
                        let n = receiver.message()["body"]["n"].as_u64().expect("a number");
                        if n == u64::MAX {
                            return due;
                        }
                        assert_eq!(n, due);
                    }
                    unreachable!()
                });
                (sends, receives)
            })
            .collect();
        for _ in 0..HAND_OVERS {
            let mut client = telexd.client();
            client.ping();
            hand_over(&telexd);
            client.ping();
        }
        ends.store(true, Ordering::Relaxed);
        for (sends, receives) in pairs {
            let sent = sends.join().expect("a sender");
            assert!(sent > 100);
            assert_eq!(receives.join().expect("a receiver"), sent);
        }
    });
    // It is the same process, which has become the program anew.
    assert_eq!(process.0, telexd.process().0);
    let mut telexd = telexd;
    telexd.stop();
}

/// It reads all of the flood, of which its sender has not sent the rest, and is told of what it has missed.
fn gets_all(slow: &mut Client, mut sender: Client, rest: String) {
    let sends = std::thread::spawn(move || sender.write(rest.as_bytes()));
    let mut due = 0;
    while due < 20_000 {
        let message = slow.message();
        match message["body"]["event"].as_str() {
            Some(event) => assert_eq!((event, &message["body"]["count"]), ("lagged", &json!(1))),
            None => {
                assert_eq!(message["body"]["n"], json!(due));
                due += 1;
            }
        }
    }
    sends.join().expect("the sender");
}

#[test]
fn all_that_connections_are_in_the_middle_of_goes_on() {
    let telexd = Telexd::with(&["max_line_bytes=1KiB", "max_queue_bytes=4KiB"]);
    let mut half = telexd.client();
    half.write(b"{\"message_type\":\"who");
    // It has closed its side, and an answer is still owed to it.
    let mut worker = telexd.node("worker");
    let mut half_closed = telexd.client();
    half_closed.send(&json!({"message_id": 1, "message_type": "work", "to": "worker"}));
    half_closed.finish_writing();
    let mut asker = telexd.client();
    asker.send(&json!({"message_id": 2, "message_type": "work", "to": "worker"}));
    let mut late = telexd.client();
    late.send(&json!({"message_id": 3, "message_type": "work", "to": "worker", "timeout_ms": 3000}));
    let work: Vec<_> = (0..3).map(|_| worker.message()).collect();
    // It does not read, so that one sender is paused, and it misses messages to a topic.
    let mut slow = telexd.node("slow");
    slow.ask_well("subscribe", json!({"topic": "t"}));
    let mut paused = telexd.client();
    let flood: String = (0..20_000).map(|n| format!("{}\n", signal("slow", n))).collect();
    let flooded = paused.write_until_stuck(flood.as_bytes(), Duration::from_millis(300));
    assert!(flooded < flood.len());
    let mut publisher = telexd.client();
    publisher.send(&json!({"message_type": "signal", "topic": "t", "body": {}}));
    publisher.ping();
    let mut monitor = telexd.client();
    monitor.send(&json!({"message_type": "monitor", "body": {"node_id": "*"}}));
    let there: Vec<_> = (0..3).map(|_| monitor.message()["body"]["node_id"].take()).collect();
    assert_eq!(there, [json!("slow"), json!("worker"), Value::Null]);
    let before = monitor.stats();
    let number = |id: &str| id[1..].parse::<u64>().expect("a number");
    let newest = number(&telexd.client().unique_id());

    for _ in 0..3 {
        hand_over(&telexd);
    }

    assert!(number(&telexd.client().unique_id()) > newest, "a number is given twice");
    let after = monitor.stats();
    for same in ["missed", "open_requests", "nodes", "subscriptions"] {
        assert_eq!(after[same], before[same], "{same}");
    }
    assert!(after["uptime"].as_f64() > before["uptime"].as_f64());
    assert!(after["lines_in"].as_u64() > before["lines_in"].as_u64());
    half.write(b"ami\"}\n");
    assert_eq!(half.message()["message_type"], json!("whoami_reply"));
    for line in &work[..2] {
        let id = &line["message_id"];
        worker.send(
            &json!({"message_type": "work_reply", "to": line["from"], "body": {"in_reply_to": id, "error": null}}),
        );
    }
    assert_eq!(half_closed.message()["body"]["in_reply_to"], json!(1));
    half_closed.expect_end();
    assert_eq!(asker.message()["body"]["in_reply_to"], json!(2));
    assert_eq!(late.message()["body"]["code"], json!("timeout"));
    gets_all(&mut slow, paused, flood[flooded..].to_owned());
    drop(worker);
    let news = monitor.message();
    assert_eq!((&news["body"]["event"], &news["body"]["node_id"]), (&json!("node_down"), &json!("worker")));
}

#[test]
fn what_comes_while_there_is_no_program_is_heard_by_the_next_one() {
    let telexd = Telexd::start();
    let mut bob = telexd.node("bob");
    let mut last = telexd.client();
    telexd.suspend();
    telexd.signal(Signal::SIGUSR2);
    // It writes and is gone; another one only comes now.
    last.send(&signal("bob", 1));
    drop(last);
    let mut newcomer = telexd.client();
    newcomer.send(&signal("bob", 2));
    drop(newcomer);
    telexd.resume();
    let mut told: Vec<_> = (0..2).map(|_| bob.message()["body"]["n"].as_u64().expect("a number")).collect();
    told.sort_unstable();
    assert_eq!(told, [1, 2]);
    telexd.wait_for_log("taken over, with");
}

#[test]
fn a_program_that_could_not_start_takes_nothing_over() {
    let starter = Starter::new();
    let file = starter.dir().join("telexd.toml");
    fs::write(&file, "max_names = 3\n").unwrap();
    let mut telexd = starter.argument("--config").argument(&file).start();
    let mut client = telexd.client();
    client.ping();
    fs::write(&file, "max_names = 3\nmax_nmes = 4\n").unwrap();
    telexd.signal(Signal::SIGUSR2);
    telexd.wait_for_log("telexd: error: this process goes on, as the program cannot take over from it:");
    telexd.wait_for_log("telexd.toml:2: ");
    client.ping();
    fs::write(&file, "max_names = 4\n").unwrap();
    hand_over(&telexd);
    assert_eq!(
        client.ask_well("whoami", json!({}))["daemon"]["limits"]["max_names"],
        json!(4),
        "of the new configuration"
    );
    telexd.stop();
}

#[test]
fn listeners_are_the_same_as_far_as_the_configuration_has_them() {
    let starter = Starter::new();
    let [file, kept, old, new] =
        ["telexd.toml", "kept.sock", "old.sock", "new.sock"].map(|name| starter.dir().join(name));
    let configure = |paths: [&std::path::Path; 2]| {
        let listen = paths.map(|path| format!("\"unix:{}\"", path.display())).join(", ");
        fs::write(&file, format!("listen = [{listen}]\nsocket_mode = \"0600\"\n")).unwrap();
    };
    configure([&kept, &old]);
    let mut telexd = starter.listen_by_itself().argument("--config").argument(&file).start();
    let inode = fs::metadata(&kept).unwrap().ino();
    let mut client = Client::connect(&format!("unix:{}", old.display()));
    client.ping();
    configure([&kept, &new]);
    hand_over(&telexd);
    assert_eq!(fs::metadata(&kept).unwrap().ino(), inode);
    assert!(!old.exists(), "no listener is there any more");
    for path in [&kept, &new] {
        Client::connect(&format!("unix:{}", path.display())).ping();
    }
    // How a connection came is of no matter.
    client.ping();
    telexd.stop();
    assert!(!kept.exists() && !new.exists());
}

#[test]
fn one_that_ends_does_not_hand_over() {
    let mut telexd = Telexd::with(&["drain_timeout=30s", "max_queue_bytes=16MiB"]);
    let mut slow = telexd.node("slow");
    let mut sender = telexd.client();
    for n in 0..20_000 {
        sender.send(&signal("slow", n));
    }
    sender.ping();
    telexd.signal(Signal::SIGTERM);
    telexd.wait_for_log("stopping");
    telexd.signal(Signal::SIGUSR2);
    assert_eq!(slow.rest().len(), 20_001, "all, and shutdown");
    assert_eq!(telexd.wait().code(), Some(0));
    assert!(!telexd.log().contains("handing over"));
}

#[test]
fn descriptors_that_are_not_open_are_no_reason_to_start_without_them() {
    let ran = Starter::new().variable("TELEX_STATE_FD", "871").run();
    assert_eq!(ran.code, Some(1));
    assert_eq!(ran.err, "telexd: taking over from another process: \"871\" is no list of open descriptors\n");
}

/// What was sent in time is read before it is judged what is late.
#[test]
fn an_answer_that_was_given_while_there_is_no_program_is_no_timeout() {
    let starter = Starter::new();
    let program = starter.dir().join("program");
    let telexd = env!("CARGO_BIN_EXE_telexd");
    // The daemon takes this for its program, which takes long to start.
    fs::write(
        &program,
        format!("#!/bin/sh\ncase $* in *--check*) ;; *) sleep 4 ;; esac\nexec {telexd} \"$@\"\n"),
    )
    .unwrap();
    let as_program = format!(
        r#"chmod +x {0}; exec bash -c 'shift; exec -a "$0" {telexd} "$@"' {0} "$@""#,
        program.display()
    );
    let telexd = starter.before(&as_program).start();
    let mut worker = telexd.node("worker");
    let mut asker = telexd.client();
    for n in 0..100 {
        asker.send(&json!({"message_id": n, "message_type": "work", "to": "worker", "timeout_ms": 3000 + n}));
    }
    let asked: Vec<_> = (0..100).map(|_| worker.message()).collect();
    telexd.signal(Signal::SIGUSR2);
    telexd.wait_for_log("handing over, with");
    for line in &asked {
        let body = json!({"in_reply_to": line["message_id"], "error": null});
        worker.send(&json!({"message_type": "work_reply", "to": line["from"], "body": body}));
    }
    for _ in 0..100 {
        assert_eq!(asker.message()["body"]["error"], Value::Null);
    }
}

/// A signal comes at any moment of a hand-over.
#[test]
fn a_signal_in_the_middle_is_heard_by_one_of_both() {
    for delay in 0..30 {
        let mut telexd = Telexd::start();
        let mut client = telexd.client();
        client.ping();
        telexd.signal(Signal::SIGUSR2);
        std::thread::sleep(Duration::from_millis(delay));
        let signal = if delay % 2 == 0 { Signal::SIGUSR2 } else { Signal::SIGTERM };
        telexd.signal(signal);
        if signal == Signal::SIGTERM {
            let told = client.rest();
            assert_eq!(told.last().expect("a line")["body"]["event"], json!("shutdown"), "after {delay} ms");
            assert_eq!(telexd.wait().code(), Some(0));
        } else {
            client.ping();
            telexd.wait_for_log("taken over, with");
            client.ping();
        }
    }
}

#[test]
fn what_the_configuration_says_in_another_way_is_still_there() {
    let starter = Starter::new();
    let [file, real, link] = ["telexd.toml", "real", "link"].map(|name| starter.dir().join(name));
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let configure = |dir: &std::path::Path| {
        fs::write(&file, format!("listen = [\"unix:{}/s\"]\nstate_dir = \"{0}\"\n", dir.display())).unwrap();
    };
    configure(&real);
    let telexd =
        starter.listen_by_itself().keep_state_by_itself().argument("--config").argument(&file).start();
    let mut client = telexd.client();
    let number = |id: String| id[1..].parse::<u64>().expect("a number");
    let own = number(client.unique_id());
    configure(&link);
    hand_over(&telexd);
    client.ping();
    Client::connect(&format!("unix:{}/s", real.display())).ping();
    // Numbers go on also in another state directory.
    let other = telexd.dir().join("other");
    fs::write(
        &file,
        format!("listen = [\"unix:{}/s\"]\nstate_dir = \"{}\"\n", link.display(), other.display()),
    )
    .unwrap();
    hand_over(&telexd);
    client.ping();
    assert!(number(telexd.client().unique_id()) > own);
}
