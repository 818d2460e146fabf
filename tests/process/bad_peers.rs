//! Peers that do what they should not, while two others exchange messages and must never notice.

use std::io::IoSlice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, send, sendmsg, setsockopt, sockopt};
use serde_json::{Value, json};

use crate::support::{ChildClient, Client, Part, Starter, Telexd, digest, missed, wait_until};

/// The longest that one exchange may take, with all that other processes do to this machine.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(5);
const PING: &[u8] = b"{\"message_type\":\"ping\"}\n";

fn over_both_kinds_of_socket(settings: &[&str]) -> Telexd {
    let starter = Starter::new();
    let socket = format!("unix:{}", starter.dir().join("telex.sock").display());
    let starter = starter.listen(&socket).listen("tcp:127.0.0.1:0");
    settings.iter().fold(starter, |starter, setting| starter.set(setting)).start()
}

/// Lets `misbehave` have its way, and makes sure that two good clients never notice.
fn unnoticed(telexd: &Telexd, misbehave: impl FnOnce()) {
    let over = AtomicBool::new(false);
    scope(|scope| {
        let exchange = scope.spawn(|| {
            let (mut asker, mut service) = (telexd.node("good asker"), telexd.node("good service"));
            let (mut rounds, mut longest) = (0, Duration::ZERO);
            while !over.load(Ordering::Relaxed) || rounds < 10 {
                let begun = Instant::now();
                asker.send(&json!({"message_id": rounds, "message_type": "ask", "to": "good service"}));
                let asked = service.message();
                assert_eq!(asked["message_id"], json!(rounds));
                service.send(&json!({
                    "message_type": "ask_reply", "to": asked["from"], "body": {"in_reply_to": rounds}
                }));
                assert_eq!(asker.message()["body"]["in_reply_to"], json!(rounds));
                longest = longest.max(begun.elapsed());
                rounds += 1;
                sleep(Duration::from_millis(1));
            }
            assert!(longest < ROUND_TRIP_MAX, "{longest:?}");
        });
        // Also where this fails the others have to come to an end.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(misbehave));
        over.store(true, Ordering::Relaxed);
        exchange.join().expect("an exchange that nobody disturbs");
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    });
}

fn expect_error(client: &mut Client, code: &str) -> Value {
    let told = client.message();
    assert_eq!((&told["message_type"], &told["from"]), (&json!("error"), &Value::Null), "{told}");
    assert_eq!(told["body"]["code"], json!(code), "{told}");
    told["body"].clone()
}

#[test]
fn one_byte_at_a_time() {
    let telexd = over_both_kinds_of_socket(&[]);
    unnoticed(&telexd, || {
        for address in &telexd.addresses {
            let mut client = Client::connect(address);
            for byte in b"{\"message_id\":\"slow\",\"message_type\":\"ping\",\"body\":\"\xc3\xa4\"}\r\n" {
                client.write(&[*byte]);
                sleep(Duration::from_millis(1));
            }
            let told = client.message();
            assert_eq!((&told["body"]["in_reply_to"], &told["body"]["body"]), (&json!("slow"), &json!("ä")));
        }
    });
}

#[test]
fn half_a_line_at_the_end() {
    let telexd = over_both_kinds_of_socket(&[]);
    unnoticed(&telexd, || {
        for address in &telexd.addresses {
            let mut client = Client::connect(address);
            client.write(b"{\"message_type\":\"ping\",\"message_id\":\"no LF\"}");
            client.finish_writing();
            assert_eq!(client.message()["body"]["in_reply_to"], json!("no LF"));
            client.expect_end();

            let mut client = Client::connect(address);
            client.write(b"{\"message_type\":\"ping\",\"mess");
            client.finish_writing();
            expect_error(&mut client, "bad_json");
            client.expect_end();

            let mut client = Client::connect(address);
            client.write(b"{\"message_type\":\"ping\",\"mess");
        }
    });
    let mut client = telexd.client();
    wait_until("nobody who was left over", || client.stats()["connections"]["now"] == 1);
    assert_eq!(client.stats()["memory_bytes"], json!(0));
}

