//! Plugins, good and bad, in the real daemon. They are built by the C compiler here.

mod budget;
mod contract;
mod lifecycle;
mod witness;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Client, Starter, Telexd, run, wait_until};

/// Builds `rogue.c` as `librogue.so` in `dir`, in place of what is there.
fn build(dir: &Path, rogue: &str, version: &str) {
    let defines = [format!("-DROGUE={rogue}"), format!("-DVERSION=\"{version}\"")];
    compile("rogue.c", &defines, &dir.join("librogue.so"));
}

/// Builds a file of this directory, and puts the library in the place of what is there.
pub(crate) fn compile(source: &str, defines: &[String], library: &Path) {
    let (here, fresh) = (Path::new(env!("CARGO_MANIFEST_DIR")), library.with_extension("fresh"));
    let built = Command::new("cc")
        .args([
            "-std=c99",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-fPIC",
            "-shared",
            "-Wno-unused-function",
            "-pthread",
        ])
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
        ("NULL_SYMBOL", "it has no symbol `telex_plugin`, so it is no plugin of telexd"),
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
        ("UNDEFINED_IMPORT", "it cannot be loaded: undefined symbol: nobody_has_this"),
    ] {
        let ran = starter(rogue, "").run();
        assert_eq!(ran.code, Some(1), "{rogue}: {}", ran.err);
        let expected = format!("loading plugins: plugin rogue (rogue): {told}");
        assert!(ran.err.contains(&expected), "{rogue}: {}", ran.err);
        let checked = starter(rogue, "").argument("--check").run();
        assert_eq!(checked.code, Some(1));
        assert_eq!(checked.err.lines().last(), ran.err.lines().last(), "--check says the same");
        // And where it need not be there, the daemon serves without it.
        let telexd = starter(rogue, "required = false").start();
        telexd.client().ping();
        telexd.wait_for_log(told);
    }
}

/// It makes the plugins, and nothing else begins: another daemon may serve there meanwhile.
#[test]
fn a_check_makes_the_plugins_and_ends_them() {
    let telexd = starter("TELLS_ALL", "").start();
    let config = telexd.dir().join("telexd.toml");
    let listen = telexd.addresses[0].as_str();
    let checked = run(&["--config", config.to_str().expect("UTF-8"), "--listen", listen, "--check"]);
    assert_eq!((checked.code, &*checked.out), (Some(0), "telexd: the configuration is right\n"));
    let told = "telexd: warning: plugin rogue: made for a check\ntelexd: warning: plugin rogue: ended\n";
    assert_eq!(checked.err, told);
    telexd.client().ping();
}

/// It would not know that it is only made for a check, and open its files.
#[test]
fn a_check_loads_an_older_plugin_and_does_not_make_it() {
    let checked = starter("OLD", "").argument("--check").run();
    assert_eq!((checked.code, &*checked.out), (Some(0), "telexd: the configuration is right\n"));
    let told = "telexd: warning: plugin rogue: is loaded, and not made: it was built before TELEX_MINOR 1, and \
                might make files\n";
    assert_eq!(checked.err, told);
    let telexd = starter("OLD", "").start();
    assert_eq!(ask(&mut telexd.node("a"), "a")["body"]["error"], json!("version 1"));
}

