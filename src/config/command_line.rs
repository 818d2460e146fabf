//! Knows the options of `telexd`, and how they are explained.
//! Never: what a setting is, or whether a file is there.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use lexopt::{Arg, ValueExt};

use crate::address::Address;

/// What `telexd --help` prints.
pub const HELP: &str = include_str!("help.txt");

/// What `telexd` was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// What to do.
    pub task: Task,
    /// The file to read.
    pub config: Option<PathBuf>,
    /// The profile of the file.
    pub profile: Option<String>,
    /// Keys and values of `--set`, as they were written, in their order.
    pub set: Vec<(String, String)>,
    /// Where to listen; empty: as configured.
    pub listen: Vec<Address>,
    /// Where to keep the state; none: as configured.
    pub state_dir: Option<PathBuf>,
}

/// What to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// Be the daemon.
    #[default]
    Run,
    /// Say whether the configuration is right, and its plugins can be made.
    Check,
    /// Print the version.
    Version,
    /// Print [`HELP`].
    Help,
}

/// Why the arguments make no command line; its `Display` is a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadUsage(String);

impl fmt::Display for BadUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; see telexd --help", self.0)
    }
}

impl std::error::Error for BadUsage {}

impl From<lexopt::Error> for BadUsage {
    fn from(error: lexopt::Error) -> BadUsage {
        BadUsage(error.to_string())
    }
}

impl CommandLine {
    /// Reads the arguments of the process, the program's own name first. What stands behind
    /// `--help` or `--version` is not looked at.
    pub fn parse<I>(arguments: I) -> Result<CommandLine, BadUsage>
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        let mut parser = lexopt::Parser::from_iter(arguments);
        let mut command_line = CommandLine::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("config") => command_line.config = Some(path("--config", parser.value()?)?),
                Arg::Long("profile") => command_line.profile = Some(parser.value()?.string()?),
                Arg::Long("set") => command_line.set.push(assignment(&parser.value()?.string()?)?),
                Arg::Long("listen") => command_line.listen.push(address(&parser.value()?.string()?)?),
                Arg::Long("state-dir") => {
                    command_line.state_dir = Some(path("--state-dir", parser.value()?)?)
                }
                Arg::Long("check") => command_line.task = Task::Check,
                Arg::Short('h') | Arg::Long("help") => {
                    return Ok(CommandLine { task: Task::Help, ..CommandLine::default() });
                }
                Arg::Short('V') | Arg::Long("version") => {
                    return Ok(CommandLine { task: Task::Version, ..CommandLine::default() });
                }
                _ => return Err(argument.unexpected().into()),
            }
        }
        Ok(command_line)
    }
}

fn path(option: &str, value: OsString) -> Result<PathBuf, BadUsage> {
    if value.is_empty() {
        return Err(BadUsage(format!("{option} is empty; it must be a path")));
    }
    Ok(PathBuf::from(value))
}

fn assignment(text: &str) -> Result<(String, String), BadUsage> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err(BadUsage(format!("--set is {text:?}; it must be KEY=VALUE, such as max_names=8"))),
    }
}

fn address(text: &str) -> Result<Address, BadUsage> {
    Address::parse(text).map_err(|bad| BadUsage(format!("--listen: {bad}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<CommandLine, String> {
        CommandLine::parse(std::iter::once(&"telexd").chain(arguments)).map_err(|bad| bad.to_string())
    }

    #[test]
    fn every_option_is_read() {
        let read = parse(&[
            "--config=/etc/telexd.toml",
            "--profile",
            "small",
            "--set",
            "log_level=debug",
            "--set=host = a=b",
            "--listen",
            "unix:/x",
            "--listen=127.0.0.1:*",
            "--state-dir",
            "/var/x",
            "--check",
        ]);
        let wanted = CommandLine {
            task: Task::Check,
            config: Some("/etc/telexd.toml".into()),
            profile: Some("small".into()),
            set: vec![("log_level".into(), "debug".into()), ("host".into(), "a=b".into())],
            listen: vec![Address::parse("unix:/x").unwrap(), Address::parse("127.0.0.1:0").unwrap()],
            state_dir: Some("/var/x".into()),
        };
        assert_eq!(read, Ok(wanted));
        assert_eq!(parse(&[]), Ok(CommandLine::default()));
    }

    #[test]
    fn of_an_option_given_twice_the_last_counts() {
        let read = parse(&["--config", "a", "--profile", "b", "--config", "c", "--profile", "d"]).unwrap();
        assert_eq!((read.config, read.profile), (Some("c".into()), Some("d".into())));
    }

    #[test]
    fn help_and_version_come_first() {
        for (option, task) in
            [("--help", Task::Help), ("-h", Task::Help), ("--version", Task::Version), ("-V", Task::Version)]
        {
            assert_eq!(parse(&["--check", option, "--nonsense"]).unwrap().task, task);
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_a_hint() {
        for (arguments, told) in [
            (&["--nonsense"][..], "invalid option '--nonsense'"),
            (&["-x"], "invalid option '-x'"),
            (&["start"], "unexpected argument \"start\""),
            (&["--config"], "missing argument for option '--config'"),
            (&["--config="], "--config is empty; it must be a path"),
            (&["--state-dir", ""], "--state-dir is empty; it must be a path"),
            (&["--check=yes"], "unexpected argument for option '--check'"),
            (&["--listen", "here"], "--listen: \"here\" is no address: it lacks a port"),
            (&["--listen", "/tmp/x"], "--listen: \"/tmp/x\" is no address; did you mean unix:/tmp/x?"),
            (&["--set", "max_names"], "--set is \"max_names\"; it must be KEY=VALUE"),
            (&["--set", "=8"], "--set is \"=8\"; it must be KEY=VALUE"),
        ] {
            let error = parse(arguments).expect_err(told);
            assert!(error.starts_with(told), "{error}");
            assert!(error.ends_with("; see telexd --help"), "{error}");
        }
    }

    #[test]
    fn an_option_that_is_no_text_is_refused() {
        use std::os::unix::ffi::OsStringExt;
        let profile = OsString::from_vec(b"--profile=\xff".to_vec());
        let error = CommandLine::parse(["telexd".into(), profile]).expect_err("no text").to_string();
        assert!(error.contains("unicode"), "{error}");
        let dir = OsString::from_vec(b"--state-dir=\xff".to_vec());
        assert!(CommandLine::parse(["telexd".into(), dir]).unwrap().state_dir.is_some());
    }

    #[test]
    fn the_help_fits_a_screen_and_names_every_option() {
        assert!(HELP.lines().all(|line| line.chars().count() <= 80));
        assert!(HELP.lines().count() <= 50);
        for option in
            ["--config", "--profile", "--set", "--listen", "--state-dir", "--check", "--help", "--version"]
        {
            assert!(
                HELP.contains(&format!(" {option} ")) || HELP.contains(&format!(", {option} ")),
                "{option}"
            );
        }
    }
}
