//! A program that ends and comes back at once: what it had before is gone before it is heard again, and nothing of
//! its end is told behind its return.

use std::io::Write;
use std::iter;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use serde_json::{Value, json};

use crate::support::{Client, Starter, Telexd, needs, wait_until};

const TIMES: usize = 500;

/// A daemon that listens on a Unix socket and over TCP.
fn on_both(settings: &[&str]) -> Telexd {
    let starter = Starter::new();
    let socket = format!("unix:{}", starter.dir().join("telex.sock").display());
    let starter = starter.listen(&socket).listen("tcp:127.0.0.1:0").set("log_level=warning");
    settings.iter().fold(starter, |starter, setting| starter.set(setting)).start()
}

/// Comes back again and again over one address after the other. `live` says what was refused, if anything was.
fn come_back(telexd: &Telexd, mut live: impl FnMut(&mut Client, usize) -> Value) {
    for address in &telexd.addresses {
        let lives = (0..TIMES).map(|n| {
            let mut client = Client::connect(address);
            let refused = live(&mut client, n);
            hang_up(client);
            refused
        });
        let refused: Vec<_> = lives.enumerate().filter(|(_, refused)| !refused.is_null()).collect();
        assert_eq!(refused.len(), 0, "{address}: {refused:?}");
    }
}

/// Closes a connection, also if another test's thread is starting a process, which has a copy of its descriptor for a
/// moment.
fn hang_up(client: Client) {
    // What was refused is closed on the other side.
    let _ = shutdown(client.fd().as_raw_fd(), Shutdown::Both);
}

/// Runs `act` while other connections keep the daemon busy.
fn while_busy(telexd: &Telexd, act: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    let line = format!("{}\n", json!({"message_type": "signal", "topic": "nothing"}));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut client = telexd.client();
                while !is_over.load(Ordering::Relaxed) {
                    client.write(line.repeat(500).as_bytes());
                }
            });
        }
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        is_over.store(true, Ordering::Relaxed);
        if let Err(panicked) = acted {
            std::panic::resume_unwind(panicked);
        }
    });
}

fn register(client: &mut Client, options: Value) -> Value {
    let mut body = json!({"node_id": "worker"});
    body.as_object_mut().expect("a body").extend(options.as_object().expect("options").clone());
    client.ask("register", body)["code"].take()
}

#[test]
fn an_exclusive_name_is_free_for_a_program_that_comes_back() {
    come_back(&on_both(&[]), |client, _| register(client, json!({"exclusive": true})));
}

#[test]
fn it_is_free_however_busy_the_daemon_is_and_whatever_was_said_last() {
    let telexd = on_both(&["turn_bytes=64KiB"]);
    let last_words = format!("{}\n", json!({"message_type": "signal", "topic": "nothing"})).repeat(1500);
    while_busy(&telexd, || {
        come_back(&telexd, |client, n| {
            let refused = register(client, json!({"exclusive": true}));
            if n % 10 == 0 {
                client.write(last_words.as_bytes());
            }
            refused
        });
    });
}

#[test]
fn it_is_free_also_if_many_have_to_be_told_of_what_was_said_last() {
    let telexd = on_both(&[]);
    let mut monitors: Vec<_> = (0..200).map(|_| telexd.client()).collect();
    for monitor in &mut monitors {
        monitor.ask("monitor", json!({"node_id": "*"}));
    }
    let names: String = (0..60)
        .map(|n| format!("{}\n", json!({"message_type": "register", "from": format!("n{n}")})))
        .collect();
    for _ in 0..10 {
        let mut client = telexd.client();
        assert_eq!(register(&mut client, json!({"exclusive": true})), Value::Null);
        client.write(names.as_bytes());
        hang_up(client);
    }
}

#[test]
fn a_name_that_comes_back_may_be_delivered_to_otherwise() {
    come_back(&on_both(&[]), |client, n| {
        let delivery = ["all", "one"][n % 2];
        register(client, json!({"delivery": delivery}))
    });
}

#[test]
fn a_connection_that_ended_counts_no_more_when_the_next_one_comes() {
    for setting in ["max_connections_per_uid=1", "max_connections=1"] {
        let telexd = on_both(&[setting]);
        come_back(&telexd, |client, _| {
            // An administrator's beyond the limits would be refused this. Others' are closed, and may be so before they
            // have written.
            let _ = client.try_write(
                b"{\"message_type\":\"signal\",\"topic\":\"nothing\"}\n{\"message_type\":\"ping\"}\n",
            );
            client.message()["body"]["code"].take()
        });
    }
}

