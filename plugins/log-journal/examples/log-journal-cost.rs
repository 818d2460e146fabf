//! What it costs the daemon's loop to send a record:
//! `cargo run --release -p telex-log-journal --example log-journal-cost`
#![allow(clippy::print_stdout, reason = "a program for people")]

use std::path::Path;
use std::thread::spawn;

use serde_json::json;
use telex_log::testing::{ALICE, bind, cost, path};
use telex_plugin::Record;

fn main() {
    let (_dir, path) = path();
    measure("nobody there", &path);

    let socket = bind(&path);
    // It reads until this program ends.
    spawn(move || while socket.recv(&mut [0; 65536]).is_ok() {});
    measure("journal", &path);
}

fn measure(what: &str, path: &Path) {
    for fields in ["{}", r#"{"reason":"lost"}"#] {
        let cost = cost(log_journal::start, json!({"path": path}), &Record { fields, ..ALICE });
        println!("{what}, fields {fields}: {cost:?} per record");
    }
}
