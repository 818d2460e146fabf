//! The plugin where the process can open no more files. A program of its own: the limit is the whole process's.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs::{self, File};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;
use telex_log::testing::{self, path, wait_until, write};

/// Opens all that can be opened, as a loop does that has connections waiting.
fn take_all(taken: &mut Vec<File>) {
    taken.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
}

#[test]
fn where_no_more_files_can_be_open_the_file_is_opened_anew_all_the_same() {
    const MOST: u64 = 64;
    let (_dir, path) = path();
    let (mut log, told) = testing::start(log_file::start, &json!({"path": path}));
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, MOST, hard).unwrap();
    let mut taken = Vec::new();
    for round in 0..3 {
        take_all(&mut taken);
        let old = path.with_extension(round.to_string());
        fs::rename(&path, &old).unwrap();
        log.reopen();
        wait_until("the new file is there", || path.exists());
        write(&mut log, round..round + 1);
        wait_until("it is written to", || fs::metadata(&path).unwrap().len() > 0);
    }
    drop(log);
    assert_eq!(told.iter().collect::<Vec<_>>(), [""; 0]);
}
