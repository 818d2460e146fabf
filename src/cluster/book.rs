//! Knows the requests that are not done, in which order they wait, what time brings about, and what is done.
//! Never: servers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::cluster::connector::RequestId;
use crate::cluster::error::Error;
use crate::cluster::message::Message;
use crate::cluster::pending::{Pending, State};

/// A request that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done<A> {
    /// Which.
    pub id: RequestId,
    /// How many tries there were, the first one included.
    pub tries: u32,
    /// The answer, `None` for one that wants no reply; or why there is none.
    pub outcome: Result<Option<A>, Error>,
}

#[derive(Debug)]
pub(super) struct Book<Q, A> {
    pending: BTreeMap<RequestId, Pending<Q, A>>,
    /// Those that wait for `max_parallel`.
    waiting: BTreeSet<RequestId>,
    /// What time brings about.
    times: BTreeSet<(Duration, RequestId)>,
    done: VecDeque<Done<A>>,
    last: u64,
}

impl<Q, A> Book<Q, A> {
    pub(super) fn new() -> Book<Q, A> {
        Book {
            pending: BTreeMap::new(),
            waiting: BTreeSet::new(),
            times: BTreeSet::new(),
            done: VecDeque::new(),
            last: 0,
        }
    }

    /// Takes a request, which waits.
    pub(super) fn add(&mut self, message: Message<Q, A>) -> RequestId {
        self.last += 1;
        let id = RequestId(self.last);
        self.pending.insert(id, Pending::new(message));
        self.waiting.insert(id);
        id
    }

    /// How many requests do not wait any more.
    pub(super) fn under_way(&self) -> usize {
        self.pending.len() - self.waiting.len()
    }

    pub(super) fn next_waiting(&self) -> Option<RequestId> {
        self.waiting.first().copied()
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&Pending<Q, A>> {
        self.pending.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: RequestId) -> Option<&mut Pending<Q, A>> {
        self.pending.get_mut(&id)
    }

    /// A request is this far from now on.
    pub(super) fn advance(&mut self, id: RequestId, state: State) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        if let Some(due) = pending.due() {
            self.times.remove(&(due, id));
        }
        self.waiting.remove(&id);
        pending.state = state;
        self.times.extend(pending.due().map(|due| (due, id)));
    }

    /// A request is done.
    pub(super) fn finish(&mut self, id: RequestId, outcome: Result<Option<A>, Error>) {
        let Some(pending) = self.pending.remove(&id) else { return };
        if let Some(due) = pending.due() {
            self.times.remove(&(due, id));
        }
        self.waiting.remove(&id);
        self.done.push_back(Done { id, tries: pending.tries(), outcome });
    }

    /// All that are not done, oldest first.
    pub(super) fn ids(&self) -> Vec<RequestId> {
        self.pending.keys().copied().collect()
    }

    /// The request that time brings about something of next, and when.
    pub(super) fn next_due(&self) -> Option<(Duration, RequestId)> {
        self.times.first().copied()
    }

    pub(super) fn next_done(&mut self) -> Option<Done<A>> {
        self.done.pop_front()
    }

    /// Panics if what waits and what is due is not what the requests say.
    pub(super) fn check(&self) {
        let waiting = self.pending.iter().filter(|(_, it)| it.state == State::Waiting).map(|(id, _)| *id);
        assert_eq!(waiting.collect::<BTreeSet<_>>(), self.waiting, "what waits");
        let times = self.pending.iter().filter_map(|(id, it)| Some((it.due()?, *id)));
        assert_eq!(times.collect::<BTreeSet<_>>(), self.times, "what is due");
    }
}
