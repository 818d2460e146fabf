//! Sockets that the service manager hands over, what it is told, and the order of the steps at the end.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use telex::client::{Error, Presence, Undialled};

use super::process::{Part, ServiceProcess, program};
use super::support::{Client, PATIENCE, Telexd, needs, wait_until};
use super::{address, ask, connect, daemon, echo, unix};

/// A service manager, as far as it is told things.
fn manager(dir: &Path) -> UnixDatagram {
    let manager = UnixDatagram::bind(dir.join("notify")).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    manager
}

fn told(manager: &UnixDatagram) -> String {
    let mut bytes = [0; 1000];
    let count = manager.recv(&mut bytes).expect("a word");
    String::from_utf8_lossy(&bytes[..count]).trim().to_owned()
}

#[test]
fn systemd_hands_over_its_socket() {
    if !needs::programs(&["systemd-socket-activate"]) {
        return;
    }
    let telexd = Telexd::start();
    let path = telexd.dir().join("activated");
    let (own, arguments) = program();
    let mut command = Command::new("systemd-socket-activate");
    command.arg("-l").arg(&path);
    for (name, value) in Part::Inherit.environment(&telexd, "svc") {
        command.arg("-E").arg(format!("{name}={value}"));
    }
    command.arg(own).args(arguments);
    let mut process = ServiceProcess::start(command);
    // The first connection starts it; the socket file is there before it can be connected to.
    wait_until("a socket", || UnixStream::connect(&path).is_ok());
    let mut client = Client::connect(&format!("unix:{}", path.display()));
    client.send(&json!({"message_type": "echo", "body": 1}));
    process.expect("ready");
    assert_eq!(client.message()["body"]["result"], 1);
    let handle = connect(&telexd);
    let endpoints = handle.resolve("svc").wait().expect("a node").endpoints;
    assert_eq!(endpoints[0], format!("unix:{}", path.display()));
    assert_eq!(endpoints.len(), 2, "its own, too: {endpoints:?}");
    assert_eq!(ask(&handle.dial("svc").expect("a direct connection"), "svc", "echo", "2"), "2");
    process.end(Signal::SIGTERM);
    process.expect("over");
    process.wait();
    assert!(path.exists(), "it is the service manager's");
    assert!(!telexd.dir().join("echo").exists(), "it was its own");
}

/// The command that is handed these sockets as descriptors from 3 on, under these names.
fn handing_over(sockets: [UnixListener; 2], names: &str) -> Command {
    let [first, second] = sockets.map(OwnedFd::from);
    let (own, arguments) = program();
    let mut command = Command::new("bash");
    let script = "exec 3<&0 4<&2 0</dev/null 2>/dev/null; export LISTEN_PID=$$ LISTEN_FDS=2; exec \"$@\"";
    command.args(["-c", script, "bash"]).arg(own).args(arguments).env("LISTEN_FDNAMES", names);
    command.stdin(first).stderr(second);
    command
}

#[test]
fn sockets_are_taken_by_their_names() {
    // One may have no name.
    for (node_id, names) in [("first", "others:mine"), ("second", ":mine")] {
        let telexd = Telexd::start();
        let [mine, others] = ["mine", "others"].map(|name| telexd.dir().join(name));
        let sockets = [&others, &mine].map(|path| UnixListener::bind(path).expect("a socket"));
        let mut command = handing_over(sockets, names);
        command.envs(Part::InheritNamed.environment(&telexd, node_id));
        // It has failed to start before, which has not used up its socket.
        let mut process = ServiceProcess::spawn(command);
        process.expect("ready");
        let handle = connect(&telexd);
        let endpoints = handle.resolve(node_id).wait().expect("a node").endpoints;
        assert_eq!(endpoints, [format!("unix:{}", mine.display())]);
        assert_eq!(ask(&handle.dial(node_id).expect("a direct connection"), node_id, "echo", "1"), "1");
    }
}

#[test]
fn a_second_signal_ends_the_process_and_so_does_one_when_the_service_has_ended() {
    use std::os::unix::process::ExitStatusExt;

    let telexd = Telexd::start();
    let handle = connect(&telexd);
    let mut process = Part::Echo.start(&telexd, "svc");
    let direct = handle.dial("svc").expect("a direct connection");
    let _long = direct.call("svc", "sleep", "60000", PATIENCE);
    process.expect("sleep");
    process.end(Signal::SIGTERM);
    wait_until("the end of its name", || {
        handle.resolve("svc").wait().is_ok_and(|node| node.status == "down")
    });
    process.end(Signal::SIGINT);
    assert_eq!(process.wait().signal(), Some(Signal::SIGINT as i32));
    let mut process = Part::Stay.start(&telexd, "stay");
    process.end(Signal::SIGINT);
    process.expect("over");
    process.end(Signal::SIGTERM);
    assert_eq!(process.wait().signal(), Some(Signal::SIGTERM as i32));
}

#[test]
fn any_time_may_be_given_to_the_end() {
    let telexd = Telexd::start();
    let service = echo("svc").listen(unix(telexd.dir(), "svc")).stop_timeout(Duration::MAX);
    let service = service.start(&daemon(&telexd)).expect("a service");
    let direct = connect(&telexd).dial("svc").expect("a direct connection");
    let call = direct.call("svc", "sleep", "300", PATIENCE);
    direct.ping().wait().expect("a pong");
    service.stop();
    call.wait().expect("a reply");
}