#[test]
fn resets_in_mid_line() {
    let telexd = over_both_kinds_of_socket(&[]);
    let mut monitor = telexd.client();
    monitor.ask_well("monitor", json!({"node_id": "bad"}));
    unnoticed(&telexd, || {
        for address in telexd.addresses.iter().cycle().take(40) {
            let mut client = Client::connect(address);
            client.register("bad");
            assert_eq!(monitor.message()["body"]["event"], json!("node_up"));
            // Answers that it never reads, and the beginning of a line.
            client.write(&b"{\"message_type\":\"ping\"}\n".repeat(10));
            client.write(b"{\"message_type\":\"signal\",\"to\":\"good asker\",\"body\":\"ha");
            if address.starts_with("tcp") {
                let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
                setsockopt(&client.fd(), sockopt::Linger, &at_once).expect("SO_LINGER");
            }
            drop(client);
            let told = monitor.message();
            assert_eq!(
                (&told["body"]["event"], &told["body"]["reason"]),
                (&json!("node_down"), &json!("lost"))
            );
        }
    });
    wait_until("nobody who was left over", || monitor.stats()["connections"]["now"] == 1);
}

#[test]
fn a_hundred_broken_lines() {
    let telexd = over_both_kinds_of_socket(&["max_line_bytes=1KiB"]);
    unnoticed(&telexd, || {
        for address in &telexd.addresses {
            let mut client = Client::connect(address);
            client.ping();
            for n in 0..99 {
                match n % 3 {
                    0 => client.write(b"what?\n"),
                    1 => client.write(b"[1]\n"),
                    _ => client.write(&[&[b'x'; 2000][..], b"\n"].concat()),
                }
            }
            for n in 0..99 {
                expect_error(&mut client, ["bad_json", "not_an_object", "line_too_long"][n % 3]);
            }
            client.ping();
            client.write(&b"}\n".repeat(150));
            let told = client.rest();
            assert_eq!(told.len(), 100, "each is told, and behind the last it is over");
            assert!(told.iter().all(|told| told["body"]["code"] == "bad_json"));
        }
    });
    wait_until("a record of each", || telexd.log().matches("100 broken lines").count() == 2);
}

#[test]
fn lines_of_every_wrong_kind() {
    let telexd = over_both_kinds_of_socket(&["max_line_bytes=64KiB"]);
    let deep = |depth: usize| {
        format!("{{\"message_type\":\"ping\",\"body\":{}{}}}", "[".repeat(depth), "]".repeat(depth))
    };
    let wrong: Vec<(Vec<u8>, &str, &str)> = vec![
        (b"\0".to_vec(), "bad_json", ""),
        (b"{\"message_type\":\"signal\",\"to\":\"x\",\"body\":\"\0\"}".to_vec(), "bad_json", "column"),
        (b"{\"message_type\":\"signal\",\"to\":\"x\",\"body\":\"\xff\"}".to_vec(), "bad_json", "column"),
        (b"{\"message_type\":\"signal\",\"to\":\"x\",\"body\":\"\xc3\"}".to_vec(), "bad_json", "column"),
        (b"{\"message_type\":\"signal\",\"body\":\"\\ud800\"}".to_vec(), "bad_json", "surrogate"),
        (b"\xef\xbb\xbf{\"message_type\":\"ping\"}".to_vec(), "bad_json", "column 1"),
        (deep(128).into_bytes(), "bad_json", "128"),
        (deep(30_000).into_bytes(), "bad_json", "128"),
        (b"null".to_vec(), "not_an_object", "null"),
        (
            b"{\"message_type\":\"signal\",\"to\":\"x\",\"t\\u006f\":\"y\"}".to_vec(),
            "duplicate_field",
            "\"to\"",
        ),
        (
            b"{\"from\":null,\"message_type\":\"signal\",\"fro\\u006d\":\":1\"}".to_vec(),
            "duplicate_field",
            "\"from\"",
        ),
        (
            b"{\"message_type\":\"signal\",\"to\":\"good asker\",\"from\":\"good service\"}".to_vec(),
            "not_yours",
            "good service",
        ),
        (
            b"{\"message_type\":\"signal\",\"to\":\"good asker\",\"from\":\":999\"}".to_vec(),
            "not_yours",
            ":999",
        ),
        (
            b"{\"message_type\":\"signal\",\"to\":\"good asker\",\"from\":\"good service#1\"}".to_vec(),
            "not_yours",
            "good service#1",
        ),
        (b"{\"message_type\":\"error\",\"to\":\"good asker\"}".to_vec(), "not_yours", "error"),
        (
            b"{\"message_type\":\"signal\",\"to\":\"good asker\",\"sender\":{}}".to_vec(),
            "not_yours",
            "sender",
        ),
        (
            b"{\"message_type\":\"signal\",\"to\":\"good asker\",\"topic\":\"x\"}".to_vec(),
            "bad_field",
            "topic",
        ),
        (b"{\"message_type\":7,\"to\":\"good asker\"}".to_vec(), "bad_field", "message_type"),
        (b"{}".to_vec(), "missing_field", "message_type"),
        (vec![b'x'; 65_537], "line_too_long", "65536"),
        (vec![0; 3 * 65_536], "line_too_long", "65536"),
    ];
    unnoticed(&telexd, || {
        for address in &telexd.addresses {
            let mut client = Client::connect(address);
            // Over TCP a first line that is none ends the connection.
            client.ping();
            for (line, code, word) in &wrong {
                client.write(line);
                client.write(b"\n");
                let told = expect_error(&mut client, code);
                let text = told["error"].as_str().expect("a text");
                assert!(text.contains(word), "{word}: {told}");
                client.ping();
            }
            client.write(format!("{}\n", deep(127)).as_bytes());
            assert_eq!(client.message()["message_type"], json!("ping_reply"));
        }
    });
}

