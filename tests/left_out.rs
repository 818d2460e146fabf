//! What is told of tests that were left out, by a test program and by `tests/all`, on machines that lack what these
//! need.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "support/needs.rs"]
mod needs;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

/// Which tests below play a part.
const PART: &str = "TELEX_TEST_PART";

/// A machine with these programs, and nothing else in its path.
fn machine(programs: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for program in programs {
        let found = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(program));
        symlink(found.iter().find(|path| path.exists()).expect(program), dir.path().join(program)).unwrap();
    }
    dir
}

/// Runs the parts on a machine with a shell alone.
fn run_parts(variables: &[(&str, &str)]) -> Output {
    let machine = machine(&["sh"]);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("part_").env_remove("TELEX_TEST_ALL").env(PART, "").envs(variables.iter().copied());
    command.env("PATH", machine.path()).output().unwrap()
}

fn err(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn the_last_line_of_a_test_program_says_what_it_has_left_out() {
    let ran = run_parts(&[]);
    assert!(ran.status.success());
    let line = "left out: 2 tests for want of a clock of gold, git, nc: apt-get install git netcat-openbsd\n";
    assert_eq!(err(&ran), line);
}

#[test]
fn if_nothing_may_be_left_out_what_is_missing_is_a_failure() {
    let ran = run_parts(&[("TELEX_TEST_ALL", "1")]);
    assert_eq!(ran.status.code(), Some(101));
    assert!(!err(&ran).contains("left out: "), "{}", err(&ran));
}

/// Runs `tests/all` on a machine that has one of the programs and stands for the user; gives what was installed, too.
fn run_all(user: u32) -> (Output, String) {
    let machine = machine(&["bash", "cat", "dirname", "grep", "mktemp", "rm", "sh", "tee"]);
    let script = |name: &str, text: &str| {
        let path = machine.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let installed = machine.path().join("installed");
    script("id", &format!("echo {user}"));
    script("git", "");
    script("apt-get", &format!("echo \"$*\" >>{}", installed.display()));
    script(
        "cargo",
        "echo \"$*, all: $TELEX_TEST_ALL\"; echo 'left out: 1 test' >&2; echo an error >&2; exit 101",
    );
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all"));
    command.env_remove("TELEX_TEST_ALL").env("PATH", machine.path());
    let ran = command.args(["--test", "house"]).output().unwrap();
    (ran, fs::read_to_string(installed).unwrap_or_default())
}

#[test]
fn root_has_all_installed_and_leaves_nothing_out() {
    let (ran, installed) = run_all(0);
    assert_eq!(ran.status.code(), Some(101), "{}", err(&ran));
    let out = str::from_utf8(&ran.stdout).unwrap();
    assert!(out.ends_with("test --test house, all: 1\n"), "{out}");
    assert!(err(&ran).ends_with("left out: 1 test\nan error\nleft out: 1 test\n"), "{}", err(&ran));
    let (update, install) = installed.split_once('\n').unwrap();
    assert!(update.starts_with("update") && install.starts_with("install "), "{installed}");
    let has = |package: &str| install.split_whitespace().any(|word| word == package);
    assert!(has("g++") && has("netcat-openbsd") && has("valgrind") && !has("git"), "{install}");
}

#[test]
fn another_user_is_told_what_only_root_can_install() {
    let (ran, installed) = run_all(1000);
    assert_eq!((ran.status.code(), &*installed), (Some(101), ""), "{}", err(&ran));
    assert_eq!(ran.stdout, b"test --test house, all: \n");
    assert!(
        err(&ran).starts_with("missing, and only root can install it: apt-get install g++ "),
        "{}",
        err(&ran)
    );
    assert!(err(&ran).ends_with("an error\nleft out: 1 test\n"), "{}", err(&ran));
}

/// A part in the tests above, as the next one: by itself it does nothing.
#[test]
fn part_with_programs() {
    assert!(std::env::var_os(PART).is_none() || !needs::programs(&["git", "nc"]));
}

#[test]
fn part_with_something_else() {
    assert!(std::env::var_os(PART).is_none() || !needs::that(false, "a clock of gold"));
}
