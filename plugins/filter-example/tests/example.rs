//! The plugin, as the compiler of the README's command makes it, does what the README says.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod host;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use host::{Judged, Loaded};
use telex_plugin::raw;

/// Builds the library once, by the command of the README.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libfilter_example.so");
        let readme = include_str!("../README.md");
        let command = readme.lines().find(|line| line.starts_with("cc ")).expect("the command");
        let mut words: Vec<_> = command.split(' ').map(String::from).collect();
        let last = words.pop();
        assert_eq!(last.as_deref(), Some("libfilter_example.so"));
        let built = Command::new(&words[0])
            .args(&words[1..])
            .arg(&library)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("a C compiler");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        library
    })
}

fn load(config: &str) -> Loaded {
    Loaded::new(library(), config).expect("an instance")
}

fn heat(body: &str) -> String {
    format!(r#"{{"message_type":"heat","to":"kitchen","body":{body}}}"#)
}

fn rejected(reason: &str) -> Option<Judged> {
    Some(Judged { verdict: raw::REJECT, reason: Some(reason.to_owned()), ..Judged::default() })
}

#[test]
fn it_has_a_name_and_a_version() {
    assert_eq!(load("{}").name(), ["filter-example", "1.0.0"]);
}

#[test]
fn it_looks_at_heat_alone() {
    let plugin = load("{}");
    assert_eq!(plugin.judge(r#"{"message_type":"cool","to":"kitchen","body":{"celsius":99}}"#), None);
    assert_eq!(plugin.judge(&heat(r#"{"celsius":25}"#)), Some(Judged::default()));
}

#[test]
fn what_is_too_warm_becomes_25_degrees() {
    let replaced = vec![(raw::FIELD_BODY, r#"{"celsius":25}"#.to_owned())];
    let expected = Judged { verdict: raw::REPLACE, reason: None, replaced };
    assert_eq!(load("{}").judge(&heat(r#"{"celsius":25.5}"#)), Some(expected));
}

#[test]
fn what_is_too_warm_is_refused_where_it_is_strict() {
    let plugin = load(r#"{"strict":true}"#);
    let expected = rejected("alice may ask for 25 degrees at most, and asked for 30");
    assert_eq!(plugin.judge(&heat(r#"{"celsius":30}"#)), expected);
    assert_eq!(plugin.judge(&heat(r#"{"celsius":21}"#)), Some(Judged::default()));
}

#[test]
fn what_is_no_number_is_refused() {
    let plugin = load("{}");
    let how_warm = rejected(r#"how warm? the body must be like {"celsius":21}"#);
    let long = format!(r#"{{"celsius":"{}"}}"#, "x".repeat(100));
    for body in ["21", "null", r#"{"fahrenheit":70}"#, &long] {
        assert_eq!(plugin.judge(&heat(body)), how_warm, "{body}");
    }
    for value in ["null", "\"21\"", "[21]", "\"\""] {
        let body = format!(r#"{{"celsius":{value}}}"#);
        assert_eq!(plugin.judge(&heat(&body)), rejected("celsius must be a number, such as 21"), "{body}");
    }
}

#[test]
fn it_logs_who_comes() {
    let plugin = load("{}");
    assert_eq!(plugin.event(raw::REGISTERED, Some("kitchen")), Some(Judged::default()));
    assert_eq!(plugin.event(raw::CONNECTED, None), None);
    assert_eq!(plugin.logged(), [(raw::INFO, "kitchen may ask for 25 degrees at most".to_owned())]);
}

#[test]
fn instances_know_nothing_of_each_other() {
    let (one, other) = (load(r#"{"strict":true}"#), load("{}"));
    let line = heat(r#"{"celsius":30}"#);
    assert_eq!(other.judge(&line).map(|it| it.verdict), Some(raw::REPLACE));
    drop(other);
    assert_eq!(one.judge(&line).map(|it| it.verdict), Some(raw::REJECT));
}

/// All of the above once more, where valgrind is there to see what it does with its memory.
#[test]
fn valgrind_finds_nothing() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return;
    }
    let ran = Command::new("valgrind")
        .args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"])
        .arg(std::env::current_exe().unwrap())
        .args(["--test-threads=1", "--skip=valgrind"])
        .output()
        .unwrap();
    let told = [ran.stdout, ran.stderr].concat();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&told));
}
