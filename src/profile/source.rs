//! Knows where settings come from.
//! Never: what they are.

use std::fmt;
use std::path::PathBuf;

/// Where a setting gets its value. `Display` is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A profile of the file, be it a parent of the one that is asked for.
    Profile {
        /// Its name.
        name: String,
        /// The file.
        path: PathBuf,
        /// The line, from 1 on.
        line: usize,
    },
    /// The table `[global]` of the file.
    Global {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on.
        line: usize,
    },
    /// The program.
    Program,
    /// Nothing sets it.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Profile { name, path, line } => {
                write!(f, "{}:{line}: [profile.{name}]", path.display())
            }
            Source::Global { path, line } => write!(f, "{}:{line}: [global]", path.display()),
            Source::Program => f.write_str("the program"),
            Source::Default => f.write_str("the default"),
        }
    }
}
