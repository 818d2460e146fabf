//! What is seen on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Child;
use std::sync::{Arc, Mutex};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::json;

use super::*;

/// `telex` on a terminal; it ends with the test.
struct Screen {
    child: Child,
    keys: File,
    seen: Arc<Mutex<Vec<u8>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Screen {
    fn start(telexd: &Telexd, args: &[&str]) -> Screen {
        Screen::start_with(telex(args).env("TELEX_ADDRESS", &telexd.addresses[0]))
    }

    fn start_with(command: &mut std::process::Command) -> Screen {
        let size = Winsize { ws_row: 40, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).expect("a terminal");
        let slave = || pty.slave.try_clone().expect("a descriptor");
        command.stdin(slave()).stdout(slave()).stderr(slave()).process_group(0);
        if !command.get_envs().any(|(name, _)| name == "TERM") {
            command.env("TERM", "xterm");
        }
        let child = command.env("COLUMNS", "200").spawn().expect("telex");
        // Its end of the terminal must not stay open here.
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        drop(pty.slave);
        let mut master = File::from(pty.master);
        let keys = master.try_clone().expect("a descriptor");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = master.read(&mut chunk) {
                kept.lock().expect("what is seen").extend_from_slice(&chunk[..count]);
            }
        });
        Screen { child, keys, seen, reader: Some(reader) }
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().expect("what is seen")).into_owned()
    }

    fn wait_for(&self, part: &str) {
        let deadline = std::time::Instant::now() + support::PATIENCE;
        while !self.seen().contains(part) {
            assert!(std::time::Instant::now() < deadline, "no {part:?} in:\n{:?}", self.seen());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Types, and waits until `part` is seen that was not there before.
    fn type_and_see(&mut self, keys: &str, part: &str) {
        self.seen.lock().expect("what is seen").clear();
        self.keys.write_all(keys.as_bytes()).expect("keys");
        self.wait_for(part);
    }

    /// What Ctrl-C does while a verb runs.
    fn interrupt(&self) {
        killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).expect("a signal");
    }

    /// All that was seen until its end, and its status.
    fn finish(&mut self) -> (Option<i32>, String) {
        let status = support::wait_for("its end", || self.child.try_wait().expect("a status"));
        self.reader.take().expect("a reader").join().expect("all of it");
        (status.code(), self.seen())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It may be over.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a terminal sees of a verb that ends.
fn seen(telexd: &Telexd, args: &[&str]) -> String {
    Screen::start(telexd, args).finish().1
}

/// Whether a character could drive a terminal, or has no sign of its own.
fn is_foul(c: char) -> bool {
    c.is_control() || FOUL.contains(c)
}

/// Those that turn the direction, have no width, or are not assigned or private.
const FOUL: &str = "\u{61c}\u{200b}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{feff}\u{378}\u{e000}\u{fffe}\u{e0001}\u{10ffff}";

/// All of them that JSON text may hold as they are, and as a body those too that it may not.
fn foul() -> (String, String) {
    let raw: String = ('\u{7f}'..='\u{9f}').chain(FOUL.chars()).collect();
    let all: String = ('\0'..'\u{20}').chain(raw.chars()).collect();
    (raw, all)
}

fn expect_clean(what: &str, seen: &str) {
    let own = ["\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m"];
    let seen = own.iter().fold(seen.to_owned(), |seen, code| seen.replace(code, ""));
    let foul: Vec<char> = seen.chars().filter(|&c| is_foul(c) && c != '\r' && c != '\n').collect();
    assert!(foul.is_empty(), "{what}: {foul:?} in {seen:?}");
    let told = ["\\u{80}", "\\u0080", "\\u{61c}"].iter().any(|told| seen.contains(told));
    assert!(told, "{what} shows it: {seen:?}");
}

#[test]
fn nothing_that_others_write_drives_a_terminal() {
    let telexd = Telexd::start();
    let (raw, all) = foul();
    // A node ID may have no C0 character and no DEL.
    let name = format!("n{}", &raw[1..]);
    let mut log = Screen::start(&telexd, &["log", "-n", "1"]);
    support::wait_until("the log is followed", || lines(&telexd, &["subscribers", "telex.log"]).len() == 1);
    let mut peer = telexd.client();
    let meta = json!({"v": all});
    peer.ask_well("register", json!({"node_id": name, "endpoints": ["unix:/x"], "meta": meta}));
    peer.ask_well("subscribe", json!({"topic": "t", "group": &raw[1..]}));
    expect_clean("log", &log.finish().1);
    for args in [
        ["list"].as_slice(),
        &["list", "--json"],
        &["list", "--names"],
        &["connections"],
        &["connections", "--json"],
        &["resolve", &name],
        &["resolve", &name, "--json"],
        &["subscribers", "t"],
        &["subscribers", "t", "--json"],
        &["explain", &json!({"message_type": "ask", "to": name}).to_string()],
        &["explain", &json!({"message_type": "ask", "to": format!("{name}x")}).to_string(), "--json"],
        &["monitor", "n*", "-n", "1"],
        &["monitor", "n*", "-n", "1", "--json"],
        &["wait-for", &format!("{name}x"), "-W", "10ms"],
        &["send", &format!("{name}x"), "1"],
    ] {
        expect_clean(&format!("{args:?}"), &seen(&telexd, args));
    }
}

#[test]
fn no_message_drives_a_terminal() {
    let telexd = Telexd::start();
    let (raw, all) = foul();
    let hearing = [
        ["listen", "a", "-n", "1"].as_slice(),
        &["listen", "a", "-n", "1", "--body"],
        &["listen", "a", "-n", "1", "--format", "{type} {body} {body.v}"],
        &["subscribe", "t", "-n", "1"],
        &["tap", "--to", "a", "-n", "1"],
        &["tap", "--to", "a", "-n", "1", "--json"],
    ];
    let mut screens: Vec<Screen> = hearing.iter().map(|args| Screen::start(&telexd, args)).collect();
    support::wait_until("all are there", || {
        let busy = |one: &&Value| one["subscriptions"] == 1 || one["node_ids"] != json!([]);
        lines(&telexd, &["connections"]).iter().filter(busy).count() == 6
    });
    let mut peer = telexd.client();
    peer.send(&json!({"message_type": "signal", "to": "a", "body": {"v": all, &raw: 1}}));
    peer.send(&json!({"message_type": "signal", "topic": "t", "body": all}));
    peer.ping();
    for (screen, args) in screens.iter_mut().zip(hearing) {
        expect_clean(&format!("{args:?}"), &screen.finish().1);
    }
    // Answers, errors, and what a connection is ended with.
    let mut worker = telexd.node("w");
    for (args, body) in [
        (["call", "w", "ask"].as_slice(), json!({"v": all})),
        (&["call", "w", "ask", "--envelope"], json!({"v": all})),
        (&["call", "w", "ask"], json!({"error": all})),
        (&["call", "--all", "w", "ask", "--gather", "1ms"], json!({"v": all})),
    ] {
        let mut screen = Screen::start(&telexd, args);
        let (asked, mut body) = (worker.message(), body);
        body["in_reply_to"] = asked["message_id"].clone();
        worker.send(&json!({"message_type": "ask_reply", "to": asked["from"], "body": body}));
        let (_, seen) = screen.finish();
        expect_clean(&format!("{args:?}"), &seen);
        assert_eq!(seen.lines().count(), 1, "no line end is theirs: {seen:?}");
    }
    let mut killed = Screen::start(&telexd, &["listen", "k"]);
    killed.wait_for("listening");
    telexd.client().ask_well("kill", json!({"node_id": "k", "reason": all}));
    expect_clean("kill", &killed.finish().1);
}

#[test]
fn what_ports_say_drives_no_terminal() {
    let telexd = Telexd::start();
    let (_, all) = foul();
    let address = telex::address::Address::parse(&telexd.addresses[0]).expect("an address");
    let node = telex::node::Node::connect(&address, "shop").expect("a node");
    let port = node.port();
    let text = all.clone();
    port.rcv("ask", move |port, message| {
        port.node().snd(message[0].as_str().unwrap_or_default(), text.clone());
    });
    let text = all.clone();
    port.rcv("die", move |port, _| port.node().kil_with(port, text.clone()));
    let text = all.clone();
    node.offer("fail", move |_, _| Err::<(), _>(text.clone()));
    expect_clean("cal", &seen(&telexd, &["cal", port.id(), "ask"]));
    expect_clean("spawn", &seen(&telexd, &["spawn", "shop", "fail"]));
    let mut watching = Screen::start(&telexd, &["mon", port.id()]);
    support::wait_until("it monitors", || {
        lines(&telexd, &["connections"]).iter().any(|one| one["subscriptions"] == 1)
    });
    expect_clean("cal", &seen(&telexd, &["cal", port.id(), "die"]));
    expect_clean("mon", &watching.finish().1);
}

#[test]
fn colours_are_for_terminals() {
    let telexd = Telexd::start();
    let _alice = telexd.node("alice");
    let (name, bad) = ("\x1b[1malice\x1b[0m", "\x1b[31mtelex:\x1b[0m no node");
    assert!(seen(&telexd, &["list"]).contains(name));
    assert!(seen(&telexd, &["send", "absent", "1"]).contains(bad));
    assert!(seen(&telexd, &["monitor", "-n", "1"]).contains("\x1b[32m+\x1b[0m \x1b[1malice\x1b[0m"));
    let refused = r#"{"message_type":"ask","to":"absent"}"#;
    assert!(seen(&telexd, &["explain", refused]).contains("\x1b[31mrefused\x1b[0m: no node"));
    for (variable, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let mut command = telex(&["list"]);
        command.env("TELEX_ADDRESS", &telexd.addresses[0]).env(variable, value);
        let plain = Screen::start_with(&mut command).finish().1;
        assert!(plain.contains("alice") && !plain.contains('\x1b'), "{variable}: {plain:?}");
    }
    assert!(!seen(&telexd, &["list", "--color", "never"]).contains('\x1b'));
    assert!(!seen(&telexd, &["list", "--json"]).contains('\x1b'));
    // Elsewhere there are none, unless they are asked for.
    assert!(!out(&telexd, &["list", "--table"]).contains('\x1b'));
    assert!(out(&telexd, &["list", "--table", "--color=always"]).contains(name));
    assert!(run(&telexd, &["send", "absent", "1", "--color=always"]).err.starts_with(bad));
}

#[test]
fn a_table_in_a_pipe_is_as_wide_as_it_is() {
    let telexd = Telexd::start();
    let name = "n".repeat(250);
    let _node = telexd.node(&name);
    let mut command = std::process::Command::new("sh");
    let script = format!("{} list --table | cat", env!("CARGO_BIN_EXE_telex"));
    command.args(["-c", &script]).env("TELEX_ADDRESS", &telexd.addresses[0]);
    let seen = Screen::start_with(&mut command).finish().1;
    assert!(seen.contains(&name), "{seen}");
}

#[test]
fn a_format_is_printed_as_it_is_given() {
    let telexd = Telexd::start();
    let mut listening = Screen::start(&telexd, &["listen", "a", "-n", "1", "--format", "{type}:\t{body}"]);
    listening.wait_for("listening");
    out(&telexd, &["send", "a", "1"]);
    let seen = listening.finish().1;
    // The terminal may make spaces of a tab.
    assert!(seen.contains("signal:") && !seen.contains("\\"), "{seen:?}");
}

#[test]
fn what_is_told_while_a_bar_is_shown_stands_by_itself() {
    let telexd = Telexd::start();
    let file = telexd.dir().join("recording");
    let ask = r#"{"message_id":1,"message_type":"ask","from":":7","to":"absent"}"#;
    let recorded =
        |time: f64| json!({"time": time, "sender": {"unique_id": ":7"}, "line": ask}).to_string() + "\n";
    std::fs::write(&file, [1.0, 900.0].map(recorded).concat()).expect("a recording");
    let mut replay = Screen::start(&telexd, &["replay", file.to_str().expect("a path"), "--color=never"]);
    replay.wait_for("(no_such_node)\r\n\r[");
    replay.interrupt();
    let (code, seen) = replay.finish();
    assert_eq!(code, Some(130), "{seen}");
    assert!(seen.contains("\r\x1b[Ktelex: no node \"absent\""), "{seen:?}");
}

#[test]
fn verbs_are_typed_at_a_prompt() {
    let telexd = Telexd::start();
    let (_alice, mut bob) = (telexd.node("alice"), telexd.node("bob's"));
    let home = tempfile::tempdir().expect("a directory");
    let start = || {
        let mut command = telex(&["shell", "--color", "never"]);
        command.env("TELEX_ADDRESS", &telexd.addresses[0]).env("XDG_STATE_HOME", home.path());
        let screen = Screen::start_with(&mut command);
        screen.wait_for("telex> ");
        screen
    };
    let mut shell = start();
    shell.type_and_see("send bob\\'s '\"two words\"'\r", "telex> ");
    assert_eq!(bob.message()["body"], "two words");
    shell.type_and_see("send absent 1\r", "telex: status 3");
    shell.type_and_see("call 'open\r", "a quote is not closed");
    // Completion: of verbs, of flags, of nodes.
    shell.type_and_see("whoa\t", "whoami ");
    shell.type_and_see("\x15resolve al\t", "resolve alice ");
    shell.type_and_see("\x15resolve --qui\t", "--quiet ");
    // Ctrl-C at the prompt drops the line; while a verb runs it ends that.
    shell.type_and_see("\x03", "telex> ");
    shell.type_and_see("listen carol\r", "listening as carol");
    shell.interrupt();
    shell.wait_for("messages: 0, missed: 0");
    shell.wait_for("telex> ");
    shell.type_and_see("call alice ask\r", "\n");
    support::wait_until("it asks", || {
        lines(&telexd, &["connections"])
            .iter()
            .any(|one| one["lines_in"] == 1 && one["pid"] != std::process::id())
    });
    shell.interrupt();
    shell.wait_for("telex: status 130");
    shell.wait_for("telex> ");
    shell.keys.write_all(b"\x04").expect("keys");
    assert_eq!(shell.finish().0, Some(0));
    let history = home.path().join("telex/history");
    let mode = std::os::unix::fs::PermissionsExt::mode(&history.metadata().expect("a history").permissions());
    assert_eq!(mode & 0o777, 0o600);
    // The next one knows what was typed.
    let mut shell = start();
    shell.type_and_see("\x1b[A", "call alice ask");
    shell.type_and_see("\x15quit\r", "");
    assert_eq!(shell.finish().0, Some(0));
}

#[test]
fn what_a_command_says_drives_no_terminal() {
    let telexd = Telexd::start();
    let mut serve =
        Screen::start(&telexd, &["serve", "s", "--", "sh", "-c", "printf 'a\\033[2Jb\\nc' >&2; echo 1"]);
    serve.wait_for("serving s");
    out(&telexd, &["call", "s", "ask"]);
    serve.interrupt();
    let (code, seen) = serve.finish();
    assert_eq!((code, seen.contains('\x1b')), (Some(0), false), "{seen:?}");
    assert!(seen.contains("a\\u{1b}[2Jb\r\nc\r\n"), "{seen:?}");
}

#[test]
fn an_interrupted_file_of_verbs_is_not_run_on() {
    let telexd = Telexd::start();
    let mut command = telex(&["shell"]);
    command.env("TELEX_ADDRESS", &telexd.addresses[0]).process_group(0);
    let mut shell = start_with(&mut command, "listen carol\nsend absent 1\n");
    assert_eq!(shell.next_word(), "telex: listening as carol\n");
    killpg(Pid::from_raw(shell.child.id() as i32), Signal::SIGINT).expect("a signal");
    let ended = shell.finish();
    assert_eq!((ended.code, &*ended.err), (Some(130), "telex: messages: 0, missed: 0\n"));
}

#[test]
fn a_file_of_verbs_is_run() {
    let telexd = Telexd::start();
    let _reply = start(&telexd, &["reply", "r", "{{body}}"]);
    let script = "# a comment\n\ncall r ask '\"a b\"'\ntelex call r ask 2\nlist --names\n";
    let done = run_with(&telexd, &["shell"], script);
    assert_eq!((done.code, &*done.out, &*done.err), (Some(0), "\"a b\"\n2\nr\n", ""));
    let failed = run_with(&telexd, &["shell"], "send absent 1\nsend absent 2\ncall r ask 3\n");
    assert_eq!((failed.code, &*failed.out), (Some(3), "3\n"), "{failed:?}");
    let many = run_with(&telexd, &["shell"], &"send absent 1\n".repeat(12));
    assert_eq!((many.code, many.err.lines().count()), (Some(3), 12), "{many:?}");
    let mixed = run_with(&telexd, &["shell"], "send absent 1\nnonsense\n");
    assert_eq!(mixed.code, Some(1), "{mixed:?}");
    let quote = run_with(&telexd, &["shell", "--quiet"], "call 'r\nquit\nsend absent 1\n");
    assert_eq!((quote.code, &*quote.err), (Some(2), ""));
}

#[test]
fn a_script_is_the_same_on_a_terminal() {
    let telexd = Telexd::start();
    let piped = run(&telexd, &["completions", "bash"]).out;
    assert_eq!(seen(&telexd, &["completions", "bash"]).replace('\r', ""), piped);
}
