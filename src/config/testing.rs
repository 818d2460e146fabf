//! Knows how the tests of this room read a configuration.
//! Never: what comes of it.

use super::command_line::CommandLine;
use super::model::{Config, Machine};
use crate::toml_file::{ConfigError, File};

/// A machine of this name, with every group but one.
pub(super) fn machine(host_name: &str) -> Machine {
    Machine { host_name: host_name.to_owned(), has_group: |group| group != "elsewhere" }
}

/// What comes of files, each a path and its text.
pub(super) fn read_files(
    files: &[(&str, &str)],
    command_line: &CommandLine,
    machine: &Machine,
) -> Result<Config, ConfigError> {
    let file = |(nth, (path, text)): (usize, &(&str, &str))| File {
        nth,
        path: path.into(),
        text: (*text).to_owned(),
    };
    let files: Vec<File> = files.iter().enumerate().map(file).collect();
    Config::from_files(&files, Vec::new(), command_line, machine)
}

/// What comes of texts, the first of `t.toml`, the others of its drop-ins `t.d/1.toml` and so on, and of arguments on
/// a machine called `alpha`.
pub(super) fn read_all(texts: &[&str], arguments: &[&str]) -> Result<Config, String> {
    let mut command_line = CommandLine::parse(std::iter::once(&"telexd").chain(arguments)).unwrap();
    command_line.config = Some("t.toml".into());
    let path = |n: usize| if n == 0 { "t.toml".to_owned() } else { format!("t.d/{n}.toml") };
    let paths: Vec<String> = (0..texts.len()).map(path).collect();
    let files: Vec<_> = paths.iter().map(String::as_str).zip(texts.iter().copied()).collect();
    read_files(&files, &command_line, &machine("alpha")).map_err(|error| error.to_string())
}

/// As [`read_all`], of one text.
pub(super) fn read(text: &str, arguments: &[&str]) -> Result<Config, String> {
    read_all(&[text], arguments)
}

pub(super) fn told(text: &str, arguments: &[&str]) -> String {
    read(text, arguments).expect_err(text)
}
