//! Knows what the tests of log plugins have in common: records, what a plugin tells, and how to wait.
//! Never: how records are written.

use std::fs;
use std::ops::Range;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use serde_json::Value;
use telex_plugin::{Level, Record};
use tempfile::TempDir;

use crate::{Logger, Tell};

/// How long a test waits for what it expects.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A record that has everything but fields of its own.
pub const ALICE: Record<'_> = Record {
    level: Level::Info,
    time: 1_793_448_000_123_000_000,
    event: "registered",
    connection: Some(7),
    node_id: Some("alice"),
    uid: Some(1000),
    message: "is alice",
    fields: "{}",
};

/// The function that a log plugin exports.
pub type Start = fn(&str, Tell) -> Result<Logger, String>;

/// A record that is about no connection.
pub fn record(message: &str) -> Record<'_> {
    Record { event: "registered", message, ..Record::default() }
}

/// What is told comes out here. A plugin may outlive the interest in it.
pub fn tell() -> (Tell, Receiver<String>) {
    let (tell, told) = channel();
    (Box::new(move |level, text| drop(tell.send(format!("{}: {text}", level.word())))), told)
}

/// Starts a plugin, with what it tells.
pub fn start(start: Start, config: &Value) -> (Logger, Receiver<String>) {
    let (tell, told) = tell();
    (start(&config.to_string(), tell).expect("a right configuration"), told)
}

/// Checks that each configuration is refused with a text that begins so.
pub fn assert_refused<T: AsRef<str>>(start: Start, wrong: impl IntoIterator<Item = (Value, T)>) {
    for (config, told) in wrong {
        let refused = start(&config.to_string(), Box::new(|_, _| {})).expect_err("a wrong configuration");
        assert!(refused.starts_with(told.as_ref()), "{config}: {refused}");
    }
}

/// Writes the [`messages`] of these numbers.
pub fn write(log: &mut Logger, numbers: Range<usize>) {
    for message in messages(numbers) {
        log.record(&record(&message)).expect("no fault");
    }
    log.flush();
}

/// `record 0` and so on.
pub fn messages(numbers: Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("record {number}")).collect()
}

/// A path at which nothing is, which goes with its directory.
pub fn path() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log");
    (dir, path)
}

/// A datagram socket of this machine.
pub fn bind(path: &Path) -> UnixDatagram {
    // A daemon that is started again replaces its socket.
    let _ = fs::remove_file(path);
    let socket = UnixDatagram::bind(path).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

/// Waits until something is so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(5));
    }
}

/// Runs what must not wait for anybody; where it does, the test fails instead of hanging.
pub fn without_waiting<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = channel();
    spawn(move || done.send(run()));
    result.recv_timeout(PATIENCE).expect("nothing of this may block")
}

/// What a record costs the daemon's loop, where sixteen come in one turn of it.
pub fn cost(start: Start, mut config: Value, record: &Record<'_>) -> Duration {
    const TURNS: u32 = 10_000;
    const IN_A_TURN: u32 = 16;
    config["max_queue_bytes"] = "1GiB".into();
    let (mut log, _told) = self::start(start, &config);
    let began = Instant::now();
    for _ in 0..TURNS {
        for _ in 0..IN_A_TURN {
            log.record(record).expect("no fault");
        }
        log.flush();
    }
    began.elapsed() / (TURNS * IN_A_TURN)
}
