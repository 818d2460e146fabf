//! What a running daemon reads its configuration from again, and what it does not take for one.

use std::fs;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::support::{Starter, Telexd};

/// The limit `max_names` that is in force.
fn max_names(telexd: &Telexd) -> Value {
    telexd.client().ask_well("whoami", json!({}))["daemon"]["limits"]["max_names"].clone()
}

/// Read a second time it would be empty, or waited for.
#[test]
fn a_pipe_is_read_once_at_the_start() {
    let starter = Starter::new();
    let pipe = starter.dir().join("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).expect("a FIFO");
    let starter = starter.argument("--config").argument(&pipe);
    let written = std::thread::spawn(move || fs::write(&pipe, "max_names = 3\n"));
    let telexd = starter.start();
    written.join().expect("a thread").expect("written");
    assert_eq!(max_names(&telexd), json!(3));
    telexd.reload();
    telexd.wait_for_log("is no regular file; it cannot be read again");
    assert_eq!(max_names(&telexd), json!(3));
}

/// As it is for a moment in which it is written anew.
#[test]
fn an_empty_file_is_no_configuration_for_a_running_daemon() {
    let starter = Starter::new();
    let config = starter.dir().join("telexd.toml");
    fs::write(&config, "max_names = 3\n").expect("a configuration");
    let telexd = starter.argument("--config").argument(&config).start();
    for empty in ["", "\n", " \t\r\n"] {
        fs::write(&config, empty).expect("a configuration");
        let told = telexd.client().ask("reload", Value::Null);
        let error = told["error"].as_str().unwrap_or_default();
        assert!(error.contains("telexd.toml: is empty, as a file is that is being written"), "{told}");
        assert_eq!(max_names(&telexd), json!(3));
    }
    fs::write(&config, "# every default\n").expect("a configuration");
    assert_eq!(telexd.client().ask("reload", Value::Null)["error"], Value::Null);
    assert_eq!(max_names(&telexd), json!(64));
}
