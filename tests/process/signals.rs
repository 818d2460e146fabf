//! What signals do to the daemon: they end it in order, have it read its configuration again, or do nothing.

use std::fs;

use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde_json::json;

use crate::support::{Client, Process, Starter, Telexd, wait_for, wait_until};

/// Starts a daemon by way of a shell, whose `"$@"` is the daemon's command line.
fn started_by(shell: &str) -> Telexd {
    Starter::new().before(&format!("set -- {shell}")).start()
}

/// A client that the daemon has taken.
fn client_of(telexd: &Telexd) -> Client {
    let address = format!("unix:{}", telexd.dir().join("telex.sock").display());
    let mut client = wait_for("a listener", || Client::try_connect(&address).ok());
    client.ping();
    client
}

/// The daemon itself, where what has been started is another program that runs it.
fn daemon_of(client: &Client) -> Process {
    let told = getsockopt(&client.fd(), PeerCredentials).expect("its credentials");
    Process(told.pid() as u32)
}

fn ends_with_shutdown(mut client: Client, telexd: &Telexd) {
    let told = client.rest();
    assert_eq!(told.last().expect("a line")["body"]["event"], json!("shutdown"), "{told:?}");
    let socket = telexd.dir().join("telex.sock");
    wait_until("the end of the socket file", || !socket.exists());
}

#[test]
fn what_was_blocked_at_the_start_is_heard() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let mut telexd = started_by(r#"env --block-signal "$@""#);
        telexd.reload();
        let client = client_of(&telexd);
        telexd.signal(signal);
        ends_with_shutdown(client, &telexd);
        assert_eq!(telexd.wait().code(), Some(0));
    }
}

#[test]
fn what_means_an_end_is_an_end_in_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGXCPU] {
        let mut telexd = Telexd::start();
        let client = client_of(&telexd);
        telexd.signal(signal);
        ends_with_shutdown(client, &telexd);
        assert_eq!(telexd.wait().code(), Some(0), "{signal}");
    }
}

#[test]
fn what_means_nothing_is_ignored_with_a_word() {
    let mut telexd = Telexd::start();
    let process = telexd.process();
    let named = |signal: Signal| (signal as i32, signal.as_str().to_owned());
    let real_time = [0, 7].map(|n| (libc::SIGRTMIN() + n, format!("SIGRTMIN+{n}")));
    let signals = [
        Signal::SIGUSR1,
        Signal::SIGALRM,
        Signal::SIGVTALRM,
        Signal::SIGPROF,
        Signal::SIGIO,
        Signal::SIGPWR,
        Signal::SIGSTKFLT,
    ];
    for (number, name) in signals.map(named).into_iter().chain(real_time) {
        process.signal(number);
        telexd.wait_for_log(&format!("telexd: notice: {name} is ignored: SIGTERM ends the daemon"));
    }
    telexd.client().ping();
    telexd.stop();
    assert!(!telexd.dir().join("telex.sock").exists());
}

/// Ends the terminal (script(1) has its other end) that a daemon was started at.
fn close_terminal(telexd: &mut Telexd) {
    telexd.signal(Signal::SIGKILL);
    telexd.wait();
}

#[test]
fn the_end_of_its_terminal_is_its_end() {
    // Also if it does not speak to the terminal.
    for redirected in ["", " </dev/null 2>/dev/null"] {
        // What is run by nohup(1), be it these tests, has SIGHUP ignored.
        let heard = "env --default-signal=HUP";
        let mut telexd = started_by(&format!(r#"script -qec "exec {heard} $*{redirected}" /dev/null"#));
        let client = client_of(&telexd);
        close_terminal(&mut telexd);
        ends_with_shutdown(client, &telexd);
    }
}

#[test]
fn what_is_to_outlive_its_terminal_does() {
    for way in ["nohup", "setsid --wait"] {
        let shell = format!(r#"set -- script -qec "exec {way} $* </dev/null >out 2>&1" /dev/null"#);
        let mut telexd = Starter::new().before(&shell).start_silently();
        let mut client = client_of(&telexd);
        let daemon = daemon_of(&client);
        close_terminal(&mut telexd);
        for _ in 0..2 {
            daemon.signal(Signal::SIGHUP as i32);
            client.ping();
        }
        // The configuration is read beside the loop.
        let said = || fs::read_to_string(telexd.dir().join("out")).expect("what it said");
        wait_until("a reload", || said().contains("configuration read again"));
        daemon.signal(Signal::SIGTERM as i32);
        ends_with_shutdown(client, &telexd);
        wait_until("its last words", || said().contains("stopping"));
    }
}
