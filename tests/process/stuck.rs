//! What the daemon writes to takes nothing, or what it reads from gives nothing: it serves and ends all the same.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{Group, getgid, mkfifo};
use serde_json::{Value, json};

use crate::plugins::compile;
use crate::support::{Client, PATIENCE, Starter, Telexd, wait_for, wait_until};

/// A daemon whose stderr is a pipe, and the end of it that is to be read.
fn with_pipe_at_stderr() -> (Telexd, File) {
    let starter = Starter::new().set("log_level=debug").before("exec 2>stderr");
    let path = starter.dir().join("stderr");
    mkfifo(&path, Mode::S_IRWXU).expect("a FIFO");
    let reader = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path);
    (starter.start(), reader.expect("its end"))
}

/// Makes more records than the pipe and the daemon's queue hold.
fn flood(client: &mut Client) {
    const BATCH: usize = 100;
    let node = "n".repeat(250);
    let lines: String = ["register", "unregister"]
        .map(|verb| format!("{}\n", json!({"message_type": verb, "body": {"node_id": node}})))
        .concat()
        .repeat(BATCH);
    for _ in 0..50 {
        client.write(lines.as_bytes());
        (0..2 * BATCH).for_each(|_| drop(client.message()));
    }
}

#[test]
fn a_pipe_at_stderr_that_is_not_read_delays_nothing() {
    let (mut telexd, _reader) = with_pipe_at_stderr();
    let mut client = telexd.client();
    flood(&mut client);
    client.ping();
    telexd.client().ping();
    let began = Instant::now();
    telexd.signal(Signal::SIGTERM);
    assert_eq!(telexd.wait().code(), Some(0));
    let took = began.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(8)).contains(&took), "{took:?}");
}

#[test]
fn a_full_pipe_at_stdout_delays_nothing() {
    let starter = Starter::new().before("exec 1<>stdout");
    let path = starter.dir().join("stdout");
    mkfifo(&path, Mode::S_IRWXU).expect("a FIFO");
    let both = OFlag::O_NONBLOCK.bits();
    let mut pipe = OpenOptions::new().read(true).write(true).custom_flags(both).open(&path).expect("it");
    while pipe.write(&[0; 4096]).is_ok() {}
    let mut telexd = starter.start_silently();
    let address = format!("unix:{}", telexd.dir().join("telex.sock").display());
    let mut client = wait_for("a listener", || Client::try_connect(&address).ok());
    client.ping();
    telexd.stop();
}

#[test]
fn records_that_were_dropped_are_told_of_when_stderr_is_read_again() {
    let (mut telexd, reader) = with_pipe_at_stderr();
    flood(&mut telexd.client());
    let flags = OFlag::from_bits_retain(fcntl(&reader, FcntlArg::F_GETFL).expect("its flags"));
    fcntl(&reader, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK)).expect("a blocking end");
    let mut lines = BufReader::new(reader).lines().map(|line| line.expect("UTF-8"));
    let told = lines.find(|line| line.contains("records of the log were dropped")).expect("a word on it");
    let count = told.strip_prefix("telexd: warning: ").and_then(|told| told.split(' ').next());
    assert!(count.is_some_and(|count| count.parse().is_ok_and(|count: u64| count > 1000)), "{told}");
    // What comes later is there, to the end.
    telexd.client().register("late");
    assert!(lines.any(|line| line.contains(" is late (uid ")));
    telexd.signal(Signal::SIGTERM);
    assert_eq!(lines.last().as_deref(), Some("telexd: notice: stopped"));
    assert_eq!(telexd.wait().code(), Some(0));
}

