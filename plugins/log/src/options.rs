//! Knows the options that all log plugins have, and how a plugin's `config` is read.
//! Never: what is done with them.

use serde::de::{DeserializeOwned, Deserializer, Error};
use serde::{Deserialize, de};
use serde_json::Value;
use telex_plugin::{Level, Record};

/// Reads a plugin's `config`. The error names the option and says what would be right.
pub fn options<T: DeserializeOwned>(config: &str) -> Result<T, String> {
    let config: Value =
        serde_json::from_str(config).map_err(|error| format!("config is no JSON: {error}"))?;
    if !config.is_object() {
        return Err("config is no JSON object".to_owned());
    }
    serde_path_to_error::deserialize(config).map_err(|error| error.to_string())
}

/// `level`: the least severe records that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxLevel(pub Level);

impl MaxLevel {
    /// Whether a record is one of those.
    pub fn takes(self, record: &Record<'_>) -> bool {
        record.level <= self.0
    }
}

impl Default for MaxLevel {
    fn default() -> MaxLevel {
        MaxLevel(Level::Info)
    }
}

impl<'de> Deserialize<'de> for MaxLevel {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<MaxLevel, D::Error> {
        let value = Value::deserialize(from)?;
        [Level::Error, Level::Warning, Level::Notice, Level::Info, Level::Debug]
            .into_iter()
            .find(|level| value == level.word())
            .map(MaxLevel)
            .ok_or_else(|| wrong(&value, r#""error", "warning", "notice", "info" or "debug""#))
    }
}

/// `max_queue_bytes`: how much may wait to be written before records are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxQueueBytes(pub usize);

impl Default for MaxQueueBytes {
    fn default() -> MaxQueueBytes {
        MaxQueueBytes(1 << 20)
    }
}

impl<'de> Deserialize<'de> for MaxQueueBytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<MaxQueueBytes, D::Error> {
        const LEAST: usize = 4 << 10;
        const MOST: usize = 1 << 30;
        let value = Value::deserialize(from)?;
        let bytes = match &value {
            Value::String(text) => quantity(text),
            number => number.as_u64().and_then(|number| usize::try_from(number).ok()),
        };
        bytes
            .filter(|bytes| (LEAST..=MOST).contains(bytes))
            .map(MaxQueueBytes)
            .ok_or_else(|| wrong(&value, r#"a number of bytes from "4KiB" to "1GiB""#))
    }
}

/// `64KiB`, as in the daemon's own configuration.
fn quantity(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

fn wrong<E: de::Error>(value: &Value, right: &str) -> E {
    Error::custom(format_args!("{value} is not right; it takes {right}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Debug, Default, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Options {
        path: String,
        level: MaxLevel,
        max_queue_bytes: MaxQueueBytes,
    }

    #[test]
    fn options_are_read_and_have_defaults() {
        assert_eq!(options("{}"), Ok(Options::default()));
        let config = r#"{"path":"/x","level":"debug","max_queue_bytes":"64KiB"}"#;
        let right = Options {
            path: "/x".into(),
            level: MaxLevel(Level::Debug),
            max_queue_bytes: MaxQueueBytes(65536),
        };
        assert_eq!(options(config), Ok(right));
        assert_eq!(options::<Options>(r#"{"max_queue_bytes":4096}"#).unwrap().max_queue_bytes.0, 4096);
    }

    #[test]
    fn what_is_wrong_is_named_and_what_is_right_is_told() {
        for (config, option, right) in [
            (r#"{"pth":"/x"}"#, "pth", "expected one of `path`, `level`, `max_queue_bytes`"),
            (r#"{"path":7}"#, "path", "expected a string"),
            (r#"{"level":"loud"}"#, "level", r#""loud" is not right; it takes "error", "warning""#),
            (r#"{"level":6}"#, "level", "6 is not right"),
            (r#"{"max_queue_bytes":"64 apples"}"#, "max_queue_bytes", r#"from "4KiB" to "1GiB""#),
            (r#"{"max_queue_bytes":-1}"#, "max_queue_bytes", "-1 is not right"),
            (r#"{"max_queue_bytes":"4095GiB"}"#, "max_queue_bytes", "is not right"),
            (r#"{"max_queue_bytes":1}"#, "max_queue_bytes", "1 is not right"),
            (r#"[]"#, "config", "no JSON object"),
            (r#"{"#, "config", "no JSON"),
        ] {
            let told = options::<Options>(config).unwrap_err();
            assert!(told.starts_with(option) && told.contains(right), "{config}: {told}");
        }
    }
}
