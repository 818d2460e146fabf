//! A daemon in a user namespace that does not map all users (user_namespaces(7)), as in a container: the kernel shows
//! it all unmapped users as one, so such a peer is no user that others could be.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Client, Starter, Telexd, needs, wait_until};

const NOT_MAPPED: &str = "unshare --user";
/// Only the user that the test runs as, as root.
const ONE_MAPPED: &str = "unshare --user --map-root-user";

/// Whether such a user namespace may be made here.
fn is_permitted(unshare: &str) -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{unshare} true")]).stdout(Stdio::null()).stderr(Stdio::null());
    needs::that(shell.status().expect("sh").success(), "the right to make a user namespace")
}

fn start_in(unshare: &str) -> Telexd {
    let starter = Starter::new().set("socket_mode=0666").before(&format!("set -- {unshare} \"$@\""));
    fs::set_permissions(starter.dir(), fs::Permissions::from_mode(0o755)).expect("chmod");
    starter.start()
}

/// Asserts that these are no user that another one could be, not even each other.
fn are_no_user(mut one: Client, mut other: Client) {
    for client in [&mut one, &mut other] {
        let me = client.ask_well("whoami", json!({}));
        assert_eq!([&me["uid"], &me["gid"]], [&Value::Null, &Value::Null], "{me}");
        assert_eq!(me["administrator"], json!(false), "{me}");
        for (request, body) in [("tap", json!({})), ("kill", json!({"unique_id": ":1"}))] {
            let told = client.ask(request, body);
            assert_eq!(told["code"], json!("denied"), "{request}: {told}");
        }
    }
    one.register("shared");
    one.ask_well("register", json!({"node_id": "own", "exclusive": true}));
    for node_id in ["shared", "own"] {
        for options in [json!({}), json!({"replace": true}), json!({"exclusive": true, "replace": true})] {
            let mut body = options;
            body["node_id"] = json!(node_id);
            let told = other.ask("register", body.clone());
            assert_eq!(told["code"], json!("name_taken"), "{body}: {told}");
        }
    }
    one.ping();
}

/// The daemon itself is shown as the user that all its peers are shown as.
#[test]
fn if_no_user_is_mapped_none_is_the_daemons_own() {
    if !is_permitted(NOT_MAPPED) {
        return;
    }
    let mut telexd = start_in(NOT_MAPPED);
    are_no_user(telexd.client(), telexd.client());
    telexd.stop();
}

#[test]
fn a_user_that_is_mapped_shares_its_names() {
    if !is_permitted(ONE_MAPPED) {
        return;
    }
    let mut telexd = start_in(ONE_MAPPED);
    let (mut one, mut other) = (telexd.client(), telexd.client());
    let me = one.ask_well("whoami", json!({}));
    assert_eq!((&me["uid"], &me["administrator"]), (&json!(0), &json!(true)), "{me}");
    one.register("shared");
    other.register("shared");
    telexd.stop();
}

#[test]
fn users_that_are_not_mapped_are_no_user() {
    if !needs::root() || !needs::programs(&["socat"]) || !is_permitted(ONE_MAPPED) {
        return;
    }
    let mut telexd = start_in(ONE_MAPPED);
    let relays = [1001, 1002].map(|user| Relay::start(user, &telexd.addresses[0]));
    are_no_user(relays[0].client(), relays[1].client());
    are_no_user(relays[0].client(), relays[0].client());
    telexd.stop();
}

/// Connects to the daemon as another user, for those that connect to it.
struct Relay {
    process: Child,
    dir: TempDir,
}

impl Relay {
    fn start(user: u32, address: &str) -> Relay {
        let dir = tempfile::tempdir().expect("a directory");
        chown(dir.path(), Some(user), Some(user)).expect("chown");
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={user}")).arg(format!("--regid={user}")).arg("--clear-groups");
        let socket = dir.path().join("socket");
        command.args(["socat", &format!("UNIX-LISTEN:{},fork", socket.display())]);
        command.arg(format!("UNIX-CONNECT:{}", address.trim_start_matches("unix:")));
        // It complains of clients that do not wait for their answers.
        let process = command.stderr(Stdio::null()).spawn().expect("setpriv");
        // It is there before it can be connected to.
        wait_until("a relay", || UnixStream::connect(&socket).is_ok());
        Relay { process, dir }
    }

    fn client(&self) -> Client {
        Client::connect(&format!("unix:{}", self.dir.path().join("socket").display()))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // What it has forked for a client ends with that client.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
