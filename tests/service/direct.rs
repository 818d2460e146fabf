//! Lines that are said to a service itself, over plain sockets.

use nix::unistd::{getgid, getpid, getuid};
use serde_json::{Value, json};

use super::support::{Client, needs};
use super::{address, echo, unix};

#[test]
fn the_kernel_says_who_calls() {
    let dir = tempfile::tempdir().expect("a directory");
    let service = echo("svc").listen(unix(dir.path(), "svc")).listen(address("127.0.0.1:0"));
    let service = service.start_alone().expect("a service");
    let [file, tcp] = service.addresses() else { panic!("{:?}", service.addresses()) };
    let mut client = Client::connect(&file.to_string());
    let me = json!({"uid": getuid().as_raw(), "gid": getgid().as_raw(), "pid": getpid().as_raw()});
    let reply = client.ask_well("who", Value::Null);
    for key in ["uid", "gid", "pid"] {
        assert_eq!(reply[key], me[key], "{reply}");
    }
    client.send(&json!({"message_id": 1, "message_type": "who", "sender": {"uid": 0}}));
    assert_eq!(client.message()["body"]["code"], "not_yours");
    client.send(&json!({"message_id": 2, "message_type": "who", "from": "root"}));
    assert_eq!(client.message()["body"]["code"], "not_yours");
    let whoami = client.ask_well("whoami", Value::Null);
    assert_eq!(
        (&whoami["uid"], &whoami["service"], &whoami["transport"]),
        (&me["uid"], &json!("svc"), &json!("unix"))
    );
    let mut client = Client::connect(&tcp.to_string());
    assert_eq!(client.ask_well("who", Value::Null).get("uid"), None);
    assert_eq!(client.ask_well("whoami", Value::Null)["transport"], "tcp");
}

#[test]
fn another_user_is_seen_as_that() {
    if !needs::root() || !needs::programs(&["nc"]) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).expect("a mode");
    let service =
        echo("svc").listen(unix(dir.path(), "svc")).socket_mode(0o666).start_alone().expect("a service");
    let path = dir.path().join("svc");
    let ask = |uid: u32| {
        use std::os::unix::process::CommandExt;
        let mut nc = std::process::Command::new("sh");
        let line = format!(r#"echo '{{"message_type":"who"}}' | nc -N -U {}"#, path.display());
        let ran = nc.args(["-c", &line]).uid(uid).gid(uid).output().expect("nc");
        String::from_utf8(ran.stdout).expect("UTF-8")
    };
    let said = ask(4242);
    assert!(said.contains(r#""uid":4242,"gid":4242,"#), "{said}");
    drop(service);
    let service = echo("svc").listen(unix(dir.path(), "svc")).start_alone().expect("a service");
    assert_eq!(ask(4242), "", "the socket file is for its owner and group");
    drop(service);
}

#[test]
fn wrong_lines_are_told_and_the_next_is_none_the_worse() {
    let dir = tempfile::tempdir().expect("a directory");
    let service =
        echo("svc").listen(unix(dir.path(), "svc")).max_line_bytes(1000).start_alone().expect("a service");
    let mut client = Client::connect(&service.addresses()[0].to_string());
    let long = format!("{}\n", "x".repeat(3000));
    for (line, code) in [
        ("nonsense\n", "bad_json"),
        ("[1]\n", "not_an_object"),
        ("{\"message_type\":\"echo\"\n", "bad_json"),
        ("{\"message_type\":\"echo\",\"message_type\":\"echo\"}\n", "duplicate_field"),
        ("\u{0}\n", "bad_json"),
        (&long, "line_too_long"),
        ("{\"message_type\":\"x_reply\",\"body\":{\"in_reply_to\":1}}\n", "no_such_request"),
        ("{\"message_type\":\"echo\",\"to\":\"other\"}\n", "no_such_node"),
        ("{\"message_type\":\"subscribe\",\"body\":{\"topic\":\"a\"}}\n", "unknown_type"),
    ] {
        client.write(line.as_bytes());
        let told = client.message();
        assert_eq!(told["body"]["code"], code, "{line}: {told}");
        assert_eq!(told["from"], Value::Null);
        assert_eq!(client.ask_well("echo", json!({"n": 1}))["n"], 1);
    }
    // An answer that is too long is an error, too.
    let told = client.ask("large", json!(2000));
    assert!(told["error"].as_str().is_some_and(|error| error.contains("1000")), "{told}");
    // An empty line, a CR, several lines at once, one byte at a time, and the last without its LF.
    client.write(b"\r\n\n{\"message_type\":\"echo\",\"body\":1}\r\n{\"message_type\":\"echo\",\"body\":2}\n");
    for byte in b"{\"message_type\":\"echo\",\"to\":\"svc#port\",\"body\":3}\n" {
        client.write(&[*byte]);
    }
    client.write(b"{\"message_type\":\"echo\",\"body\":4}");
    client.finish_writing();
    let all: Vec<Value> = client.rest().iter().map(|reply| reply["body"]["result"].clone()).collect();
    assert_eq!(all, [1, 2, 3, 4]);
}

#[test]
fn a_hundred_broken_lines_and_other_protocols_end_a_connection() {
    let dir = tempfile::tempdir().expect("a directory");
    let service = echo("svc").listen(unix(dir.path(), "svc")).listen(address("127.0.0.1:0"));
    let service = service.start_alone().expect("a service");
    let [file, tcp] = service.addresses() else { panic!("{:?}", service.addresses()) };
    let mut client = Client::connect(&file.to_string());
    client.write("x\n".repeat(200).as_bytes());
    assert_eq!(client.rest_of_a_cut().len(), 100);
    for beginning in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}",
        "{\"message_type\"\n{\"message_type\":\"echo\"}\n",
    ] {
        let mut client = Client::connect(&tcp.to_string());
        client.write(beginning.as_bytes());
        let rest = client.rest_of_a_cut();
        assert_eq!(rest.len(), 1, "{beginning}: {rest:?}");
        assert_eq!(rest[0]["body"]["code"], "bad_json");
    }
}

