//! What it costs the daemon's loop to write a record:
//! `cargo run --release -p telex-log-file --example log-file-cost`
#![allow(clippy::print_stdout, reason = "a program for people")]

use serde_json::json;
use telex_log::testing::{ALICE, cost, path};
use telex_plugin::Record;

fn main() {
    for format in ["json", "text"] {
        let (_dir, path) = path();
        let record = Record { fields: r#"{"reason":"lost"}"#, ..ALICE };
        let cost = cost(log_file::start, json!({"path": path, "format": format}), &record);
        println!("{format}: {cost:?} per record");
    }
}
