//! The verbs of `telex` with a real daemon: each in both forms of its output, and each of its flags.

#![cfg(all(feature = "cli", feature = "daemon"))]
#![expect(clippy::print_stderr, reason = "the daemon's log")]

#[path = "command/run.rs"]
#[allow(dead_code, reason = "each of the tests that include this uses a part of it")]
mod command;
#[allow(dead_code, unused_imports, reason = "each of the tests that include this uses a part of it")]
#[path = "support/mod.rs"]
mod support;

#[path = "verbs/complete.rs"]
mod complete;
#[path = "verbs/configure.rs"]
mod configure;
#[path = "verbs/lasting.rs"]
mod lasting;
#[path = "verbs/look.rs"]
mod look;
#[path = "verbs/man.rs"]
mod man;
#[path = "verbs/measure.rs"]
mod measure;
#[path = "verbs/ports.rs"]
mod ports;
#[path = "verbs/screen.rs"]
mod screen;
#[path = "verbs/serve.rs"]
mod serve;
#[path = "verbs/talk.rs"]
mod talk;
#[path = "verbs/terminal.rs"]
mod terminal;

use command::{Outcome, Running, start_with, telex};
use serde_json::Value;
use support::Telexd;

/// What `telex` comes to with this daemon.
fn run(telexd: &Telexd, args: &[&str]) -> Outcome {
    run_with(telexd, args, "")
}

fn run_with(telexd: &Telexd, args: &[&str], stdin: &str) -> Outcome {
    start_with(telex(args).env("TELEX_ADDRESS", &telexd.addresses[0]), stdin).finish()
}

/// Starts it, and waits until it has said its first words.
fn start(telexd: &Telexd, args: &[&str]) -> Running {
    let mut running = start_with(telex(args).env("TELEX_ADDRESS", &telexd.addresses[0]), "");
    running.next_word();
    running
}

/// What it prints where it must succeed without a word.
fn out(telexd: &Telexd, args: &[&str]) -> String {
    let Outcome { code, out, err } = run(telexd, args);
    assert_eq!((code, &*err), (Some(0), ""), "{args:?}: {out}");
    out
}

/// The lines of JSON that it prints.
fn lines(telexd: &Telexd, args: &[&str]) -> Vec<Value> {
    out(telexd, args).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The one line of JSON that it prints.
fn line(telexd: &Telexd, args: &[&str]) -> Value {
    let lines = lines(telexd, args);
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].clone()
}
