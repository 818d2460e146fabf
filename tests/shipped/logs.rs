//! The plugins that take the log, behind a daemon that has much to do.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use telex::core::Event;

use crate::readme::{block, block_with, folder, readme};
use crate::support::{PATIENCE, Starter, Telexd, needs, wait_for, wait_until};
use crate::{configure, starter};

/// So long may an answer take on a machine that does many things at once. One that waited for the disk or
/// for a reader would never come.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Clients `c0`, `c1` and so on, each of whom comes, is served at once, and goes, which makes two records.
fn bustle(telexd: &Telexd, clients: std::ops::Range<usize>) {
    for number in clients {
        let began = Instant::now();
        telexd.node(&format!("c{number}")).ping();
        assert!(began.elapsed() < AT_ONCE, "client {number} waited for {:?}", began.elapsed());
    }
    let longest = telexd.client().stats()["longest_turn_us"].as_u64().expect("a number");
    assert!(u128::from(longest) < AT_ONCE.as_micros(), "a turn took {longest} µs");
}

/// Waits until the plugin has said this. What it says on a thread of its own is written with the daemon's
/// next turn, so there has to be one.
fn wait_until_said(telexd: &Telexd, part: &str) {
    let mut client = telexd.client();
    wait_until(part, || {
        client.ping();
        telexd.log().contains(part)
    });
}

fn names(clients: std::ops::Range<usize>) -> Vec<String> {
    clients.map(|number| format!("c{number}")).collect()
}

/// The records of a file that log-file has written as JSON, as far as they are written.
fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("the log");
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Who has registered, by these records.
fn registered(records: &[Value]) -> Vec<String> {
    let those = records.iter().filter(|record| record["event"] == "registered");
    those.map(|record| record["node_id"].as_str().expect("a node ID").to_owned()).collect()
}

/// How many records are lost, by these records.
fn lost(records: &[Value]) -> usize {
    let those = records.iter().filter(|record| record["event"] == "lost");
    those.map(|record| record["fields"]["records"].as_u64().expect("a number") as usize).sum()
}

fn has(path: &Path, part: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.contains(part))
}

/// A daemon with log-file as its README has it, but that it writes to `path`, and with these options too.
fn with_log_file(path: impl FnOnce(&Path) -> PathBuf, options: &str) -> Starter {
    starter(&["log-file"], |dir| log_file(&path(dir), options))
}

fn log_file(path: &Path, options: &str) -> String {
    let changed = format!("\"{}\"{options} }}", path.display());
    block_with("log-file", "toml", &[("\"/var/log/telexd/telexd.log\" }", &changed)])
}

#[test]
fn log_file_writes_json_and_a_file_that_was_renamed_is_opened_anew() {
    let mut telexd = with_log_file(|dir| dir.join("log"), "").start();
    let (path, old) = (telexd.dir().join("log"), telexd.dir().join("log.1"));
    bustle(&telexd, 0..50);
    wait_until("the first are written", || has(&path, "c49"));
    // As logrotate does it.
    fs::rename(&path, &old).expect("renamed");
    bustle(&telexd, 50..100);
    wait_until("the next are written, too", || has(&old, "c99"));
    telexd.signal(Signal::SIGHUP);
    wait_until("a new file", || path.exists());
    bustle(&telexd, 100..150);
    telexd.stop();
    let (old, new) = (records(&old), records(&path));
    let mut both = registered(&old);
    assert_eq!(both, names(0..100), "what comes before the signal goes to the old file");
    both.extend(registered(&new));
    assert_eq!(both, names(0..150));
    assert_eq!(new.last().map(|record| &record["message"]), Some(&json!("stopped")));
    let log = telexd.log();
    assert_eq!(log.lines().count(), 1, "stderr has only what is said of the plugin itself:\n{log}");
}

#[test]
fn log_file_writes_text() {
    let mut telexd = with_log_file(|dir| dir.join("log"), ", format = \"text\"").start();
    telexd.node("alice").ping();
    telexd.stop();
    let text = fs::read_to_string(telexd.dir().join("log")).expect("the log");
    let said: Vec<&str> = text.lines().map(|line| line.split_once("Z ").expect(line).1).collect();
    let expected = ["info registered :1 is alice", "notice daemon stopping", "notice daemon stopped"];
    assert!(expected.iter().all(|line| said.iter().any(|said| said.starts_with(line))), "{text}");
}

