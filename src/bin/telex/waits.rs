//! Knows how long requests took: a histogram, and its two ends to the nanosecond.
//! Never: when a request begins.

use std::time::Duration;

use hdrhistogram::Histogram;

/// How long requests took.
pub(crate) struct Waits {
    /// In nanoseconds, each rounded up by a thousandth at most.
    histogram: Histogram<u64>,
    /// The shortest and the longest, which the histogram rounds, too.
    ends: Option<(Duration, Duration)>,
}

impl Waits {
    pub(crate) fn new() -> Waits {
        const DIGITS: u8 = 3;
        // What takes longer counts as so long.
        const NS_MAX: u64 = 3_600_000_000_000;
        let histogram = Histogram::new_with_bounds(1, NS_MAX, DIGITS).expect("bounds that are right");
        Waits { histogram, ends: None }
    }

    pub(crate) fn add(&mut self, wait: Duration) {
        self.histogram.saturating_record(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
        let (min, max) = self.ends.unwrap_or((wait, wait));
        self.ends = Some((min.min(wait), max.max(wait)));
    }

    /// The part `quantile` of all took no longer than this.
    pub(crate) fn at(&self, quantile: f64) -> Duration {
        let (min, max) = self.ends.unwrap_or_default();
        Duration::from_nanos(self.histogram.value_at_quantile(quantile)).clamp(min, max)
    }

    /// The shortest and the longest.
    pub(crate) fn ends(&self) -> (Duration, Duration) {
        self.ends.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_exact_and_the_rest_nearly() {
        let mut waits = Waits::new();
        assert_eq!((waits.at(0.5), waits.ends()), (Duration::ZERO, (Duration::ZERO, Duration::ZERO)));
        (1..=1000).for_each(|us| waits.add(Duration::from_nanos(us * 1000 + 3)));
        assert_eq!(waits.ends(), (Duration::from_nanos(1003), Duration::from_nanos(1_000_003)));
        assert_eq!(waits.at(1.0), Duration::from_nanos(1_000_003));
        let median = waits.at(0.5).as_nanos();
        assert!((500_003..=500_504).contains(&median), "{median}");
        // Longer than any histogram knows.
        waits.add(Duration::MAX);
        assert_eq!(waits.ends().1, Duration::MAX);
    }
}
