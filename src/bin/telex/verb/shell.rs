//! Knows a prompt at which the verbs are typed, and a file of them.
//! Never: a verb; each is run as the command of its own that it is.

use std::io::{BufRead, ErrorKind, IsTerminal};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use rustyline::error::ReadlineError;
use rustyline::{CompletionType, Config, Editor};
use signal_hook::consts::SIGINT;

use crate::complete::Completer;
use crate::context::{Context, Form};
use crate::exit::{Exit, Failure, Failures};

pub(super) const EXAMPLES: &str = r#"Examples:
  telex shell
  cat morning.telex | telex shell"#;

const PROMPT: &str = "telex> ";

/// Type the verbs at a prompt, with history and completion
///
/// A line is a verb and its arguments, with the quotes of a POSIX shell; a line that begins with # is a comment. Tab completes verbs,
/// flags and the nodes that are there. Ctrl-C ends the verb that runs, Ctrl-D the shell. The history is kept in
/// $XDG_STATE_HOME/telex/history. From a file or a pipe the lines are run one after the other, without stdin of their own:
/// Ctrl-C ends them all. The status is the first failure's, or 1 if there were different ones.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Shell {}

impl Shell {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let is_typed = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        // A verb that runs has it, too, and ends by it.
        let is_interrupted = Arc::new(AtomicBool::new(false));
        let caught = signal_hook::flag::register(SIGINT, Arc::clone(&is_interrupted));
        caught.map_err(|error| Failure::file("SIGINT", &error))?;
        if is_typed { type_lines(context) } else { run_lines(&is_interrupted, context) }
    }
}

/// What a line asks for.
enum Line {
    Nothing,
    Leave,
    Run(Vec<String>),
}

fn read(line: &str) -> Result<Line, Failure> {
    if line.trim_start().starts_with('#') {
        return Ok(Line::Nothing);
    }
    let words = shell_words::split(line).map_err(|_| Failure::usage("a quote is not closed"))?;
    // It may be pasted from elsewhere.
    let words: Vec<String> = if words.first().is_some_and(|word| word == "telex") { words[1..].into() } else { words };
    Ok(match words.first().map(String::as_str) {
        None => Line::Nothing,
        Some("exit" | "quit") => Line::Leave,
        Some("shell") => return Err(Failure::usage("this is the shell")),
        Some(_) => Line::Run(words),
    })
}

fn type_lines(context: &Context) -> Result<(), Failure> {
    let failed = |error: ReadlineError| Failure::new(Exit::Refused, format!("the terminal: {error}"));
    let config = Config::builder().completion_type(CompletionType::List).build();
    let mut editor = Editor::with_config(config).map_err(failed)?;
    editor.set_helper(Some(Completer::new(context)));
    let history = history_file().inspect_err(|error| context.words.say(&format!("no history is kept: {error}")));
    if let Ok(path) = &history {
        let _ = editor.load_history(path);
    }
    loop {
        let line = match editor.readline(PROMPT) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        if editor.add_history_entry(&line).unwrap_or(false)
            && let Ok(path) = &history
        {
            // What cannot be kept is there until the end.
            let _ = editor.append_history(path);
        }
        match read(&line) {
            Ok(Line::Nothing) => {}
            Ok(Line::Leave) => return Ok(()),
            Ok(Line::Run(words)) => {
                let code = run(&words, Stdio::inherit(), context)?;
                if code != 0 {
                    context.words.fail(&format!("status {code}"));
                }
            }
            Err(failure) => context.words.fail(&failure.words),
        }
    }
}

/// Runs the lines of stdin, until Ctrl-C has ended one of them.
fn run_lines(is_interrupted: &AtomicBool, context: &Context) -> Result<(), Failure> {
    let mut failures = Failures::default();
    for (line, number) in std::io::stdin().lock().lines().zip(1..) {
        let line = line.map_err(|error| match error.kind() {
            ErrorKind::InvalidData => Failure::usage(format!("line {number}: it is not UTF-8")),
            _ => Failure::file("stdin", &error),
        })?;
        match read(&line) {
            Ok(Line::Nothing) => {}
            Ok(Line::Leave) => break,
            Ok(Line::Run(words)) => match run(&words, Stdio::null(), context)? {
                0 => {}
                code => failures.add(&Failure::new(Exit::of_code(code), ""), context.words),
            },
            Err(failure) => failures.add(&failure.at(Some(number)), context.words),
        }
        if is_interrupted.load(Ordering::Relaxed) {
            return Err(Failure::new(Exit::Interrupted, ""));
        }
    }
    failures.end(context.words)
}

/// Runs a verb to its end, and gives its status, as a shell does.
fn run(words: &[String], stdin: Stdio, context: &Context) -> Result<i32, Failure> {
    let own = std::env::current_exe().map_err(|error| Failure::file("this program", &error))?;
    let mut command = Command::new(own);
    if let Some(address) = &context.address {
        command.arg(format!("--address={address}"));
    }
    command.args(match context.form {
        None => None,
        Some(Form::Json) => Some("--json"),
        Some(Form::Table) => Some("--table"),
    });
    command.args(context.words.quiet.then_some("--quiet"));
    command.arg(format!("--color={}", context.colour.word())).args(words).stdin(stdin);
    let status = command.status().map_err(|error| Failure::file("this program", &error))?;
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
}

/// The file of the history, which is its user's alone.
fn history_file() -> std::io::Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")));
    let dir = state.ok_or(ErrorKind::NotFound)?.join("telex");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    let path = dir.join("history");
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_quotes_of_a_shell() {
        let words = |line: &str| match read(line) {
            Ok(Line::Run(words)) => words,
            _ => Vec::new(),
        };
        assert_eq!(words(r#"call a 'b c' "\"d\"" e\ f"#), ["call", "a", "b c", "\"d\"", "e f"]);
        assert_eq!(words("telex list"), ["list"]);
        for nothing in ["", "  ", "# call a b", "telex"] {
            assert!(matches!(read(nothing), Ok(Line::Nothing)), "{nothing}");
        }
        assert!(matches!(read("quit"), Ok(Line::Leave)));
        assert!(read("call 'a").is_err() && read("shell").is_err());
    }
}
