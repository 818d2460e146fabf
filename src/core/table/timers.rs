//! Knows what is due when.
//! Never: whether it still matters; that is looked up when it is due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::time::Duration;

use crate::core::SessionKey;
use crate::core::table::requests::RequestKey;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
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

type Heap = BinaryHeap<Reverse<(Duration, u64, Timer)>>;

/// Deadlines in order. Those that do not matter any more stay until they are half of all, so that an
/// answer in time costs no search.
///
/// Many are kept in several heaps, so that what has gone stale among a million is dropped in steps. Few are in
/// one.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Timers {
    heaps: Vec<Heap>,
    #[cfg_attr(feature = "daemon", serde(skip))]
    heap_max: usize,
    set: u64,
    stale: usize,
    /// The heap from which the stale ones are dropped next, and how many have gone stale since that began.
    at: usize,
    stale_meanwhile: usize,
}

impl Timers {
    /// None are set. A heap will have `heap_max` of them at most.
    pub(crate) fn new(heap_max: usize) -> Timers {
        Timers { heap_max, ..Timers::default() }
    }

    /// Sets how many a heap may have, which is not carried to another process.
    #[cfg(feature = "daemon")]
    pub(crate) fn tune(&mut self, heap_max: usize) {
        self.heap_max = heap_max;
    }

    pub(crate) fn set(&mut self, at: Duration, timer: Timer) {
        self.set += 1;
        let entry = Reverse((at, self.set, timer));
        // One with room that others have left, so that there are never more heaps than the most timers needed.
        match self.heaps.iter_mut().find(|heap| heap.len() < self.heap_max) {
            Some(heap) => heap.push(entry),
            None => self.heaps.push(Heap::from([entry])),
        }
    }

    /// The heap with the first deadline.
    fn first(&mut self) -> Option<&mut Heap> {
        self.heaps.iter_mut().filter(|heap| !heap.is_empty()).max_by(|a, b| a.peek().cmp(&b.peek()))
    }

    /// The first deadline.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.heaps.iter().filter_map(Heap::peek).max().map(|Reverse((at, _, _))| *at)
    }

    /// Takes the first timer that is due at `now`; of equal ones the one that was set first.
    pub(crate) fn due(&mut self, now: Duration) -> Option<Timer> {
        self.take_first(|at, _| at <= now)
    }

    /// Takes the first timer, if it is one that is looked for.
    fn take_first(&mut self, is_it: impl FnOnce(Duration, Timer) -> bool) -> Option<Timer> {
        let first = self.first()?.peek_mut()?;
        let Reverse((at, _, timer)) = *first;
        is_it(at, timer).then(|| {
            PeekMut::pop(first);
            timer
        })
    }

    /// Takes note that one more timer is stale. About: one that is due by then counts too.
    pub(crate) fn gone_stale(&mut self) {
        self.stale += 1;
        self.stale_meanwhile += 1;
    }

    /// Whether so many are stale that they are worth dropping: more than `least`, and half of all.
    pub(crate) fn has_many_stale(&self, least: usize) -> bool {
        self.at > 0 || self.stale > least && self.stale > self.len() / 2
    }

    /// Drops the stale ones of one heap, and says how many timers that took a look at. To be called only when every timer
    /// that matters can be told from what has it set: in the middle of a step, a line that is on its way from one row to
    /// another has its timer still.
    pub(crate) fn prune(&mut self, matters: impl Fn(Duration, Timer) -> bool) -> usize {
        if self.at == 0 {
            self.stale_meanwhile = 0;
        }
        let Some(heap) = self.heaps.get_mut(self.at) else { return 0 };
        let looked_at = heap.len();
        heap.retain(|Reverse((at, _, timer))| matters(*at, *timer));
        heap.shrink_to(2 * heap.len());
        if self.at > 0 && self.heaps[self.at - 1].len() + self.heaps[self.at].len() <= self.heap_max {
            let mut rest = self.heaps.remove(self.at);
            self.heaps[self.at - 1].append(&mut rest);
        } else {
            self.at += 1;
        }
        if self.at >= self.heaps.len() {
            (self.at, self.stale) = (0, self.stale_meanwhile);
        }
        looked_at
    }

    /// Every timer that is set.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Duration, Timer)> {
        self.heaps.iter().flatten().map(|Reverse((at, _, timer))| (*at, *timer))
    }

    /// Drops timers from the front that do not matter any more, so that the shell is not woken for them.
    pub(crate) fn skip_stale(&mut self, matters: impl Fn(Duration, Timer) -> bool) {
        while self.take_first(|at, timer| !matters(at, timer)).is_some() {
            self.stale = self.stale.saturating_sub(1);
        }
    }

    fn len(&self) -> usize {
        self.heaps.iter().map(Heap::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmap::SlotMap;

    #[test]
    fn what_is_due_leaves_room_for_what_comes() {
        let mut sessions: SlotMap<SessionKey, ()> = SlotMap::with_key();
        let key = sessions.insert(());
        let mut timers = Timers::new(10);
        for second in 0..1000 {
            // One of each ten stays.
            (0..9).for_each(|_| timers.set(Duration::from_secs(second), Timer::Progress(key)));
            timers.set(Duration::from_secs(3600), Timer::KeptBack(key));
            while timers.due(Duration::from_secs(second)).is_some() {}
        }
        assert_eq!(timers.len(), 1000);
        assert!(timers.heaps.len() <= 101, "{} heaps of 10 timers", timers.heaps.len());
    }

    #[test]
    fn due_in_order_and_stale_ones_go() {
        let mut requests: SlotMap<RequestKey, ()> = SlotMap::with_key();
        let mut timers = Timers::new(100);
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
                let looked_at = timers
                    .prune(|_, timer| matches!(timer, Timer::Request(key) if requests.contains_key(key)));
                assert!(looked_at <= 100, "{looked_at} in one step");
            }
        }
        assert!(timers.len() < 400, "{}", timers.len());
        timers.skip_stale(|_, timer| matches!(timer, Timer::Request(key) if requests.contains_key(key)));
        assert_eq!(timers.next(), Some(at(450)));
        assert!(timers.heaps.len() < 3, "{} heaps for {} timers", timers.heaps.len(), timers.len());
        assert_eq!(timers.due(at(450)), Some(Timer::Request(keys[900])));
    }
}
