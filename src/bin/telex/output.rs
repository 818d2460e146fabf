//! Knows stdout, stderr, and how foreign text is made safe for a terminal.
//! Never: what is said.

use std::fmt::Write as _;
use std::io::{BufWriter, Stdout, Write};

use crate::exit::Failure;

/// Results, line by line.
pub(crate) struct Results(BufWriter<Stdout>);

impl Results {
    pub(crate) fn new() -> Results {
        Results(BufWriter::new(std::io::stdout()))
    }

    /// Writes one line.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Failure> {
        let written = self.0.write_all(line.as_bytes()).and_then(|()| self.0.write_all(b"\n"));
        written.map_err(|error| Failure::file("stdout", &error))
    }

    /// Hands all that was written to the reader. To be called at the end, too: a failure after that would go
    /// untold.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(|error| Failure::file("stdout", &error))
    }
}

/// Words for people.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    pub(crate) quiet: bool,
}

impl Words {
    /// Says `words`, unless it is to be quiet. If that fails there is no other way left to tell.
    pub(crate) fn say(self, words: &str) {
        if self.quiet {
            return;
        }
        let mut err = std::io::stderr().lock();
        for line in words.lines() {
            let _ = writeln!(err, "telex: {}", safe(line));
        }
    }
}

/// Text of others with its control characters spelled out, which could drive a terminal.
pub(crate) fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(safe("a\u{1b}[2J\u{9b}ä\t"), "a\\u{1b}[2J\\u{9b}ä\\t");
    }
}
