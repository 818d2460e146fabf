//! Knows what a record of the daemon's log says.
//! Never: how it is written, and where to.

use std::fmt::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use telex_plugin::{Level, Record};

/// A record of the daemon's log, as anybody can make one.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// How much it matters.
    pub level: Level,
    /// Nanoseconds since 1970.
    pub time: i64,
    /// What happened, as one fixed word.
    pub event: &'a str,
    /// The number of the connection that it is about.
    pub connection: Option<u64>,
    /// The first node ID of that connection.
    pub node_id: Option<&'a str>,
    /// Its user id.
    pub uid: Option<u32>,
    /// For people, on one line.
    pub message: &'a str,
    /// What else belongs to the event: a JSON object on one line.
    pub fields: &'a str,
}

impl<'a> From<&Record<'a>> for Entry<'a> {
    fn from(record: &Record<'a>) -> Entry<'a> {
        Entry {
            level: record.level(),
            time: record.time(),
            event: record.event(),
            connection: record.connection(),
            node_id: record.node_id(),
            uid: record.uid(),
            message: record.message(),
            fields: record.fields(),
        }
    }
}

impl Entry<'_> {
    /// The record that stands where `count` others are missing.
    pub(crate) fn lost(count: u64, write: impl FnOnce(&Entry<'_>)) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        write(&Entry {
            level: Level::Warning,
            time: i64::try_from(now.as_nanos()).unwrap_or(i64::MAX),
            event: "lost",
            connection: None,
            node_id: None,
            uid: None,
            message: &format!("{count} records lost"),
            fields: &format!("{{\"records\":{count}}}"),
        });
    }

    /// What it tells people, as the daemon writes it to stderr: `:7 is alice`.
    pub fn line(&self) -> Line<'_> {
        Line { connection: self.connection, message: self.message }
    }
}

/// See [`Entry::line`]. The daemon promises a message without control characters; a line end in one would
/// be a record that somebody else has written, so nothing relies on that promise.
#[derive(Debug)]
pub struct Line<'a> {
    connection: Option<u64>,
    message: &'a str,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(number) = self.connection {
            write!(f, ":{number} ")?;
        }
        for (at, part) in self.message.split(char::is_control).enumerate() {
            if at > 0 {
                f.write_char('\u{fffd}')?;
            }
            f.write_str(part)?;
        }
        Ok(())
    }
}
