//! Services against a real daemon: dialled, called through it, mistreated, started by systemd, ended.

#![cfg(feature = "daemon")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a process of its own tells, and the daemon's log"
)]

mod bounds;
mod dialling;
mod direct;
#[allow(unreachable_pub, reason = "it stands in the documentation, too")]
mod pool;
mod process;
mod spread;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other tests need more of it")]
mod support;
mod systemd;
#[allow(unreachable_pub, reason = "it stands in the documentation, too")]
mod thermometer;

use std::path::Path;
use std::time::Duration;

use support::{PATIENCE, Telexd};
use telex::address::Address;
use telex::client::{Handle, Message};
use telex::service::{Builder, Service};

fn address(text: &str) -> Address {
    Address::parse(text).expect("an address")
}

fn daemon(telexd: &Telexd) -> Address {
    address(&telexd.addresses[0])
}

fn connect(telexd: &Telexd) -> Handle {
    Handle::connect(&daemon(telexd)).expect("a connection")
}

fn unix(dir: &Path, name: &str) -> Address {
    Address::Unix(dir.join(name))
}

/// A service that echoes, panics, dawdles, and says who calls.
fn echo(node_id: &str) -> Builder {
    Service::builder(node_id)
        .notify(false)
        .on("echo", |request: &Message| Ok::<_, String>(request.body().unwrap_or_default().to_owned()))
        .on("who", |request: &Message| Ok::<_, String>(request.sender().unwrap_or("null").to_owned()))
        .on("from", |request: &Message| Ok::<_, String>(format!("{:?}", request.from().unwrap_or("nobody"))))
        .on("fail", |_: &Message| Err::<String, _>("as you wish"))
        .on("large", |request: &Message| {
            let bytes = request.body_value().as_u64().unwrap_or_default();
            Ok::<_, String>(format!("\"{}\"", "x".repeat(bytes as usize)))
        })
        .on("panic", |_: &Message| -> Result<String, String> { panic!("at the disco") })
        .on("sleep", |request: &Message| {
            let ms = request.body_value().as_u64().unwrap_or_default();
            std::thread::sleep(Duration::from_millis(ms));
            Ok::<_, String>("")
        })
}

/// What a call of `echo` comes to.
fn ask(handle: &Handle, to: &str, message_type: &str, body: &str) -> String {
    let reply = handle.call(to, message_type, body, PATIENCE).wait().expect("a reply");
    reply.result().unwrap_or("nothing").to_owned()
}

#[test]
fn a_thermometer_is_found_by_its_name() {
    let telexd = Telexd::start();
    let service = thermometer::thermometer(&daemon(&telexd), telexd.dir()).expect("a service");
    assert_eq!(thermometer::temperature(&daemon(&telexd)).expect("a temperature").to_string(), "20.5");
    drop(service);
    assert!(thermometer::temperature(&daemon(&telexd)).is_err());
}

#[test]
fn workers_share_what_is_to_be_done() {
    let telexd = Telexd::start();
    let start = |_| pool::worker(&daemon(&telexd)).expect("a worker");
    let workers: Vec<Handle> = (0..4).map(start).collect();
    let numbers: Vec<u64> = (0..100).collect();
    let (squares, mut counts) = pool::squares(&daemon(&telexd), &numbers).expect("squares");
    assert_eq!(squares, numbers.iter().map(|number| number * number).collect::<Vec<_>>());
    counts.sort_unstable();
    assert!(counts.len() == 4 && counts[0] > 0 && counts.iter().sum::<u64>() == 100, "{counts:?}");
    drop(workers);
}
