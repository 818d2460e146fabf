//! What it costs the daemon's loop to send a record:
//! `cargo run --release -p telex-log-syslog --example log-syslog-cost`
#![allow(clippy::print_stdout, reason = "a program for people")]

use std::net::{Ipv4Addr, UdpSocket};
use std::thread::spawn;

use serde_json::{Value, json};
use telex_log::testing::{ALICE, bind, cost, path};

fn main() {
    let (_dir, path) = path();
    measure("nobody there", json!({"path": path}));

    let socket = bind(&path);
    // It reads until this program ends.
    spawn(move || while socket.recv(&mut [0; 65536]).is_ok() {});
    measure("/dev/log", json!({"path": path}));

    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let address = server.local_addr().expect("an address");
    measure("udp", json!({"server": format!("udp://{address}")}));
}

fn measure(what: &str, config: Value) {
    println!("{what}: {:?} per record", cost(log_syslog::start, config, &ALICE));
}
