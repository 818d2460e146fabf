//! How plugins come into force, go on, and end, also those that do not come back.

use std::fs;

use serde_json::{Value, json};

use super::{ask, build, compile, configure, starter};

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
