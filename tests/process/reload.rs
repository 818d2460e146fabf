//! What a running daemon reads its configuration from again, and what it does not take for one.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{Uid, mkfifo};
use serde_json::{Value, json};

use crate::support::{Starter, Telexd, wait_until};

const NOBODY: u32 = 65_534;

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

/// A starter whose configuration has drop-ins, each a name and a text.
fn with_drop_ins(drop_ins: &[(&str, &str)]) -> Starter {
    let starter = Starter::new();
    fs::write(starter.dir().join("telexd.toml"), "max_names = 3\n").expect("a configuration");
    fs::create_dir(starter.dir().join("telexd.d")).expect("a directory");
    drop_ins.iter().for_each(|(name, text)| drop_in(starter.dir(), name, text));
    starter.argument("--config").argument("telexd.toml")
}

fn drop_in(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join("telexd.d").join(name), text).expect("a drop-in");
}

#[test]
fn drop_ins_count_at_the_start_and_at_each_reload() {
    let telexd = with_drop_ins(&[("20-b.toml", "max_names = 5\n"), ("10-a.toml", "max_names = 4\n")]).start();
    assert_eq!(max_names(&telexd), json!(5));
    // A new one, found by the signal.
    drop_in(telexd.dir(), "30-c.toml", "max_names = 6\nsocket_mode = '0600'\n");
    telexd.reload();
    assert_eq!(max_names(&telexd), json!(6));
    telexd.wait_for_log("changed now: max_names; after a restart: socket_mode");
    // One that is gone, found by the request.
    fs::remove_file(telexd.dir().join("telexd.d/30-c.toml")).expect("removed");
    let told = telexd.client().ask("reload", Value::Null);
    assert_eq!((&told["applied"], &told["restart"]), (&json!(["max_names"]), &json!([])));
    assert_eq!(max_names(&telexd), json!(5));
    // No directory is as one without files.
    fs::rename(telexd.dir().join("telexd.d"), telexd.dir().join("away")).expect("renamed");
    telexd.reload();
    assert_eq!(max_names(&telexd), json!(3));
    fs::rename(telexd.dir().join("away"), telexd.dir().join("telexd.d")).expect("renamed");
    telexd.signal(Signal::SIGHUP);
    wait_until("the drop-ins in force", || max_names(&telexd) == json!(5));
}

#[test]
fn what_is_wrong_with_drop_ins_is_told_with_file_and_line() {
    let telexd = with_drop_ins(&[("a.toml", "max_names = 4\n")]).start();
    let dir = telexd.dir().join("telexd.d");
    drop_in(telexd.dir(), "b.toml", "\nmax_names = 0\nfoo = 1\n");
    drop_in(telexd.dir(), "c.toml", "# cut\nmax_names =");
    mkfifo(&dir.join("d.toml"), Mode::S_IRWXU).expect("a FIFO");
    symlink("nowhere", dir.join("e.toml")).expect("a link");
    drop_in(telexd.dir(), "f.toml", "");
    let starts = [
        "telexd.d/b.toml:2: max_names: is 0; it must be",
        "telexd.d/b.toml:3: foo: is no setting",
        "telexd.d/c.toml:2: is no TOML at column 12",
        "telexd.d/d.toml: is no regular file, as a drop-in must be",
        "telexd.d/e.toml: cannot be read: No such file",
        "telexd.d/f.toml: is empty, as a file is that is being written",
    ];
    let told = telexd.client().ask("reload", Value::Null);
    assert_eq!(told["code"], json!("bad_field"), "{told}");
    let lines: Vec<&str> = told["error"].as_str().unwrap_or_default().lines().collect();
    assert_eq!(lines.len(), starts.len(), "{told}");
    for (line, start) in lines.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
    telexd.reload();
    starts.iter().for_each(|start| telexd.wait_for_log(start));
    assert_eq!(max_names(&telexd), json!(4));
    for name in ["b.toml", "c.toml", "d.toml", "e.toml", "f.toml"] {
        fs::remove_file(dir.join(name)).expect("removed");
    }
    drop_in(telexd.dir(), "f.toml", "# nothing\n");
    assert_eq!(telexd.client().ask("reload", Value::Null)["error"], Value::Null);
}

/// A pipe would be waited for, and nobody would know what for.
#[test]
fn a_check_and_a_start_refuse_drop_ins_alike() {
    let prepared = || {
        let starter =
            with_drop_ins(&[("a.toml", "max_names = 0\n"), (".b.toml", "nonsense"), ("c.toml~", "nonsense")]);
        mkfifo(&starter.dir().join("telexd.d/d.toml"), Mode::S_IRWXU).expect("a FIFO");
        starter
    };
    for starter in [prepared(), prepared().argument("--check")] {
        let ran = starter.run();
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        let lines: Vec<&str> = ran.err.lines().collect();
        assert_eq!(lines.len(), 2, "{}", ran.err);
        assert!(lines[0].starts_with("telexd: telexd.d/a.toml:1: max_names: is 0"), "{}", ran.err);
        assert_eq!(lines[1], "telexd: telexd.d/d.toml: is no regular file, as a drop-in must be");
    }
    let ran = with_drop_ins(&[("a.toml", "max_names = 1\n")]).argument("--check").run();
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "telexd: the configuration is right\n"),
        "{}",
        ran.err
    );
}

#[test]
fn a_drop_in_that_may_not_be_read_is_named() {
    let starter = with_drop_ins(&[("a.toml", "max_names = 4\n"), ("b.toml", "max_names = 5\n")]);
    let starter = if Uid::effective().is_root() { starter.user(NOBODY) } else { starter };
    let telexd = starter.start();
    let close = |name: &str| {
        fs::set_permissions(telexd.dir().join(name), fs::Permissions::from_mode(0o000)).expect("chmod");
        telexd.client().ask("reload", Value::Null)["error"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(close("telexd.d/a.toml"), "telexd.d/a.toml: cannot be read: Permission denied (os error 13)");
    assert_eq!(close("telexd.d"), "telexd.d: cannot be read: Permission denied (os error 13)");
    assert_eq!(max_names(&telexd), json!(5));
}

/// Of a path that ends otherwise none can be made.
#[test]
fn a_configuration_of_another_name_has_no_drop_ins() {
    let starter = Starter::new();
    fs::write(starter.dir().join("telexd.conf"), "max_names = 3\n").expect("a configuration");
    fs::create_dir(starter.dir().join("telexd.d")).expect("a directory");
    drop_in(starter.dir(), "a.toml", "nonsense");
    let telexd = starter.argument("--config").argument("telexd.conf").start();
    assert_eq!(max_names(&telexd), json!(3));
}
