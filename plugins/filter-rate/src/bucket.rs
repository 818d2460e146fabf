//! Knows how full a bucket is, and forgets those that nobody has used for long.
//! Never: whose bucket it is, or what the time is.

use std::collections::HashMap;

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    /// How long it takes to fill an empty bucket, in nanoseconds.
    burst: u64,
}

impl Rate {
    pub(crate) fn new(per_second: f64, burst: f64) -> Rate {
        // Costs are rounded down and this is rounded up, so that a burst passes whole, however it is
        // divided. A century is enough for it, and leaves room for sums.
        let burst = (burst / per_second * 1e9).ceil() as u64;
        Rate { per_second, burst: burst.min(1 << 61) }
    }

    /// Takes an amount from a bucket, if there is room: when it will be full again. Otherwise how long it
    /// takes until there is. What is larger than the bucket passes when that is full, which then owes the
    /// rest: nothing is too large for ever, and in the long run the rate holds.
    pub(crate) fn take(&self, full_at: u64, amount: u64, now: u64) -> Result<u64, u64> {
        let missing = full_at.saturating_sub(now);
        let cost = (amount as f64 / self.per_second * 1e9) as u64;
        match (missing + cost.min(self.burst)).saturating_sub(self.burst) {
            0 => Ok(now + missing + cost),
            wait => Err(wait),
        }
    }
}

/// When the messages and when the bytes of somebody's bucket will be full again. 0: they are, and so are
/// all of whom nothing is known.
pub(crate) type FullAt = [u64; 2];

/// The most buckets that one limit keeps.
pub(crate) const BUCKETS_MAX: usize = 1 << 17;

/// The buckets of one limit by the number of whom they belong to. The half that was not used for longest
/// is forgotten at once when there are too many, which takes no time and no order to keep up.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    young: HashMap<u64, FullAt>,
    old: HashMap<u64, FullAt>,
}

impl Buckets {
    pub(crate) fn get(&self, who: u64) -> FullAt {
        self.young.get(&who).or_else(|| self.old.get(&who)).copied().unwrap_or_default()
    }

    pub(crate) fn set(&mut self, who: u64, full_at: FullAt) {
        if self.young.len() == BUCKETS_MAX / 2 {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(who, full_at);
    }

    pub(crate) fn forget(&mut self, who: u64) {
        self.young.remove(&who);
        self.old.remove(&who);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_passes_whole_and_the_next_one_at_the_nanosecond_that_was_told() {
        for (per_second, burst) in [(1.0, 1), (3.0, 7), (6.0, 6), (1562.5, 13), (0.3, 9), (1e6, 1000)] {
            let rate = Rate::new(per_second, burst as f64);
            let mut full_at = 5 * SECOND;
            for n in 0..burst {
                full_at = rate.take(full_at, 1, 9 * SECOND).unwrap_or_else(|wait| panic!("{n}: {wait}"));
            }
            let wait = rate.take(full_at, 1, 9 * SECOND).unwrap_err();
            assert!(rate.take(full_at, 1, 9 * SECOND + wait - 1).is_err());
            assert!(rate.take(full_at, 1, 9 * SECOND + wait).is_ok());
        }
    }

    #[test]
    fn in_the_long_run_as_much_passes_as_the_rate_says() {
        let rate = Rate::new(7.0, 20.0);
        let (mut full_at, mut passed) = (0, 0);
        for tenth in 0..1000 {
            for _ in 0..3 {
                if let Ok(then) = rate.take(full_at, 1, tenth * SECOND / 10) {
                    (full_at, passed) = (then, passed + 1);
                }
            }
        }
        let expected = 20 + (99.9 * 7.0) as i32;
        assert!((expected..=expected + 1).contains(&passed), "{passed}");
    }

    #[test]
    fn what_is_larger_than_the_bucket_passes_when_that_is_full_and_is_paid_for_later() {
        let rate = Rate::new(100.0, 50.0);
        let full_at = rate.take(0, 1000, SECOND).unwrap();
        assert_eq!(full_at, 11 * SECOND);
        assert_eq!(rate.take(full_at, 1, SECOND), Err(9_510_000_000));
        assert_eq!(rate.take(full_at, 1000, SECOND), Err(10 * SECOND));
        assert!(rate.take(full_at, 1000, 11 * SECOND).is_ok());
    }

    #[test]
    fn no_sum_overflows() {
        let rate = Rate::new(1.0, (1_u64 << 40) as f64);
        let (mut full_at, now) = (0, 1 << 62);
        while let Ok(then) = rate.take(full_at, 64 << 20, now) {
            full_at = then;
        }
    }

    #[test]
    fn buckets_are_bounded_and_those_in_use_stay() {
        let mut buckets = Buckets::default();
        for who in 0..3 * BUCKETS_MAX as u64 {
            buckets.set(who, [1, who]);
            buckets.set(0, [2, 3]);
            assert!(buckets.len() <= BUCKETS_MAX);
        }
        let last = 3 * BUCKETS_MAX as u64 - 1;
        assert_eq!([buckets.get(last), buckets.get(0), buckets.get(1)], [[1, last], [2, 3], [0, 0]]);
        buckets.forget(0);
        assert_eq!(buckets.get(0), [0, 0]);
    }
}
