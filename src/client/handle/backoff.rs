//! Knows how long to wait before something is tried again.
//! Never: what is tried; clocks and randomness.

use std::time::Duration;

/// Delays that double from the first to the longest, each shortened by chance by up to half, so that many
/// clients of one daemon do not come back at the same moment.
#[derive(Clone, Debug)]
pub struct Backoff {
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// From a first delay to a longest one.
    pub fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { longest, next: first.min(longest) }
    }

    /// The next delay. `random` is any number, all as likely.
    pub fn next(&mut self, random: u64) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.longest);
        let share = 0.5 + (random >> 11) as f64 / (1_u64 << 54) as f64;
        Duration::try_from_secs_f64(whole.as_secs_f64() * share).unwrap_or(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_longest_and_vary() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(350));
        let mut next = |random| backoff.next(random);
        assert_eq!(next(0), ms(50));
        assert_eq!(next(1 << 63), ms(150), "three quarters of 200");
        assert!((ms(349)..=ms(350)).contains(&next(u64::MAX)));
        assert_eq!(next(0), ms(175));
        assert_eq!(Backoff::new(Duration::MAX, Duration::MAX).next(u64::MAX), Duration::MAX);
    }
}
