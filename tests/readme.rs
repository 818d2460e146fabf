//! Does all that README.md tells its readers to do, in shells kept open as windows, and compares what
//! they see with what README.md shows. Every block of it has to be run, written or compared.
//!
//! What stands behind the language of a block says what it is for:
//!
//! - `window=NAME` is typed into that window, which is opened where it is not there;
//! - `shows=NAME` is what that window shows next, and nothing but that;
//! - `file=NAME` is the content of a file in the folder where all windows are opened;
//! - `test` is the command that tests the product, which CI runs;
//! - `systemd` is run by `tests/systemd.rs`.
//!
//! A comment `<!-- Ctrl-C in NAME -->` ends what runs in a window.
//!
//! All of it is done a second time with a switch that has plugins, which change nothing but where its log goes.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "support/libraries.rs"]
mod libraries;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const README: &str = include_str!("../README.md");
/// What README.md shows as the folder of the reader's own socket.
const RUNTIME_DIR: &str = "/run/user/1000";
const PATIENCE: Duration = Duration::from_secs(20);
/// Whose windows they are where the test runs as root: nobody's.
const NOBODY: u32 = 65534;

/// What README.md has its reader do or see.
#[derive(Debug)]
enum Step {
    Type { window: String, text: String },
    Shows { window: String, lines: Vec<String>, json: bool },
    Write { file: String, text: String },
    Interrupt { window: String },
    Test { text: String },
    Systemd,
}

