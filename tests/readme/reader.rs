//! Knows a page that is to be followed: what its blocks have the reader do, in real windows, and whether he
//! sees what it shows. Every block has to be run, written or compared; what stands behind its language
//! says what it is for:
//!
//! - `window=NAME` is typed into that window, which is opened where it is not there;
//! - `shows=NAME` is what that window shows next, and nothing but that;
//! - `file=NAME` is the content of a file in the folder where all windows are opened;
//! - `test` is the command that tests the product, which CI runs;
//! - `systemd` is run by `tests/systemd.rs`.
//!
//! A comment `<!-- Ctrl-C in NAME -->` ends what runs in a window.
//! Never: what the page is about.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// How long a window may show nothing: what is typed may compile something.
const PATIENCE: Duration = Duration::from_secs(60);

/// A page in Markdown.
pub(crate) struct Page {
    /// For who has to mend it.
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

/// Where a page is followed.
pub(crate) struct Desk {
    /// Where files are written, and windows opened.
    pub(crate) folder: PathBuf,
    /// What windows find in their environment.
    pub(crate) variables: Vec<(&'static str, OsString)>,
    /// Whose windows they are, if not the test's.
    pub(crate) user: Option<u32>,
    /// A folder that the page shows, and what it is here.
    pub(crate) shown_folder: (&'static str, PathBuf),
    /// Where telexd writes its log, as text, where that is not its window.
    pub(crate) log: Option<PathBuf>,
}

/// What a page has its reader do or see.
#[derive(Debug)]
pub(crate) enum Step {
    Type { window: String, text: String },
    Shows { window: String, lines: Vec<String>, json: bool },
    Write { file: String, text: String },
    Interrupt { window: String },
    Test { text: String },
    Systemd,
}

impl Page {
    /// Does what it has its reader do, and compares.
    pub(crate) fn follow(&self, desk: &Desk) {
        let mut windows: BTreeMap<String, Window> = BTreeMap::new();
        for (line, step) in self.steps() {
            let at = format!("{}:{line}", self.name);
            match step {
                Step::Write { file, text } => fs::write(desk.folder.join(file), text).unwrap(),
                Step::Type { window, text } => {
                    windows.entry(window).or_insert_with(|| Window::open(desk)).type_in(&text);
                }
                Step::Shows { window, lines, json } => {
                    let window =
                        windows.get(&window).unwrap_or_else(|| panic!("{at}: no window {window} is open"));
                    for expected in lines {
                        match desk.log.as_deref().zip(expected.strip_prefix("telexd: ")) {
                            Some((log, record)) if !json && is_record(record) => check_log(&at, record, log),
                            _ => check_line(&at, &expected, window.next_line(), json, desk),
                        }
                    }
                }
                Step::Interrupt { window } => windows[&window].interrupt(),
                Step::Test { .. } | Step::Systemd => {}
            }
        }
        let mut strange = Vec::new();
        for (name, mut window) in windows {
            window.type_in("exit\n");
            strange.extend(window.close().into_iter().map(|line| format!("{name}: {line}")));
        }
        assert!(
            strange.is_empty(),
            "the windows showed more than {} says:\n{}",
            self.name,
            strange.join("\n")
        );
    }

    /// Its steps, in their order, each with the line in which it begins.
    pub(crate) fn steps(&self) -> Vec<(usize, Step)> {
        let mut steps = Vec::new();
        let mut lines = self.text.lines().enumerate();
        while let Some((at, line)) = lines.next() {
            if let Some(window) =
                line.strip_prefix("<!-- Ctrl-C in ").and_then(|rest| rest.strip_suffix(" -->"))
            {
                steps.push((at + 1, Step::Interrupt { window: window.to_owned() }));
            }
            let is_hidden = line.starts_with("    ") || line.trim_start().starts_with("~~~");
            let is_indented = line.starts_with(' ') && line.trim_start().starts_with("```");
            assert!(!is_hidden && !is_indented, "{}:{}: a block that is not looked at", self.name, at + 1);
            let Some(info) = line.strip_prefix("```") else { continue };
            let inside: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            let text = inside.iter().map(|line| format!("{line}\n")).collect();
            let step = step(info, &inside, text);
            steps.push((
                at + 1,
                step.unwrap_or_else(|| panic!("{}:{}: \"{info}\" is not run by any test", self.name, at + 1)),
            ));
        }
        steps
    }
}

fn step(info: &str, inside: &[&str], text: String) -> Option<Step> {
    let (language, mark) = info.split_once(' ')?;
    let lines = || inside.iter().map(|line| line.to_string()).collect();
    Some(match (language, mark.split_once('=').unwrap_or((mark, ""))) {
        (_, ("window" | "shows" | "file", "")) => return None,
        ("sh" | "json", ("window", name)) => Step::Type { window: name.to_owned(), text },
        ("json" | "text", ("shows", name)) => {
            Step::Shows { window: name.to_owned(), lines: lines(), json: language == "json" }
        }
        (_, ("file", name)) => Step::Write { file: name.to_owned(), text },
        ("sh", ("test", "")) => Step::Test { text },
        ("sh", ("systemd", "")) => Step::Systemd,
        _ => return None,
    })
}

/// A terminal window: a shell with what runs in it.
struct Window {
    shell: Child,
    keyboard: Option<ChildStdin>,
    screen: Receiver<String>,
}

impl Window {
    fn open(desk: &Desk) -> Window {
        // The shell of a pipe must not read ahead what is meant for the program it starts: bash does not.
        let mut command = Command::new("bash");
        command.arg("--norc").current_dir(&desk.folder);
        command.env_remove("TELEX_ADDRESS").env_remove("LISTEN_FDS").env_remove("NOTIFY_SOCKET");
        command.envs(desk.variables.iter().map(|(name, value)| (name, value)));
        if let Some(user) = desk.user {
            command.uid(user).gid(user);
        }
        // All that is started here can be ended together.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.spawn().expect("bash");
        let mut keyboard = shell.stdin.take().unwrap();
        keyboard.write_all(b"exec 2>&1\n").unwrap();
        let (sender, screen) = channel();
        let output = BufReader::new(shell.stdout.take().unwrap());
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Window { shell, keyboard: Some(keyboard), screen }
    }

    fn type_in(&mut self, text: &str) {
        self.keyboard.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn next_line(&self) -> Option<String> {
        self.screen.recv_timeout(PATIENCE).ok()
    }

    /// Ends what the shell waits for, as a terminal does it.
    fn interrupt(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.children().is_empty() {
            assert!(Instant::now() < deadline, "nothing runs there");
            std::thread::yield_now();
        }
        for child in self.children() {
            kill(child, Signal::SIGINT).unwrap();
        }
    }

    fn children(&self) -> Vec<Pid> {
        let shell = self.shell.id();
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        children.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
    }

    /// Leaves the shell, whose last words are given.
    fn close(mut self) -> Vec<String> {
        drop(self.keyboard.take());
        let mut last = Vec::new();
        loop {
            match self.screen.recv_timeout(PATIENCE) {
                Ok(line) => last.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    last.push("(it does not end)".to_owned());
                    break;
                }
            }
        }
        last
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // Nobody is left there where all went well.
        let _ = kill(Pid::from_raw(-(self.shell.id() as i32)), Signal::SIGKILL);
        self.shell.wait().expect("the end of the shell");
    }
}

/// Whether this is what a switch says on stderr behind its own name, for want of another log.
fn is_record(text: &str) -> bool {
    ["error: ", "warning: ", "notice: ", "info: ", "debug: "].iter().any(|level| text.starts_with(level))
}

/// Waits until a record is in the log: `info: :1 is alice` as `TIME info registered :1 is alice`.
fn check_log(at: &str, record: &str, log: &Path) {
    let (level, message) = record.split_once(": ").unwrap();
    let is_it = |line: &str| {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let message = without_process(message);
        matches!(words[..], [_, its_level, _, its_message]
            if its_level == level && without_process(its_message) == message)
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(log).unwrap();
        if text.lines().any(is_it) {
            return;
        }
        assert!(Instant::now() < deadline, "{at}: no {record:?} in the log:\n{text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A record without the numbers of a process and its user, which are others each time.
fn without_process(text: &str) -> &str {
    text.split_once(" (uid ").map_or(text, |(record, _)| record)
}

fn check_line(at: &str, expected: &str, shown: Option<String>, json: bool, desk: &Desk) {
    let (shown_folder, folder) = &desk.shown_folder;
    let expected = expected.replace(shown_folder, folder.to_str().unwrap());
    let Some(shown) = shown else { panic!("{at}: nothing more is shown, but the page has: {expected}") };
    let is_alike = match json {
        false => without_process(&shown) == without_process(&expected),
        true => {
            let parse = |line: &str| serde_json::from_str::<Value>(line);
            let expected = parse(&expected).unwrap_or_else(|error| panic!("{at}: {error}: {expected}"));
            parse(&shown).is_ok_and(|shown| is_alike("", &shown, &expected))
        }
    };
    assert!(is_alike, "{at}: shown is\n  {shown}\nand the page has\n  {expected}");
}

/// Whether two values are the same but for what is different each time: ids, numbers of connections
/// and processes, times.
fn is_alike(name: &str, shown: &Value, expected: &Value) -> bool {
    match (shown, expected) {
        (Value::Object(shown), Value::Object(expected)) => {
            shown.len() == expected.len()
                && expected
                    .iter()
                    .all(|(name, value)| shown.get(name).is_some_and(|one| is_alike(name, one, value)))
        }
        (Value::Array(shown), Value::Array(expected)) => {
            shown.len() == expected.len()
                && shown.iter().zip(expected).all(|(one, other)| is_alike(name, one, other))
        }
        (Value::Number(_), Value::Number(_)) if ["uid", "gid", "pid", "time", "since"].contains(&name) => {
            true
        }
        (Value::String(shown), Value::String(expected)) => {
            shown == expected || shape(shown).is_some_and(|one| shape(expected) == Some(one))
        }
        _ => shown == expected,
    }
}

/// What `:N`, `:0-N` (the daemon's own), `:N-N` and the ids that the client library makes are apart
/// from their digits.
fn shape(text: &str) -> Option<&'static str> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_hex = |part: &str| part.len() == 16 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    match (text.strip_prefix(':'), text.split_once('-')) {
        (Some(number), None) if is_number(number) => Some(":N"),
        (Some(_), Some((":0", count))) if is_number(count) => Some(":0-N"),
        (Some(_), Some((number, count))) if is_number(&number[1..]) && is_number(count) => Some(":N-N"),
        (None, Some((random, count))) if is_hex(random) && is_number(count) => Some("random-N"),
        _ => None,
    }
}

#[test]
fn what_differs_each_time_is_alike_and_nothing_else() {
    let alike = |one: &str, other: &str| {
        is_alike("", &serde_json::from_str(one).unwrap(), &serde_json::from_str(other).unwrap())
    };
    assert!(alike(r#"{"to":":3","body":{"time":1}}"#, r#"{"body":{"time":2.5},"to":":12"}"#));
    assert!(alike(r#"["0123456789abcdef-1"]"#, r#"["fedcba9876543210-7"]"#));
    assert!(!alike(r#"{"to":":3"}"#, r#"{"to":":3-1"}"#));
    assert!(!alike(r#"[":0-1"]"#, r#"[":1-1"]"#));
    assert!(!alike(r#"{"to":"a"}"#, r#"{"to":"b"}"#));
    assert!(!alike(r#"{"sum":6}"#, r#"{"sum":7}"#));
    assert!(!alike(r#"{"a":1}"#, r#"{"a":1,"b":2}"#));
    assert!(!alike(r#"{"a":1,"b":2}"#, r#"{"a":1}"#));
    for info in ["", "sh", "sh window", "python", "sh once", "console", "text window=a"] {
        assert!(step(info, &[], String::new()).is_none(), "{info}");
    }
}
