//! What is shown on a real terminal: a pane of tmux, of a given size.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use unicode_width::UnicodeWidthStr;

use super::*;
use support::{Starter, needs, wait_until};

/// A terminal of this many columns, with a shell in it that runs a script.
struct Pane {
    server: String,
}

impl Pane {
    /// The script finds the command as `$TELEX`.
    fn open(telexd: &Telexd, width: usize, script: &str) -> Pane {
        // A server may still be ending when the next one begins.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let server = telexd.dir().join(format!("tmux-{count}")).to_str().expect("UTF-8").to_owned();
        let pane = Pane { server };
        let width = width.to_string();
        let size = ["-x", &width, "-y", "24"];
        let mut command = pane.tmux(&["-f", "/dev/null", "new-session", "-d"]);
        command.args(size).arg(format!("{script}; sleep 1000"));
        command.env("TELEX", env!("CARGO_BIN_EXE_telex")).env("TELEX_ADDRESS", &telexd.addresses[0]);
        let shell = command.env("SHELL", "/bin/sh").status().expect("tmux");
        assert!(shell.success(), "tmux");
        pane
    }

    fn tmux(&self, args: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-u", "-S", &self.server]).args(args).env_remove("TMUX").stdin(Stdio::null());
        command
    }

    fn ask(&self, args: &[&str]) -> String {
        String::from_utf8(self.tmux(args).output().expect("tmux").stdout).expect("UTF-8")
    }

    /// What is on the screen.
    fn text(&self) -> String {
        self.ask(&["capture-pane", "-p"])
    }

    fn press(&self, key: &str) {
        self.ask(&["send-keys", key]);
    }

    /// Waits until this is on the screen, and gives all that is.
    fn wait_for(&self, part: &str) -> String {
        let deadline = std::time::Instant::now() + support::PATIENCE;
        loop {
            let text = self.text();
            if text.contains(part) {
                return text;
            }
            assert!(std::time::Instant::now() < deadline, "no {part:?} in:\n{text}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// The process of the command that runs in its shell.
    fn process(&self) -> i32 {
        let shell = self.ask(&["display-message", "-p", "#{pane_pid}"]);
        let children = format!("/proc/{0}/task/{0}/children", shell.trim());
        let children = std::fs::read_to_string(children).expect("its children");
        children.trim().parse().expect("one child")
    }

    /// Sends a signal to it.
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process()), signal).expect("a signal");
    }
}

impl Drop for Pane {
    fn drop(&mut self) {
        self.ask(&["kill-server"]);
    }
}

/// Names that are long, whose letters take other columns than there are characters, or that turn what follows.
const NAMES: [&str; 5] = [
    "a-long-name-of-a-node-for-which-there-is-no-room-on-a-terminal-of-eighty-columns",
    "ノード名前",
    "combi\u{301}ning",
    "नमस्ते",
    "[2Jbob\u{202e}",
];

/// The rows of a table whose first line begins with this. All end at the same column, which is one of the terminal's.
fn rows(text: &str, head: &str, width: usize) -> Vec<String> {
    let lines = text.lines().map(str::trim_end).skip_while(|line| !line.starts_with(head));
    let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).map(str::to_owned).collect();
    let end = lines.first().unwrap_or_else(|| panic!("no {head} in:\n{text}")).width();
    assert!(end <= width, "{text}");
    let is_right = |line: &String| line.width() == end;
    assert!(lines.iter().all(is_right), "{text}");
    lines
}

#[test]
fn tables_fit_the_terminal_whatever_the_names_are() {
    if !needs::programs(&["tmux"]) {
        return;
    }
    let telexd = Telexd::start();
    let _nodes = NAMES.map(|name| telexd.node(name));
    for width in [80, 200] {
        let top = Pane::open(&telexd, width, "$TELEX top");
        let text = top.wait_for("bob");
        let shown = rows(&text, "NODE", width);
        assert_eq!(shown.len(), NAMES.len() + 1, "{text}");
        assert!(text.contains("[2Jbob\\u{202e} ") && text.contains("ノード名前 "), "{text}");
        assert_eq!(text.contains(NAMES[0]), width == 200, "{text}");
        let looks = Pane::open(&telexd, width + 1, "$TELEX list; echo; $TELEX connections; echo end");
        let text = looks.wait_for("\nend");
        assert_eq!(rows(&text, "NODE", width + 1).len(), NAMES.len() + 1, "{text}");
        let connections: Vec<_> = text.lines().skip_while(|line| !line.starts_with("ID")).collect();
        assert!(connections.iter().all(|line| line.width() <= width + 1), "{text}");
        assert!(connections[0].trim_end().ends_with("PAUSED"), "{text}");
        assert!(connections[1].split(' ').next().is_some_and(|id| !id.contains('…')), "{text}");
    }
}

