//! Verbs that go on until something ends them.

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::*;
use crate::support::Starter;

/// Where a daemon is started again and again.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place { dir: tempfile::tempdir().expect("a directory") }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn address(&self) -> String {
        format!("unix:{}", self.dir.path().join("s").display())
    }

    pub(crate) fn daemon(&self) -> Telexd {
        let state: &Path = &self.dir.path().join("state");
        Starter::new().listen(&self.address()).state_dir(state).start()
    }

    pub(crate) fn start(&self, args: &[&str]) -> Running {
        start_with(telex(args).env("TELEX_ADDRESS", self.address()), "")
    }
}

/// Waits until it says something with `part` in it.
fn wait_for_word(running: &mut Running, part: &str) {
    while !running.next_word().contains(part) {}
}

pub(crate) fn signal(running: &Running, signal: Signal) {
    kill(Pid::from_raw(running.child.id() as i32), signal).expect("a signal");
}

#[test]
fn a_lost_connection_is_made_again() {
    let place = Place::new();
    let mut telexd = place.daemon();
    let mut hearing = [
        ["listen", "a", "-n", "1", "--body", "--reconnect"].as_slice(),
        &["subscribe", "t", "-n", "1", "--body", "--reconnect"],
        &["tap", "--to", "a", "-n", "1", "--reconnect"],
        &["monitor", "come", "-n", "1", "--reconnect"],
        &["serve", "s", "--reconnect", "--", "cat"],
        &["reply", "r", "{{count}}", "--reconnect"],
        &["on", "t", "--reconnect", "--", "cat"],
    ]
    .map(|args| place.start(args));
    let are_there = |telexd: &Telexd| {
        support::wait_until("all are there", || {
            let all = lines(telexd, &["connections"]);
            let busy = |one: &&Value| one["subscriptions"] == 1 || one["node_ids"] != json!([]);
            all.iter().filter(busy).count() == 7
        });
    };
    are_there(&telexd);
    assert_eq!(out(&telexd, &["call", "r", "ask"]), "1\n");
    telexd.stop();
    for running in &mut hearing {
        wait_for_word(running, "telex: the daemon ended the connection");
        assert_eq!(running.next_word(), "telex: connecting again; what is sent until then is missed here\n");
    }
    let telexd = place.daemon();
    for running in &mut hearing {
        wait_for_word(running, "telex: connected again after ");
    }
    are_there(&telexd);
    assert_eq!(out(&telexd, &["call", "s", "ask", "7"]), "7\n");
    assert_eq!(out(&telexd, &["call", "r", "ask"]), "2\n", "it counts on");
    let _come = telexd.node("come");
    out(&telexd, &["send", "a", "1"]);
    out(&telexd, &["publish", "t", "2"]);
    let [listen, subscribe, tap, monitor, ..] = &mut hearing;
    let ended = [listen, subscribe, tap, monitor].map(Running::finish);
    assert_eq!(ended.each_ref().map(|one| one.code), [Some(0); 4], "{ended:?}");
    assert_eq!((&*ended[0].out, &*ended[1].out), ("1\n", "2\n"));
    assert!(ended[2].out.contains("\"to\\\":\\\"a"), "{}", ended[2].out);
    assert!(ended[3].out.contains("node_up"), "{}", ended[3].out);
}

#[test]
fn what_ends_without_a_loss_or_the_wish_to_go_on() {
    let place = Place::new();
    let mut telexd = place.daemon();
    let mut plain = start(&telexd, &["listen", "a"]);
    let mut killed = start(&telexd, &["listen", "b", "--reconnect"]);
    let mut late = start(&telexd, &["listen", "c", "--reconnect", "-W", "2s"]);
    let mut stopped = start(&telexd, &["listen", "d", "--reconnect"]);
    out(&telexd, &["kill", "b"]);
    let ended = killed.finish();
    assert_eq!(ended.code, Some(4), "{ended:?}");
    telexd.stop();
    let ended = plain.finish();
    assert_eq!((ended.code, ended.err.contains("connecting again")), (Some(8), false), "{ended:?}");
    wait_for_word(&mut stopped, "connecting again");
    signal(&stopped, Signal::SIGINT);
    let ended = stopped.finish();
    assert_eq!((ended.code, &*ended.err), (Some(0), "telex: messages: 0, missed: 0\n"));
    assert_eq!(late.finish().code, Some(5));
    assert_eq!(run(&telexd, &["listen", "a", "--reconnect"]).code, Some(8), "the first has to be made");
}

