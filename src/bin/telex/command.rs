//! Knows how a command is run for a message: what it is told, what it answers, and its end.
//! Never: where the message came from.
//!
//! Nothing of a message reaches a shell: the command is run as it is given, the body stands on its stdin, and what the
//! envelope says in its environment.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use serde_json::value::RawValue;
use telex::client::{Message, text};
use telex::duration;

use crate::groups::{Group, Groups};
use crate::output::safe;
use crate::process::user;
use crate::stream::deadline_after;

/// No command may answer more than this; the daemon's bound for a line is lower unless it is raised.
const STDOUT_BYTES_MAX: usize = 16 << 20;
/// What is kept of what a command writes to stderr; the last line of it may be told.
const STDERR_BYTES_MAX: usize = 64 * 1024;

/// How messages are handed to a command.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// The program and its arguments.
    pub(crate) words: Vec<OsString>,
    /// Then it is killed, and all processes of its group.
    pub(crate) timeout: Option<Duration>,
    /// Its output is text, whatever it looks like.
    pub(crate) is_text: bool,
    /// What it writes to stderr is not passed on.
    pub(crate) is_quiet: bool,
    /// The groups of those that run.
    pub(crate) groups: Groups,
}

impl Order {
    /// Runs the command for a message, and gives what it answers: a body. The error is a sentence for the asker.
    pub(crate) fn run(&self, message: &Message) -> Result<String, String> {
        let (out, err, status) = self.output(message)?;
        if !status.success() {
            return Err(last_line(&err).unwrap_or_else(|| self.ended(status)));
        }
        let out = String::from_utf8(out).map_err(|_| format!("{}: its output is not UTF-8", self.name()))?;
        Ok(if self.is_text { text(without_lf(&out)) } else { body_of(&out) })
    }

    fn name(&self) -> String {
        self.words.first().map_or_else(String::new, |word| word.to_string_lossy().into_owned())
    }

    fn ended(&self, status: ExitStatus) -> String {
        match (status.code(), status.signal()) {
            (Some(code), _) => format!("{}: exit status {code}", self.name()),
            (None, signal) => format!("{}: killed by signal {}", self.name(), signal.unwrap_or(0)),
        }
    }

    /// Runs it to its end, and to that of its output. At the time-out, and when there is too much output, all processes
    /// of its group end; what has left the group is not waited for.
    fn output(&self, message: &Message) -> Result<(Vec<u8>, Vec<u8>, ExitStatus), String> {
        let (mut child, group) = self.start(message)?;
        let body = message.body().map(|body| format!("{body}\n")).unwrap_or_default();
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        // It may end without reading all of it.
        beside(move || stdin.map(|mut stdin| stdin.write_all(body.as_bytes())));
        let out = beside(move || stdout.map_or_else(|| Ok(Vec::new()), read_stdout));
        let is_quiet = self.is_quiet;
        let err = beside(move || stderr.map_or_else(Vec::new, |stderr| read_stderr(stderr, is_quiet)));
        let status = beside(move || child.wait());
        let deadline = self.timeout.and_then(deadline_after);
        let ended = (|| {
            let out = within(&out, deadline)?;
            // Else it would write on to what reads no more.
            let is_too_much = out.as_ref().is_ok_and(|out| out.len() > STDOUT_BYTES_MAX);
            if is_too_much {
                return Some(Err(format!(
                    "{}: its output is longer than {STDOUT_BYTES_MAX} bytes",
                    self.name()
                )));
            }
            let (status, err) = (within(&status, deadline)?, within(&err, deadline)?);
            let failed = |error: io::Error| format!("{}: {error}", self.name());
            Some(out.and_then(|out| Ok((out, err, status?))).map_err(failed))
        })();
        if !matches!(ended, Some(Ok(_))) {
            group.kill();
        }
        self.groups.forget(group);
        let timeout = self.timeout.unwrap_or_default();
        ended.unwrap_or_else(|| Err(format!("{}: killed after {}", self.name(), duration::format(timeout))))
    }