#[test]
fn log_file_behind_a_fifo_that_nobody_reads_holds_nobody_up_and_counts_what_is_lost() {
    let fifo = |dir: &Path| {
        let path = dir.join("fifo");
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
        path
    };
    let mut telexd = with_log_file(fifo, ", max_queue_bytes = \"4KiB\"").start();
    let path = telexd.dir().join("fifo");
    bustle(&telexd, 0..500);
    wait_until_said(&telexd, "nobody reads this FIFO; what comes waits");
    telexd.wait_for_log("is c499");
    // What is read is the first that came, then how many were lost, then all that comes now.
    let mut fifo = File::open(&path).expect("the FIFO");
    wait_until_said(&telexd, "is written to again");
    bustle(&telexd, 500..503);
    telexd.stop();
    let mut text = String::new();
    fifo.read_to_string(&mut text).expect("UTF-8");
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let (written, missing) = (records.len(), lost(&records));
    assert!(missing > 500, "{missing} lost");
    // Two for each client, and what the daemon and the plugin say of themselves.
    assert!((1006..1030).contains(&(written + missing)), "{written} written, {missing} lost");
    assert!(registered(&records).ends_with(&names(500..503)));
}

/// The records go to stderr as long as the disk is full.
#[test]
fn log_file_on_a_full_disk_holds_nobody_up_and_is_told_of() {
    let mut telexd = with_log_file(|_| "/dev/full".into(), ", max_queue_bytes = \"4KiB\"").start();
    bustle(&telexd, 0..300);
    wait_until_said(&telexd, "plugin log-file: cannot write to /dev/full: No space left on device");
    telexd.wait_for_log("is c299");
    telexd.stop();
    let log = telexd.log();
    assert_eq!(log.matches("cannot write to").count(), 1, "it is told once:\n{log}");
    assert!(log.contains("records lost, which /dev/full has not taken at the end"), "{log}");
}

/// A file may be no larger than this (RLIMIT_FSIZE): that is an error, too, and does not kill the daemon.
#[test]
fn log_file_at_the_largest_size_of_a_file_is_told_of() {
    const BLOCK: u64 = 512;
    const BLOCKS: u64 = 1 << 20;
    let starter = with_log_file(|dir| dir.join("telexd.log"), ", max_queue_bytes = \"4KiB\"");
    let path = starter.dir().join("telexd.log");
    File::create(&path).expect("a file").set_len(BLOCK * BLOCKS - 10).expect("a sparse file");
    let mut telexd = starter.before(&format!("ulimit -f {BLOCKS}")).start();
    bustle(&telexd, 0..10);
    let told = format!("plugin log-file: cannot write to {}: File too large", path.display());
    wait_until_said(&telexd, &told);
    telexd.stop();
}

/// Connections have taken all descriptors that there are, and more would come.
#[test]
fn log_file_is_opened_anew_where_no_more_files_can_be_open() {
    let mut telexd = with_log_file(|dir| dir.join("log"), "").before("ulimit -n 60").start();
    let (path, old) = (telexd.dir().join("log"), telexd.dir().join("log.1"));
    let mut first = telexd.client();
    first.ping();
    let mut crowd: Vec<_> = (0..100).map(|_| telexd.client()).collect();
    wait_until("no more is taken", || has(&path, "no more connections are taken"));
    for round in 0..3 {
        fs::rename(&path, &old).expect("renamed");
        telexd.signal(Signal::SIGHUP);
        wait_until("a new file", || path.exists());
        wait_until("it is written to", || has(&path, "configuration read again"));
        // The places that the reload has left are taken, too.
        crowd.extend((0..20).map(|_| telexd.client()));
        first.ping();
        assert!(!has(&old, "cannot be read") && !has(&path, "cannot be read"), "round {round}");
    }
    telexd.stop();
    assert_eq!(records(&path).last().map(|record| &record["message"]), Some(&json!("stopped")));
}

/// Where this test is root's, stdout is a pipe of another user, which the daemon could not open.
fn with_stdout(options: &str) -> Telexd {
    let starter = starter(&["log-file"], |_| log_file(Path::new("-"), options));
    if nix::unistd::Uid::effective().is_root() { starter.user(65534).start() } else { starter.start() }
}

#[test]
fn log_file_writes_to_stdout() {
    let mut telexd = with_stdout("");
    bustle(&telexd, 0..50);
    telexd.client().ask_well("reload", Value::Null);
    bustle(&telexd, 50..100);
    telexd.stop();
    let lines = telexd.stdout.take().expect("its stdout").lines();
    let records: Vec<Value> =
        lines.map(|line| serde_json::from_str(&line.expect("UTF-8")).expect("JSON")).collect();
    assert_eq!(registered(&records), names(0..100));
    assert_eq!(records.last().map(|record| &record["message"]), Some(&json!("stopped")));
}

