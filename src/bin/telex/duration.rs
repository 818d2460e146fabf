//! Knows how people write a duration: `500ms`, `5s`, `2m`, `1h`, plain seconds.
//! Never: what it is for.

use std::time::Duration;

/// Reads a duration; a fraction such as `0.5s` is allowed. The error is for people.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1.0,
        "s" | "" => 1e3,
        "m" => 60e3,
        "h" => 3600e3,
        _ => return Err(wrong()),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(wrong());
    }
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * unit_ms / 1e3).map_err(|_| wrong())
}

fn wrong() -> String {
    "right are 500ms, 5s, 2m, 1h or plain seconds".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_and_refused() {
        for (text, ms) in [
            ("500ms", 500),
            ("5s", 5000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("7", 7000),
            ("0.5", 500),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in
            ["", "s", "-1s", "+1", "1 s", "1d", "1e3", "nan", "inf", "5ss", "1.2.3", "99999999999999999999h"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
