//! The plugin's files, without the daemon.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "../../../tests/support/needs.rs"]
mod needs;

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount, umount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};
use telex_log::Logger;
use telex_log::testing::{self, ALICE, PATIENCE, messages, path, record, wait_until, without_waiting, write};
use telex_plugin::{Fault, Level, Record};

fn start(config: &Value) -> (Logger, Receiver<String>) {
    testing::start(log_file::start, config)
}

/// How many lines have been written, of which the next may be under way.
fn count(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().matches('\n').count()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines().map(parse).collect()
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))
}

fn written(path: &Path) -> Vec<String> {
    lines(path).iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
}

fn fifo() -> (tempfile::TempDir, PathBuf) {
    let (dir, path) = path();
    mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
    (dir, path)
}

fn reader(path: &Path) -> File {
    OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).unwrap()
}

/// Reads a FIFO until its text is as it should be.
fn read_until(fifo: &mut File, what: &str, mut is_so: impl FnMut(&str) -> bool) -> String {
    let mut text = Vec::new();
    wait_until(what, || {
        let mut some = [0; 65536];
        if let Ok(count) = fifo.read(&mut some) {
            text.extend_from_slice(&some[..count]);
        }
        is_so(std::str::from_utf8(&text).unwrap())
    });
    String::from_utf8(text).unwrap()
}

#[test]
fn records_are_lines_of_json() {
    let (_dir, path) = path();
    let (mut log, _told) = start(&json!({"path": path}));
    log.record(&ALICE).unwrap();
    log.flush();
    wait_until("it is written while the plugin lives", || count(&path) == 1);
    let right = json!({
        "time": "2026-10-31T12:00:00.123Z", "level": "info", "event": "registered", "connection": 7,
        "node_id": "alice", "uid": 1000, "message": "is alice",
    });
    assert_eq!(lines(&path), [right]);
}

#[test]
fn records_are_lines_of_text() {
    let (_dir, path) = path();
    let (mut log, _told) = start(&json!({"path": path, "format": "text"}));
    log.record(&ALICE).unwrap();
    drop(log);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, "2026-10-31T12:00:00.123Z info registered :7 is alice\n");
}

#[test]
fn what_is_below_the_level_is_not_written() {
    for (level, count) in [("error", 1), ("notice", 3), ("debug", 5)] {
        let (_dir, path) = path();
        let (mut log, _told) = start(&json!({"path": path, "level": level}));
        for level in [Level::Error, Level::Warning, Level::Notice, Level::Info, Level::Debug] {
            log.record(&Record { level, ..record(level.word()) }).unwrap();
        }
        drop(log);
        assert_eq!(lines(&path).len(), count, "{level}");
    }
}

#[test]
fn the_mode_is_that_of_a_new_file_whatever_the_umask() {
    let dir = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    for (config, right) in [(json!({}), 0o640), (json!({"mode": "0666"}), 0o666)] {
        let path = dir.path().join(format!("{right:o}"));
        let mut config = config;
        config["path"] = json!(path);
        drop(start(&config));
        assert_eq!(mode(&path), right);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        drop(start(&config));
        assert_eq!(mode(&path), 0o600, "a file that is there keeps its own");
    }
}

#[test]
fn a_file_that_is_there_goes_on_and_a_torn_line_is_ended() {
    let (_dir, path) = path();
    fs::write(&path, "{\"message\":\"old\"}\n{\"mess").unwrap();
    for number in 0..2 {
        let (mut log, _told) = start(&json!({"path": path}));
        write(&mut log, number..number + 1);
    }
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[..2], ["{\"message\":\"old\"}", "{\"mess"]);
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[2].ends_with("\"record 0\"}") && lines[3].ends_with("\"record 1\"}"), "{text}");
}

