//! Knows how the tests of this room read a configuration.
//! Never: what comes of it.

use std::path::Path;

use super::command_line::CommandLine;
use super::model::{Config, Machine};

/// A machine of this name, with every group but one.
pub(super) fn machine(host_name: &str) -> Machine {
    Machine { host_name: host_name.to_owned(), has_group: |group| group != "elsewhere" }
}

/// What comes of a text and arguments on a machine called `alpha`.
pub(super) fn read(text: &str, arguments: &[&str]) -> Result<Config, String> {
    let command_line = CommandLine::parse(std::iter::once(&"telexd").chain(arguments)).unwrap();
    Config::from_text(Path::new("t.toml"), text, &command_line, &machine("alpha"))
        .map_err(|error| error.to_string())
}

pub(super) fn told(text: &str, arguments: &[&str]) -> String {
    read(text, arguments).expect_err(text)
}
