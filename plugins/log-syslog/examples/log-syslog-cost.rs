//! What it costs the daemon's loop to send a record:
//! `cargo run --release -p telex-log-syslog --example log-syslog-cost`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people")]

use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::thread::spawn;
use std::time::Instant;

use serde_json::{Value, json};
use telex_plugin::{Level, Record};

const RECORDS: u32 = 100_000;
/// So many of them come in one turn of the loop.
const IN_A_TURN: u32 = 16;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    measure("nobody there", &json!({"path": path}));

    let socket = UnixDatagram::bind(&path).unwrap();
    // It reads until this program ends.
    spawn(move || while socket.recv(&mut [0; 65536]).is_ok() {});
    measure("/dev/log", &json!({"path": path}));

    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    measure("udp", &json!({"server": format!("udp://{}", server.local_addr().unwrap())}));
}

fn measure(what: &str, config: &Value) {
    let mut config = config.clone();
    config["max_queue_bytes"] = json!("1GiB");
    let mut log = log_syslog::start(&config.to_string(), Box::new(|_, _| {})).unwrap();
    let began = Instant::now();
    for number in 0..RECORDS {
        log.record(&alice()).unwrap();
        if number % IN_A_TURN == 0 {
            log.flush();
        }
    }
    println!("{what}: {:?} per record", began.elapsed() / RECORDS);
}

fn alice() -> Record<'static> {
    Record {
        level: Level::Info,
        time: 0,
        event: "registered",
        connection: Some(7),
        node_id: Some("alice"),
        uid: Some(1000),
        message: "is alice",
        fields: "{}",
    }
}