fn steps() -> Vec<(usize, Step)> {
    let mut steps = Vec::new();
    let mut lines = README.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if let Some(window) = line.strip_prefix("<!-- Ctrl-C in ").and_then(|rest| rest.strip_suffix(" -->"))
        {
            steps.push((at + 1, Step::Interrupt { window: window.to_owned() }));
        }
        let is_hidden = line.starts_with("    ") || line.trim_start().starts_with("~~~");
        let is_indented = line.starts_with(' ') && line.trim_start().starts_with("```");
        assert!(!is_hidden && !is_indented, "README.md:{}: a block that is not looked at", at + 1);
        let Some(info) = line.strip_prefix("```") else { continue };
        let inside: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        let text = inside.iter().map(|line| format!("{line}\n")).collect();
        let step = step(info, &inside, text);
        steps.push((
            at + 1,
            step.unwrap_or_else(|| panic!("README.md:{}: \"{info}\" is not run by any test", at + 1)),
        ));
    }
    steps
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
        command.arg("--norc").current_dir(&desk.folder).env("XDG_RUNTIME_DIR", &desk.runtime_dir);
        command.env("PATH", &desk.path).env("HOME", &desk.folder).env_remove("XDG_STATE_HOME");
        command.env_remove("TELEX_ADDRESS").env_remove("LISTEN_FDS").env_remove("NOTIFY_SOCKET");
        if desk.is_root {
            command.uid(NOBODY).gid(NOBODY);
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

/// The folder of a checkout, as far as README.md needs it, and what its reader has installed.
struct Desk {
    _guard: tempfile::TempDir,
    folder: PathBuf,
    runtime_dir: PathBuf,
    path: String,
    is_root: bool,
    /// What the switch of `cargo run --release` writes its log to, where that is not its window.
    log: Option<PathBuf>,
}

/// Plugins that let the whole session through and take the log. `HERE` is the desk's folder.
const PLUGINS: &str = r#"
plugin_dir = "HERE/plugins"

[[plugin]]
path = "filter-acl"
[plugin.config]
default = "allow"
rule = [{ deny.own = "eve" }]

[[plugin]]
path = "log-file"
config = { path = "HERE/log", format = "text" }

[[plugin]]
path = "log-syslog"
config = { path = "HERE/syslog" }

"#;

impl Desk {
    fn new() -> Desk {
        let guard = tempfile::tempdir().unwrap();
        let folder = guard.path().canonicalize().unwrap();
        for inner in ["bin", "run", "target", "target/release"] {
            fs::create_dir(folder.join(inner)).unwrap();
        }
        // Built by now; they are put where cargo would have put them.
        for built in [env!("CARGO_BIN_EXE_telexd"), env!("CARGO_BIN_EXE_telex")] {
            fs::copy(built, folder.join("target/release").join(Path::new(built).file_name().unwrap()))
                .unwrap();
        }
        let cargo = folder.join("bin/cargo");
        let text = "#!/bin/sh\ncase \"$*\" in\n'run --release') exec target/release/telexd ;;\n\
                    'build --release') ;;\n*) echo \"unknown: cargo $*\"; exit 1 ;;\nesac\n";
        fs::write(&cargo, text).unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("etc"), folder.join("etc")).unwrap();
        let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
        if is_root {
            // Root's switch would be the machine's.
            for owned in [&folder, &folder.join("run")] {
                chown(owned, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap());
        Desk { _guard: guard, runtime_dir: folder.join("run"), folder, path, is_root, log: None }
    }

    /// The same where the switch has plugins: those above, and filter-rate as its README has it.
    fn with_plugins() -> Desk {
        let mut desk = Desk::new();
        let plugins = desk.folder.join("plugins");
        fs::create_dir(&plugins).unwrap();
        for plugin in ["filter-acl", "filter-rate", "log-file", "log-syslog"] {
            libraries::install(plugin, &plugins);
        }
        let rate = include_str!("../plugins/filter-rate/README.md");
        let (rate, _) = rate.split_once("\n```toml\n").unwrap().1.split_once("```").unwrap();
        let config = format!("{}{rate}", PLUGINS.replace("HERE", desk.folder.to_str().unwrap()));
        fs::write(desk.folder.join("plugins.toml"), config).unwrap();
        let cargo = desk.folder.join("bin/cargo");
        let text = fs::read_to_string(&cargo).unwrap();
        let with_config = text.replace("release/telexd ;;", "release/telexd --config plugins.toml ;;");
        assert_ne!(text, with_config);
        fs::write(&cargo, with_config).unwrap();
        desk.log = Some(desk.folder.join("log"));
        desk
    }

    fn check_tools(&self) {
        let mut missing = Vec::new();
        let tools = [
            ("nc -h 2>&1 | grep -q OpenBSD", "nc of the OpenBSD kind: apt-get install netcat-openbsd"),
            ("socat -V", "socat: apt-get install socat"),
            ("python3 --version", "python3: apt-get install python3"),
        ];
        for (check, what) in tools {
            let mut command = Command::new("bash");
            command.args(["-c", check]).env("PATH", &self.path).stdout(Stdio::null()).stderr(Stdio::null());
            if self.is_root {
                command.uid(NOBODY).gid(NOBODY);
            }
            if !command.status().expect("bash").success() {
                missing.push(what);
            }
        }
        assert!(missing.is_empty(), "missing for the README's examples:\n  {}", missing.join("\n  "));
    }
}

#[test]
fn the_readme_can_be_followed() {
    follow(&Desk::new());
}

#[test]
fn with_plugins_it_can_be_followed_just_so() {
    let desk = Desk::with_plugins();
    let syslog = UnixDatagram::bind(desk.folder.join("syslog")).unwrap();
    fs::set_permissions(desk.folder.join("syslog"), fs::Permissions::from_mode(0o666)).unwrap();
    syslog.set_read_timeout(Some(PATIENCE)).unwrap();
    let reader = std::thread::spawn(move || {
        let mut said = Vec::new();
        let mut bytes = [0; 65536];
        while !said.last().is_some_and(|line: &String| line.ends_with(": stopped")) {
            let count = syslog.recv(&mut bytes).unwrap();
            said.push(String::from_utf8(bytes[..count].to_vec()).unwrap());
        }
        said
    });
    follow(&desk);
    let said = reader.join().unwrap();
    assert!(said.iter().any(|line| line.ends_with(": :1 is alice")), "{said:?}");
}

fn follow(desk: &Desk) {
    desk.check_tools();
    let mut windows: BTreeMap<String, Window> = BTreeMap::new();
    for (line, step) in steps() {
        let at = format!("README.md:{line}");
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
    assert!(strange.is_empty(), "the windows showed more than README.md says:\n{}", strange.join("\n"));
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
        matches!(words[..], [_, its_level, _, its_message] if (its_level, its_message) == (level, message))
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

fn check_line(at: &str, expected: &str, shown: Option<String>, json: bool, desk: &Desk) {
    let expected = expected.replace(RUNTIME_DIR, desk.runtime_dir.to_str().unwrap());
    let Some(shown) = shown else { panic!("{at}: nothing more is shown, but README.md has: {expected}") };
    let is_alike = match json {
        false => shown == expected,
        true => {
            let parse = |line: &str| serde_json::from_str::<Value>(line);
            let expected = parse(&expected).unwrap_or_else(|error| panic!("{at}: {error}: {expected}"));
            parse(&shown).is_ok_and(|shown| is_alike("", &shown, &expected))
        }
    };
    assert!(is_alike, "{at}: shown is\n  {shown}\nand README.md has\n  {expected}");
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
fn the_two_commands_are_named_and_ci_runs_the_second() {
    let steps = steps();
    let typed: Vec<&str> = steps
        .iter()
        .filter_map(|(_, step)| match step {
            Step::Type { window, text } if window == "switch" => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(typed.first(), Some(&"cargo run --release\n"));
    let tests: Vec<&str> = steps
        .iter()
        .filter_map(|(_, step)| if let Step::Test { text } = step { Some(text.trim_end()) } else { None })
        .collect();
    assert_eq!(tests, ["cargo test"]);
    let ci = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/run")).unwrap();
    assert!(ci.lines().any(|line| line.ends_with("step cargo test")), ".ci/run does not run: {tests:?}");
    assert_eq!(steps.iter().filter(|(_, step)| matches!(step, Step::Systemd)).count(), 1);
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
