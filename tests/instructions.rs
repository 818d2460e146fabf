//! What a message costs on the common way, counted and not timed: the daemon's own instructions, under
//! valgrind, for a signal from one client to another over a Unix socket.
//!
//! How many those are is up to the compiler and the C library too. So they are told in terms of something
//! else that is built and counted beside it: `serde_json` reading such a line into a `Value`.

#![cfg(feature = "daemon")]
#![expect(clippy::print_stderr, reason = "the daemon's log")]

use std::process::Command;

use serde_json::Value;
use support::{Starter, needs};

#[path = "support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "other tests use the rest")]
mod support;

/// What a message costs, as a multiple of what reading it into a `Value` costs. Where something has become
/// cheaper, or is worth its price, this is the line to change.
const EXPECTED: f64 = 0.452;
/// How far off it may be, as a part of it. The counts themselves repeat to a thousandth; this is for other
/// compilers. One needless copy of a line comes to 0.024.
const TOLERANCE: f64 = 0.03;

const MESSAGES: usize = 2000;
/// So many are sent at once, and the next when these have arrived: so the daemon reads as often each time.
const BATCH: usize = 100;
const BODY_BYTES: usize = 128;

const COUNTED: &str = "valgrind --tool=callgrind --callgrind-out-file=/dev/null";
/// How many lines `reference` is to read.
const REFERENCE: &str = "TELEX_TEST_REFERENCE";

#[test]
fn a_message_costs_what_it_did() {
    // What is expected is that of this profile.
    if !needs::that(cfg!(debug_assertions), "the profile `test`") || !needs::programs(&["valgrind"]) {
        return;
    }
    let message = for_each_message(instructions_of_telexd);
    let reference = for_each_message(instructions_of_reference);
    let ratio = message / reference;
    println!("{message:.0} instructions for a message, {reference:.0} to read it: {ratio:.3}");
    let told = format!("a message costs {ratio:.3} times what reading it does; it was {EXPECTED}");
    assert!(ratio < EXPECTED * (1.0 + TOLERANCE), "{told}: what has made it dearer?");
    assert!(
        ratio > EXPECTED * (1.0 - TOLERANCE),
        "{told}: it is cheaper now, which EXPECTED in {} should say",
        file!()
    );
}

/// Whatever comes once (start and end) is in both counts alike, and so in neither.
fn for_each_message(count: fn(usize) -> u64) -> f64 {
    (count(2 * MESSAGES) - count(MESSAGES)) as f64 / MESSAGES as f64
}

/// The total that callgrind tells on stderr.
fn instructions(told: &str) -> u64 {
    let at = told.find("Collected : ").unwrap_or_else(|| panic!("no count of instructions in:\n{told}"));
    let count = told[at..].split_whitespace().nth(2).expect("a number");
    count.parse().expect(count)
}

fn instructions_of_telexd(messages: usize) -> u64 {
    let mut telexd = Starter::new().before(&format!("set -- {COUNTED} \"$@\"")).start();
    let (mut sender, mut receiver) = (telexd.node("a"), telexd.node("b"));
    for batch in lines(messages).chunks(BATCH) {
        sender.write(batch.concat().as_bytes());
        for line in batch {
            assert_eq!(receiver.line().as_deref(), line.strip_suffix('\n'));
        }
    }
    telexd.stop();
    instructions(&telexd.log())
}

fn instructions_of_reference(messages: usize) -> u64 {
    let mut words = COUNTED.split(' ');
    let mut command = Command::new(words.next().expect("a program"));
    command.args(words).arg(std::env::current_exe().expect("this program"));
    command.args(["--exact", "reference"]).env(REFERENCE, messages.to_string());
    let ran = command.output().expect("valgrind");
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{told}");
    instructions(&told)
}

/// A part in the other test: by itself it does nothing.
#[test]
fn reference() {
    let Ok(messages) = std::env::var(REFERENCE) else { return };
    let line = &lines(1)[0];
    for _ in 0..messages.parse().expect("a number") {
        let value: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(value["to"], "b");
    }
}

/// Lines of a sender that does all it can for speed: nothing has to be added to them.
fn lines(count: usize) -> Vec<String> {
    let body = "x".repeat(BODY_BYTES);
    let line = |id| {
        format!(
            "{{\"message_id\":\"{id:09}\",\"message_type\":\"signal\",\
             \"from\":\"a\",\"to\":\"b\",\"body\":\"{body}\"}}\n"
        )
    };
    (0..count).map(line).collect()
}
