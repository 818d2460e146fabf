//! Knows how often something has happened that is told of once a second at most.
//! Never: what it is, or how it is told.

use std::time::Duration;

/// How long nothing is told behind what was told.
const PAUSE: Duration = Duration::from_secs(1);

/// What a peer can make happen again and again, as fast as it likes: told each time, it would fill
/// the log and hold up the loop.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub struct Repeats {
    told_at: Option<Duration>,
    untold: u64,
}

impl Repeats {
    /// It has happened once more. If it is to be told now: how often it has happened since it was
    /// told last, this time included.
    pub fn count(&mut self, now: Duration) -> Option<u64> {
        self.untold += 1;
        if self.told_at.is_some_and(|at| now < at + PAUSE) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_rest_once_a_second() {
        let mut repeats = Repeats::default();
        let mut told = Vec::new();
        for ms in [5, 5, 6, 900, 1004, 1005, 1006, 2004, 5000, 5999, 6000] {
            if let Some(count) = repeats.count(Duration::from_millis(ms)) {
                told.push((ms, count));
            }
        }
        assert_eq!(told, [(5, 1), (1005, 5), (5000, 3), (6000, 2)]);
    }
}