#[test]
fn the_end_of_a_node_is_told_before_its_return() {
    let telexd = on_both(&[]);
    let mut monitor = telexd.client();
    monitor.ask_well("monitor", json!({"node_id": "worker"}));
    let mut is_up = false;
    come_back(&telexd, |client, _| {
        register(client, json!({}));
        loop {
            let told = monitor.message()["body"].take();
            let comes = told["event"] == "node_up";
            if comes == is_up {
                return told;
            }
            is_up = comes;
            if is_up {
                return Value::Null;
            }
        }
    });
}

/// Here nothing depends on who is faster: all of it has happened when the daemon looks.
#[test]
fn the_last_of_many_lives_has_the_name() {
    let telexd = on_both(&["turn_bytes=64KiB"]);
    let line = format!("{}\n", json!({"message_type": "signal", "topic": "nothing"}));
    let takes = json!({"message_type": "register", "body": {"node_id": "worker", "exclusive": true}});
    for address in &telexd.addresses {
        let mut other = Client::connect(address);
        other.ping();
        let mut first = Client::connect(address);
        assert_eq!(register(&mut first, json!({"exclusive": true})), Value::Null);
        telexd.suspend();
        first.write(line.repeat(2000).as_bytes());
        hang_up(first);
        for n in 0..10 {
            let mut client = Client::connect(address);
            client.send(&takes);
            client.write(line.repeat(n * 200).as_bytes());
            hang_up(client);
        }
        let mut last = Client::connect(address);
        last.send(&takes);
        telexd.resume();
        assert_eq!(last.message()["body"]["error"], Value::Null, "{address}");
        hang_up(last);
        // So does a connection that was there before.
        assert_eq!(register(&mut other, json!({"exclusive": true})), Value::Null, "{address}");
        hang_up(other);
    }
}

/// The lines of a service wait for a receiver that does not read when it is killed. That is an end on both sides.
#[test]
fn a_service_that_is_killed_while_its_last_lines_wait_can_be_started_again() {
    const LIVES: usize = 50;
    if !needs::programs(&["nc"]) {
        return;
    }
    let telexd = on_both(&["max_queue_bytes=64KiB", "max_line_bytes=16KiB", "stall_timeout=1h"]);
    let path = telexd.addresses[0].strip_prefix("unix:").expect("a path");
    let [mut receiver, mut filler, mut control] = [telexd.client(), telexd.client(), telexd.client()];
    let to = receiver.unique_id();
    let line = format!("{}\n", json!({"message_type": "signal", "to": to, "body": "x".repeat(8000)}));
    filler.write_until_stuck(line.repeat(200).as_bytes(), Duration::from_millis(300));
    let mut refused = Vec::new();
    for life in 0..LIVES {
        let mut nc = Command::new("nc");
        nc.args(["-U", path]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut service = nc.spawn().expect("nc");
        let signals = (0..3).map(|nth| json!({"message_type": "signal", "to": to, "body": [life, nth]}));
        let lines = iter::once(json!({"message_type": "register", "from": "worker"})).chain(signals);
        let lines: String = lines.map(|line| format!("{line}\n")).collect();
        // nc(1) reads all of it at once, and writes it so: the last line is there if the first one is.
        let mut stdin = service.stdin.take().expect("its stdin");
        stdin.write_all(lines.as_bytes()).expect("lines for it");
        wait_until("a line that waits", || control.stats()["paused"] == json!(life + 2));
        service.kill().expect("SIGKILL");
        service.wait().expect("its end");
        let mut restart = telexd.client();
        let code = register(&mut restart, json!({"exclusive": true}));
        if !code.is_null() {
            refused.push((life, code));
        }
        hang_up(restart);
    }
    assert!(refused.is_empty(), "{} of {LIVES}: {refused:?}", refused.len());
    // Who comes over TCP is another user.
    let mut other = Client::connect(&telexd.addresses[1]);
    assert_eq!(register(&mut other, json!({})), json!("name_taken"));
    let mut lives = [0; LIVES];
    while lives.iter().any(|seen| *seen < 3) {
        let message = receiver.message();
        if let Some([life, nth]) = message["body"].as_array().map(Vec::as_slice) {
            let seen = &mut lives[life.as_u64().expect("a life") as usize];
            assert_eq!((nth, &message["from"]), (&json!(*seen), &json!("worker")), "{message}");
            *seen += 1;
        }
    }
    wait_until("a name that is free", || register(&mut other, json!({})).is_null());
}