#[test]
fn the_service_manager_is_told_and_the_end_has_its_order() {
    let telexd = Telexd::start();
    let handle = connect(&telexd);
    let mut presence = handle.monitor("svc").wait().expect("a monitor");
    let manager = manager(telexd.dir());
    let (own, arguments) = program();
    let mut command = Command::new(own);
    command.args(arguments).envs(Part::Echo.environment(&telexd, "svc"));
    command.env("NOTIFY_SOCKET", telexd.dir().join("notify"));
    let mut process = ServiceProcess::start(command);
    assert_eq!(told(&manager), "READY=1");
    // All of it is there by then.
    let direct = handle.dial("svc").expect("a direct connection");
    assert!(matches!(presence.wait(Some(PATIENCE)), Ok(Some(Presence::Up { .. }))));
    let calls =
        [direct.call("svc", "sleep", "1500", PATIENCE), handle.call("svc", "sleep", "1500", PATIENCE)];
    process.expect("sleep");
    process.expect("sleep");
    // These wait for their turns when it is told to end.
    let waiting = [direct.call("svc", "echo", "5", PATIENCE), handle.call("svc", "echo", "5", PATIENCE)];
    direct.ping().wait().expect("a pong");
    handle.ping().wait().expect("a pong");
    process.end(Signal::SIGTERM);
    assert_eq!(told(&manager), "STOPPING=1");
    let down = presence.wait(Some(PATIENCE)).expect("a word");
    assert!(matches!(&down, Some(Presence::Down { reason, .. }) if reason == "unregistered"), "{down:?}");
    // It is found no more, while what it has begun goes on.
    let error = handle.dial("svc").expect_err("it is down");
    assert!(
        matches!(&error, Error::Undialled(Undialled::NotUp { status, .. }) if status == "down"),
        "{error}"
    );
    for call in calls {
        assert_eq!(call.wait().expect("an answer").result(), Some("\"slept\""));
    }
    for call in waiting {
        assert_eq!(call.wait().expect("an answer").result(), Some("5"));
    }
    process.expect("over");
    assert_eq!(process.wait().code(), Some(0));
    assert!(!telexd.dir().join("echo").exists());
}

#[test]
fn what_takes_too_long_at_the_end_is_given_up() {
    let telexd = Telexd::start();
    let service = echo("svc").listen(unix(telexd.dir(), "svc")).stop_timeout(Duration::from_millis(200));
    let service = service.start(&daemon(&telexd)).expect("a service");
    let handle = connect(&telexd);
    let direct = handle.dial("svc").expect("a direct connection");
    let calls =
        [direct.call("svc", "sleep", "20000", PATIENCE), handle.call("svc", "sleep", "20000", PATIENCE)];
    direct.ping().wait().expect("a pong");
    handle.ping().wait().expect("a pong");
    let began = std::time::Instant::now();
    service.stop();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    for call in calls {
        let error = call.wait().expect_err("no answer");
        assert!(matches!(error, Error::Lost { .. } | Error::NodeGone(_)), "{error}");
    }
    service.stop();
}

#[test]
fn one_that_cannot_start_leaves_nothing_behind() {
    let telexd = Telexd::start();
    let (free, taken) = (unix(telexd.dir(), "free"), unix(telexd.dir(), "taken"));
    let first = echo("first").listen(taken.clone()).start(&daemon(&telexd)).expect("a service");
    let error = echo("second").listen(free.clone()).listen(taken.clone()).start(&daemon(&telexd));
    let error = error.expect_err("another one listens there").to_string();
    assert!(error.contains("taken: another process listens there already"), "{error}");
    assert!(!telexd.dir().join("free").exists());
    let file = telexd.dir().join("file");
    std::fs::write(&file, "mine").expect("a file");
    let error =
        echo("second").listen(unix(telexd.dir(), "file")).start_alone().expect_err("no socket").to_string();
    assert!(error.contains("no socket; it is left alone"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), "mine");
    let error = echo("second").listen(address("tcp:*:0")).start_alone().expect_err("exposed").to_string();
    assert!(error.contains("authentication"), "{error}");
    let error = echo("telex.second").listen(free).start(&daemon(&telexd)).expect_err("the daemon's name");
    assert!(matches!(error, Error::Denied(_)), "{error}");
    assert!(!telexd.dir().join("free").exists());
    drop(first);
    assert!(!telexd.dir().join("taken").exists());
}

#[test]
fn it_comes_back_with_its_daemon_and_direct_callers_do_not_notice() {
    let dir = tempfile::tempdir().expect("a directory");
    let listen = format!("unix:{}", dir.path().join("telex.sock").display());
    let start = || super::support::Starter::new().listen(&listen).start();
    let mut telexd = start();
    let service = echo("svc").listen(unix(dir.path(), "svc")).start(&address(&listen)).expect("a service");
    let direct = connect(&telexd).dial("svc").expect("a direct connection");
    telexd.stop();
    assert_eq!(ask(&direct, "svc", "echo", "1"), "1");
    let telexd = start();
    let handle = connect(&telexd);
    wait_until("it is back", || handle.resolve("svc").wait().is_ok());
    assert_eq!(ask(&handle.dial("svc").expect("a direct connection"), "svc", "echo", "2"), "2");
    assert_eq!(ask(&handle, "svc", "echo", "3"), "3");
    drop(telexd);
    drop(service);
    assert!(direct.call("svc", "echo", "4", PATIENCE).wait().is_err());
}