#[test]
fn a_line_over_the_limit_costs_no_memory_while_it_comes() {
    let telexd = over_both_kinds_of_socket(&["max_line_bytes=64KiB"]);
    let before = telexd.process().rss_kib();
    unnoticed(&telexd, || {
        let mut client = telexd.client();
        for _ in 0..500 {
            client.write(&[b'z'; 65_536]);
        }
        client.write(b"\n");
        expect_error(&mut client, "line_too_long");
        client.ping();
    });
    let after = telexd.process().rss_kib();
    assert!(after < before + 4096, "{before} KiB, {after} KiB");
}

#[test]
fn who_asks_and_never_reads_is_paused() {
    let telexd = over_both_kinds_of_socket(&["max_line_bytes=64KiB", "max_queue_bytes=1MiB"]);
    let before = telexd.process().rss_kib();
    let pings = format!("{}\n", json!({"message_type": "ping", "body": "x".repeat(1000)})).repeat(20_000);
    unnoticed(&telexd, || {
        for address in &telexd.addresses {
            let mut client = Client::connect(address);
            let wrote = client.write_until_stuck(pings.as_bytes(), Duration::from_millis(500));
            assert!(wrote < pings.len(), "it is read on and on");
            // A bound on what it does not read, also where others reply to it.
            let after = telexd.process().rss_kib();
            assert!(after < before + 8192, "{before} KiB, {after} KiB");
            let turns = telexd.client().stats()["turns"].as_u64().expect("a number");
            sleep(Duration::from_millis(100));
            // The exchange of the others makes a few.
            let more = telexd.client().stats()["turns"].as_u64().expect("a number") - turns;
            assert!(more < 2000, "{more}");
            // It goes on where it was when it reads: each of its whole lines is answered.
            let mut answers = 0;
            for _ in 0..wrote / (pings.len() / 20_000) {
                assert_eq!(client.message()["message_type"], json!("ping_reply"));
                answers += 1;
            }
            assert!(answers > 100);
        }
    });
}

