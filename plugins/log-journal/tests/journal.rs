//! The plugin against a socket in place of the journal's, without the daemon.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IoSliceMut, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::Receiver;

use log_journal::MESSAGE_IDS;
use nix::cmsg_space;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};
use telex_log::Logger;
use telex_log::testing::{self, ALICE, PATIENCE, bind, messages, path, record, without_waiting, write};
use telex_plugin::{Fault, Level, Record};

fn start(config: &Value) -> (Logger, Receiver<String>) {
    testing::start(log_journal::start, config)
}

/// The fields of a record, as the journal reads them.
fn fields(mut record: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while !record.is_empty() {
        let end = record.iter().position(|byte| *byte == b'\n').expect("a line end");
        let line = std::str::from_utf8(&record[..end]).unwrap();
        record = &record[end + 1..];
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => {
                let (length, rest) = record.split_at(8);
                let (value, rest) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
                record = rest.strip_prefix(b"\n").expect("a line end behind the value");
                (line, String::from_utf8(value.to_vec()).unwrap())
            }
        };
        assert!(fields.insert(name.to_owned(), value).is_none(), "{name} is there twice");
    }
    fields
}

/// A socket in place of the journal's.
struct Journal(UnixDatagram);

impl Journal {
    /// A record, and whether it came as a file.
    fn record(&self) -> (BTreeMap<String, String>, bool) {
        let mut bytes = vec![0; 1 << 20];
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let mut space = cmsg_space!([i32; 1]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let got = recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut space), flags).unwrap();
        let files: Vec<i32> = got
            .cmsgs()
            .unwrap()
            .flat_map(|message| match message {
                ControlMessageOwned::ScmRights(files) => files,
                _ => Vec::new(),
            })
            .collect();
        let count = got.bytes;
        match files[..] {
            [] => (fields(&bytes[..count]), false),
            [file] => {
                assert_eq!(count, 0, "either a datagram or a file");
                let mut file = File::open(format!("/proc/self/fd/{file}")).unwrap();
                let seals = SealFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GET_SEALS).unwrap());
                assert!(seals.contains(SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK), "{seals:?}");
                let mut record = Vec::new();
                file.read_to_end(&mut record).unwrap();
                (fields(&record), true)
            }
            _ => panic!("{} files", files.len()),
        }
    }

    fn messages(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.record().0.remove("MESSAGE").unwrap()).collect()
    }
}

#[test]
fn a_record_is_sent_at_once_with_all_its_fields() {
    let (_dir, path) = path();
    let journal = Journal(bind(&path));
    journal.0.set_nonblocking(true).unwrap();
    let (mut log, _told) = start(&json!({"path": path, "identifier": "exchange"}));
    let alice = Record {
        level: Level::Notice,
        event: "left",
        message: "left (lost): alice",
        fields: r#"{"reason":"lost","node_ids":["alice"]}"#,
        ..ALICE
    };
    log.record(&alice).unwrap();
    let (_, id) = MESSAGE_IDS.iter().find(|(event, _)| *event == "left").unwrap();
    let right = [
        ("MESSAGE", ":7 left (lost): alice"),
        ("MESSAGE_ID", id),
        ("PRIORITY", "5"),
        ("SYSLOG_IDENTIFIER", "exchange"),
        ("TELEX_CONNECTION", "7"),
        ("TELEX_EVENT", "left"),
        ("TELEX_NODE_ID", "alice"),
        ("TELEX_NODE_IDS", "[\"alice\"]"),
        ("TELEX_REASON", "lost"),
        ("TELEX_UID", "1000"),
    ];
    let right = right.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(journal.record(), (right.into(), false));
}

#[test]
fn a_large_record_is_handed_over_as_a_sealed_file() {
    let (_dir, path) = path();
    let journal = Journal(bind(&path));
    let (mut log, _told) = start(&json!({"path": path}));
    let large = "x".repeat(700_000);
    log.record(&record(&large)).unwrap();
    log.record(&record("is alice")).unwrap();
    log.flush();
    let (fields, is_file) = journal.record();
    assert!(is_file && fields["MESSAGE"] == large && fields["TELEX_EVENT"] == "registered");
    assert_eq!(journal.messages(1), ["is alice"]);
}