#[test]
fn callers_do_not_wait_for_each_other_and_each_keeps_its_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let service = echo("svc").listen(unix(dir.path(), "svc")).workers(2).start_alone().expect("a service");
    let connect = || Client::connect(&service.addresses()[0].to_string());
    let (mut slow, mut fast) = (connect(), connect());
    slow.write(b"{\"message_type\":\"sleep\",\"body\":2000}\n{\"message_type\":\"echo\",\"body\":1}\n");
    let began = std::time::Instant::now();
    for n in 0..100 {
        assert_eq!(fast.ask_well("echo", json!(n))["result"], n);
    }
    assert!(began.elapsed() < std::time::Duration::from_millis(1900), "{:?}", began.elapsed());
    assert_eq!(slow.message()["message_type"], "sleep_reply");
    assert_eq!(slow.message()["body"]["result"], 1);
    let service =
        echo("svc").listen(unix(dir.path(), "wide")).calls_per_caller(2).start_alone().expect("a service");
    let mut wide = Client::connect(&service.addresses()[0].to_string());
    wide.write(b"{\"message_type\":\"sleep\",\"body\":1000}\n{\"message_type\":\"echo\",\"body\":1}\n");
    assert_eq!(
        (wide.message()["body"]["result"].clone(), wide.message()["message_type"].clone()),
        (json!(1), json!("sleep_reply"))
    );
    // Whose time is over before its turn has come is not handled.
    slow.write(
        b"{\"message_type\":\"sleep\",\"body\":300}\n{\"message_type\":\"echo\",\"timeout_ms\":100}\n",
    );
    assert_eq!(slow.message()["message_type"], "sleep_reply");
    let late = slow.message();
    assert_eq!((&late["body"]["code"], &late["from"]), (&json!("timeout"), &Value::Null));
}

#[test]
fn the_longest_line_keeps_within_its_bounds() {
    let dir = tempfile::tempdir().expect("a directory");
    let start = |bytes| echo("svc").listen(unix(dir.path(), "svc")).max_line_bytes(bytes).start_alone();
    let service = start(usize::MAX).expect("a service");
    let mut client = Client::connect(&service.addresses()[0].to_string());
    for byte in b"{\"message_type\":\"echo\",\"body\":3}\n" {
        client.write(&[*byte]);
    }
    assert_eq!(client.message()["body"]["result"], 3);
    let limits = client.ask_well("whoami", Value::Null)["daemon"]["limits"].clone();
    assert_eq!(limits["max_line_bytes"], telex::limits::MAX_LINE_BYTES_MAX);
    drop(service);
    let service = start(0).expect("a service");
    let mut client = Client::connect(&service.addresses()[0].to_string());
    client.write(b"{\"message_type\":\"echo\"}\n");
    assert_eq!(client.message()["body"]["code"], "line_too_long");
}

#[test]
fn a_service_without_a_daemon_has_its_name_checked_and_filled_in() {
    let dir = tempfile::tempdir().expect("a directory");
    let start = |node_id: &str| echo(node_id).listen(unix(dir.path(), "svc")).start_alone();
    let host = nix::unistd::gethostname().expect("a name").into_string().expect("UTF-8");
    let first = start("svc/%n/%u/%%").expect("a service").node_id().to_owned();
    let middle = first.strip_prefix(&format!("svc/{host}/")).and_then(|rest| rest.strip_suffix("/%"));
    assert!(middle.is_some_and(|unique| unique.len() > 3 && unique != "%u"), "{first}");
    assert_ne!(start("svc/%n/%u/%%").expect("a service").node_id(), first);
    for (bad, why) in [("", "is empty"), ("a#b", "'#'"), ("a%x", "'%'"), (":7", "':'")] {
        let error = start(bad).expect_err(bad).to_string();
        assert!(error.contains(why), "{error}");
        assert!(!dir.path().join("svc").exists());
    }
}