#[test]
fn a_receiver_that_never_reads_delays_only_what_is_sent_to_it() {
    let telexd = over_both_kinds_of_socket(&[
        "max_line_bytes=64KiB",
        "max_queue_bytes=256KiB",
        "stall_timeout=1500ms",
    ]);
    unnoticed(&telexd, || {
        for address in &telexd.addresses {
            let mut deaf = Client::connect(address);
            deaf.register("deaf");
            let mut monitor = telexd.client();
            monitor.send(&json!({"message_type": "monitor", "body": {"node_id": "deaf"}}));
            monitor.message();
            monitor.message();
            let mut sender = telexd.node("sender");
            let mut other = telexd.node("other");
            let line = |n: usize| json!({"message_id": n, "message_type": "signal", "to": "deaf", "body": "x".repeat(10_000)});
            // As much as its socket takes, its queue, and more.
            let mut all: String = (0..1000).map(|n| format!("{}\n", line(n))).collect();
            all += &format!("{}\n", json!({"message_id": "q", "message_type": "ask", "to": "deaf"}));
            all += &format!("{}\n", json!({"message_id": "next", "message_type": "signal", "to": "other"}));
            scope(|scope| {
                let writing = scope.spawn(|| {
                    sender.write(all.as_bytes());
                    sender
                });
                let told = monitor.message();
                assert_eq!(
                    (&told["body"]["event"], &told["body"]["reason"]),
                    (&json!("node_down"), &json!("stalled")),
                );
                let mut sender = writing.join().expect("a sender that goes on");
                // What was queued is told in one line, what came later one by one, the request by its
                // reply.
                let mut undelivered = 0;
                let first = expect_error(&mut sender, "node_gone");
                undelivered += first["count"].as_u64().expect("a count");
                let first_lost = first["in_reply_to"].as_u64().expect("an id");
                loop {
                    let told = sender.message();
                    if told["message_type"] == "ask_reply" {
                        assert_eq!(told["body"]["code"], json!("no_such_node"));
                        break;
                    }
                    assert_eq!(told["message_type"], json!("error"));
                    undelivered += 1;
                }
                assert_eq!(undelivered, 1000 - first_lost, "each meets one fate");
                assert_eq!(other.message()["message_id"], json!("next"));
            });
            let got = deaf.rest_of_a_cut();
            assert!(got.iter().zip(0..).all(|(got, n)| got["message_id"] == n), "in order, without a gap");
        }
    });
    wait_until("a record of each", || telexd.log().matches("is disconnected").count() == 2);
}

#[test]
fn a_client_that_is_killed_with_messages_waiting() {
    let telexd = over_both_kinds_of_socket(&[]);
    unnoticed(&telexd, || {
        for address in &telexd.addresses {
            let mut monitor = telexd.client();
            monitor.ask_well("monitor", json!({"node_id": "deaf"}));
            let mut deaf = ChildClient::start(Part::Deaf, address);
            assert_eq!(monitor.message()["body"]["event"], json!("node_up"));
            let mut asker = telexd.client();
            asker.send(&json!({"message_id": "q", "message_type": "ask", "to": "deaf"}));
            for n in 0..700 {
                asker.send(&json!({"message_id": n, "message_type": "signal", "to": "deaf", "body": "x".repeat(10_000)}));
            }
            asker.ping();
            let begun = Instant::now();
            deaf.kill();
            let told = monitor.message();
            assert_eq!(
                (&told["body"]["event"], &told["body"]["reason"]),
                (&json!("node_down"), &json!("lost"))
            );
            let mut told = [asker.message(), asker.message()];
            told.sort_by_key(|told| told["message_type"].to_string());
            assert_eq!(
                (&told[0]["body"]["in_reply_to"], &told[0]["body"]["code"]),
                (&json!("q"), &json!("node_gone"))
            );
            let count = told[1]["body"]["count"].as_u64().expect("a count");
            let first = told[1]["body"]["in_reply_to"].as_u64().expect("an id");
            assert_eq!((first + count, &told[1]["body"]["code"]), (700, &json!("node_gone")));
            assert!(begun.elapsed() < ROUND_TRIP_MAX, "at once, not after a timeout");
        }
    });
}

#[test]
fn a_suspended_subscriber_never_pauses_a_publisher() {
    let telexd = over_both_kinds_of_socket(&["max_line_bytes=64KiB", "max_queue_bytes=256KiB"]);
    unnoticed(&telexd, || {
        for address in &telexd.addresses {
            let mut subscriber = ChildClient::start(Part::Subscriber("subscriber"), address);
            let mut publisher = telexd.client();
            let mut published = Vec::new();
            let mut publish = |publisher: &mut Client, count: usize| {
                for _ in 0..count {
                    let text = format!("{} {}", published.len(), "t".repeat(2000));
                    publisher.send(&json!({"message_type": "signal", "topic": "lines", "body": text}));
                    published.push(digest(&text));
                }
                let begun = Instant::now();
                publisher.ping();
                assert!(begun.elapsed() < ROUND_TRIP_MAX, "a publisher waits for nobody");
            };
            publish(&mut publisher, 500);
            subscriber.suspend();
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(1) {
                publish(&mut publisher, 500);
            }
            let before = telexd.client().stats()["missed"].as_u64().expect("a number");
            assert!(before > 0);
            subscriber.resume();
            publish(&mut publisher, 500);
            publisher.send(&json!({"message_type": "signal", "to": "subscriber", "body": "end"}));
            publisher.ping();
            assert!(missed(&published, &subscriber.got()) > 0);
            // Over the other kind of socket it is another user, who cannot share the name.
            wait_until("the subscriber to leave", || {
                publisher.ask("resolve", json!({"node_id": "subscriber"}))["status"] != "up"
            });
        }
    });
}

