//! Knows how much has been published to which topics in the last seconds.
//! Never: who published or got it.

use std::collections::HashMap;
use std::time::Duration;

use crate::core::after::Reached;

/// So many seconds are told of.
const SECONDS: usize = 10;
/// So many topics are counted by themselves.
const TOPICS_MAX: usize = 1000;
/// What has not been asked for so long is counted no more.
const ASKED_WITHIN: Duration = Duration::from_secs(60);

/// What has been published, while that is asked.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Traffic {
    since: Duration,
    asked_at: Duration,
    topics: HashMap<Box<str>, Seconds>,
    /// Messages to topics beyond the bound.
    others: Seconds,
    /// The second in which topics without messages were dropped.
    dropped_in: u64,
}

/// What was published in some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Counts {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) missed: u64,
    /// Of the last message: those that got or missed it.
    pub(crate) subscribers: usize,
}

/// The last seconds of a topic, each in the place of its number.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
struct Seconds([(u64, Counts); SECONDS]);

impl Seconds {
    fn add(&mut self, second: u64, bytes: usize, reached: Reached) {
        let (of, counts) = &mut self.0[place(second)];
        if *of != second {
            (*of, *counts) = (second, Counts::default());
        }
        counts.messages += 1;
        counts.bytes += bytes as u64;
        counts.missed += reached.missed as u64;
        counts.subscribers = reached.receivers + reached.missed;
    }

    /// The sum of those that are no older than [`SECONDS`].
    fn sum(&self, second: u64) -> Counts {
        let mut late: Vec<_> = self.0.iter().filter(|(of, _)| of + SECONDS as u64 > second).collect();
        late.sort_unstable_by_key(|(of, _)| *of);
        late.iter().fold(Counts::default(), |sum, (_, counts)| Counts {
            messages: sum.messages + counts.messages,
            bytes: sum.bytes + counts.bytes,
            missed: sum.missed + counts.missed,
            subscribers: if counts.messages > 0 { counts.subscribers } else { sum.subscribers },
        })
    }
}

impl Traffic {
    /// Begins to count.
    pub(crate) fn new(now: Duration) -> Traffic {
        let (topics, others) = (HashMap::new(), Seconds::default());
        Traffic { since: now, asked_at: now, topics, others, dropped_in: 0 }
    }

    /// Counts a message to `topic` with a line of `bytes` bytes.
    pub(crate) fn count(&mut self, topic: &str, bytes: usize, reached: Reached, now: Duration) {
        if now > self.asked_at + ASKED_WITHIN {
            return;
        }
        let second = number(now);
        if let Some(seconds) = self.topics.get_mut(topic) {
            return seconds.add(second, bytes, reached);
        }
        if self.topics.len() >= TOPICS_MAX && self.dropped_in != second {
            self.dropped_in = second;
            self.topics.retain(|_, seconds| seconds.sum(second).messages > 0);
        }
        match self.topics.len() < TOPICS_MAX {
            true => self.topics.entry(topic.into()).or_default().add(second, bytes, reached),
            false => self.others.add(second, bytes, reached),
        }
    }

    /// Takes note that it is asked for: what is published up to [`ASKED_WITHIN`] from now counts.
    pub(crate) fn asked(&mut self, now: Duration) {
        if now > self.asked_at + ASKED_WITHIN {
            *self = Traffic::new(now);
        }
        self.asked_at = now;
    }

    /// The topics with the most messages first, of equal ones in the order of their names.
    pub(crate) fn busiest(&self, now: Duration) -> Vec<(&str, Counts)> {
        let sums = self.topics.iter().map(|(topic, seconds)| (&**topic, seconds.sum(number(now))));
        let mut all: Vec<_> = sums.filter(|(_, counts)| counts.messages > 0).collect();
        all.sort_unstable_by(|(a, one), (b, other)| other.messages.cmp(&one.messages).then(a.cmp(b)));
        all
    }

    /// How many messages went to topics beyond the bound.
    pub(crate) fn others(&self, now: Duration) -> u64 {
        self.others.sum(number(now)).messages
    }

    /// The time that the counts are of.
    pub(crate) fn counted_for(&self, now: Duration) -> Duration {
        (now - self.since).min(Duration::from_secs(SECONDS as u64))
    }
}

/// The number of a second; never 0, which stands for none.
fn number(now: Duration) -> u64 {
    now.as_secs() + SECONDS as u64
}

#[expect(clippy::cast_possible_truncation, reason = "it is less than SECONDS")]
fn place(second: u64) -> usize {
    (second % SECONDS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const REACHED: Reached = Reached { receivers: 2, missed: 1 };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_last_ten_seconds_count() {
        let mut traffic = Traffic::new(at(100));
        traffic.count("b", 10, REACHED, at(100));
        traffic.count("a", 10, REACHED, at(100));
        traffic.count("b", 30, Reached { receivers: 5, missed: 0 }, at(105));
        let counts = |messages, bytes, missed, subscribers| Counts { messages, bytes, missed, subscribers };
        let busiest = traffic.busiest(at(109));
        assert_eq!(busiest, [("b", counts(2, 40, 1, 5)), ("a", counts(1, 10, 1, 3))]);
        assert_eq!(traffic.busiest(at(110)), [("b", counts(1, 30, 0, 5))]);
        assert_eq!(traffic.counted_for(at(105)), at(5));
        assert_eq!(traffic.counted_for(at(150)), at(10));
        assert_eq!(traffic.busiest(at(120)), []);
    }

    #[test]
    fn topics_without_messages_make_room_for_others() {
        let mut traffic = Traffic::new(at(0));
        for name in 0..TOPICS_MAX {
            traffic.count(&format!("t{name}"), 1, REACHED, at(0));
        }
        traffic.count("late", 1, REACHED, at(9));
        assert_eq!((traffic.busiest(at(9)).len(), traffic.others(at(9))), (TOPICS_MAX, 1));
        traffic.count("late", 1, REACHED, at(10));
        assert_eq!(traffic.busiest(at(10)).iter().map(|(topic, _)| *topic).collect::<Vec<_>>(), ["late"]);
    }

    #[test]
    fn what_is_asked_no_more_is_counted_no_more() {
        let mut traffic = Traffic::new(at(0));
        traffic.count("a", 1, REACHED, at(61));
        assert!(traffic.topics.is_empty());
        traffic.asked(at(61));
        traffic.count("a", 1, REACHED, at(61));
        assert_eq!(traffic.busiest(at(61)).len(), 1);
    }
}
