//! A hundred thousand lines that real programs have written, from a shell pipe to two subscribers.

use std::fs;
use std::io::{BufWriter, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{ChildClient, PATIENCE, Part, Telexd, digest, missed, needs};

const LINES: usize = 100_000;

/// Lines of this machine's package and system logs, over and over; where it has none, of this program's
/// own sources.
fn real_lines() -> Vec<String> {
    let mut files = vec!["/var/lib/dpkg/status".into()];
    for folder in ["/var/log", "/var/log/apt", concat!(env!("CARGO_MANIFEST_DIR"), "/src/core")] {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        let mut found: Vec<_> = entries.map_while(Result::ok).map(|entry| entry.path()).collect();
        found.sort();
        files.extend(found);
    }
    let mut lines = Vec::new();
    for file in files.iter().filter(|file| file.is_file()) {
        let Ok(bytes) = fs::read(file) else { continue };
        lines.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
    }
    let all = lines.len();
    assert!(all > 0);
    println!("{all} different lines");
    (0..LINES).map(|n| lines[n % all].clone()).collect()
}

#[test]
fn real_lines_reach_two_subscribers_one_of_them_suspended() {
    if !needs::programs(&["nc"]) {
        return;
    }
    let telexd = Telexd::with(&["max_line_bytes=256KiB", "max_queue_bytes=1MiB"]);
    let socket = telexd.addresses[0].trim_start_matches("unix:").to_owned();
    let pipe = format!("cat | nc -N -U {socket}");
    let lines = real_lines();
    let published: Vec<_> = lines.iter().map(|line| digest(line)).collect();
    let mut steady = ChildClient::start(Part::Subscriber("steady"), &telexd.addresses[0]);
    let mut suspended = ChildClient::start(Part::Subscriber("suspended"), &telexd.addresses[0]);
    let begun = Instant::now();
    let mut shell = Command::new("sh")
        .args(["-c", &pipe])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a shell");
    let mut input = BufWriter::new(shell.stdin.take().expect("its stdin"));
    let mut publish = |lines: &[String]| {
        for line in lines {
            writeln!(input, "{}", json!({"message_type": "signal", "topic": "lines", "body": line}))
                .expect("a pipe");
        }
    };
    publish(&lines[..40_000]);
    suspended.suspend();
    let stopped = Instant::now();
    publish(&lines[40_000..80_000]);
    std::thread::sleep(Duration::from_secs(3).saturating_sub(stopped.elapsed()));
    suspended.resume();
    publish(&lines[80_000..]);
    for name in ["steady", "suspended"] {
        writeln!(input, "{}", json!({"message_type": "signal", "to": name, "body": "end"})).expect("a pipe");
    }
    drop(input);
    let by_steady = missed(&published, &steady.got());
    let by_suspended = missed(&published, &suspended.got());
    let took = begun.elapsed();
    println!(
        "{LINES} lines in {took:?}: the steady one missed {by_steady}, the suspended one {by_suspended}"
    );
    assert!(by_suspended > 0, "it was suspended long enough to miss some");
    assert!(by_suspended < LINES, "and got others");
    assert!(took < PATIENCE);
    let stats = telexd.client().stats();
    assert_eq!(stats["missed"], json!(by_steady + by_suspended));
    assert!(shell.wait().expect("the shell").success());
}
