//! Knows what is due when.
//! Never: whether it still matters; that is looked up when it is due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::core::SessionKey;
use crate::core::table::requests::RequestKey;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Timer {
    /// An open request has waited long enough.
    Request(RequestKey),
    /// A held request (of this session, with this ticket) has waited long enough.
    Held(SessionKey, u64),
    /// Whether a peer that has to read on does.
    Progress(SessionKey),
    /// A connection of an administrator's that is there beyond all bounds has said nothing for long enough.
    KeptBack(SessionKey),
    /// Whether memory is still short.
    Pressure,
}

/// Deadlines in order. Those that do not matter any more stay until they are half of all, so that an
/// answer in time costs no search.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Duration, u64, Timer)>>,
    set: u64,
    stale: usize,
}

impl Timers {
    pub(crate) fn set(&mut self, at: Duration, timer: Timer) {
        self.set += 1;
        self.heap.push(Reverse((at, self.set, timer)));
    }

    /// The first deadline.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Takes the first timer that is due at `now`; of equal ones the one that was set first.
    pub(crate) fn due(&mut self, now: Duration) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, _, timer))| timer)
    }

    /// Takes note that one more timer is stale. About: one that is due by then counts too.
    pub(crate) fn gone_stale(&mut self) {
        self.stale += 1;
    }

    /// Whether so many are stale that they are worth dropping: more than `least`, and half of all.
    pub(crate) fn has_many_stale(&self, least: usize) -> bool {
        self.stale > least && self.stale > self.heap.len() / 2
    }

    /// Drops the stale ones. To be called only when every timer that matters can be told from what has it set:
    /// in the middle of a step, a line that is on its way from one row to another has its timer still.
    pub(crate) fn prune(&mut self, matters: impl Fn(Duration, Timer) -> bool) {
        self.stale = 0;
        self.heap.retain(|Reverse((at, _, timer))| matters(*at, *timer));
        self.heap.shrink_to(2 * self.heap.len());
    }

    /// Every timer that is set.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Duration, Timer)> {
        self.heap.iter().map(|Reverse((at, _, timer))| (*at, *timer))
    }

    /// Drops timers from the front that do not matter any more, so that the shell is not woken for them.
    pub(crate) fn skip_stale(&mut self, matters: impl Fn(Duration, Timer) -> bool) {
        while let Some(Reverse((at, _, timer))) = self.heap.peek() {
            if matters(*at, *timer) {
                return;
            }
            self.heap.pop();
            self.stale = self.stale.saturating_sub(1);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmap::SlotMap;

    #[test]
    fn due_in_order_and_stale_ones_go() {
        let mut requests: SlotMap<RequestKey, ()> = SlotMap::with_key();
        let mut timers = Timers::default();
        let at = Duration::from_secs;
        let keys: Vec<_> = (0..1000).map(|_| requests.insert(())).collect();
        for (second, &key) in keys.iter().enumerate() {
            timers.set(at(second as u64 / 2), Timer::Request(key));
        }
        assert_eq!(timers.due(at(0)), Some(Timer::Request(keys[0])));
        assert_eq!(timers.due(at(0)), Some(Timer::Request(keys[1])));
        assert_eq!(timers.due(at(0)), None);
        for key in &keys[2..900] {
            requests.remove(*key);
            timers.gone_stale();
            if timers.has_many_stale(64) {
                timers.prune(|_, timer| matches!(timer, Timer::Request(key) if requests.contains_key(key)));
            }
        }
        assert!(timers.len() < 400, "{}", timers.len());
        timers.skip_stale(|_, timer| matches!(timer, Timer::Request(key) if requests.contains_key(key)));
        assert_eq!(timers.next(), Some(at(450)));
    }
}
