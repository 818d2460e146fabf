//! Plugins, good and bad, in the real daemon. They are built by the C compiler here.

mod contract;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Client, Starter, wait_until};

/// Builds `rogue.c` as `librogue.so` in `dir`, in place of what is there.
fn build(dir: &Path, rogue: &str, version: &str) {
    let defines = [format!("-DROGUE={rogue}"), format!("-DVERSION=\"{version}\"")];
    compile("rogue.c", &defines, &dir.join("librogue.so"));
}

/// Builds a file of this directory, and puts the library in the place of what is there.
fn compile(source: &str, defines: &[String], library: &Path) {
    let (here, fresh) = (Path::new(env!("CARGO_MANIFEST_DIR")), library.with_extension("fresh"));
    let built = Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-Wno-unused-function"])
        .args(defines)
        .arg("-I")
        .arg(here.join("plugins/abi/include"))
        .arg(here.join("tests/process/plugins").join(source))
        .arg("-o")
        .arg(&fresh)
        .output()
        .expect("a C compiler");
    assert!(built.status.success(), "{defines:?}: {}", String::from_utf8_lossy(&built.stderr));
    closed_to_others(&fresh);
    fs::rename(&fresh, library).expect("its place");
}

/// Lets nobody else write there, whatever the umask is.
fn closed_to_others(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// A daemon to be started with the plugin `rogue` of its own directory.
fn starter(rogue: &str, settings: &str) -> Starter {
    let starter = Starter::new();
    closed_to_others(starter.dir());
    build(starter.dir(), rogue, "1");
    configure(starter.dir(), settings);
    starter.argument("--config").argument("telexd.toml")
}

fn configure(dir: &Path, settings: &str) {
    let text =
        format!("plugin_dir = {:?}\n[[plugin]]\npath = \"rogue\"\n{settings}\n", dir.display().to_string());
    fs::write(dir.join("telexd.toml"), text).expect("a configuration");
}

fn ask(client: &mut Client, to: &str) -> Value {
    client.send(&json!({"message_id": "q", "message_type": "ask", "to": to, "body": {"x": 1}}));
    client.message()
}

#[test]
fn what_is_no_plugin_is_refused_with_a_sentence() {
    for (rogue, told) in [
        ("NO_SYMBOL", "it has no symbol `telex_plugin`, so it is no plugin of telexd"),
        ("WRONG_MAGIC", "its `telex_plugin` begins with 0x12345678, not with TELEX_MAGIC (0x584c4554)"),
        (
            "OTHER_VERSION",
            "it was built for version 2 of the plugin interface (TELEX_ABI); this is version 1",
        ),
        ("TOO_SHORT", "its descriptor says that it has 24 bytes; one of version 1 has at least 56"),
        ("NO_NAME", "its descriptor has no name"),
        ("NO_CREATE", "its descriptor has no `create`"),
        ("NO_EXTENSIONS", "it has none of telex.log/1, telex.filter/1, telex.events/1, so it does nothing"),
        ("EMPTY_FILTER", "its table for telex.filter/1 has no `judge`"),
        ("MANY_INTERESTS", "its list of interests is not right"),
        ("FAILS_TO_CREATE", "it has no mind to"),
        ("FAILS_SILENTLY", "it could not be made, and it did not say why"),
        ("UNDEFINED_IMPORT", "it cannot be loaded: "),
    ] {
        let ran = starter(rogue, "").run();
        assert_eq!(ran.code, Some(1), "{rogue}: {}", ran.err);
        let expected = format!("loading plugins: plugin rogue (rogue): {told}");
        assert!(ran.err.contains(&expected), "{rogue}: {}", ran.err);
        // And where it need not be there, the daemon serves without it.
        let telexd = starter(rogue, "required = false").start();
        telexd.client().ping();
        telexd.wait_for_log(told);
    }
}

#[test]
fn what_others_could_change_is_not_loaded() {
    let starter = starter("GOOD", "");
    let library = starter.dir().join("librogue.so");
    fs::set_permissions(&library, fs::Permissions::from_mode(0o777)).expect("chmod");
    let ran = starter.run();
    assert!(ran.err.contains("librogue.so: can be written by others"), "{}", ran.err);

    let starter = self::starter("GOOD", "");
    let library = starter.dir().join("librogue.so");
    fs::rename(&library, starter.dir().join("real.so")).expect("renamed");
    symlink("real.so", &library).expect("a link");
    let ran = starter.run();
    assert!(ran.err.contains("librogue.so: is a symbolic link"), "{}", ran.err);
}

#[test]
fn a_filter_refuses_and_says_why() {
    let telexd = starter("GOOD", "").start();
    let mut client = telexd.node("a");
    let told = ask(&mut client, "a");
    assert_eq!(told["body"]["code"], json!("denied"));
    assert_eq!((&told["body"]["filter"], &told["body"]["error"]), (&json!("rogue"), &json!("version 1")));
    let plugins = client.stats()["plugins"].clone();
    assert_eq!((&plugins[0]["name"], &plugins[0]["reject"]), (&json!("rogue"), &json!(1)));
}

#[test]
fn faults_deny_or_pass_and_end_after_some_strikes() {
    for (rogue, told) in [
        ("JUNK_VERDICT", "answered 4711 to a message, which is no verdict"),
        ("FAULTS", "failed at a message"),
        ("BREAKS_JSON", "made of a message what cannot go on: the new body is no JSON value"),
        ("ADDS_A_FIELD", "made of a message what cannot go on: the new body is no JSON value"),
        ("CHANGES_CATEGORY", "made of a message what cannot go on: the new line is of another category"),
    ] {
        let telexd = starter(rogue, "strikes = 3").start();
        let mut client = telexd.client();
        let answer = ask(&mut client, ":1");
        assert_eq!(answer["body"]["code"], json!("denied"), "{rogue}: {answer}");
        telexd.wait_for_log(told);
        (0..3).for_each(|_| drop(ask(&mut client, ":1")));
        telexd.wait_for_log("is not called any more until the configuration is read again");
        assert_eq!(ask(&mut client, ":1")["body"]["code"], json!("denied"), "{rogue}: it stays closed");

        let telexd = starter(rogue, "strikes = 3\non_fault = \"pass\"").start();
        let mut client = telexd.client();
        for _ in 0..5 {
            client.send(&json!({"message_type": "ask", "to": ":1"}));
            assert_eq!(client.message()["message_type"], json!("ask"), "{rogue}: it goes on");
        }
    }
}

#[test]
fn one_that_is_late_is_given_up() {
    let telexd = starter("SLEEPS", "strikes = 3\non_fault = \"pass\"").start();
    let mut client = telexd.client();
    (0..4).for_each(|_| client.ping());
    telexd.wait_for_log("ms for a message, and its budget is 1.0 ms");
    telexd.wait_for_log("failed or was late 3 times and is not called any more");
    assert_eq!(client.stats()["plugins"][0]["strikes"], json!(3));
}

#[test]
fn emissions_are_bounded_and_arrive() {
    let telexd = starter("EMITS_FOR_EVER", "").start();
    let mut b = telexd.client();
    b.send(&json!({"message_type": "register", "from": "b"}));
    let mut signals = 0;
    let mut replies = 0;
    while replies < 1 || signals < 16 {
        let line = b.message();
        signals += usize::from(line["body"]["from"] == "the plugin");
        replies += usize::from(line["message_type"] == "register_reply");
    }
    let mut a = telexd.client();
    a.ping();
    for _ in 0..16 {
        assert_eq!(b.message()["from"], Value::Null);
    }
    b.send(&json!({"message_type": "signal", "to": "b", "body": "the end"}));
    assert_eq!(b.message()["body"], json!("the end"), "no more than 16 in one call");
}

#[test]
fn of_a_reply_only_the_body_changes() {
    let telexd = starter("CHANGES_A_REPLY", "").start();
    let (mut a, mut b) = (telexd.client(), telexd.node("b"));
    a.send(&json!({"message_id": 1, "message_type": "ask", "to": "b"}));
    assert_eq!(b.message()["message_id"], json!(1));
    b.send(&json!({"message_type": "ask_reply", "to": ":1", "body": {"in_reply_to": 1}}));
    assert_eq!(b.message()["body"]["error"], json!("of a reply only the body can be replaced"));
}

#[test]
fn a_connection_is_refused_with_a_reason() {
    let telexd = starter("REFUSES_CONNECTIONS", "").start();
    let told = telexd.client().rest();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["body"]["code"], json!("denied"));
    assert_eq!(
        (&told[0]["body"]["filter"], &told[0]["body"]["error"]),
        (&json!("rogue"), &json!("nobody is welcome"))
    );
}