#[test]
fn each_view_has_its_table() {
    if !needs::programs(&["tmux"]) {
        return;
    }
    let telexd = Telexd::start();
    let (mut alice, mut slow, _) = (telexd.node("alice"), telexd.node("slow"), telexd.node(NAMES[3]));
    slow.ask_well("subscribe", json!({"topic": "t"}));
    alice.send(&json!({"message_type": "signal", "to": "nobody"}));
    let top = Pane::open(&telexd, 120, "$TELEX top --every 200ms");
    top.wait_for("[nodes]");
    top.press("Tab");
    let text = top.wait_for("[connections]");
    assert!(text.contains(&format!(" {} ", std::process::id())), "{text}");
    top.press("Tab");
    let text = top.wait_for("TOPIC");
    // Nothing is left of what was there.
    assert!(text.is_ascii(), "{text}");
    for _ in 0..3 {
        alice.send(&json!({"message_type": "signal", "topic": "t", "body": "x"}));
    }
    top.wait_for("\nt ");
    top.press("Tab");
    top.wait_for("USER");
    top.press("Tab");
    top.wait_for("\nno_such_node ");
    top.press("Tab");
    top.press("BTab");
    top.wait_for("[errors]");
    top.press("s");
    top.wait_for("by COUNT");
    top.press("S");
    top.wait_for("by /S");
    // What it has missed is told.
    for _ in 0..20_000 {
        alice.send(&json!({"message_type": "signal", "topic": "t", "body": "x".repeat(500)}));
    }
    top.wait_for("slow readers: slow ");
    // A smaller screen.
    top.ask(&["resize-window", "-x", "60", "-y", "10"]);
    wait_until("it has the new size", || {
        top.text().lines().nth(9).is_some_and(|line| line.starts_with("q quit"))
    });
}

#[test]
fn the_terminal_is_given_back() {
    if !needs::programs(&["tmux"]) {
        return;
    }
    let telexd = Telexd::start();
    let script = "echo before; $TELEX top; echo status $?; stty -a | grep -o -- '-*icanon'";
    for end in ["q", "C-c", "SIGTERM", "SIGHUP"] {
        let pane = Pane::open(&telexd, 80, script);
        let text = pane.wait_for("[nodes]");
        assert!(!text.contains("before"), "{text}");
        match end.parse() {
            Ok(signal) => pane.signal(signal),
            Err(_) => pane.press(end),
        }
        let text = pane.wait_for("\nicanon");
        assert!(text.starts_with("before\nstatus 0\nicanon\n"), "{end}: {text}");
    }
}

#[test]
fn without_its_terminal_it_ends_also_if_it_is_not_to_hear_of_that() {
    if !needs::programs(&["tmux"]) {
        return;
    }
    let telexd = Telexd::start();
    let pane = Pane::open(&telexd, 80, "trap '' HUP; $TELEX top");
    pane.wait_for("[nodes]");
    let command_line = format!("/proc/{}/cmdline", pane.process());
    drop(pane);
    // That of a process that has ended is empty until its parent asks for it.
    wait_until("its end", || std::fs::read(&command_line).unwrap_or_default().is_empty());
}

#[test]
fn a_daemon_that_goes_is_tried_again() {
    if !needs::programs(&["tmux"]) {
        return;
    }
    let mut telexd = Telexd::start();
    let address = telexd.addresses[0].clone();
    let top = Pane::open(&telexd, 80, "$TELEX top --every 200ms");
    top.wait_for("[nodes]");
    telexd.suspend();
    top.wait_for("the daemon has not answered for ");
    telexd.resume();
    top.wait_for("q quit");
    telexd.signal(Signal::SIGKILL);
    telexd.wait();
    top.wait_for("trying again");
    let next = Starter::new().listen(&address).start();
    let _bob = next.node("bob");
    let text = top.wait_for("\nbob ");
    assert!(text.contains("q quit"), "{text}");
}

#[test]
fn a_screen_needs_a_terminal() {
    let telexd = Telexd::start();
    let refused = run(&telexd, &["top"]);
    assert_eq!((refused.code, &*refused.err), (Some(2), "telex: top needs a terminal\n"));
    let refused = run(&telexd, &["top", "--json"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("telex stats --watch --json"), "{}", refused.err);
    assert_eq!(run(&telexd, &["top", "--every", "1ms"]).code, Some(2));
}

#[test]
fn a_recording_that_is_shown_cannot_drive_the_terminal() {
    if !needs::programs(&["tmux"]) {
        return;
    }
    let telexd = Telexd::start();
    let pane =
        Pane::open(&telexd, 80, "$TELEX record - -n 1 --plain --topic t; stty -a | grep -o -- '-*icanon'");
    pane.wait_for("telex: recording");
    let mut alice = telexd.client();
    alice.send(&json!({"message_type": "signal", "topic": "t", "body": "a\u{202e}b\u{9b}c"}));
    let text = pane.wait_for("1 message recorded");
    assert!(text.contains(r"a\u202eb\u009bc"), "{text}");
}

#[test]
fn a_replay_shows_how_far_it_is() {
    if !needs::programs(&["tmux"]) {
        return;
    }
    let telexd = Telexd::start();
    let file = telexd.dir().join("recording");
    let line = r#"{"message_type":"signal","from":":7","topic":"t"}"#;
    let recorded =
        |time: f64| json!({"time": time, "sender": {"unique_id": ":7"}, "line": line}).to_string() + "\n";
    std::fs::write(&file, [1.0, 1.01, 900.0].map(recorded).concat()).expect("a recording");
    let pane = Pane::open(&telexd, 80, &format!("$TELEX replay {}; echo status $?", file.display()));
    pane.wait_for("[##########################              ] 2 of 3");
    // Ctrl-C would end the shell, too.
    pane.signal(Signal::SIGINT);
    let text = pane.wait_for("status 130");
    assert!(text.starts_with("2 of 3 messages sent in ") && !text.contains("[##"), "{text}");
}
