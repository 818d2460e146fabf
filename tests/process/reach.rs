//! The daemon stays in reach when its socket file or its state directory is removed, and says who holds a state.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::ways::handing_over;
use crate::support::{Client, Starter, Telexd, needs, wait_for, wait_until};

/// A user that owns nothing.
const NOBODY: u32 = 65_534;

/// A daemon that listens in a directory of its own directory.
fn in_folder() -> (Telexd, std::path::PathBuf) {
    let starter = Starter::new();
    let folder = starter.dir().join("above/folder");
    fs::create_dir_all(&folder).expect("a directory");
    let telexd = starter.listen(&format!("unix:{}", folder.join("telex.sock").display())).start();
    (telexd, folder)
}

fn comes_back(telexd: &Telexd) {
    let mut client = wait_for("a listener", || Client::try_connect(&telexd.addresses[0]).ok());
    client.ping();
}

#[test]
fn a_socket_file_that_is_removed_is_made_again() {
    let (mut telexd, folder) = in_folder();
    let (socket, above) = (folder.join("telex.sock"), folder.parent().expect("a directory").to_owned());
    let mut old = telexd.node("old");
    let mode = fs::metadata(&socket).expect("a socket").permissions();
    let goes_missing: [&dyn Fn(); 4] = [
        &|| fs::remove_file(&socket).expect("removed"),
        &|| fs::rename(&socket, folder.join("elsewhere")).expect("renamed"),
        &|| fs::remove_dir_all(&above).expect("removed"),
        &|| fs::rename(&above, telexd.dir().join("elsewhere")).expect("renamed"),
    ];
    for (at, goes_missing) in goes_missing.iter().enumerate() {
        // It might make the file again while its directory is being removed.
        telexd.suspend();
        goes_missing();
        telexd.resume();
        if !folder.exists() {
            telexd.wait_for_log(
                "and no client can connect: it cannot be made again, which is tried each second",
            );
            fs::create_dir_all(&folder).expect("a directory");
        }
        comes_back(&telexd);
        telexd.wait_for_log("was removed, and is made again");
        assert_eq!(fs::metadata(&socket).expect("a socket").permissions(), mode, "case {at}");
        old.ping();
    }
    telexd.stop();
    assert!(!socket.exists(), "it is the daemon's to remove");
}

/// Those who have connected before wait on.
#[test]
fn who_waits_at_a_socket_that_is_removed_is_served() {
    let telexd = Telexd::start();
    telexd.suspend();
    let mut waits = telexd.client();
    fs::remove_file(telexd.dir().join("telex.sock")).expect("removed");
    telexd.resume();
    waits.ping();
    comes_back(&telexd);
}

/// It is another daemon's by then.
#[test]
fn a_socket_of_another_in_its_place_is_left_alone() {
    let mut telexd = Telexd::start();
    let socket = telexd.dir().join("telex.sock");
    let mut old = telexd.client();
    telexd.suspend();
    fs::remove_file(&socket).expect("removed");
    let other = UnixListener::bind(&socket).expect("a socket");
    telexd.resume();
    telexd.wait_for_log("which is tried each second: another process listens there already");
    old.ping();
    drop(other);
    comes_back(&telexd);
    telexd.stop();
}

#[test]
fn what_goes_on_beside_the_socket_wakes_nothing() {
    let telexd = Telexd::start();
    telexd.client().ping();
    let before = telexd.process().cpu();
    for _ in 0..20_000 {
        let path = telexd.dir().join("beside");
        fs::write(&path, "").expect("a file");
        fs::remove_file(&path).expect("removed");
    }
    assert!(telexd.process().cpu() - before < Duration::from_millis(50));
}

