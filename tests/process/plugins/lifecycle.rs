//! How plugins come into force, go on, and end, also those that do not come back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{ask, build, compile, configure, starter};
use crate::support::wait_until;

/// Nothing would judge, although nobody has asked for that.
#[test]
fn one_that_is_in_force_is_not_lost_by_a_reload() {
    let telexd = starter("GOOD", "required = false").start();
    let mut client = telexd.node("a");
    for (rogue, why) in [(Some("FAILS_TO_CREATE"), "it has no mind to"), (None, "there is no such file")] {
        match rogue {
            Some(rogue) => build(telexd.dir(), rogue, "2"),
            None => fs::remove_file(telexd.dir().join("librogue.so")).expect("removed"),
        }
        let told = client.ask("reload", Value::Null);
        assert!(told["error"].as_str().is_some_and(|error| error.contains(why)), "{told}");
        assert_eq!(ask(&mut client, "a")["body"]["error"], json!("version 1"));
    }
    // One that was not there before may be missing.
    configure(telexd.dir(), "name = \"new\"\nrequired = false");
    let told = client.ask("reload", Value::Null);
    assert_eq!(told["error"], Value::Null);
    telexd.wait_for_log("plugin new: is missing (rogue): there is no such file");
}

/// The file may have been cut while it was written, or be empty for that.
#[test]
fn one_that_is_required_is_not_lost_by_a_file_that_lacks_it() {
    let telexd = starter("GOOD", "").start();
    let mut client = telexd.node("a");
    let file = telexd.dir().join("telexd.toml");
    let lacks = "has no [[plugin]] \"rogue\", which is in force and required; to end it, write \
                 without = [\"rogue\"] above the first table";
    for (text, why) in [
        ("", "is empty, as a file is that is being written"),
        (" \n\n", "is empty, as a file is that is being written"),
        ("# cut behind this line\n", lacks),
        ("max_names = 5\n", lacks),
        ("without = ['other']\n[[plugin]]\npath = 'rogue'\nname = 'new'\n", lacks),
    ] {
        fs::write(&file, text).expect("a configuration");
        let told = client.ask("reload", Value::Null);
        assert_eq!(told["code"], json!("bad_field"), "{text:?}");
        assert!(told["error"].as_str().is_some_and(|error| error.contains(why)), "{text:?}: {told}");
        assert_eq!(ask(&mut client, "a")["body"]["error"], json!("version 1"));
    }
    // What says so is obeyed, also a second time.
    fs::write(&file, "without = ['rogue']\n").expect("a configuration");
    for _ in 0..2 {
        assert_eq!(client.ask("reload", Value::Null)["error"], Value::Null);
    }
    telexd.wait_for_log("destroyed 1");
}

/// Nor by a drop-in that is away, or no longer names it.
#[test]
fn one_that_a_drop_in_brings_is_not_lost_with_it() {
    let starter = starter("GOOD", "");
    let (file, drop_in) = (starter.dir().join("telexd.toml"), starter.dir().join("telexd.d/rules.toml"));
    fs::create_dir(starter.dir().join("telexd.d")).expect("a directory");
    fs::write(&drop_in, "[[plugin]]\npath = \"rogue\"\n").expect("a drop-in");
    let plugin_dir = format!("plugin_dir = {:?}\n", starter.dir().display().to_string());
    fs::write(&file, &plugin_dir).expect("a configuration");
    let telexd = starter.start();
    let mut client = telexd.node("a");
    let lacks = "telexd.toml with telexd.d/*.toml: has no [[plugin]] \"rogue\", which is in force and required; to \
                 end it, write without = [\"rogue\"] above the first table";
    let away = drop_in.with_extension("away");
    fs::rename(&drop_in, &away).expect("renamed");
    for text in [None, Some("# nothing\n"), Some("without = [\"other\"]\n")] {
        text.iter().for_each(|text| fs::write(&drop_in, text).expect("a drop-in"));
        assert_eq!(client.ask("reload", Value::Null)["error"], json!(lacks), "{text:?}");
        assert_eq!(ask(&mut client, "a")["body"]["error"], json!("version 1"));
    }
    // Another file may bring it, or say that it ends.
    fs::write(&file, plugin_dir.clone() + "[[plugin]]\npath = \"rogue\"\n").expect("a configuration");
    fs::remove_file(&drop_in).expect("removed");
    assert_eq!(client.ask("reload", Value::Null)["error"], Value::Null);
    fs::write(&file, plugin_dir).expect("a configuration");
    fs::write(&drop_in, "without = [\"rogue\"]\n").expect("a drop-in");
    assert_eq!(client.ask("reload", Value::Null)["error"], Value::Null);
    telexd.wait_for_log("destroyed 1");
}

#[test]
fn one_that_lacked_a_library_is_loaded_when_that_is_there() {
    let starter = starter("GOOD", "required = false");
    let dir = starter.dir().to_owned();
    let needed = dir.join("libneeded.so");
    compile("rogue.c", &["-DROGUE=GOOD".to_owned()], &needed);
    let link = |option: &str| format!("{option}{}", dir.display());
    let defines = [
        "-DROGUE=GOOD".to_owned(),
        "-Wl,--no-as-needed".to_owned(),
        link("-Wl,-rpath,"),
        link("-L"),
        "-lneeded".to_owned(),
    ];
    compile("rogue.c", &defines, &dir.join("librogue.so"));
    let elsewhere = dir.join("elsewhere");
    fs::rename(&needed, &elsewhere).expect("renamed");
    let telexd = starter.start();
    telexd.wait_for_log("is missing (rogue): it cannot be loaded: libneeded.so: cannot open");
    fs::rename(&elsewhere, &needed).expect("renamed");
    telexd.reload();
    assert_eq!(ask(&mut telexd.node("a"), "a")["body"]["error"], json!("version 1"));
}

