//! Knows clients that are processes of their own, so that they can be suspended and killed: this test
//! program, started again with one of its tests, which plays the part.
//! Never: what the test is about.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io::{BufRead, BufReader, Read, stdin};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::{Client, Process, wait_until};

const PART: &str = "TELEX_TEST_PART";
const ADDRESS: &str = "TELEX_TEST_ADDRESS";

/// What a client in a process of its own does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// Registers as `deaf` and never reads again.
    Deaf,
    /// Registers under this name, subscribes to `lines`, and reads until it is sent a signal `end`.
    Subscriber(&'static str),
}

/// What a subscriber has come by, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// A message whose body has this digest.
    Body(u64),
    /// A word on so many that it missed.
    Lagged(usize),
}

/// A client in a process of its own; it ends with the test.
#[derive(Debug)]
pub(crate) struct ChildClient {
    process: Child,
    stdout: Option<BufReader<ChildStdout>>,
}

impl ChildClient {
    /// Starts it and waits until it has registered.
    pub(crate) fn start(part: Part, address: &str) -> ChildClient {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "support::child::part", "--nocapture"]);
        let word = match part {
            Part::Deaf => "",
            Part::Subscriber(name) => name,
        };
        command.env(PART, word).env(ADDRESS, address);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("a child");
        let mut stdout = BufReader::new(process.stdout.take().expect("its stdout"));
        let mut line = String::new();
        while !line.ends_with("@ready\n") {
            assert_ne!(stdout.read_line(&mut line).expect("its stdout"), 0, "{line}");
        }
        ChildClient { process, stdout: Some(stdout) }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).expect("a signal");
    }

    pub(crate) fn suspend(&self) {
        self.signal(Signal::SIGSTOP);
        wait_until("a suspended child", || Process(self.process.id()).is_stopped());
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("SIGKILL");
        self.process.wait().expect("its end");
    }

    /// What a subscriber has got, when it has come to its end.
    pub(crate) fn got(&mut self) -> Vec<Got> {
        let mut got = Vec::new();
        for line in self.stdout.take().expect("its stdout").lines() {
            let line = line.expect("its stdout");
            if let Some(digest) = line.strip_prefix("@body ") {
                got.push(Got::Body(digest.parse().expect("a digest")));
            } else if let Some(count) = line.strip_prefix("@lagged ") {
                got.push(Got::Lagged(count.parse().expect("a count")));
            }
        }
        got
    }
}

impl Drop for ChildClient {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The digest of a text.
pub(crate) fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Compares what a subscriber has got with what was published: it must be all of it, in order, but for
/// exactly what it was told that it missed, where it was told so. Says how many it missed.
pub(crate) fn missed(published: &[u64], got: &[Got]) -> usize {
    let (mut at, mut missed) = (0, 0);
    for entry in got {
        match entry {
            Got::Body(digest) => {
                assert_eq!(published.get(at), Some(digest), "message {at}");
                at += 1;
            }
            Got::Lagged(count) => {
                at += count;
                missed += count;
            }
        }
    }
    assert_eq!(at, published.len(), "all that was published is there, or told to be missing");
    missed
}

/// A part in other tests: by itself it does nothing.
#[test]
fn part() {
    let Ok(part) = std::env::var(PART) else { return };
    let mut client = Client::connect(&std::env::var(ADDRESS).expect("an address"));
    if part.is_empty() {
        client.register("deaf");
        println!("@ready");
        // It lives as long as the test does.
        let _ = stdin().read(&mut [0]);
        return;
    }
    client.register(&part);
    client.ask_well("subscribe", json!({"topic": "lines"}));
    println!("@ready");
    let mut got = Vec::new();
    loop {
        let message = client.message();
        if message["topic"] == "lines" {
            got.push(Got::Body(digest(message["body"].as_str().expect("a text"))));
        } else if message["body"]["event"] == "lagged" {
            got.push(Got::Lagged(message["body"]["count"].as_u64().expect("a count") as usize));
        } else {
            assert_eq!(message["body"], json!("end"), "{message}");
            break;
        }
    }
    for entry in got {
        match entry {
            Got::Body(digest) => println!("@body {digest}"),
            Got::Lagged(count) => println!("@lagged {count}"),
        }
    }
}