/// By sd_listen_fds(3), as systemd does it.
#[test]
fn of_a_socket_that_was_handed_over_the_log_says_how_to_go_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("handed.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let starter = Starter::new().listen_by_itself();
    let give = handing_over(&listener, 1);
    let mut telexd = starter.before(&give).start();
    telexd.client().ping();
    fs::remove_file(&socket).expect("removed");
    telexd.wait_for_log("no client can connect before `systemctl restart telexd.socket`");
    telexd.stop();
    assert_eq!(telexd.log().matches("systemctl restart").count(), 1);
}

fn locked(state: &Path) -> String {
    let told = Starter::new().state_dir(state).run();
    assert_eq!(told.code, Some(1), "{}", told.err);
    told.err
}

#[test]
fn a_state_directory_that_is_removed_is_made_again_and_locked() {
    let mut telexd = Telexd::start();
    let state = telexd.dir().join("state");
    let mut last = 0;
    for elsewhere in [None, Some("elsewhere")] {
        // Or it makes a file anew while the directory is being emptied.
        telexd.suspend();
        match elsewhere {
            None => fs::remove_dir_all(&state).expect("removed"),
            Some(name) => fs::rename(&state, telexd.dir().join(name)).expect("renamed"),
        }
        telexd.resume();
        wait_until("the state", || state.join("connections").exists());
        telexd.wait_for_log("connections was removed, and is made again");
        let held = locked(&state);
        assert!(
            held.contains(&format!("another telexd (process {}, at unix:", telexd.process().0)),
            "{held}"
        );
        let number: u64 = telexd.client().unique_id()[1..].parse().expect("a number");
        assert!(number > last, "{number} after {last}");
        last = number;
    }
    telexd.signal(Signal::SIGKILL);
    telexd.wait();
    let next = Starter::new().state_dir(&state).start();
    let number: u64 = next.client().unique_id()[1..].parse().expect("a number");
    assert!(number > last, "{number} after {last}");
}

#[test]
fn who_holds_a_state_is_told_to_who_does_not_get_it() {
    let telexd = Telexd::start();
    let held = locked(&telexd.dir().join("state"));
    let holder = format!(
        "another telexd (process {}, at {}) uses the state directory",
        telexd.process().0,
        telexd.addresses[0]
    );
    assert!(held.contains(&holder), "{held}");
}

#[test]
fn an_empty_state_is_refused_with_a_way_to_go_on() {
    let starter = Starter::new();
    let state = starter.dir().join("state");
    fs::create_dir(&state).expect("a directory");
    fs::write(state.join("connections"), "").expect("a file");
    let told = starter.run();
    assert_eq!(told.code, Some(1));
    let path =
        "state/connections is empty, so it is not known which numbers of connections were given out; write";
    assert!(told.err.contains(path) && told.err.contains("or remove the file"), "{}", told.err);
}

/// The lock of one would keep the other from starting, or would not be seen there.
#[test]
fn machines_that_share_a_home_have_a_state_each() {
    if !needs::root() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let binary = home.path().join("telexd");
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_telexd")).arg(&binary).status();
    assert!(copied.expect("cp").success());
    chown(home.path(), Some(NOBODY), Some(NOBODY)).expect("chown");
    let start = |host: &str| {
        let as_nobody = format!(
            "shift; set -- unshare -u sh -c 'hostname {host}; exec setpriv --reuid={NOBODY} --clear-groups \"$@\"' sh \
             {} \"$@\"",
            binary.display()
        );
        let starter = Starter::new().variable("HOME", home.path()).variable("XDG_STATE_HOME", "");
        chown(starter.dir(), Some(NOBODY), Some(NOBODY)).expect("chown");
        starter.keep_state_by_itself().before(&as_nobody).start()
    };
    let mut machines = [start("alpha"), start("beta")];
    for (telexd, host) in machines.iter_mut().zip(["alpha", "beta"]) {
        assert_eq!(telexd.client().ask_well("whoami", json!({}))["daemon"]["host"], json!(host));
        telexd.stop();
        fs::metadata(home.path().join(".local/state/telexd").join(host).join("connections")).expect(host);
    }
}
