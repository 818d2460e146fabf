//! The plugin, as the compiler of the README's command makes it, does what the README says.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "../../../tests/support/needs.rs"]
mod needs;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use telex_plugin::testing::{self, Event, FakeDaemon, Peer};
use telex_plugin::{Heard, Kind, Level, Replacement, Verdict};

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

fn start(config: &str) -> FakeDaemon {
    FakeDaemon::start(testing::load(library()).expect("a plugin"), config).expect("an instance")
}

fn heat(body: &str) -> String {
    format!(r#"{{"message_type":"heat","to":"kitchen","body":{body}}}"#)
}

fn judged(daemon: &mut FakeDaemon, body: &str) -> Option<Verdict> {
    daemon.judge(&Peer::default(), &heat(body))
}

fn rejected(reason: &str) -> Option<Verdict> {
    Some(Verdict::Reject(reason.to_owned()))
}

fn made_25() -> Option<Verdict> {
    let body = Some(r#"{"celsius":25}"#.to_owned());
    Some(Verdict::Replace(Replacement { body, ..Replacement::default() }))
}

#[test]
fn it_has_a_name_and_a_version() {
    let daemon = start("{}");
    assert_eq!((daemon.plugin_name(), daemon.plugin_version()), ("filter-example", "1.0.0"));
}

#[test]
fn it_looks_at_heat_alone() {
    let mut daemon = start("{}");
    let cool = r#"{"message_type":"cool","to":"kitchen","body":{"celsius":99}}"#;
    assert_eq!(daemon.judge(&Peer::default(), cool), None);
    assert_eq!(judged(&mut daemon, r#"{"celsius":25}"#), Some(Verdict::Pass));
}

#[test]
fn what_is_too_warm_becomes_25_degrees() {
    assert_eq!(judged(&mut start("{}"), r#"{"celsius":25.5}"#), made_25());
}

#[test]
fn all_else_stays_as_it_is() {
    let body = Some(r#"{ "room":"k\u00fcche", "celsius" : 25 , "x":[1]}"#.to_owned());
    let replaced = Some(Verdict::Replace(Replacement { body, ..Replacement::default() }));
    let warm = r#"{ "room":"k\u00fcche", "celsius" : 31.5 , "x":[1]}"#;
    assert_eq!(judged(&mut start("{}"), warm), replaced);
}

#[test]
fn a_wrong_configuration_is_refused_by_name() {
    let refused = |config| FakeDaemon::start(testing::load(library()).expect("a plugin"), config).err();
    let strict = "strict: \"yes\" is not right; it takes true or false";
    assert_eq!(refused(r#"{"strict":"yes"}"#).as_deref(), Some(strict));
    assert_eq!(
        refused(r#"{"strikt":true}"#).as_deref(),
        Some("there is no option \"strikt\"; there are strict")
    );
}

#[test]
fn what_is_too_warm_is_refused_where_it_is_strict() {
    let mut daemon = start(r#"{"strict":true}"#);
    let expected = rejected("alice may ask for 25 degrees at most, and asked for 30");
    assert_eq!(judged(&mut daemon, r#"{"celsius":30}"#), expected);
    assert_eq!(judged(&mut daemon, r#"{"celsius":21}"#), Some(Verdict::Pass));
}

#[test]
fn what_is_no_number_is_refused() {
    let mut daemon = start("{}");
    let how_warm = rejected(r#"how warm? the body must be like {"celsius":21}"#);
    let long = format!(r#"{{"celsius":"{}"}}"#, "x".repeat(100));
    for body in ["21", "null", r#"{"fahrenheit":70}"#, &long] {
        assert_eq!(judged(&mut daemon, body), how_warm, "{body}");
    }
    for value in ["null", "\"21\"", "[21]", "\"\""] {
        let body = format!(r#"{{"celsius":{value}}}"#);
        let expected = rejected("celsius must be a number, such as 21");
        assert_eq!(judged(&mut daemon, &body), expected, "{body}");
    }
}

#[test]
fn it_logs_who_comes() {
    let mut daemon = start("{}");
    let peer = Peer::default();
    let about = |kind| Event { peer: Some(&peer), node_id: Some("kitchen"), ..Event::new(kind) };
    assert_eq!(daemon.event(&about(Kind::Registered)), Some(Heard::Yes));
    assert_eq!(daemon.event(&about(Kind::Connected)), None);
    assert_eq!(daemon.logged(), [(Level::Info, "kitchen may ask for 25 degrees at most".to_owned())]);
}

#[test]
fn instances_know_nothing_of_each_other() {
    let (mut one, mut other) = (start(r#"{"strict":true}"#), start("{}"));
    assert_eq!(judged(&mut other, r#"{"celsius":30}"#), made_25());
    drop(other);
    assert!(matches!(judged(&mut one, r#"{"celsius":30}"#), Some(Verdict::Reject(_))));
}

/// All of the above once more, where valgrind is there to see what it does with its memory.
#[test]
fn valgrind_finds_nothing() {
    if !needs::programs(&["valgrind"]) {
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
