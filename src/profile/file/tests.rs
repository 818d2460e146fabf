use serde_json::json;

use super::*;
use crate::profile::settings::{Program, Settings};

fn read(text: &str) -> Result<Profiles, String> {
    Profiles::read(Path::new("p.toml"), text).map_err(|error| error.to_string())
}

fn told(text: &str) -> String {
    read(text).expect_err(text)
}

fn settings(text: &str, profile: &str, program: &Program) -> Settings {
    read(text).expect(text).settings(profile, program).expect("settings")
}

/// Three layers that set one thing each, and a program that sets all.
const LAYERS: &str = "
    [global]
    node_id = 'global'
    address = ['unix:/global']
    services = ['global']
    [profile.old]
    node_id = 'old'
    address = ['unix:/old']
    [profile.middle]
    parent = 'old'
    [profile.young]
    parent = 'middle'
    node_id = 'young'
    ";

fn program(is_forced: bool) -> Program {
    Program {
        node_id: Some("program".to_owned()),
        address: Some(vec![Address::parse("unix:/program").expect("an address")]),
        services: Some(vec!["program".into()]),
        is_forced,
    }
}

fn functions(services: &[Spawn]) -> String {
    services.iter().map(|spawn| spawn.function.as_str()).collect()
}

#[test]
fn a_service_may_have_arguments_of_any_kind() {
    let services = |list: &str| {
        let text = format!("[global]\nservices = {list}");
        let services = settings(&text, "x", &Program::default()).services.value;
        services.iter().map(Spawn::to_value).collect::<Vec<_>>()
    };
    assert_eq!(services("['a', ['b'], ['c', 'd']]"), [json!("a"), json!("b"), json!(["c", "d"])]);
    let list = "[['a', 1, -2, 0xff, 1_0, 1.5, true, 1979-05-27, [[], ['x']], { k = { n = 1 } }]]";
    let time = "1979-05-27";
    let whole = json!(["a", 1, -2, 255, 10, 1.5, true, time, [[], ["x"]], {"k": {"n": 1}}]);
    assert_eq!(services(list), [whole]);
}

#[test]
fn no_profile_has_the_name_of_what_all_share() {
    assert_eq!(
        told("[profile.global]"),
        "p.toml:1: profile.global: is no name of a profile; what all profiles share is [global]"
    );
}

#[test]
fn a_value_by_itself_is_at_fault_where_it_would_be_in_a_file() {
    for (key, value) in
        [("node_id", "'a/%n'"), ("address", "['unix:/a']"), ("services", "[]"), ("parent", "'a'")]
    {
        assert_eq!(fault(key, value), None, "{key}");
    }
    for (key, value, part, why) in [
        ("node_id", "'a#1'", "'a#1'", "has a '#' in it"),
        ("node_id", "5", "5", "is 5; it must be a node ID"),
        ("address", "['unix:/a', 'x']", "'x'", "\"x\" is no address"),
        ("address", "[]", "[]", "is empty"),
        ("parent", "['a']", "['a']", "is a list; it must be the name of another profile"),
        ("services", "['a', ", "", "unclosed array"),
        ("colour", "'red'", "'red'", "is no setting"),
    ] {
        let (at, told) = fault(key, value).expect(value);
        assert!(told.starts_with(why), "{told}");
        assert_eq!(&value[at], part, "{value}");
    }
}

#[test]
fn the_profile_counts_most_then_its_parents_then_the_globals_then_the_program() {
    let words = |profile: &str, program: &Program| {
        let of = settings(LAYERS, profile, program);
        let address = of.address.value.iter().map(ToString::to_string).collect::<String>();
        [of.node_id.value, address, functions(&of.services.value)]
    };
    for unforced in [Program::default(), program(false)] {
        assert_eq!(words("young", &unforced), ["young", "unix:/old", "global"]);
        assert_eq!(words("middle", &unforced), ["old", "unix:/old", "global"]);
        assert_eq!(words("absent", &unforced), ["global", "unix:/global", "global"]);
    }
    assert_eq!(words("young", &program(true)), ["program", "unix:/program", "program"]);
    let some = Program { address: None, ..program(true) };
    assert_eq!(words("young", &some), ["program", "unix:/old", "program"]);
    let of = settings("", "absent", &program(false));
    assert_eq!((of.node_id.value.as_str(), functions(&of.services.value).as_str()), ("program", "program"));
}