#[test]
fn log_file_behind_a_stdout_that_is_not_read_holds_nobody_up_and_counts_what_is_lost() {
    // A client leaves some 250 bytes: the queue alone has room for the first 50, whenever the plugin's thread writes.
    let mut telexd = with_stdout(", max_queue_bytes = \"16KiB\"");
    bustle(&telexd, 0..500);
    wait_until_said(&telexd, "cannot write to stdout: nobody has read for 5 s; what comes waits");
    let mut lines = telexd.stdout.take().expect("its stdout").lines();
    let mut records = Vec::new();
    while lost(&records) == 0 {
        let line = lines.next().expect("a line").expect("UTF-8");
        records.push(serde_json::from_str(&line).expect("JSON"));
    }
    assert!(registered(&records).starts_with(&names(0..50)), "{} records", records.len());
    telexd.stop();
}

/// A file system of its own; only root can have one.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, size: &str) -> Option<Disk> {
        fs::create_dir(at).expect("a mount point");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(at);
        command.status().expect("mount").success().then(|| Disk(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Where this fails the directory cannot be removed, which is told.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn log_file_goes_on_when_the_disk_has_room_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Disk::mount(&dir.path().join("disk"), "128k");
    if !needs::that(disk.is_some(), "the right to mount") {
        return;
    }
    let disk = disk.expect("it is mounted");
    let (path, ballast) = (disk.0.join("log"), disk.0.join("ballast"));
    fs::write(&ballast, vec![0; 96 << 10]).expect("ballast");
    let mut telexd = with_log_file(|_| path.clone(), ", max_queue_bytes = \"4KiB\"").start();
    // A client leaves some 250 bytes.
    bustle(&telexd, 0..300);
    wait_until_said(&telexd, "No space left on device");
    fs::remove_file(&ballast).expect("removed");
    wait_until_said(&telexd, "is written to again");
    bustle(&telexd, 300..303);
    telexd.stop();
    let records = records(&path);
    let (written, missing) = (records.len(), lost(&records));
    assert!((606..630).contains(&(written + missing)), "{written} written, {missing} lost");
    assert!(registered(&records).ends_with(&names(300..303)));
}

/// A socket in place of `/dev/log` or the journal's.
struct Socket {
    socket: UnixDatagram,
}

impl Socket {
    /// Whoever is started again replaces the socket.
    fn bind(path: &Path) -> Socket {
        let _ = fs::remove_file(path);
        let socket = UnixDatagram::bind(path).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Socket { socket }
    }

    /// The next that comes with this in it.
    fn next_with(&self, part: &str) -> String {
        let mut bytes = [0; 65536];
        wait_for(part, || {
            let count = self.socket.recv(&mut bytes).expect("a record in time");
            let text = String::from_utf8(bytes[..count].to_vec()).expect("UTF-8");
            text.contains(part).then_some(text)
        })
    }
}

#[test]
fn log_syslog_finds_a_socket_that_comes_later_and_one_that_is_replaced() {
    let telexd = starter(&["log-syslog"], |dir| {
        let path = format!("{{ path = {:?}, facility", dir.join("log"));
        block_with("log-syslog", "toml", &[("{ facility", &path)])
    });
    let mut telexd = telexd.start();
    let path = telexd.dir().join("log");
    let trouble = format!("plugin log-syslog: cannot write to {}: No such file or directory", path.display());
    bustle(&telexd, 0..10);
    wait_until_said(&telexd, &trouble);
    let syslog = Socket::bind(&path);
    names(0..10).iter().for_each(|name| drop(syslog.next_with(&format!(" is {name} (uid "))));
    wait_until_said(&telexd, "is written to again");
    drop(syslog);
    bustle(&telexd, 10..20);
    wait_until_said(&telexd, "Connection refused");
    let syslog = Socket::bind(&path);
    let head = format!(" telexd[{}]: ", telexd.process().0);
    for name in names(10..20) {
        let text = syslog.next_with(&format!(" is {name} (uid "));
        // local0 and info.
        assert!(text.starts_with("<134>") && text.contains(&head), "{text}");
    }
    telexd.stop();
    syslog.next_with("stopped");
}

#[test]
fn log_syslog_speaks_to_a_stream_socket() {
    let telexd = starter(&["log-syslog"], |dir| {
        let path = format!("{{ path = {:?}, facility", dir.join("log"));
        block_with("log-syslog", "toml", &[("{ facility", &path)])
    });
    let syslog = UnixListener::bind(telexd.dir().join("log")).expect("a socket");
    let mut telexd = telexd.start();
    bustle(&telexd, 0..50);
    let (stream, _) = syslog.accept().expect("a connection");
    telexd.stop();
    let lines: Vec<String> = BufReader::new(stream).lines().map(|line| line.expect("UTF-8")).collect();
    let head = format!(" telexd[{}]: :", telexd.process().0);
    for name in names(0..50) {
        let line = lines.iter().find(|line| line.contains(&format!(" is {name} (uid "))).expect(&name);
        assert!(line.starts_with("<134>") && line.contains(&head), "{line}");
    }
    assert!(lines.last().is_some_and(|line| line.ends_with(": stopped")), "{lines:?}");
}

/// The real journal has it in `tests/systemd.rs`.
#[test]
fn log_journal_sends_fields() {
    let telexd = starter(&["log-journal"], |dir| {
        format!("{}config.path = {:?}\n", block("log-journal", "toml"), dir.join("journal"))
    });
    let journal = Socket::bind(&telexd.dir().join("journal"));
    let mut telexd = telexd.start();
    telexd.node("alice").ping();
    let record = journal.next_with("TELEX_EVENT=registered\n");
    let id = message_ids().into_iter().find(|(event, _)| event == "registered").expect("its id").1;
    for field in
        ["MESSAGE=:1 is alice (uid ", "PRIORITY=6", &format!("MESSAGE_ID={id}"), "TELEX_NODE_ID=alice"]
    {
        assert!(record.lines().any(|line| line.starts_with(field)), "no {field} in {record}");
    }
    telexd.stop();
    journal.next_with("MESSAGE=stopped\n");
}

/// The events of log-journal's README, and their ids.
fn message_ids() -> Vec<(String, String)> {
    let readme = readme("log-journal");
    let (_, table) = readme.split_once("| event | `MESSAGE_ID` |\n| --- | --- |\n").expect("the table");
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.trim_matches(['|', ' ', '`']).split_once("` | `").expect(row));
    cells.map(|(event, id)| (event.to_owned(), id.to_owned())).collect()
}