#[test]
fn what_is_below_the_level_is_not_sent() {
    let (_dir, path) = path();
    let journal = Journal(bind(&path));
    let (mut log, _told) = start(&json!({"path": path, "level": "warning"}));
    for level in [Level::Debug, Level::Info, Level::Notice, Level::Warning] {
        log.record(&Record { level, ..record(level.word()) }).unwrap();
    }
    assert_eq!(journal.messages(1), ["warning"]);
}

#[test]
fn a_journal_that_appears_later_gets_what_waited() {
    let (_dir, path) = path();
    let (mut log, told) = start(&json!({"path": path}));
    write(&mut log, 0..3);
    let large = "x".repeat(400_000);
    log.record(&record(&large)).unwrap();
    log.flush();
    let trouble = told.recv_timeout(PATIENCE).unwrap();
    let name = path.display();
    assert!(trouble.starts_with(&format!("error: cannot write to {name}: No such file")), "{trouble}");
    let journal = Journal(bind(&path));
    assert_eq!(journal.messages(4), [messages(0..3), vec![large]].concat());
    write(&mut log, 3..4);
    assert_eq!(journal.messages(1), messages(3..4));
    let well = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(well, format!("notice: {name} is written to again"));
}

#[test]
fn a_journal_that_is_restarted_gets_all() {
    let (_dir, path) = path();
    let journal = Journal(bind(&path));
    let (mut log, told) = start(&json!({"path": path}));
    write(&mut log, 0..3);
    assert_eq!(journal.messages(3), messages(0..3));
    drop(journal);
    write(&mut log, 3..6);
    let trouble = told.recv_timeout(PATIENCE).unwrap();
    assert!(trouble.contains("Connection refused"), "{trouble}");
    let journal = Journal(bind(&path));
    write(&mut log, 6..9);
    assert_eq!(journal.messages(6), messages(3..9), "in the order in which they came");
}

#[test]
fn a_journal_that_does_not_read_holds_nobody_up_and_is_told_what_is_lost() {
    let (_dir, path) = path();
    let journal = Journal(bind(&path));
    let (log, told) = start(&json!({"path": path, "max_queue_bytes": "4KiB"}));
    let large = "x".repeat(700_000);
    let mut log = without_waiting(move || {
        let mut log = log;
        for number in 0..5_000 {
            assert_eq!(log.record(&record(&format!("record {number}"))), Ok(()));
            log.record(&record(&large)).unwrap();
            log.flush();
        }
        log
    });
    let trouble = told.recv_timeout(PATIENCE).unwrap();
    assert!(trouble.contains("nobody has read for 5 s"), "{trouble}");
    let more = (1..1000).find(|_| log.record(&record("one more")) == Err(Fault));
    let count = 10_000 + more.expect("a fault where there is no room");
    let (mut received, mut lost) = (0, 0);
    while received + lost < count {
        let (fields, _) = journal.record();
        if fields["TELEX_EVENT"] == "lost" {
            let count: usize = fields["TELEX_RECORDS"].parse().unwrap();
            assert_eq!(fields["MESSAGE"], format!("{count} records lost"));
            lost += count;
        } else {
            received += 1;
        }
    }
    assert!(received >= 10 && lost > 1000, "{received} received, {lost} lost");
    write(&mut log, 0..1);
    assert_eq!(journal.messages(1), messages(0..1));
    without_waiting(move || drop(log));
}

#[test]
fn a_wrong_configuration_is_refused_with_what_would_be_right() {
    let wrong = [
        (json!({"path": "x".repeat(108)}), "path: xxxxx"),
        (json!({"identifier": 7}), "identifier: invalid type: integer `7`, expected a string"),
        (json!({"tag": "a"}), "tag: unknown field `tag`, expected one of `path`, `identifier`"),
    ];
    testing::assert_refused(log_journal::start, wrong);
}