/// What it can do without is no reason to fail, but is said.
#[test]
fn a_check_tells_of_a_plugin_that_is_missing() {
    let ran = starter("NO_SYMBOL", "required = false").argument("--check").run();
    assert_eq!((ran.code, &*ran.out), (Some(0), "telexd: the configuration is right\n"), "{}", ran.err);
    let told = "telexd: warning: plugin rogue: is missing (rogue): it has no symbol `telex_plugin`";
    assert!(ran.err.starts_with(told), "{}", ran.err);
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

/// A disk that was full, or a copy that is under way: what the loader maps of it and is not there kills a
/// process that touches it.
#[test]
fn a_file_that_is_cut_short_is_refused() {
    let whole = {
        let starter = starter("GOOD", "");
        fs::read(starter.dir().join("librogue.so")).expect("a library")
    };
    let cut = |dir: &Path, bytes: usize| {
        fs::write(dir.join("librogue.so"), &whole[..bytes]).expect("a part of it");
    };
    for eighth in 1..7 {
        let bytes = whole.len() * eighth / 8;
        for argument in [None, Some("--check")] {
            let starter = starter("GOOD", "");
            cut(starter.dir(), bytes);
            let ran = argument.into_iter().fold(starter, Starter::argument).run();
            assert_eq!(ran.code, Some(1), "{bytes}: {}", ran.err);
            assert!(ran.err.contains("plugin rogue (rogue): it is cut short: "), "{bytes}: {}", ran.err);
        }
    }
    let starter = starter("GOOD", "required = false");
    cut(starter.dir(), whole.len() / 2);
    let telexd = starter.start();
    telexd.wait_for_log("plugin rogue: is missing (rogue): it is cut short: ");

    let telexd = self::starter("GOOD", "").start();
    let fresh = telexd.dir().join("fresh");
    fs::create_dir(&fresh).expect("a folder");
    cut(&fresh, whole.len() / 2);
    fs::rename(fresh.join("librogue.so"), telexd.dir().join("librogue.so")).expect("its place");
    closed_to_others(&telexd.dir().join("librogue.so"));
    let told = telexd.client().ask("reload", Value::Null);
    assert!(told["error"].as_str().is_some_and(|error| error.contains("it is cut short")), "{told}");
    telexd.client().ping();
}

/// It is an error like that of a full disk.
#[test]
fn a_plugin_larger_than_a_file_may_be_is_refused() {
    let ran = starter("GOOD", "").before("ulimit -f 1").run();
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("it cannot be copied into memory: File too large"), "{}", ran.err);
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

/// What is read and not judged, and what the machine does meanwhile, is not the filter's time.
#[test]
fn one_that_is_quick_is_not_given_up_for_the_time_of_others() {
    let telexd = starter("GOOD", "strikes = 2\nbudget = \"1ms\"").start();
    let mut client = telexd.client();
    let much = "x".repeat(1_000_000);
    for _ in 0..20 {
        client.send(&json!({"message_id": 1, "message_type": "ping", "body": much}));
        assert_eq!(client.message()["message_type"], json!("ping_reply"));
    }
    // What a partial line waited for is not counted either.
    let mut partial = telexd.client();
    partial.write(b"{\"message_type\":\"ping\"}");
    client.ping();
    partial.finish_writing();
    assert_eq!(partial.rest().len(), 1);
    assert_eq!(client.stats()["plugins"][0]["strikes"], json!(0), "{}", telexd.log());
}

#[test]
fn a_line_that_grows_too_long_is_refused_and_no_fault() {
    let telexd = starter("LENGTHENS", "strikes = 2").set("max_line_bytes=1024").start();
    let mut client = telexd.client();
    for _ in 0..4 {
        client.send(&json!({"message_id": 1, "message_type": "ask", "to": "b", "body": "x".repeat(900)}));
        let told = client.message()["body"].clone();
        assert_eq!(told["code"], json!("denied"));
        assert!(told["error"].as_str().is_some_and(|error| error.contains("1024 bytes")), "{told}");
    }
    assert_eq!(ask(&mut client, "b")["body"]["code"], json!("no_such_node"));
}

#[test]
fn emissions_do_not_fill_the_memory() {
    const MESSAGES: usize = 1500;
    let telexd = starter("EMITS_MUCH", "budget = \"10s\"").start();
    let mut client = telexd.client();
    client.write("{\"message_type\":\"ping\"}\n".repeat(MESSAGES).as_bytes());
    (0..MESSAGES).for_each(|_| drop(client.message()));
    let peak = telexd.process().rss_peak_kib();
    assert!(peak < 100 * 1024, "{peak} KiB");
}

#[test]
fn one_that_fails_for_ever_does_not_fill_the_log() {
    const MESSAGES: usize = 2000;
    let telexd = starter("FAULTS", "strikes = 1000000\non_fault = \"pass\"").start();
    let mut client = telexd.client();
    (0..MESSAGES).for_each(|_| client.ping());
    assert_eq!(client.stats()["plugins"][0]["strikes"].as_u64(), Some(MESSAGES as u64 + 1));
    let told = telexd.log().matches("failed at a message").count();
    assert!((1..MESSAGES / 10).contains(&told), "{told} lines of {MESSAGES} faults");
}

#[test]
fn what_is_emitted_at_the_end_arrives() {
    let mut telexd = starter("EMITS_AT_THE_END", "").start();
    let mut a = telexd.node("a");
    telexd.stop();
    let told: Vec<_> = a.rest().into_iter().map(|line| line["body"].clone()).collect();
    assert_eq!((told.len(), &told[0]), (2, &json!({"last": "words"})), "{told:?}");
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

/// What the plugin says that it has heard, in order.
fn heard(telexd: &Telexd) -> Vec<String> {
    let log = telexd.log();
    let said = log.lines().filter_map(|line| line.split_once("plugin rogue: heard ")).map(|(_, what)| what);
    said.map(str::to_owned).collect()
}

#[test]
fn a_plugin_hears_of_the_start_of_its_timer_of_a_reload_and_of_the_end() {
    let mut telexd = starter("TELLS_ALL", "").start();
    telexd.wait_for_log("heard timer");
    let mut client = telexd.node("a");
    telexd.reload();
    telexd.wait_for_log("heard reloaded");
    client.ask_well("subscribe", json!({"topic": "news.>", "group": "g"}));
    client.ask_well("unsubscribe", json!({"topic": "news.>", "group": "g"}));
    client.ask_well("unregister", json!({"node_id": "a"}));
    telexd.stop();
    let expected = [
        "started",
        "timer",
        "connected :1",
        "registered :1 a",
        "reloaded",
        "subscribed :1 news.> g",
        "unsubscribed :1 news.> g",
        "unregistered :1 a unregistered",
        "stopping",
    ];
    assert_eq!(heard(&telexd)[..expected.len()], expected);
    let log = telexd.log();
    let lives = ["plugin rogue: made", "plugin rogue: ended"].map(|what| log.matches(what).count());
    assert_eq!(lives, [1, 1], "one instance all the while:\n{log}");
}

/// It is told all that is there as if it happened, and then what happens.
#[test]
fn a_plugin_that_comes_by_a_reload_hears_what_is_there() {
    let starter = Starter::new();
    fs::set_permissions(starter.dir(), fs::Permissions::from_mode(0o755)).expect("chmod");
    build(starter.dir(), "TELLS_ALL", "1");
    fs::write(starter.dir().join("telexd.toml"), "").expect("a configuration");
    let telexd = starter.argument("--config").argument("telexd.toml").start();
    let mut a = telexd.node("a");
    a.ask_well("register", json!({"node_id": "c"}));
    let mut b = telexd.client();
    b.ask_well("subscribe", json!({"topic": "news.*"}));
    drop(telexd.node("gone"));
    telexd.wait_for_log("left (lost): gone");
    configure(telexd.dir(), "");
    telexd.reload();
    telexd.wait_for_log("heard timer");
    b.ask_well("register", json!({"node_id": "b"}));
    drop(a);
    telexd.wait_for_log("heard disconnected");
    let expected = [
        "of old connected :1",
        "of old registered :1 a",
        "of old registered :1 c",
        "of old connected :2",
        "of old subscribed :2 news.*",
        "timer",
        "registered :2 b",
        "disconnected :1 lost",
    ];
    assert_eq!(heard(&telexd), expected);
}
