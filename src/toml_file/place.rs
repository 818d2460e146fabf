//! Knows where a value is given, in the text of a file or outside of it, and tells a fault with its place.
//! Never: what is a fault.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeString, DeTable};

use crate::toml_file::fault::Problem;
use crate::toml_file::value::Wrong;

/// A file that has been read.
#[derive(Debug)]
pub(crate) struct File {
    /// Its place in the order of all; 0 is the one that is named.
    pub nth: usize,
    pub path: PathBuf,
    pub text: String,
}

/// Where a value is given.
pub(crate) enum Place<'t> {
    /// In a file, under a key in full (`profile.NAME.KEY`) at a range of the text.
    File(&'t File, String, Range<usize>),
    /// Outside of the files: the option, and the key that it sets.
    Outside(&'static str, &'t str),
}

impl Place<'_> {
    /// A fault of the value given here.
    pub(crate) fn problem(&self, wrong: Wrong) -> Problem {
        match self {
            Place::File(file, key, at) => file.problem(wrong.span.as_ref().unwrap_or(at), key, &wrong.text),
            Place::Outside(..) => Problem::outside(format!("{self}: {}", wrong.text)),
        }
    }

    /// The file and line, or the option.
    pub(crate) fn position(&self) -> String {
        match self {
            Place::File(file, _, at) => file.position(at),
            Place::Outside(option, _) => (*option).to_owned(),
        }
    }

    /// The position, and the profile that the value is in.
    pub(crate) fn source(&self) -> String {
        let table = match self {
            Place::File(_, key, _) => key.rsplit_once('.'),
            Place::Outside(..) => None,
        };
        match table {
            Some((profile, _)) => format!("{} ({profile})", self.position()),
            None => self.position(),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(_, key, _) => write!(f, "{}: {key}", self.position()),
            Place::Outside(option, key) => write!(f, "{option} {key}"),
        }
    }
}

impl File {
    /// The place of a value by its key; `prefix` is that of the table it is in.
    pub(crate) fn place(&self, prefix: &str, key: &Spanned<DeString<'_>>) -> Place<'_> {
        Place::File(self, format!("{prefix}{}", key.get_ref()), key.span())
    }

    /// The number of the line in which a range of the text begins.
    pub(crate) fn line(&self, at: &Range<usize>) -> usize {
        line(&self.text, at.start)
    }

    /// A fault of `key` at a range of the text.
    pub(crate) fn problem(&self, at: &Range<usize>, key: &str, text: &str) -> Problem {
        let line = self.line(at);
        Problem { file: self.nth, line, text: format!("{}:{line}: {key}: {text}", self.path.display()) }
    }

    fn position(&self, at: &Range<usize>) -> String {
        format!("{}:{}", self.path.display(), self.line(at))
    }

    /// The tables of the text, or the fault that it is no TOML.
    pub(crate) fn parse(&self) -> Result<DeTable<'_>, Problem> {
        DeTable::parse(&self.text).map(Spanned::into_inner).map_err(|error| self.no_toml(&error))
    }

    fn no_toml(&self, error: &toml::de::Error) -> Problem {
        let at = error.span().map_or(0, |span| span.start.min(self.text.len()));
        let line = line(&self.text, at);
        let before = &self.text.as_bytes()[..at];
        let column = at - before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1) + 1;
        let (path, why) = (self.path.display(), error.message());
        // It saves counting columns.
        let key = error.span().filter(|_| why == "duplicate key").and_then(|span| self.text.get(span));
        let key = key.map_or_else(String::new, |key| format!(" {key}"));
        let text = format!("{path}:{line}: is no TOML at column {column}: {why}{key}");
        Problem { file: self.nth, line, text }
    }
}

/// The number of the line that has the byte at `at`.
pub(crate) fn line(text: &str, at: usize) -> usize {
    let before = &text.as_bytes()[..at.min(text.len())];
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}