#[test]
fn a_signal_ends_it_with_a_summary() {
    let telexd = Telexd::start();
    for args in [["listen", "a"].as_slice(), &["subscribe", "t"], &["tap", "--to", "a"], &["monitor", "come"]]
    {
        for (number, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
            let mut all = [args, &["-n", "9"]].concat().to_vec();
            for wanted in [code, 0] {
                let mut running = start_with(telex(&all).env("TELEX_ADDRESS", &telexd.addresses[0]), "");
                support::wait_until("it is there", || {
                    let busy = |one: &Value| one["subscriptions"] == 1 || one["node_ids"] == json!(["a"]);
                    lines(&telexd, &["connections"]).iter().any(busy)
                });
                if all[0] == "listen" {
                    out(&telexd, &["send", "a", "1"]);
                }
                signal(&running, number);
                let ended = running.finish();
                assert_eq!(ended.code, Some(wanted), "{all:?}: {ended:?}");
                let came = ended.out.lines().count();
                let summary = format!("telex: messages: {came}, missed: 0\n");
                assert!(ended.err.ends_with(&summary), "{}", ended.err);
                all.truncate(args.len());
            }
        }
    }
}

#[test]
fn a_signal_is_no_failure_of_what_goes_on_until_it_comes() {
    let telexd = Telexd::start();
    let file = telexd.dir().join("recording");
    let file = file.to_str().expect("a path");
    let lasting: [(&[&str], [i32; 3]); 7] = [
        (&["reply", "r", "1"], [0; 3]),
        (&["serve", "s", "--", "cat"], [0; 3]),
        (&["on", "t", "--", "cat"], [0; 3]),
        (&["black-hole", "b"], [0; 3]),
        (&["record", "-"], [0; 3]),
        (&["record", file, "--force", "-n", "9"], [129, 130, 143]),
        (&["listen", "l", "-n", "9"], [129, 130, 143]),
    ];
    for (args, codes) in lasting {
        for (number, code) in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM].into_iter().zip(codes) {
            let mut running = start(&telexd, args);
            signal(&running, number);
            let ended = running.finish();
            assert_eq!(ended.code, Some(code), "{args:?} {number}: {ended:?}");
        }
    }
    let mut watching =
        start_with(telex(&["stats", "--watch", "1h"]).env("TELEX_ADDRESS", &telexd.addresses[0]), "");
    support::wait_until("it has asked", || {
        lines(&telexd, &["connections"])
            .iter()
            .any(|one| one["lines_out"].as_u64() > Some(0) && one["pid"] == watching.child.id())
    });
    signal(&watching, Signal::SIGTERM);
    assert_eq!(watching.finish().code, Some(0));
    let mut measuring =
        start_with(telex(&["bench", "send", "--time", "1h"]).env("TELEX_ADDRESS", &telexd.addresses[0]), "");
    support::wait_until("it measures", || telexd.client().stats()["delivered"].as_u64() > Some(100));
    signal(&measuring, Signal::SIGHUP);
    assert_eq!(measuring.finish().code, Some(129));
}

