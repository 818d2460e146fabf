//! Knows how the faults of a file are told: each with its place, all at once, in order.
//! Never: what is a fault.

use std::fmt;
use std::path::Path;

/// All that is wrong with a configuration, for the person who wrote it: one fault a line, as
/// `FILE:LINE: KEY: what is wrong; what would be right`, or with an option of the command line in
/// place of file and line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(Vec<Problem>);

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// Its file's place in the order of all; `usize::MAX` for what is in none.
    pub file: usize,
    /// Its line; 0 for what is wrong with the file.
    pub line: usize,
    /// The whole sentence, its place included.
    pub text: String,
}

impl Problem {
    /// A fault outside of the files.
    pub(crate) fn outside(text: String) -> Problem {
        Problem { file: usize::MAX, line: usize::MAX, text }
    }

    /// A fault of the file at `path` as a whole; `nth` is its place in the order of all.
    pub(crate) fn of_file(nth: usize, path: &Path, why: &str) -> Problem {
        Problem { file: nth, line: 0, text: format!("{}: {why}", path.display()) }
    }
}

impl ConfigError {
    /// Puts the faults in the order of their files and lines, each once. None is no error.
    pub(crate) fn check(mut problems: Vec<Problem>) -> Result<(), ConfigError> {
        // Profiles share their parents, and so their parents' faults.
        problems.sort();
        problems.dedup();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError(problems)) }
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> ConfigError {
        ConfigError(vec![problem])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&problem.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