#[test]
fn events_that_are_answered_with_junk_are_strikes() {
    let telexd = starter("JUNK_EVENTS", "strikes = 2").start();
    let mut client = telexd.node("a");
    client.ask_well("register", json!({"node_id": "c"}));
    telexd.wait_for_log("answered 99, which means nothing, to an event");
    telexd.wait_for_log("is not called any more");
}

/// Replaced by rename, at the very path, under load: no connection is dropped, no message passes
/// unfiltered, the new version answers, and the old instance has ended.
#[test]
fn a_changed_library_is_really_loaded_anew() {
    const RELOADS: usize = 50;
    let telexd = starter("GOOD", "").start();
    let mut client = telexd.node("a");
    let mut load = telexd.client();
    let asked = std::thread::spawn(move || {
        let mut seen = std::collections::BTreeSet::new();
        loop {
            let told = ask(&mut load, "a");
            assert_eq!(told["body"]["code"], json!("denied"), "{told}");
            let version = told["body"]["error"].as_str().expect("a reason").to_owned();
            seen.insert(version.clone());
            if version == format!("version {}", RELOADS + 1) {
                return seen.len();
            }
        }
    });
    for version in 2..=RELOADS + 1 {
        build(telexd.dir(), "GOOD", &version.to_string());
        let told = client.ask("reload", Value::Null);
        assert_eq!(told["error"], Value::Null, "{told}");
        assert_eq!(ask(&mut client, "a")["body"]["error"], json!(format!("version {version}")));
    }
    let versions = asked.join().expect("the load");
    assert!(versions > RELOADS / 2, "only {versions} versions were seen");
    wait_until("the old instances' ends", || telexd.log().matches("destroyed").count() >= RELOADS);
}

#[test]
fn a_reload_that_fails_changes_nothing() {
    let telexd = starter("GOOD", "").start();
    let mut client = telexd.node("a");
    build(telexd.dir(), "FAILS_TO_CREATE", "2");
    let told = client.ask("reload", Value::Null);
    assert!(told["error"].as_str().is_some_and(|error| error.contains("it has no mind to")), "{told}");
    assert_eq!(ask(&mut client, "a")["body"]["error"], json!("version 1"));
    configure(telexd.dir(), "strikes = \"many\"");
    let told = client.ask("reload", Value::Null);
    let error = told["error"].as_str().expect("an error");
    assert!(error.contains("telexd.toml:4: plugin.strikes: "), "{told}");
    assert_eq!(ask(&mut client, "a")["body"]["error"], json!("version 1"));
}

/// A call's pointer that is kept is of no use behind the call.
#[test]
fn a_pointer_that_is_kept_is_too_late() {
    let mut telexd = starter("KEEPS_A_POINTER", "").start();
    telexd.client().ping();
    telexd.stop();
    assert!(telexd.log().contains("plugin rogue: too late"), "{}", telexd.log());
}
