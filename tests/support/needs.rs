//! Knows what tests need that not every machine has, and tells at the end of the test program, in one line on
//! stderr, what it had to leave out for want of it.
//! Never: what the tests do.
#![allow(dead_code, reason = "each test program that includes this uses a part of it")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// If this is in the environment, no test may be left out: what is missing fails it.
const ALL: &str = "TELEX_TEST_ALL";
/// The programs, as this file says.
const PROGRAMS: &str = include_str!("programs.txt");

static LEFT_OUT: Mutex<LeftOut> =
    Mutex::new(LeftOut { tests: 0, wants: BTreeSet::new(), packages: BTreeSet::new() });

struct LeftOut {
    tests: usize,
    wants: BTreeSet<String>,
    /// The packages that would help.
    packages: BTreeSet<&'static str>,
}

/// Whether these programs, which `programs.txt` lists, are there. If not, the test has to return: it counts as
/// left out.
#[must_use]
pub(crate) fn programs(names: &[&str]) -> bool {
    let missing: Vec<_> = names.iter().filter_map(|name| missing(name)).collect();
    let (wants, packages): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
    wants.is_empty() || leave_out(&wants, &packages)
}

/// The same for the rights of root.
#[must_use]
pub(crate) fn root() -> bool {
    fs::metadata("/proc/self").expect("/proc").uid() == 0 || leave_out(&["root"], &[])
}

/// The same for anything else; `what` follows "for want of".
#[must_use]
pub(crate) fn that(is_so: bool, what: &str) -> bool {
    is_so || leave_out(&[what], &[])
}

/// The program and its package, if it is missing.
fn missing(name: &str) -> Option<(&str, &'static str)> {
    let entry = PROGRAMS.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let entry = entry.unwrap_or_else(|| panic!("programs.txt does not list {name}")).trim_start();
    let (package, check) = entry.split_once(' ').unwrap_or((entry, ""));
    let check = if check.is_empty() { format!("command -v {name}") } else { check.to_owned() };
    let mut shell = Command::new("sh");
    shell.args(["-c", &check]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    (!shell.status().expect("sh").success()).then_some((name, package))
}

/// Counts a test; always false.
fn leave_out(wants: &[&str], packages: &[&'static str]) -> bool {
    let for_want = for_want_of(wants.iter().copied(), packages.iter().copied());
    assert!(std::env::var_os(ALL).is_none(), "left out {for_want}; with {ALL} that is a failure");
    let mut left_out = LEFT_OUT.lock().expect("a count");
    if left_out.tests == 0 {
        assert_eq!(atexit(tell), 0, "a handler for the end");
    }
    left_out.tests += 1;
    left_out.wants.extend(wants.iter().map(|want| (*want).to_owned()));
    left_out.packages.extend(packages);
    false
}

fn for_want_of<'a>(wants: impl Iterator<Item = &'a str>, packages: impl Iterator<Item = &'a str>) -> String {
    let wants = format!("for want of {}", wants.collect::<Vec<_>>().join(", "));
    match packages.collect::<Vec<_>>().join(" ") {
        packages if packages.is_empty() => wants,
        packages => format!("{wants}: apt-get install {packages}"),
    }
}

#[expect(unsafe_code, reason = "the test harness has no end of its own that one could add to")]
unsafe extern "C" {
    /// Has a function called when the process exits (atexit(3)).
    safe fn atexit(handler: extern "C" fn()) -> i32;
}

/// The last words of the test program.
extern "C" fn tell() {
    let Ok(left_out) = LEFT_OUT.lock() else { return };
    let tests = if left_out.tests == 1 { "1 test" } else { &format!("{} tests", left_out.tests) };
    let wants = left_out.wants.iter().map(String::as_str);
    let line = format!("left out: {tests} {}\n", for_want_of(wants, left_out.packages.iter().copied()));
    // Nothing can be done where stderr is closed.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