#[test]
fn a_service_manager_that_is_busy_delays_nothing() {
    let starter = Starter::new();
    let path = starter.dir().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    let mut telexd = starter.variable("NOTIFY_SOCKET", &path).start();
    let told = || {
        let mut bytes = [0; 1000];
        let count = manager.recv(&mut bytes).expect("a word from telexd");
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    let first = told();
    assert!(first.starts_with("READY=1\nSTATUS=connections: 0; nodes: 0; listening on unix:"), "{first}");
    let other = UnixDatagram::unbound().expect("a socket");
    other.set_nonblocking(true).expect("one that does not wait");
    let mut fillers = 0;
    while other.send_to(b"FILLER=1", &path).is_ok() {
        fillers += 1;
    }
    let mut client = telexd.client();
    client.ask_well("reload", Value::Null);
    client.ping();
    (0..fillers).for_each(|_| assert_eq!(told(), "FILLER=1"));
    let reloading = told();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    let again = told();
    assert!(again.starts_with("READY=1\nSTATUS=connections: 1; "), "{again}");
    while other.send_to(b"FILLER=1", &path).is_ok() {}
    telexd.stop();
}

#[test]
fn a_service_manager_that_cannot_be_told_is_in_the_log() {
    let telexd = Starter::new().variable("NOTIFY_SOCKET", "/not/there").start();
    telexd.wait_for_log("telexd: warning: cannot tell the service manager: ");
}

/// A daemon that can be made to wait for what it reads or asks at a reload.
fn with_slow(call: &str) -> Telexd {
    let starter = Starter::new();
    let library = starter.dir().join("slow.so");
    compile("../slow.c", &[format!("-D{call}")], &library);
    write_settings(starter.dir(), "");
    starter.variable("LD_PRELOAD", library).argument("--config").argument("telexd.toml").start()
}

fn write_settings(dir: &Path, settings: &str) {
    let group = Group::from_gid(getgid()).expect("groups").expect("its own group").name;
    let text = format!("socket_group = {group:?}\n{settings}\n");
    fs::write(dir.join("telexd.toml"), text).expect("a configuration");
}

#[test]
fn a_reload_that_waits_for_a_disk_or_a_lookup_delays_nothing_else() {
    for call in ["SLOW_FILE", "SLOW_GROUP"] {
        let mut telexd = with_slow(call);
        let file = |name: &str| telexd.dir().join(name);
        let (waits, go_on) = (file("waits"), file("go_on"));
        fs::write(file("slow"), "").expect("a file");
        write_settings(telexd.dir(), "max_names = 3");
        let mut client = telexd.client();
        client.send(&json!({"message_id": 1, "message_type": "reload"}));
        wait_until("a reload that waits", || waits.exists());
        telexd.client().ping();
        client.ping();
        fs::write(&go_on, "").expect("a file");
        let answer = client.message();
        assert_eq!(answer["message_type"], json!("reload_reply"), "{answer}");
        assert_eq!(answer["body"]["applied"], json!(["max_names"]), "{answer}");

        fs::remove_file(&go_on).expect("removed");
        fs::remove_file(&waits).expect("removed");
        telexd.signal(Signal::SIGHUP);
        wait_until("a reload that waits", || waits.exists());
        telexd.stop();
    }
}

#[test]
fn a_reload_that_takes_long_to_be_read_is_told_of() {
    let telexd = with_slow("SLOW_FILE");
    fs::write(telexd.dir().join("slow"), "").expect("a file");
    telexd.signal(Signal::SIGHUP);
    telexd.wait_for_log("warning: the new configuration is still being read");
}

#[test]
fn what_is_no_regular_file_is_not_read_again() {
    let telexd = with_slow("NOTHING");
    let path = telexd.dir().join("telexd.toml");
    fs::remove_file(&path).expect("removed");
    mkfifo(&path, Mode::S_IRWXU).expect("a FIFO");
    let told = telexd.client().ask("reload", Value::Null);
    assert_eq!(told["code"], json!("bad_field"), "{told}");
    assert_eq!(told["error"], json!("telexd.toml: is no regular file; it cannot be read again"));
    telexd.wait_for_log("the configuration is left as it was: telexd.toml: is no regular file");
}
