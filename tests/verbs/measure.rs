//! The verbs that measure, record and replay.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::*;

/// A place for a recording.
fn place() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("recording").to_str().expect("UTF-8").to_owned();
    (dir, file)
}

fn read(file: impl AsRef<Path>) -> Vec<Value> {
    let text = std::fs::read_to_string(file).expect("a recording");
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Presses Ctrl-C, and waits for the end.
fn interrupt(running: &mut Running) -> Outcome {
    kill(Pid::from_raw(running.child.id() as i32), Signal::SIGINT).expect("a signal");
    running.finish()
}

/// A line of a recording.
fn recorded(time: f64, sender: &str, message: Value) -> String {
    let line = message.to_string();
    json!({"time": time, "sender": {"unique_id": sender}, "line": line, "verdict": "pass"}).to_string() + "\n"
}

#[test]
fn what_is_recorded_is_replayed() {
    let telexd = Telexd::start();
    let (_dir, file) = place();
    let (mut worker, mut alice) = (telexd.node("worker"), telexd.node("alice"));
    let mut recording = start(&telexd, &["record", &file]);
    alice.send(
        &json!({"message_id": 1, "message_type": "ask", "to": "worker", "x-own": [1.50], "body": "what"}),
    );
    let asked = worker.message();
    worker.send(&json!({"message_type": "ask_reply", "to": "alice", "body": {"in_reply_to": 1}}));
    assert_eq!(alice.message()["body"]["in_reply_to"], 1);
    alice.send(&json!({"message_type": "signal", "to": "worker", "body": "hi"}));
    alice.send(&json!({"message_type": "signal", "topic": "t", "body": "news"}));
    alice.ping();
    let Outcome { code, err, .. } = interrupt(&mut recording);
    assert_eq!((code, &*err), (Some(0), "telex: 5 messages recorded, 0 missed\n"));
    let lines = read(&file);
    assert_eq!(lines.len(), 5, "{lines:?}");
    let line: Value = serde_json::from_str(lines[0]["line"].as_str().expect("a line")).expect("a message");
    assert_eq!((line, &lines[0]["verdict"], lines[0]["time"].is_f64()), (asked, &json!("pass"), true));
    assert_eq!(lines[0]["sender"]["pid"], std::process::id());
    worker.message();

    // As from others.
    let mut replay = start_with(telex(&["replay", &file]).env("TELEX_ADDRESS", &telexd.addresses[0]), "");
    let asked = worker.message();
    assert_eq!((&asked["body"], &asked["x-own"]), (&json!("what"), &json!([1.50])));
    let from = asked["from"].as_str().expect("a sender");
    assert!(from.starts_with(':'), "{from}");
    let body = json!({"in_reply_to": asked["message_id"], "error": null});
    worker.send(&json!({"message_type": "ask_reply", "to": from, "body": body}));
    assert_eq!(
        (&worker.message()["body"], worker.ask_well("ping", json!({}))["error"].is_null()),
        (&json!("hi"), true)
    );
    let Outcome { code, out, err } = replay.finish();
    assert_eq!((code, &*err), (Some(0), ""), "{out}");
    let told: Value = serde_json::from_str(&out).expect(&out);
    assert_eq!((&told["sent"], &told["answers"], &told["errors"]), (&json!(3), &json!(1), &json!({})));
    assert_eq!(told["left_out"], json!({"replies": 1, "to_daemon": 1}));

    // As from themselves, once they are gone.
    let held = run(&telexd, &["replay", &file, "--as-them"]);
    assert_eq!(held.code, Some(4), "{}", held.err);
    assert!(held.err.starts_with("telex: \"alice\" is there"), "{}", held.err);
    drop(alice);
    worker.ping();
    let args = ["replay", &file, "--as-them", "--speed", "max", "--table", "-W", "100ms"];
    let mut replay = start_with(telex(&args).env("TELEX_ADDRESS", &telexd.addresses[0]), "");
    assert_eq!((&worker.message()["from"], &worker.message()["from"]), (&json!("alice"), &json!("alice")));
    let Outcome { code, out, err } = replay.finish();
    assert_eq!((code, &*err), (Some(5), "telex: no answer came in time to 1 request\n"));
    assert!(out.contains("3 of 3 messages sent in ") && out.contains("answers: 0, unanswered: 1\n"), "{out}");
}

#[test]
fn a_replay_keeps_the_time_between_and_tells_errors() {
    let telexd = Telexd::start();
    let (_dir, file) = place();
    let mut node = telexd.node("node");
    let signal = |body: &str| json!({"message_type": "signal", "from": ":7", "to": "node", "body": body});
    let lines = [
        recorded(1000.0, ":7", signal("one")),
        recorded(1000.0, ":7", json!({"message_type": "ask", "from": ":7", "to": "nobody"})),
        "\n".to_owned(),
        recorded(1001.0, ":8", signal("two")),
        // The clock was set back.
        recorded(900.0, ":8", signal("three")),
    ];
    std::fs::write(&file, lines.concat()).expect("a file");
    for (speed, range) in [("2", 0.5..20.0), ("0", 0.0..0.5), ("max", 0.0..0.5)] {
        let Outcome { code, out, err } = run(&telexd, &["replay", &file, "--speed", speed]);
        assert_eq!((code, &*err), (Some(3), "telex: no node \"nobody\" (no_such_node)\n"));
        let told: Value = serde_json::from_str(&out).expect(&out);
        assert_eq!((&told["sent"], &told["errors"]), (&json!(4), &json!({"no_such_node": 1})));
        let seconds = told["seconds"].as_f64().expect("a number");
        assert!(range.contains(&seconds), "--speed {speed}: {seconds} s");
        let bodies = [(); 3].map(|()| node.message()["body"].clone());
        assert_eq!(bodies.each_ref().map(|body| body.as_str().expect("a text")), ["one", "two", "three"]);
    }
    for speed in ["-1", "fast", "inf", "nan"] {
        assert_eq!(run(&telexd, &["replay", &file, &format!("--speed={speed}")]).code, Some(2), "{speed}");
    }
    // Ctrl-C ends it, and it says so.
    std::fs::write(&file, [&lines[0], &recorded(5000.0, ":7", signal("late"))].map(|line| &**line).concat())
        .expect("a file");
    let mut waiting = start_with(telex(&["replay", &file]).env("TELEX_ADDRESS", &telexd.addresses[0]), "");
    assert_eq!(node.message()["body"], "one");
    let Outcome { code, out, err } = interrupt(&mut waiting);
    assert_eq!((code, &*err), (Some(130), "telex: it was ended before its time\n"));
    assert!(out.contains("\"not_sent\":1"), "{out}");
}

#[test]
fn a_recording_with_a_line_at_fault_is_not_replayed() {
    let telexd = Telexd::start();
    let (_dir, file) = place();
    let mut node = telexd.node("node");
    let good = recorded(1.0, ":7", json!({"message_type": "signal", "from": ":7", "to": "node"}));
    let snapped =
        r#"{"time":1,"sender":{"unique_id":":7"},"line":"{\"mess","line_bytes":99,"verdict":"pass"}"#;
    let huge = r#"{"time":1e300,"sender":{"unique_id":":7"},"line":"{}","verdict":"pass"}"#;
    for (bad, why) in [
        ("{", "line 2: it is no recorded message: EOF"),
        ("{\"time\":1}", "line 2: it is no recorded message: missing field `sender`"),
        (
            r#"{"message_type":"signal","from":"a","to":"b"}"#,
            "line 2: it has no time and no sender: what was recorded with --plain",
        ),
        (snapped, "line 2: only 6 of 99 bytes were recorded (--snap)"),
        (huge, "line 2: 1e300 is no time"),
        (r#"{"time":1,"sender":{"unique_id":":7"},"line":"{}"}"#, "line 2: its line is no message"),
        ("\u{0}", "line 2: it is no recorded message"),
    ] {
        std::fs::write(&file, format!("{good}{bad}\n")).expect("a file");
        let Outcome { code, out, err } = run(&telexd, &["replay", &file]);
        assert_eq!((code, &*out), (Some(2), ""), "{bad}: {err}");
        assert!(err.starts_with(&format!("telex: {file}: {why}")), "{bad}: {err}");
    }
    // Not even the first one was sent.
    node.ping();
    assert_eq!(run(&telexd, &["replay", "/nowhere"]).code, Some(1));
}

#[test]
fn what_cannot_be_read_twice_is_not_replayed() {
    let telexd = Telexd::start();
    let (_dir, file) = place();
    nix::unistd::mkfifo(Path::new(&file), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    for name in [&file, "-", "/dev/null", "/"] {
        let Outcome { code, out, err } = run(&telexd, &["replay", name]);
        let told = format!("telex: {name} is no regular file: a recording is read more than once\n");
        assert_eq!((code, &*out, err), (Some(2), "", told));
    }
}

#[test]
fn what_is_recorded_and_where() {
    let telexd = Telexd::start();
    let (_dir, file) = place();
    let send = |args: &[&str]| {
        let running = start(&telexd, args);
        out(&telexd, &["publish", "t", "1"]);
        out(&telexd, &["publish", "u", "2"]);
        running
    };
    let ended = send(&["record", &file, "--topic", "u", "-n", "1"]).finish();
    assert_eq!((ended.code, &*ended.err), (Some(0), "telex: 1 message recorded, 0 missed\n"));
    assert!(read(&file)[0]["line"].as_str().expect("a line").contains("\"topic\":\"u\""));
    // What is there is kept.
    let kept = run(&telexd, &["record", &file]);
    assert_eq!((kept.code, read(&file).len()), (Some(1), 1), "{}", kept.err);
    let ended = send(&["record", &file, "--force", "--type", "signal", "--snap", "5", "-W", "2s"]).finish();
    assert_eq!(ended.code, Some(0));
    assert_eq!(
        read(&file).iter().map(|line| line["line"].as_str().map(str::len)).collect::<Vec<_>>(),
        [Some(5); 2]
    );
    let shown = send(&["record", "-", "--plain", "--topic", "t", "-n", "1"]).finish();
    let line: Value = serde_json::from_str(&shown.out).expect(&shown.out);
    assert_eq!((&line["topic"], &line["body"]), (&json!("t"), &json!(1)));
    // Its reader is gone, and nothing else happens.
    let mut quiet = start(&telexd, &["record", "-", "--topic", "none"]);
    let mut quiet_out = telex(&["record", "-", "--topic", "none"]);
    let mut gone = quiet_out.env("TELEX_ADDRESS", &telexd.addresses[0]).spawn().expect("telex");
    drop(gone.stdout.take());
    assert_eq!(gone.wait().expect("an end").code(), Some(0));
    assert_eq!(interrupt(&mut quiet).code, Some(0));
}

#[test]
fn what_a_recording_is_appended_to_stays() {
    let telexd = Telexd::start();
    let (_dir, file) = place();
    std::fs::write(&file, "old\n".repeat(500)).expect("a file");
    let script = format!("trap '' XFSZ; ulimit -f 4; exec {} record - >>{file}", env!("CARGO_BIN_EXE_telex"));
    let mut command = std::process::Command::new("bash");
    command.args(["-c", &script]).env("TELEX_ADDRESS", &telexd.addresses[0]);
    let mut short =
        start_with(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()), "");
    assert_eq!(short.next_word(), "telex: recording\n");
    let mut alice = telexd.client();
    for _ in 0..100 {
        alice.send(&json!({"message_type": "signal", "topic": "t", "body": "x".repeat(300)}));
    }
    assert_eq!(short.finish().code, Some(1));
    let text = std::fs::read_to_string(&file).expect("the file");
    assert!(text.starts_with(&"old\n".repeat(500)) && text.len() > 2000, "{}", text.len());
}

#[test]
fn a_recording_is_its_owners_alone() {
    let telexd = Telexd::start();
    let (_dir, file) = place();
    run(&telexd, &["record", &file, "-W", "10ms"]);
    let mode = std::fs::metadata(&file).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_full_disk_is_an_error_and_leaves_whole_lines() {
    let telexd = Telexd::start();
    let (_dir, file) = place();
    let mut full = start(&telexd, &["record", "/dev/full", "--force"]);
    // As a disk that is full after so many bytes.
    let script = format!("trap '' XFSZ; ulimit -f 8; exec {} record {file}", env!("CARGO_BIN_EXE_telex"));
    let mut command = std::process::Command::new("bash");
    command.args(["-c", &script]).env("TELEX_ADDRESS", &telexd.addresses[0]);
    let pipes = [std::process::Stdio::piped(), std::process::Stdio::piped(), std::process::Stdio::piped()];
    let [stdin, stdout, stderr] = pipes;
    let mut short = start_with(command.stdin(stdin).stdout(stdout).stderr(stderr), "");
    assert_eq!(short.next_word(), "telex: recording\n");
    let mut alice = telexd.client();
    for _ in 0..100 {
        alice.send(&json!({"message_type": "signal", "topic": "t", "body": "x".repeat(300)}));
    }
    let Outcome { code, err, .. } = full.finish();
    assert_eq!(code, Some(1), "{err}");
    assert_eq!(
        err,
        "telex: 0 messages recorded, 0 missed\ntelex: /dev/full: No space left on device (os error 28)\n"
    );
    let Outcome { code, err, .. } = short.finish();
    let lines = read(&file).len();
    assert!((1..100).contains(&lines), "{lines}");
    assert_eq!(code, Some(1), "{err}");
    let told =
        format!("telex: {lines} messages recorded, 0 missed\ntelex: {file}: File too large (os error 27)\n");
    assert_eq!(err, told);
}

#[test]
fn messages_that_a_recording_misses_are_counted() {
    const SENT: usize = 3000;
    let telexd = Telexd::with(&["max_line_bytes=16KiB", "max_queue_bytes=64KiB"]);
    let (_dir, file) = place();
    let mut recording = start(&telexd, &["record", &file]);
    let pid = Pid::from_raw(recording.child.id() as i32);
    kill(pid, Signal::SIGSTOP).expect("a signal");
    let mut alice = telexd.client();
    for _ in 0..SENT {
        alice.send(&json!({"message_type": "signal", "topic": "t", "body": "x".repeat(500)}));
    }
    alice.ping();
    kill(pid, Signal::SIGCONT).expect("a signal");
    // The word on what was missed comes before the next message.
    support::wait_until("all has been read", || {
        alice.send(&json!({"message_type": "signal", "topic": "t", "body": "last"}));
        std::fs::read_to_string(&file).expect("a recording").contains("last")
    });
    let Outcome { err, .. } = interrupt(&mut recording);
    let summary = err.lines().last().expect("a summary");
    let numbers: Vec<usize> = summary.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(numbers[1] > 0 && numbers[0] == read(&file).len(), "{err}");
    assert!(numbers[0] + numbers[1] > SENT, "{err}");
}

#[test]
fn figures_of_a_daemon() {
    let telexd = Telexd::start();
    let pid = telexd.process().0.to_string();
    let sent =
        line(&telexd, &["bench", "send", "--pairs", "2", "--bytes", "64", "--time", "100ms", "--pid", &pid]);
    assert_eq!((&sent["bench"], &sent["pairs"], &sent["bytes"]), (&json!("send"), &json!(2), &json!(64)));
    let positive = |told: &Value, name: &str| assert!(told[name].as_f64() > Some(0.0), "{name}: {told}");
    ["messages", "seconds", "per_second", "cpu_us"].iter().for_each(|name| positive(&sent, name));
    let published = line(&telexd, &["bench", "publish", "--to", "3", "--time", "100ms"]);
    assert_eq!(published["messages"].as_u64().expect("a count") % 3, 0);
    assert_eq!(published["cpu_us"], Value::Null);
    let asked = line(&telexd, &["bench", "call", "--rate", "500", "--time", "400ms"]);
    let count = asked["messages"].as_u64().expect("a count");
    assert!((150..=201).contains(&count), "{asked}");
    let waits =
        ["min_us", "p50_us", "p90_us", "p99_us", "p99.9_us", "max_us"].map(|name| asked[name].as_f64());
    assert!(waits[0] > Some(0.0) && waits.is_sorted(), "{asked}");
    let table = out(&telexd, &["bench", "call", "--time", "10ms", "--table"]);
    assert!(table.starts_with("BENCH") && table.contains("\np99.9_us"), "{table}");
    // It is told at once.
    assert_eq!(run(&telexd, &["bench", "send", "--pid", "999999999", "--time", "1h"]).code, Some(2));
    assert_eq!(run(&telexd, &["bench"]).code, Some(2));
    // Nothing of it is left.
    assert_eq!(lines(&telexd, &["list"]), Vec::<Value>::new());
}

#[test]
fn a_request_that_waits_to_be_sent_waits_already() {
    let telexd = Telexd::start();
    let args = ["bench", "call", "--rate", "1000", "--time", "1s"];
    let mut bench = start_with(telex(&args).env("TELEX_ADDRESS", &telexd.addresses[0]), "");
    support::wait_until("it measures", || telexd.client().stats()["delivered"].as_u64() > Some(1200));
    telexd.suspend();
    std::thread::sleep(std::time::Duration::from_millis(200));
    telexd.resume();
    let told: Value = serde_json::from_str(&bench.finish().out).expect("a line");
    // Of the requests that were due meanwhile half waited for longer than half of that time.
    assert!(told["p90_us"].as_f64() > Some(50_000.0) && told["max_us"].as_f64() > Some(190_000.0), "{told}");
}

#[test]
fn all_requests_that_were_due_are_sent() {
    let telexd = Telexd::start();
    let told = line(&telexd, &["bench", "call", "--rate", "1000000", "--time", "40ms"]);
    let count = told["messages"].as_u64().expect("a count");
    // The last of them is due a moment before the end.
    assert!((39_999..=40_000).contains(&count), "{told}");
    assert!(told["max_us"].as_f64() > Some(40_000.0), "more than there is room for at once: {told}");
}

#[test]
fn a_black_hole_ends_with_its_connection() {
    let telexd = Telexd::start();
    let mut hole = start_with(
        telex(&["black-hole", "sink", "--topic", "t.>", "-W", "20s"])
            .env("TELEX_ADDRESS", &telexd.addresses[0]),
        "",
    );
    assert_eq!(hole.next_word(), "telex: listening as sink, and never reads\n");
    let mut alice = telexd.client();
    let queued = |alice: &mut support::Client| {
        alice.send(&json!({"message_type": "signal", "topic": "t.x", "body": "x".repeat(500_000)}));
        alice.ask_well("resolve", json!({"node_id": "sink"}))["instances"][0]["queue_bytes"].as_u64()
    };
    support::wait_until("it has a queue", || queued(&mut alice) > Some(1_000_000));
    out(&telexd, &["kill", "sink"]);
    assert_eq!(hole.finish().code, Some(0));
    let ended = run(&telexd, &["black-hole", "sink", "-W", "50ms", "--quiet"]);
    assert_eq!((ended.code, &*ended.err), (Some(0), ""));
}