#[test]
fn a_wrong_configuration_is_refused_with_what_would_be_right() {
    let dir = tempfile::tempdir().unwrap();
    let (here, gone) = (dir.path(), dir.path().join("gone/log"));
    let wrong = [
        (
            json!({}),
            "path: \"\" is no absolute path, such as \"/var/log/telexd.log\", nor \"-\" for stdout"
                .to_owned(),
        ),
        (json!({"path": "log"}), "path: \"log\" is no absolute path".to_owned()),
        (json!({"path": here}), format!("cannot open {}: Is a directory", here.display())),
        (json!({"path": gone}), format!("cannot open {}: No such file or directory", gone.display())),
        (json!({"path": "/x", "mode": "rw"}), "mode: \"rw\" is no mode from \"0000\" to \"0777\"".to_owned()),
        (json!({"path": "/x", "mode": "1777"}), "mode: \"1777\" is no mode".to_owned()),
        (
            json!({"path": "/x", "mode": 640}),
            "mode: invalid type: integer `640`, expected a string".to_owned(),
        ),
        (
            json!({"path": "/x", "format": "xml"}),
            "format: unknown variant `xml`, expected `json` or".to_owned(),
        ),
        (json!({"path": "/x", "colour": true}), "colour: unknown field `colour`, expected one of".to_owned()),
    ];
    testing::assert_refused(log_file::start, wrong);
}

#[test]
fn a_file_that_was_renamed_is_opened_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
    let (mut log, told) = start(&json!({"path": path}));
    write(&mut log, 0..100);
    wait_until("the old file has the first", || count(&path) == 100);
    fs::rename(&path, &old).unwrap();
    write(&mut log, 100..200);
    wait_until("what comes before the reload goes to the old file", || count(&old) == 200);
    log.reopen();
    wait_until("the new file is there before there is a record for it", || path.exists());
    write(&mut log, 200..300);
    drop(log);
    assert_eq!((written(&old), written(&path)), (messages(0..200), messages(200..300)));
    assert_eq!(told.iter().collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn a_file_that_cannot_be_opened_anew_is_told_of_and_comes_later() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, moved) = (dir.path().join("folder"), dir.path().join("moved"));
    fs::create_dir(&folder).unwrap();
    let path = folder.join("log");
    let (mut log, told) = start(&json!({"path": path}));
    fs::rename(&folder, &moved).unwrap();
    log.reopen();
    let trouble = told.recv_timeout(PATIENCE).unwrap();
    assert!(trouble.contains("No such file or directory"), "{trouble}");
    write(&mut log, 0..3);
    fs::create_dir(&folder).unwrap();
    wait_until("the records that waited are written", || count(&path) == 3);
    assert_eq!(written(&moved.join("log")), [""; 0]);
}

#[test]
fn a_full_device_is_told_of_once_and_blocks_nobody() {
    let (mut log, told) = start(&json!({"path": "/dev/full", "max_queue_bytes": "64KiB"}));
    let (log, faults) = without_waiting(move || {
        write(&mut log, 0..1);
        let results = (0..10_000).map(|_| {
            let result = log.record(&ALICE);
            log.flush();
            result
        });
        let faults = results.filter(|result| *result == Err(Fault)).count();
        (log, faults)
    });
    let trouble = told.recv_timeout(PATIENCE).unwrap();
    assert!(trouble.starts_with("error: cannot write to /dev/full: No space left on device"), "{trouble}");
    assert!(told.recv_timeout(Duration::from_millis(2500)).is_err(), "it is told once");
    assert!(faults < 10_000);
    let begun = Instant::now();
    drop(log);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let end: Vec<_> = told.iter().collect();
    assert_eq!(end, ["error: 10001 records lost, which /dev/full has not taken at the end"]);
}

/// A file system of so many bytes; only root can have one.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: &Path, options: &str) -> Option<Tmpfs> {
        let done = mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(options));
        done.ok().map(|()| Tmpfs(at.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // The folder below it is removed next, and tells where this has failed.
        let _ = umount(&self.0);
    }
}