/// Who passes descriptors over a socket ends a read early, in the middle of what is there to be read.
/// They are closed, and what comes behind them is handled.
#[test]
fn descriptors_that_nobody_asked_for() {
    let telexd = Telexd::start();
    let mut other = telexd.client();
    other.ping();
    let open = telexd.process().open_files();
    telexd.suspend();
    // They are there already when the daemon takes the connection.
    let mut client = telexd.client();
    for _ in 0..3 {
        pass_descriptor(&client, PING).expect("sendmsg");
        client.write(PING);
    }
    telexd.resume();
    for _ in 0..6 {
        assert_eq!(client.message()["message_type"], json!("ping_reply"));
    }
    // Later ones are refused where the kernel can do that, since Linux 6.16, and else closed, too.
    let mut pings = 0;
    telexd.suspend();
    for _ in 0..3 {
        match pass_descriptor(&client, PING) {
            Ok(_) => pings += 1,
            Err(error) => assert_eq!(error, Errno::EPERM),
        }
        client.write(PING);
        pings += 1;
    }
    telexd.resume();
    for _ in 0..pings {
        assert_eq!(client.message()["message_type"], json!("ping_reply"));
    }
    assert_eq!(telexd.process().open_files(), open + 1, "the connection");
}

fn pass_descriptor(client: &Client, line: &[u8]) -> nix::Result<usize> {
    let rights = [0];
    let message = [ControlMessage::ScmRights(&rights)];
    let fd = std::os::fd::AsRawFd::as_raw_fd(&client.fd());
    sendmsg::<()>(fd, &[IoSlice::new(line)], &message, MsgFlags::empty(), None)
}

/// A read ends at urgent bytes, and what is behind them has come already.
#[test]
fn urgent_bytes_in_between() {
    let telexd = over_both_kinds_of_socket(&[]);
    for address in &telexd.addresses {
        for _ in 0..5 {
            let mut client = Client::connect(address);
            client.ping();
            telexd.suspend();
            client.write(PING);
            let fd = std::os::fd::AsRawFd::as_raw_fd(&client.fd());
            assert_eq!(send(fd, b"!", MsgFlags::MSG_OOB), Ok(1));
            client.write(&PING.repeat(2));
            telexd.resume();
            for _ in 0..3 {
                assert_eq!(client.message()["message_type"], json!("ping_reply"), "{address}");
            }
        }
    }
}

#[test]
fn who_has_closed_his_side_and_does_not_read_is_given_up() {
    let telexd = over_both_kinds_of_socket(&["stall_timeout=500ms"]);
    for address in &telexd.addresses {
        let mut deaf = Client::connect(address);
        deaf.register("deaf");
        let mut sender = telexd.client();
        for n in 0..700 {
            sender.send(
                &json!({"message_id": n, "message_type": "signal", "to": "deaf", "body": "x".repeat(10_000)}),
            );
        }
        sender.ping();
        deaf.finish_writing();
        let told = expect_error(&mut sender, "node_gone");
        let (first, count) = (told["in_reply_to"].as_u64(), told["count"].as_u64());
        assert_eq!(first.zip(count).map(|(first, count)| first + count), Some(700));
        let got = deaf.rest_of_a_cut();
        assert_eq!(Some(got.len() as u64), first, "what was not told to be lost is there");
    }
}

/// Who waits for an answer with his side closed may go away altogether, which Unix sockets tell.
#[test]
fn who_has_closed_his_side_may_still_hang_up() {
    let telexd = Telexd::start();
    let mut service = telexd.node("service");
    let mut asker = telexd.client();
    asker.send(&json!({"message_id": "q", "message_type": "ask", "to": "service"}));
    asker.finish_writing();
    let asked = service.message();
    assert_eq!(service.stats()["connections"]["now"], json!(2));
    drop(asker);
    wait_until("nobody who waits", || service.stats()["connections"]["now"] == 1);
    assert_eq!(service.stats()["open_requests"], json!(0));
    service.send(&json!({"message_type": "ask_reply", "to": asked["from"], "body": {"in_reply_to": "q"}}));
    expect_error(&mut service, "no_such_request");
}