#[test]
fn each_value_tells_where_it_comes_from() {
    let of = settings(LAYERS, "young", &Program::default());
    assert_eq!(of.node_id.source.to_string(), "p.toml:13: [profile.young]");
    assert_eq!(of.address.source.to_string(), "p.toml:8: [profile.old]");
    assert_eq!(of.services.source.to_string(), "p.toml:5: [global]");
    let of = settings("", "x", &program(false));
    assert_eq!((of.node_id.source, of.services.source), (Source::Program, Source::Program));
    let of = settings("", "x", &Program::default());
    assert_eq!((of.node_id.source, of.address.source), (Source::Default, Source::Default));
    assert_eq!((of.address.value, of.services.value), (vec![], vec![]));
}

#[test]
fn a_node_is_named_as_its_profile_by_default() {
    let node_id = |profile: &str| settings("", profile, &Program::default()).node_id.value;
    assert_eq!(node_id("worker"), "worker/%u");
    assert_eq!(node_id("50%n"), "50%%n/%u", "a profile's name is no pattern");
    for bad in ["a#b", ":7", "a\u{7}"] {
        let error = Profiles::default().settings(bad, &Program::default()).expect_err(bad);
        assert!(matches!(&error, Error::NodeId { source: Source::Default, .. }), "{error}");
        let named = Program { node_id: Some("good".to_owned()), ..Program::default() };
        assert!(Profiles::default().settings(bad, &named).is_ok());
    }
    let bad = Program { node_id: Some("a%x".to_owned()), ..Program::default() };
    let error = Profiles::default().settings("a", &bad).expect_err("no pattern").to_string();
    assert!(error.starts_with("the node ID \"a%x\" (the program) has a '%' that is none of"), "{error}");
}