#[test]
fn on_a_full_disk_records_wait_and_no_line_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Tmpfs::mount(dir.path(), "size=256k");
    if !needs::that(disk.is_some(), "the right to mount") {
        return;
    }
    let (path, ballast) = (dir.path().join("log"), dir.path().join("ballast"));
    fs::write(&ballast, vec![0; 128 << 10]).unwrap();
    let (mut log, told) = start(&json!({"path": path, "max_queue_bytes": "16KiB"}));
    let mut count = 0;
    let deadline = Instant::now() + PATIENCE;
    // The disk is full when the daemon is told so, and the queue when records are faults.
    while log.record(&record(&format!("record {count}"))).is_ok() {
        log.flush();
        count += 1;
        sleep(Duration::from_micros(100));
        assert!(Instant::now() < deadline, "the disk is not full after {count} records");
    }
    let trouble = told.recv_timeout(PATIENCE).unwrap();
    assert!(trouble.contains("No space left on device"), "{trouble}");
    fs::remove_file(&ballast).unwrap();
    let well = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(well, format!("notice: {} is written to again", path.display()));
    write(&mut log, count..count + 1);
    drop(log);
    assert_eq!(told.iter().collect::<Vec<_>>(), [""; 0]);

    let lines = lines(&path);
    let lost = |line: &Value| line["fields"]["records"].as_u64();
    let (written, missing) =
        (lines.iter().filter(|line| lost(line).is_none()), lines.iter().filter_map(lost));
    let missing = missing.sum::<u64>() as usize;
    // The fault was a record of its own, beside those that were counted here.
    assert_eq!(written.count() + missing, count + 2);
    assert!(missing > 0);
    assert_eq!(lines.last().unwrap()["message"], format!("record {count}"));
}

#[test]
fn a_fifo_may_get_its_reader_later() {
    let (_dir, path) = fifo();
    let config = json!({"path": path});
    let (mut log, told) = without_waiting(move || start(&config));
    write(&mut log, 0..3);
    let trouble = told.recv_timeout(PATIENCE).unwrap();
    assert!(trouble.ends_with("nobody reads this FIFO; what comes waits"), "{trouble}");
    let mut fifo = reader(&path);
    read_until(&mut fifo, "what waited is written", |text| text.lines().count() == 3);
}

#[test]
fn a_line_that_a_reader_has_left_half_read_begins_anew_for_the_next() {
    let (_dir, path) = fifo();
    let mut first = reader(&path);
    let (mut log, told) = start(&json!({"path": path}));
    // More than a FIFO holds, also once it has been read empty.
    let long = "x".repeat(300_000);
    log.record(&record(&long)).unwrap();
    log.flush();
    let other = OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path).unwrap();
    wait_until("the FIFO is full", || {
        poll(&mut [PollFd::new(other.as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO).unwrap() == 0
    });
    drop(other);
    let text = read_until(&mut first, "it has some of it", |text| text.len() > 10_000);
    assert!(!text.ends_with('\n'), "a line is torn");
    drop(first);
    let trouble = told.recv_timeout(PATIENCE).unwrap();
    assert!(trouble.contains("Broken pipe"), "{trouble}");
    write(&mut log, 0..1);
    let mut next = reader(&path);
    let text =
        read_until(&mut next, "the next reader gets the rest", |text| text.ends_with("\"record 0\"}\n"));
    let messages: Vec<_> = text.lines().map(|line| parse(line)["message"].clone()).collect();
    assert_eq!(messages, [long.as_str(), "record 0"]);
}

#[test]
fn the_end_does_not_wait_for_a_fifo_without_reader() {
    let (_dir, path) = fifo();
    let config = json!({"path": path});
    let (mut log, told) = without_waiting(move || start(&config));
    write(&mut log, 0..3);
    told.recv_timeout(PATIENCE).unwrap();
    let begun = Instant::now();
    without_waiting(move || drop(log));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let end = told.iter().last().unwrap();
    assert!(end.starts_with("error: 3 records lost"), "{end}");
}

#[test]
fn nobody_waits_for_a_reader_who_does_not_read() {
    let (_dir, path) = fifo();
    let mut stuck = reader(&path);
    let (mut log, told) = start(&json!({"path": path, "max_queue_bytes": "64KiB"}));
    let mut log = without_waiting(move || {
        for number in 0..20_000 {
            log.record(&record(&format!("record {number}"))).unwrap();
            log.flush();
        }
        log
    });
    let is_told = |text: &str| text.contains(" records lost");
    read_until(&mut stuck, "who reads after all is told how many are lost", is_told);
    write(&mut log, 0..20_000);
    let begun = Instant::now();
    without_waiting(move || drop(log));
    let took = begun.elapsed();
    assert!((1..10).contains(&took.as_secs()), "the end waits for who is slow, and not for ever: {took:?}");
    assert!(told.iter().last().unwrap().contains("records lost"));
}
