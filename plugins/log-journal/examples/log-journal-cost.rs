//! What it costs the daemon's loop to send a record:
//! `cargo run --release -p telex-log-journal --example log-journal-cost`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people")]

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::thread::spawn;
use std::time::Instant;

use serde_json::json;
use telex_plugin::{Level, Record};

const RECORDS: u32 = 100_000;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    measure("nobody there", &path);

    let socket = UnixDatagram::bind(&path).unwrap();
    // It reads until this program ends.
    spawn(move || while socket.recv(&mut [0; 65536]).is_ok() {});
    measure("journal", &path);
}

fn measure(what: &str, path: &Path) {
    let config = json!({"path": path, "max_queue_bytes": "1GiB"});
    let mut log = log_journal::start(&config.to_string(), Box::new(|_, _| {})).unwrap();
    for fields in ["{}", r#"{"reason":"lost"}"#] {
        let began = Instant::now();
        for _ in 0..RECORDS {
            log.record(&alice(fields)).unwrap();
            log.flush();
        }
        println!("{what}, fields {fields}: {:?} per record", began.elapsed() / RECORDS);
    }
}

fn alice(fields: &str) -> Record<'_> {
    Record {
        level: Level::Info,
        time: 0,
        event: "registered",
        connection: Some(7),
        node_id: Some("alice"),
        uid: Some(1000),
        message: "is alice",
        fields,
    }
}
