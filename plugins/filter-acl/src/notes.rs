//! Knows what the log was told in this minute.
//! Never: what is worth saying.

use std::collections::HashSet;
use std::time::{Duration, Instant};

/// How long something that was logged is not logged again, and how many different things are in that time.
const MINUTE: Duration = Duration::from_secs(60);
const TOLD_MAX: usize = 100;

/// What the log was told in this minute.
#[derive(Debug, Default)]
pub struct Told {
    since: Option<Instant>,
    keys: HashSet<String>,
    untold: u64,
}

impl Told {
    /// What to log now: the text, where nothing was logged under its key in this minute, and how many were
    /// not logged in the last one.
    pub fn tell(&mut self, key: &str, text: String, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        if self.since.is_none_or(|since| now.duration_since(since) >= MINUTE) {
            if self.untold > 0 {
                lines.push(format!(
                    "{} more refusals were not logged, being too many different ones",
                    self.untold
                ));
            }
            *self = Told { since: Some(now), ..Told::default() };
        }
        if self.keys.contains(key) {
            return lines;
        }
        if self.keys.len() == TOLD_MAX {
            self.untold += 1;
            return lines;
        }
        self.keys.insert(key.to_owned());
        lines.push(text);
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_told_once_in_a_minute() {
        let mut told = Told::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(told.tell("a", "1".into(), at(0)), ["1"]);
        assert_eq!(told.tell("b", "2".into(), at(59)), ["2"]);
        assert!(told.tell("a", "3".into(), at(59)).is_empty());
        assert_eq!(told.tell("a", "4".into(), at(60)), ["4"]);
        for other in 1..TOLD_MAX {
            assert_eq!(told.tell(&other.to_string(), "5".into(), at(61)).len(), 1);
        }
        assert!(told.tell("one too many", "6".into(), at(62)).is_empty());
        assert!(told.tell("another", "7".into(), at(62)).is_empty());
        let lines = told.tell("one too many", "8".into(), at(120));
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("2 more refusals"), "{lines:?}");
        assert_eq!(lines[1], "8");
        assert_eq!(told.tell("c", "9".into(), at(180)), ["9"], "they are counted once");
    }
}