/// Nothing else begins before it is made, and nobody asks for signals meanwhile.
#[test]
fn a_start_that_hangs_can_be_ended() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut telexd = starter("HANGS_IN_CREATE", "").start_silently();
        let hangs = telexd.dir().join("hangs");
        wait_until("a plugin that hangs", || hangs.exists());
        telexd.signal(Signal::SIGHUP);
        telexd.signal(signal);
        assert_eq!(telexd.wait().signal(), Some(signal as i32));
    }
}

#[test]
fn a_reload_that_hangs_is_told_of_and_left_behind() {
    let mut telexd = starter("GOOD", "").start();
    build(telexd.dir(), "HANGS_IN_CREATE", "2");
    telexd.signal(Signal::SIGHUP);
    telexd.wait_for_log("the new configuration is still waiting for the plugin rogue");
    assert_eq!(ask(&mut telexd.node("a"), "a")["body"]["error"], json!("version 1"));
    telexd.stop();
    let log = telexd.log();
    assert!(log.contains("plugin rogue: is still being made, and is left behind"), "{log}");
    assert!(log.contains("plugin rogue: destroyed 1"), "{log}");
}

/// It keeps no other one from its end.
#[test]
fn an_end_that_hangs_is_told_of_and_left_behind() {
    let starter = starter("HANGS_IN_DESTROY", "[[plugin]]\npath = \"good\"");
    compile("rogue.c", &["-DROGUE=GOOD".to_owned()], &starter.dir().join("good.so"));
    let mut telexd = starter.start();
    telexd.stop();
    let log = telexd.log();
    assert!(log.contains("plugin rogue: does not end, and is left behind"), "{log}");
    assert!(log.contains("plugin good: destroyed 1"), "{log}");
}

/// At a reload and at the start: of what is made for nothing and of what fails.
#[test]
fn what_does_not_come_into_force_is_heard() {
    const LINES: [&str; 3] =
        ["warning: plugin rogue: made", "warning: plugin rogue: ended", "warning: plugin bad: tried"];
    let prepared = || {
        let starter = starter("TELLS_ALL", "[[plugin]]\npath = \"bad\"");
        compile("rogue.c", &["-DROGUE=FAILS_TO_CREATE".to_owned()], &starter.dir().join("bad.so"));
        starter
    };
    let ran = prepared().run();
    assert_eq!(ran.code, Some(1));
    LINES.iter().for_each(|line| assert!(ran.err.contains(line), "{line}:\n{}", ran.err));
    let starter = prepared();
    let config = starter.dir().join("telexd.toml");
    let wanted = fs::read_to_string(&config).expect("the configuration");
    fs::write(&config, "").expect("an empty one");
    let telexd = starter.start();
    fs::write(&config, wanted).expect("the configuration");
    telexd.reload();
    LINES.iter().for_each(|line| telexd.wait_for_log(line));
}

/// What an ordered end finds half made does not come into force.
#[test]
fn a_reload_that_is_under_way_at_the_end_comes_to_nothing() {
    let starter = starter("GOOD", "").set("drain_timeout=30s");
    let mut telexd = starter.start();
    // Somebody does not read, so that the end takes its time.
    let mut slow = telexd.node("slow");
    let mut client = telexd.client();
    for _ in 0..3 {
        client.send(&json!({"message_type": "signal", "to": "slow", "body": "x".repeat(500_000)}));
    }
    client.ping();
    build(telexd.dir(), "IS_MADE_SLOWLY", "2");
    telexd.signal(Signal::SIGHUP);
    telexd.wait_for_log("plugin rogue: being made");
    telexd.signal(Signal::SIGTERM);
    telexd.wait_for_log("stopping");
    // And none is begun any more.
    telexd.signal(Signal::SIGHUP);
    fs::write(telexd.dir().join("go_on"), "").expect("a file");
    slow.rest();
    telexd.wait();
    let log = telexd.log();
    assert_eq!(log.matches("is in force").count(), 1, "{log}");
    assert!(!log.contains("configuration read again"), "{log}");
    assert!(log.contains("plugin rogue: destroyed 2"), "{log}");
}

/// The umask is the process's: it stays as it is while other threads run.
#[test]
fn what_a_thread_creates_during_the_start_has_its_own_mode() {
    let mut starter = starter("MAKES_FILES", "").before("umask 022");
    for n in 0..300 {
        starter = starter.listen(&format!("unix:{n}.sock"));
    }
    let telexd = starter.start();
    fs::write(telexd.dir().join("enough"), "").expect("a file");
    let modes = |folder: &Path, of: &str| -> Vec<u32> {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
        let wanted =
            entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.ends_with(of)));
        wanted.map(|entry| entry.metadata().expect("its mode").permissions().mode() & 0o7777).collect()
    };
    let files = modes(&telexd.dir().join("made"), "");
    assert!(files.len() > 10);
    assert_eq!(files.iter().filter(|mode| **mode != 0o644).count(), 0, "of {}", files.len());
    assert_eq!(modes(telexd.dir(), ".sock"), [0o660; 300]);
}

#[test]
fn what_a_thread_says_is_heard_at_once() {
    let telexd = starter("SPEAKS_ON_A_THREAD", "").start();
    telexd.wait_for_log("is in force");
    fs::write(telexd.dir().join("speak"), "").expect("a file");
    telexd.wait_for_log("plugin rogue: a word at night");
}
