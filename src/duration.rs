//! Knows how a duration is written: `500ms`, `5s`, `2m`, `1h`, or a plain number of seconds.
//! Never: what a duration is for, or how long it may be.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// A text that is no duration. `Display` says what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadDuration;

impl fmt::Display for BadDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("right are 500ms, 5s, 2m, 1h or plain seconds")
    }
}

impl Error for BadDuration {}

/// Reads a duration. The number may have a fraction (`0.5s`); without a unit it counts seconds.
pub fn parse(text: &str) -> Result<Duration, BadDuration> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let seconds = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(BadDuration),
    };
    let number: f64 = number.parse().map_err(|_| BadDuration)?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| BadDuration)
}

/// Writes a duration in the largest unit that needs no fraction, or else in seconds; [`parse`] reads it.
pub fn format(duration: Duration) -> String {
    match (duration.as_secs(), duration.subsec_nanos()) {
        (secs, 0) if secs > 0 && secs.is_multiple_of(3600) => format!("{}h", secs / 3600),
        (secs, 0) if secs > 0 && secs.is_multiple_of(60) => format!("{}m", secs / 60),
        (secs, 0) => format!("{secs}s"),
        (_, nanos) if nanos.is_multiple_of(1_000_000) => format!("{}ms", duration.as_millis()),
        _ => format!("{}s", duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_duration_is_read() {
        for (text, ms) in [
            ("500ms", 500),
            ("5s", 5000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("7", 7000),
            ("0.5", 500),
            ("1.5s", 1500),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            ".",
            "s",
            "-1s",
            "+1",
            "1 s",
            "1d",
            "1e3",
            "nan",
            "inf",
            "5ss",
            "10sec",
            "1.2.3",
            "1S",
            "99999999999999999999h",
        ] {
            assert_eq!(parse(text), Err(BadDuration), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for (micros, text) in [
            (0, "0s"),
            (1000, "1ms"),
            (1500, "0.0015s"),
            (1_500_000, "1500ms"),
            (61_000_000, "61s"),
            (120_000_000, "2m"),
            (3_600_000_000, "1h"),
        ] {
            let duration = Duration::from_micros(micros);
            assert_eq!(format(duration), text);
            assert_eq!(parse(text), Ok(duration), "{text}");
        }
    }
}