#[test]
fn log_journal_has_an_id_for_every_event_and_for_no_other() {
    // What a log plugin says in place of what it has lost, and no event of the core.
    let mut events: Vec<&str> = Event::ALL.iter().map(|event| event.word()).chain(["lost"]).collect();
    events.sort_unstable();
    let ids = message_ids();
    let mut listed: Vec<&str> = ids.iter().map(|(event, _)| event.as_str()).collect();
    listed.sort_unstable();
    assert_eq!(listed, events);
    let source = fs::read_to_string(folder("log-journal").join("src/native.rs")).expect("its source");
    let (_, table) = source.split_once("pub const MESSAGE_IDS: &[(&str, &str)] = &[\n").expect("the table");
    let table = table.split_once("];").expect("its end").0;
    assert_eq!(table.lines().count(), ids.len(), "{table}");
    assert!(ids.iter().all(|(event, id)| table.contains(&format!("(\"{event}\", \"{id}\")"))), "{table}");
}

/// Root would own it, and the daemon could not write to it.
#[test]
fn log_file_is_not_made_by_a_check() {
    let outside = tempfile::tempdir().expect("a directory");
    let path = outside.path().join("log");
    let checked = with_log_file(|_| path.clone(), "").argument("--check").run();
    assert_eq!((checked.code, path.exists()), (Some(0), false), "{}", checked.err);
    let open = format!(
        "telexd: warning: plugin log-file: this check is root's: it does not tell whether the daemon's user may \
         write to {}\n",
        path.display()
    );
    assert_eq!(checked.err, if nix::unistd::Uid::effective().is_root() { open } else { String::new() });
}

#[test]
fn log_file_that_cannot_be_opened_is_refused_and_a_reload_leaves_all_as_it_was() {
    let gone = |dir: &Path| dir.join("gone/log");
    let ran = with_log_file(gone, "").run();
    assert_eq!(ran.code, Some(1));
    let told = "telexd: loading plugins: plugin log-file (log-file): cannot open ";
    assert!(ran.err.starts_with(told), "{}", ran.err);
    let checked = with_log_file(gone, "").argument("--check").run();
    assert_eq!((checked.code, checked.err.starts_with(told)), (Some(1), true), "{}", checked.err);

    let mut telexd = with_log_file(|dir| dir.join("log"), "").start();
    let path = telexd.dir().join("log");
    configure(telexd.dir(), &log_file(&gone(telexd.dir()), ""));
    telexd.signal(Signal::SIGHUP);
    wait_until("it is told", || has(&path, "the configuration is left as it was: plugin log-file"));
    telexd.node("alice").ping();
    telexd.stop();
    assert_eq!(registered(&records(&path)), ["alice"]);
}
