//! Knows stdout, stderr, and how foreign text is made safe for a terminal.
//! Never: what is said.

use std::io::{BufWriter, IsTerminal, Stdout, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::colour::{Colours, Hue};
use crate::exit::Failure;

/// Results, line by line.
pub(crate) struct Results {
    out: BufWriter<Stdout>,
    is_terminal: bool,
}

impl Results {
    pub(crate) fn new() -> Results {
        let stdout = std::io::stdout();
        Results { is_terminal: stdout.is_terminal(), out: BufWriter::new(stdout) }
    }

    /// Writes one line. On a terminal nothing in it drives that.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Failure> {
        if self.is_terminal { self.painted(&safe_json(line)) } else { self.painted(line) }
    }

    /// Writes one line of which all that others have written was made safe, and which may have colours.
    pub(crate) fn painted(&mut self, line: &str) -> Result<(), Failure> {
        let written = self.out.write_all(line.as_bytes()).and_then(|()| self.out.write_all(b"\n"));
        written.map_err(|error| Failure::file("stdout", &error))
    }

    /// Hands all that was written to the reader. To be called at the end, too: a failure after that would go
    /// untold.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| Failure::file("stdout", &error))
    }
}

/// Words for people.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    pub(crate) quiet: bool,
    pub(crate) colours: Colours,
}

impl Words {
    /// Says `words`, unless it is to be quiet. If that fails there is no other way left to tell.
    pub(crate) fn say(self, words: &str) {
        self.write("telex:", words);
    }

    /// The same of what went wrong.
    pub(crate) fn fail(self, words: &str) {
        self.write(&self.colours.paint(Hue::Bad, "telex:"), words);
    }

    fn write(self, who: &str, words: &str) {
        if self.quiet {
            return;
        }
        let mut err = std::io::stderr().lock();
        for line in words.lines() {
            let _ = writeln!(err, "{who} {}", safe(line));
        }
    }
}

/// So many of something.
pub(crate) fn counted(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// How long ago a time since 1970 is, in the largest unit that counts more than one.
pub(crate) fn age(since: &Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    since.as_f64().map_or_else(|| "-".to_owned(), |since| span((now - since).max(0.0)))
}

/// So many seconds, in the largest unit that counts more than one.
pub(crate) fn span(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0}s"),
        ..7200.0 => format!("{:.0}m", seconds / 60.0),
        ..172_800.0 => format!("{:.0}h", seconds / 3600.0),
        _ => format!("{:.0}d", seconds / 86400.0),
    }
}

/// How many milliseconds the oldest line of a queue has waited; a dash if there is none.
pub(crate) fn waited(ms: f64) -> String {
    match ms {
        ..1.0 => "-".to_owned(),
        ..10_000.0 => format!("{ms:.0}ms"),
        _ => format!("{:.0}s", ms / 1000.0),
    }
}

/// A count of bytes in the largest unit that counts more than one.
pub(crate) fn size(bytes: &Value) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let Some(bytes) = bytes.as_u64() else { return "-".to_owned() };
    let mut size = (bytes.to_string(), bytes as f64);
    for unit in UNITS {
        if size.1 < 1024.0 {
            break;
        }
        let less = size.1 / 1024.0;
        size = (format!("{less:.1}{unit}"), less);
    }
    size.0
}

/// A time since 1970 as a clock in UTC shows it.
pub(crate) fn clock(time: &Value) -> String {
    let Some(seconds) = time.as_f64() else { return "-".to_owned() };
    let (whole, ms) = (seconds as u64, (seconds.fract() * 1000.0) as u64);
    format!("{:02}:{:02}:{:02}.{ms:03}", whole / 3600 % 24, whole / 60 % 60, whole % 60)
}

/// Text of others with everything spelled out that could drive a terminal, or that has no sign of its own: control
/// characters, those that turn the direction of what follows, unassigned ones.
pub(crate) fn safe(text: &str) -> String {
    safe_with(text, |c, out| out.extend(c.escape_debug()))
}

/// The same in the way of JSON, which is the same value then.
pub(crate) fn safe_json(line: &str) -> String {
    safe_with(line, |c, out| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    })
}

fn safe_with(text: &str, escape: impl Fn(char, &mut String)) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Behind a letter, so that a mark that belongs on one is not spelled out.
        let is_safe =
            matches!(c, ' '..='~') || ['a', c].iter().collect::<String>().escape_debug().nth(1) == Some(c);
        if is_safe { out.push(c) } else { escape(c, &mut out) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_clocks() {
        use serde_json::json;
        for (bytes, shown) in [(0, "0"), (1023, "1023"), (1024, "1.0KiB"), (1_572_864, "1.5MiB")] {
            assert_eq!(size(&json!(bytes)), shown);
        }
        assert_eq!(size(&Value::Null), "-");
        assert_eq!(clock(&json!(1_700_000_000.25)), "22:13:20.250");
    }

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(safe("a\u{1b}[2J\u{9b}ä\t"), "a\\u{1b}[2J\\u{9b}ä\\t");
        assert_eq!(safe("a\u{202e}b\u{2066}\u{200f}"), "a\\u{202e}b\\u{2066}\\u{200f}");
        assert_eq!(safe_json("[\"\u{9b}\u{e0001}ä\"]"), "[\"\\u009b\\udb40\\udc01ä\"]");
        assert_eq!(safe("\u{378}\u{e000}"), "\\u{378}\\u{e000}", "unassigned, private");
        assert_eq!(safe("\"\\' नमस्ते e\u{301}"), "\"\\' नमस्ते e\u{301}");
    }
}