    fn start(&self, message: &Message) -> Result<(Child, Group), String> {
        let [program, arguments @ ..] = &self.words[..] else { return Err("there is no command".to_owned()) };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, value) in variables(message) {
            match value {
                Some(value) if value.contains('\0') => {
                    return Err(format!("{name} cannot be set: there is a NUL in {value:?}"));
                }
                Some(value) => drop(command.env(name, value)),
                None => drop(command.env_remove(name)),
            }
        }
        let started = self.groups.start(&mut command, message.is_request());
        started.map_err(|error| format!("{}: {error}", self.name()))
    }
}

/// Does something on a thread, which may outlive the wait for it.
fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (done, outcome) = channel();
    thread::spawn(move || done.send(work()));
    outcome
}

/// What comes of it by the deadline.
fn within<T>(outcome: &Receiver<T>, deadline: Option<Instant>) -> Option<T> {
    match deadline {
        None => outcome.recv().ok(),
        Some(deadline) => outcome.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok(),
    }
}

/// What the environment says of a message; none where it does not say so.
fn variables(message: &Message) -> [(&'static str, Option<String>); 9] {
    let sender: Value = message.sender().and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default();
    let number = |name: &str| sender[name].as_u64().map(|number| number.to_string());
    let own = |text: Option<&str>| text.map(str::to_owned);
    [
        ("TELEX_TYPE", own(Some(message.message_type()))),
        ("TELEX_FROM", own(message.from())),
        ("TELEX_TO", own(message.to().or(message.topic()))),
        ("TELEX_KEY", own(message.key())),
        ("TELEX_MESSAGE_ID", message.id().map(|id| id.text.into_owned())),
        ("TELEX_UID", number("uid")),
        ("TELEX_GID", number("gid")),
        ("TELEX_PID", number("pid")),
        ("TELEX_USER", sender["uid"].as_u64().map(user)),
    ]
}

/// The body that an output is: JSON as it is, on one line; no output at all as null; anything else as a string.
fn body_of(out: &str) -> String {
    if out.is_empty() {
        return "null".to_owned();
    }
    match serde_json::from_str::<&RawValue>(out) {
        // No line end stands within a string.
        Ok(json) => json.get().replace(['\n', '\r'], " "),
        Err(_) => text(without_lf(out)),
    }
}

fn without_lf(text: &str) -> &str {
    text.strip_suffix('\n').unwrap_or(text)
}

fn last_line(err: &[u8]) -> Option<String> {
    let err = String::from_utf8_lossy(err);
    err.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

fn read_stdout(stdout: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stdout.take(STDOUT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Passes on what a command says, unless that is not wanted, and keeps the end of it.
fn read_stderr(mut stderr: impl Read, is_quiet: bool) -> Vec<u8> {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    let mut shown = (!is_quiet).then(Shown::new);
    while let Ok(count @ 1..) = stderr.read(&mut buffer) {
        if let Some(shown) = &mut shown {
            shown.pass(&buffer[..count]);
        }
        kept.extend_from_slice(&buffer[..count]);
        let beyond = kept.len().saturating_sub(STDERR_BYTES_MAX);
        kept.drain(..beyond);
    }
    kept
}

/// What a command says, on the stderr of this one.
struct Shown {
    is_terminal: bool,
    /// The beginning of a line for a terminal.
    partial: Vec<u8>,
}

impl Shown {
    fn new() -> Shown {
        Shown { is_terminal: std::io::stderr().is_terminal(), partial: Vec::new() }
    }

    /// Passes it on as it is; to a terminal in whole lines, in which nothing drives that.
    fn pass(&mut self, bytes: &[u8]) {
        if !self.is_terminal {
            let _ = std::io::stderr().write_all(bytes);
            return;
        }
        self.partial.extend_from_slice(bytes);
        let lines = lines_for_terminal(&mut self.partial);
        let _ = std::io::stderr().write_all(lines.as_bytes());
    }
}

impl Drop for Shown {
    /// The last line may have no end.
    fn drop(&mut self) {
        if !self.partial.is_empty() {
            self.pass(b"\n");
        }
    }
}

/// Takes the whole lines, and the beginning of one that is very long, and spells out what could drive a terminal.
fn lines_for_terminal(partial: &mut Vec<u8>) -> String {
    let whole = partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let whole = if partial.len() - whole > STDERR_BYTES_MAX { partial.len() } else { whole };
    let lines: Vec<u8> = partial.drain(..whole).collect();
    String::from_utf8_lossy(&lines).split_inclusive('\n').map(safe_line).collect()
}

fn safe_line(line: &str) -> String {
    match line.strip_suffix('\n') {
        Some(line) => safe(line) + "\n",
        None => safe(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(line: &str) -> Message {
        Message::read(line.into()).expect("a message")
    }

    fn order(script: &str) -> Order {
        let words = ["sh", "-c", script].map(OsString::from).to_vec();
        let timeout = Some(Duration::from_secs(20));
        Order { words, timeout, is_text: false, is_quiet: false, groups: Groups::default() }
    }

    #[test]
    fn an_output_is_an_answer() {
        let shout = message(r#"{"message_type":"shout","from":"a","body":"hi"}"#);
        for (script, answer) in [
            ("tr a-z A-Z", r#""HI""#),
            ("echo '{\"a\":\n1}'", r#"{"a": 1}"#),
            ("echo [1]", "[1]"),
            ("printf 'plain\\ntext\\n'", r#""plain\ntext""#),
            ("true", "null"),
            ("echo", r#""""#),
            ("printf ' '", r#"" ""#),
            ("echo $TELEX_TYPE $TELEX_FROM ${TELEX_UID-unset}", r#""shout a unset""#),
        ] {
            assert_eq!(order(script).run(&shout).as_deref(), Ok(answer), "{script}");
        }
        let text = Order { is_text: true, ..order("echo 1") };
        assert_eq!(text.run(&shout).as_deref(), Ok("\"1\""));
    }

    #[test]
    fn what_a_command_says_drives_no_terminal() {
        let mut partial = b"a\x1b[2J\tb\n\xc3".to_vec();
        assert_eq!(lines_for_terminal(&mut partial), "a\\u{1b}[2J\\tb\n");
        partial.extend_from_slice(b"\xa4\xff\nrest");
        assert_eq!((&*lines_for_terminal(&mut partial), &*partial), ("\u{e4}\u{fffd}\n", &b"rest"[..]));
    }

    #[test]
    fn a_failure_is_a_sentence() {
        let ask = message(r#"{"message_type":"ask","from":"a"}"#);
        for (script, told) in [
            ("exit 3", "sh: exit status 3"),
            ("echo first >&2; echo '  why  ' >&2; echo >&2; exit 1", "why"),
            ("kill -9 $$", "sh: killed by signal 9"),
            ("printf '\\377'", "sh: its output is not UTF-8"),
        ] {
            assert_eq!(order(script).run(&ask).expect_err(script), told);
        }
        let missing = Order { words: vec!["/no/such/program".into()], ..order("") };
        assert!(missing.run(&ask).expect_err("none").starts_with("/no/such/program: No such file"));
        let nul = message("{\"message_type\":\"a\\u0000b\",\"from\":\"a\"}");
        assert!(order("true").run(&nul).expect_err("a NUL").starts_with("TELEX_TYPE cannot be set"));
    }

    #[test]
    fn a_command_that_takes_too_long_ends_with_all_its_children() {
        let ask = message(r#"{"message_type":"ask","from":"a"}"#);
        let slow = Order { timeout: Some(Duration::from_millis(200)), ..order("sleep 1000 & sleep 1000") };
        assert_eq!(slow.run(&ask).expect_err("a time-out"), "sh: killed after 200ms");
        // Its output is open, though the command itself has ended.
        let left = Order { timeout: Some(Duration::from_millis(200)), ..order("sleep 1000 & echo hi") };
        assert_eq!(left.run(&ask).expect_err("a time-out"), "sh: killed after 200ms");
    }

    #[test]
    fn an_output_without_end_is_an_error() {
        let ask = message(r#"{"message_type":"ask","from":"a"}"#);
        let told = order("yes").run(&ask).expect_err("too much");
        assert_eq!(told, "sh: its output is longer than 16777216 bytes");
    }
}
