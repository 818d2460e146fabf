//! Knows what was said already: what the log was told in this minute, and what a file has of learned rules.
//! Never: what is worth saying.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long something that was logged is not logged again, and how many different things are in that time.
const MINUTE: Duration = Duration::from_secs(60);
const TOLD_MAX: usize = 100;

/// How many rules are learned.
const LEARNED_MAX: usize = 10_000;

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

/// The file of learned rules.
#[derive(Debug)]
pub struct Learned {
    /// None when nothing more can be written.
    file: Option<File>,
    rules: HashSet<String>,
}

impl Learned {
    /// Opens or makes a file. What it has is not learned again.
    pub fn open(path: &Path) -> Result<Learned, String> {
        let fault =
            |error| format!("\"learn_file\" is \"{}\", which cannot be opened: {error}", path.display());
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(fault)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(fault)?;
        let rules = text.lines().map(|line| line.trim().to_owned()).take(LEARNED_MAX).collect();
        Ok(Learned { file: Some(file), rules })
    }

    /// Writes a rule where it is new. The error is for the log, and the last one: nothing more is learned.
    pub fn learn(&mut self, rule: &str) -> Result<(), String> {
        let Some(file) = &mut self.file else { return Ok(()) };
        if self.rules.contains(rule) {
            return Ok(());
        }
        let done = match self.rules.len() {
            LEARNED_MAX.. => {
                Err(format!("{LEARNED_MAX} rules are learned, which is enough; write some that say more"))
            }
            _ => file
                .write_all(format!("{rule}\n").as_bytes())
                .map_err(|error| format!("cannot write what is learned: {error}")),
        };
        match done {
            Ok(()) => drop(self.rules.insert(rule.to_owned())),
            Err(_) => self.file = None,
        }
        done
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

    #[test]
    fn a_rule_is_written_once_also_by_the_next_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("learned.toml");
        let mut learned = Learned::open(&path).unwrap();
        for rule in ["{ one },", "{ two },", "{ one },"] {
            learned.learn(rule).unwrap();
            assert!(std::fs::read_to_string(&path).unwrap().contains(rule), "it is in the file at once");
        }
        Learned::open(&path).unwrap().learn("{ two },").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{ one },\n{ two },\n");
    }

    #[test]
    fn what_is_learned_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("learned.toml");
        let text: String = (0..LEARNED_MAX).map(|number| format!("{number}\n")).collect();
        std::fs::write(&path, &text).unwrap();
        let mut learned = Learned::open(&path).unwrap();
        assert_eq!(learned.learn("7"), Ok(()));
        assert!(learned.learn("new").unwrap_err().contains("10000 rules"));
        assert_eq!(learned.learn("new"), Ok(()), "that is told once");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told() {
        assert!(Learned::open(Path::new("/")).unwrap_err().contains("\"/\""));
        let mut learned = Learned {
            file: Some(OpenOptions::new().write(true).open("/dev/full").unwrap()),
            rules: HashSet::new(),
        };
        assert!(learned.learn("{ one },").unwrap_err().contains("cannot write"));
        assert_eq!(learned.learn("{ one },"), Ok(()));
    }
}