#[test]
fn what_was_missed_is_summed_up() {
    let daemon = command::scripted(|ask| {
        let lagged = r#"{"message_type":"signal","from":null,"body":{"event":"lagged","count":7}}"#;
        Some(command::reply(ask, json!({"error": null})) + lagged + "\n" + lagged + "\n")
    });
    let mut listening = command::listen(&daemon.address, &["listen", "a"]);
    wait_for_word(&mut listening, "7 messages were missed");
    wait_for_word(&mut listening, "7 messages were missed");
    signal(&listening, Signal::SIGINT);
    assert!(listening.finish().err.ends_with("telex: messages: 0, missed: 14\n"));
}

#[test]
fn pings_end_with_what_was_measured() {
    let telexd = Telexd::start();
    let mut pinging = start_with(
        telex(&["ping", "-n", "1000000", "--every", "20ms"]).env("TELEX_ADDRESS", &telexd.addresses[0]),
        "",
    );
    support::wait_until("it pings", || {
        lines(&telexd, &["connections"]).iter().any(|one| one["lines_in"].as_u64() > Some(2))
    });
    signal(&pinging, Signal::SIGINT);
    let ended = pinging.finish();
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let told: Value = serde_json::from_str(&ended.out).expect("a line of JSON");
    assert!((1..1000).contains(&told["count"].as_u64().expect("a count")), "{told}");
}

#[test]
fn a_fault_on_the_command_line_is_pointed_at() {
    let telexd = Telexd::start();
    let long = format!("[{}x]", "1,".repeat(5000));
    for (args, shown) in [
        (
            ["--address", "tcp:host:99999", "list"].as_slice(),
            "telex:   tcp:host:99999\ntelex:            ^\n",
        ),
        (&["--address", "unix:", "list"], "telex:   unix:\ntelex:        ^\n"),
        (&["--address", "tcp:host", "list"], "telex:   tcp:host\ntelex:           ^\n"),
        (&["call", "a", "b", "--timeout", "5x"], "\n  5x\n   ^\n"),
        (&["listen", "a", "-W", "1.2.3"], "\n  1.2.3\n     ^\n"),
        (&["stats", "--watch", "soon"], "\n  soon\n  ^\n"),
        (&["send", "a", "{\"a\":}"], "telex:   {\"a\":}\ntelex:        ^\n"),
        (&["publish", "t", "nonsense"], "telex:   nonsense\ntelex:    ^\n"),
        (&["publish", "--receipt", "t", "[1"], "telex:   [1\ntelex:     ^\n"),
        (&["call", "a", "b", "{\"名\":x}"], "telex:   {\"名\":x}\ntelex:         ^\n"),
        (&["call", "a", "b", "{\"\\ud800\":1}"], "telex:   {\"\\ud800\":1}\n"),
        (&["explain", "{\"to\" 1}"], "telex:   {\"to\" 1}\ntelex:         ^\n"),
        (&["reply", "a", "{"], "telex:   {\ntelex:    ^\n"),
        (&["call", "--all", "a", "b", "[1"], "; --text sends it as a string\ntelex:   [1\ntelex:     ^\n"),
        (&["record", "file", "-W", "5x"], "\n  5x\n   ^\n"),
        (&["replay", "file", "-W", "5x"], "\n  5x\n   ^\n"),
        (&["replay", "file", "--speed", "1e-300"], "\n  1e-300\n  ^\n"),
        (&["replay", "file", "--speed", "fast"], "\n  fast\n  ^\n"),
        (&["bench", "send", "--time", "5x"], "\n  5x\n   ^\n"),
        (&["bench", "send", "--time", "0s"], "\n  0s\n  ^\n"),
        (&["top", "--every", "5x"], "\n  5x\n   ^\n"),
        (&["top", "--every", "1ms"], "\n  1ms\n  ^\n"),
        (&["send", "a", &long], "1,1,1,x]\ntelex:   "),
    ] {
        let refused = run(&telexd, args);
        assert_eq!(refused.code, Some(2), "{args:?}: {}", refused.err);
        assert!(refused.err.contains(shown), "{args:?}: {}", refused.err);
        assert!(refused.err.lines().all(|line| line.len() < 300), "{}", refused.err);
    }
}
