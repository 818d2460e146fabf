//! Knows how quantities are written, with their units, and that they have a range: sizes, counts,
//! times.
//! Never: which setting a quantity is for, or where it stands.

use std::time::Duration;

use toml::de::{DeInteger, DeValue};

use super::value::{Form, quoted};
use crate::duration;
use crate::toml_file::{Value, Wrong};

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;
pub(super) const TIB: u64 = 1 << 40;

/// A number of bytes, from the first to the second.
pub(super) struct Bytes(pub u64, pub u64);
/// A number of things, from the first to the second.
pub(super) struct Count(pub u64, pub u64);
/// A time, from the first to the second.
pub(super) struct Time(pub Duration, pub Duration);

impl Form for Bytes {
    type Held = usize;

    fn expected(&self) -> String {
        let (min, max) = (size(self.0), size(self.1));
        format!("a number of bytes from {min} to {max}, such as 65536, \"64KiB\", \"1MiB\" or \"1GiB\"")
    }

    fn read(&self, value: &Value<'_>) -> Result<usize, Wrong> {
        let bytes = match value.get_ref() {
            DeValue::Integer(number) => integer(number),
            DeValue::String(text) => read_size(text),
            _ => None,
        };
        self.accept(value, within(bytes, self.0, self.1))
    }

    fn show(&self, held: &usize) -> Option<String> {
        let text = size(*held as u64);
        Some(if text.ends_with('B') { quoted(&text) } else { text })
    }
}

impl Form for Count {
    type Held = usize;

    fn expected(&self) -> String {
        format!("a whole number from {} to {}", self.0, self.1)
    }

    fn read(&self, value: &Value<'_>) -> Result<usize, Wrong> {
        let count = value.get_ref().as_integer().and_then(integer);
        self.accept(value, within(count, self.0, self.1))
    }

    fn show(&self, held: &usize) -> Option<String> {
        Some(held.to_string())
    }
}

impl Form for Time {
    type Held = Duration;

    fn expected(&self) -> String {
        let (min, max) = (duration::format(self.0), duration::format(self.1));
        format!(
            "a time from {min} to {max}, such as \"500ms\", \"10s\", \"2m\", \"1h\" or a number of seconds"
        )
    }

    fn read(&self, value: &Value<'_>) -> Result<Duration, Wrong> {
        let held = match value.get_ref() {
            DeValue::Integer(number) => integer(number).map(Duration::from_secs),
            DeValue::Float(number) => seconds(number.as_str()),
            DeValue::String(text) => duration::parse(text).ok(),
            _ => None,
        };
        self.accept(value, held.filter(|held| (self.0..=self.1).contains(held)))
    }

    fn show(&self, held: &Duration) -> Option<String> {
        Some(quoted(&duration::format(*held)))
    }
}

fn integer(number: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn seconds(number: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(number.parse().ok()?).ok()
}

fn within(number: Option<u64>, min: u64, max: u64) -> Option<usize> {
    number.filter(|number| (min..=max).contains(number)).and_then(|number| usize::try_from(number).ok())
}

/// Reads a number of bytes: digits, and a unit behind them or none.
fn read_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "" => 1,
        "KiB" => KIB,
        "MiB" => MIB,
        "GiB" => GIB,
        "TiB" => TIB,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// A number of bytes in the largest unit that needs no fraction.
pub(super) fn size(bytes: u64) -> String {
    let units = [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
    match units.iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::tests::{told, value};

    #[test]
    fn sizes() {
        let form = Bytes(KIB, GIB);
        for (text, bytes) in [
            ("1024", 1 << 10),
            ("65_536", 1 << 16),
            ("0x400", 1 << 10),
            ("\"2000\"", 2000),
            ("\"64KiB\"", 1 << 16),
            ("\"1MiB\"", 1 << 20),
            ("\"1GiB\"", 1 << 30),
        ] {
            assert_eq!(form.read(&value(text)).ok(), Some(bytes), "{text}");
        }
        for text in [
            "1023",
            "1073741825",
            "-1024",
            "1024.0",
            "true",
            "[1024]",
            "\"\"",
            "\"KiB\"",
            "\"64K\"",
            "\"64KB\"",
            "\"64 KiB\"",
            "\"64kib\"",
            "\"+2000\"",
            "\"-2000\"",
            "\"1.5MiB\"",
            "\"2GiB\"",
            "\"lots\"",
            "99999999999999999999",
            "\"17179869185GiB\"",
        ] {
            assert!(told(&form, text).contains("; it must be a number of bytes from 1KiB to 1GiB"), "{text}");
        }
    }

    #[test]
    fn times() {
        let form = Time(Duration::from_millis(1), Duration::from_secs(3600));
        for (text, ms) in [
            ("10", 10_000),
            ("0.25", 250),
            ("\"10s\"", 10_000),
            ("\"500ms\"", 500),
            ("\"1ms\"", 1),
            ("\"2m\"", 120_000),
            ("\"1h\"", 3_600_000),
            ("\"1.5s\"", 1500),
            ("\"30\"", 30_000),
        ] {
            assert_eq!(form.read(&value(text)).ok(), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in [
            "0",
            "-1",
            "3601",
            "0.0009",
            "nan",
            "inf",
            "-0.5",
            "1e300",
            "false",
            "\"61m\"",
            "\"2h\"",
            "\"0s\"",
            "\"\"",
            "\"s\"",
            "\".\"",
            "\"1 s\"",
            "\"-1s\"",
            "\"1e1s\"",
            "\"1.2.3s\"",
            "\"10sec\"",
            "\"1d\"",
            "99999999999999999999",
        ] {
            assert!(told(&form, text).contains("; it must be a time from 1ms to 1h, such as"), "{text}");
        }
    }

    #[test]
    fn counts() {
        let form = Count(1, 100);
        assert_eq!(form.read(&value("1")).ok(), Some(1));
        assert_eq!(form.read(&value("100")).ok(), Some(100));
        for text in ["0", "101", "-1", "1.0", "\"1\"", "true"] {
            let wanted = format!("is {text}; it must be a whole number from 1 to 100");
            assert_eq!(told(&form, text), wanted);
        }
    }

    #[test]
    fn sizes_are_shown_in_their_largest_unit() {
        for (bytes, text) in [
            (0, "0"),
            (1000, "1000"),
            (1 << 10, "1KiB"),
            (3 << 20, "3MiB"),
            (1 << 30, "1GiB"),
            (1 << 42, "4TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