#[test]
fn what_is_wrong_is_told_with_file_line_and_key() {
    for (text, wrong) in [
        ("[profile.a]\nnode_id 5", "p.toml:2: is no TOML at column 9: "),
        ("[profile.a]\nnodeid = 'x'", "p.toml:2: profile.a.nodeid: is no setting; did you mean node_id?"),
        (
            "\n[global]\nparent = 'a'",
            "p.toml:3: global.parent: is no setting; there are node_id, address, services",
        ),
        ("[globl]\n", "p.toml:1: globl: is no setting; did you mean global?"),
        ("node_id = 'a'", "p.toml:1: node_id: is no setting; there are [global] and [profile.NAME]"),
        ("global = 1", "p.toml:1: global: must be a table: [global]"),
        ("profile = 1", "p.toml:1: profile: must be a table: [profile.NAME]"),
        ("[profile]\na = 1", "p.toml:2: profile.a: must be a table of settings: [profile.a]"),
        ("[profile.a]\nparent = ['b']", "p.toml:2: profile.a.parent: must be the name of another profile"),
        ("[profile.a]\nparent = 'b'", "p.toml:2: profile.a.parent: there is no profile \"b\"; there are a"),
        (
            "[profile.a]\nparent = 'b'\n[profile.b]\nparent = 'a'",
            "p.toml:4: profile.b.parent: closes a circle: a > b > a; ",
        ),
        ("[global]\nnode_id = 7", "p.toml:2: global.node_id: is 7; it must be a node ID, such as"),
        ("[global]\nnode_id = 'a#b'", "p.toml:2: global.node_id: has a '#' in it"),
        ("[global]\nnode_id = '%h'", "p.toml:2: global.node_id: has a '%' that is none of %n"),
        (
            "[global]\naddress = 'unix:/x'",
            "p.toml:2: global.address: is \"unix:/x\"; it must be a list of one",
        ),
        ("[global]\naddress = []", "p.toml:2: global.address: is empty; it must be a list of one or more"),
        (
            "[global]\naddress = [\n'unix:/x',\n'/x']",
            "p.toml:4: global.address: \"/x\" is no address; did you mean",
        ),
        ("[global]\naddress = [\n1]", "p.toml:3: global.address: holds 1; it must be a list of one or more"),
        ("[global]\naddress = ['a:0']", "p.toml:2: global.address: holds \"a:0\", which has no port to"),
        ("[global]\nservices = 'a'", "p.toml:2: global.services: is \"a\"; it must be a list of functions"),
        ("[global]\nservices = [{}]", "p.toml:2: global.services: holds a table; it must be a list of funct"),
        ("[global]\nservices = [[]]", "p.toml:2: global.services: holds a list; it must be a list of funct"),
        ("[global]\nservices = [[1]]", "p.toml:2: global.services: holds a list; it must be a list of funct"),
        (
            "[global]\nservices = [['a', [\n{x = inf}]]]",
            "p.toml:3: global.services: holds inf, which is no number of JSON",
        ),
    ] {
        let error = told(text);
        assert!(error.starts_with(wrong), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once_also_in_profiles_that_are_not_asked_for() {
    let error = told("[profile.a]\nnode_id = 1\n[global]\nx = 1\n[profile.b]\nparent = 'c'\nservices = 2");
    let lines: Vec<&str> = error.lines().map(|line| line.split(": ").nth(1).unwrap_or_default()).collect();
    assert_eq!(lines, ["profile.a.node_id", "global.x", "profile.b.parent", "profile.b.services"]);
}

#[test]
fn names_are_listed() {
    let profiles = read("[profile.b]\n[global]\n[profile.a]").expect("profiles");
    assert_eq!(profiles.names().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn where_the_file_is() {
    let home = |config: Option<&str>, home: Option<&str>| {
        config_home_of(config.map(OsString::from), home.map(OsString::from))
    };
    assert_eq!(home(Some("/c"), Some("/h")), Some("/c".into()));
    for unset in [None, Some(""), Some("c/relative")] {
        assert_eq!(home(unset, Some("/h")), Some("/h/.config".into()), "{unset:?}");
        assert_eq!(home(unset, None), None);
        assert_eq!(home(unset, Some("")), None);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("p.toml");
    let told = || Profiles::load(&path).expect_err("fault").to_string();
    assert!(told().starts_with(&format!("{}: cannot be read: ", path.display())));
    std::fs::create_dir(&path).expect("a directory");
    assert!(told().starts_with(&format!("{}: cannot be read: ", path.display())));
    std::fs::remove_dir(&path).expect("removed");
    std::fs::write(&path, "[profile.a]\n").expect("a file");
    assert_eq!(Profiles::load(&path).expect("profiles").names().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn only_a_file_that_is_absent_is_no_file() {
    let home = tempfile::tempdir().expect("a directory");
    let load = || Profiles::load_in(home.path()).map(|profiles| profiles.names().count());
    let told = || load().expect_err("a fault").to_string();
    assert_eq!(load().expect("no directory"), 0);
    std::fs::create_dir(home.path().join("telex")).expect("a directory");
    assert_eq!(load().expect("no file"), 0);
    let path = home.path().join("telex/profiles.toml");
    std::os::unix::fs::symlink("nowhere", &path).expect("a link");
    assert!(told().contains("/telex/profiles.toml: cannot be read: No such file"), "{}", told());
    std::fs::remove_file(&path).expect("removed");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    assert!(told().ends_with("/telex/profiles.toml: cannot be read: it is no regular file"), "{}", told());
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir(&path).expect("a directory");
    assert!(told().ends_with("/telex/profiles.toml: cannot be read: it is no regular file"), "{}", told());
    std::fs::remove_dir(&path).expect("removed");
    std::fs::write(home.path().join("telex/real"), "[profile.a]").expect("a file");
    std::os::unix::fs::symlink("real", &path).expect("a link");
    assert_eq!(load().expect("a file"), 1);
}

#[test]
fn what_is_unique_has_to_find_room_in_a_node_id() {
    let checked = |profile: &str| Profiles::default().settings(profile, &Program::default());
    // A slash and 16 digits make it 255 bytes.
    assert!(checked(&"p".repeat(238)).is_ok());
    let error = checked(&"p".repeat(239)).expect_err("too long").to_string();
    assert!(error.ends_with(" (the default) is longer than 255 bytes"), "{error}");
    let text = format!("[global]\nnode_id = '{}%u'", "n".repeat(240));
    let error = told(&text);
    assert!(error.starts_with("p.toml:2: global.node_id: is longer than 255 bytes; "), "{error}");
}
