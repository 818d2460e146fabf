//! Knows what a record tells people.
//! Never: where it is written.

use std::fmt::{self, Write};

use telex_plugin::Record;

/// What a record tells people, as the daemon writes it to stderr: `:7 is alice`. The daemon promises a
/// message without control characters; a line end in one would be a record that somebody else has written,
/// so nothing relies on that promise.
#[derive(Debug)]
pub struct Line<'a>(pub &'a Record<'a>);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(number) = self.0.connection {
            write!(f, ":{number} ")?;
        }
        for (at, part) in self.0.message.split(char::is_control).enumerate() {
            if at > 0 {
                f.write_char('\u{fffd}')?;
            }
            f.write_str(part)?;
        }
        Ok(())
    }
}
