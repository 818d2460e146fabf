//! What it costs the daemon's loop to write a record:
//! `cargo run --release -p telex-log-file --example log-file-cost`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people")]

use std::time::Instant;

use serde_json::json;
use telex_plugin::{Level, Record};

const RECORDS: u32 = 1_000_000;
/// So many of them come in one turn of the loop.
const IN_A_TURN: u32 = 16;

fn main() {
    for format in ["json", "text"] {
        let dir = tempfile::tempdir().unwrap();
        let config = json!({"path": dir.path().join("log"), "format": format, "max_queue_bytes": "1GiB"});
        let mut log = log_file::start(&config.to_string(), Box::new(|_, _| {})).unwrap();
        let began = Instant::now();
        for number in 0..RECORDS {
            log.record(&alice()).unwrap();
            if number % IN_A_TURN == 0 {
                log.flush();
            }
        }
        println!("{format}: {:?} per record", began.elapsed() / RECORDS);
    }
}

fn alice() -> Record<'static> {
    Record {
        level: Level::Info,
        time: 1_793_448_000_123_000_000,
        event: "left",
        connection: Some(7),
        node_id: Some("alice"),
        uid: Some(1000),
        message: "left (lost): alice",
        fields: r#"{"reason":"lost"}"#,
    }
}
