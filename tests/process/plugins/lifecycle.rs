//! How plugins come into force, go on, and end, also those that do not come back.

use std::fs;

use serde_json::{Value, json};

use super::{ask, build, configure, starter};

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
