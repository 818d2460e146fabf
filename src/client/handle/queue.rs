//! Knows what has come and is not taken yet, in its order, and how much of that is too much.
//! Never: what it says.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// A bounded queue with one reader. What finds no room is counted, and told in its place.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    came: Condvar,
    bytes_max: usize,
    /// What so many that were missed are told as.
    missed: fn(u64) -> T,
}

struct State<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    /// Missed behind the last item.
    missed: u64,
    is_ended: bool,
    waker: Option<Waker>,
    sleeps: bool,
}

/// What is next in a queue.
pub(super) enum Taken<T> {
    Item(T),
    Nothing,
    Ended,
}

impl<T> Queue<T> {
    /// It takes items until they have `bytes_max` bytes; one is taken however long it is.
    pub(super) fn new(bytes_max: usize, missed: fn(u64) -> T) -> Arc<Queue<T>> {
        let state = State {
            items: VecDeque::new(),
            bytes: 0,
            missed: 0,
            is_ended: false,
            waker: None,
            sleeps: false,
        };
        Arc::new(Queue { state: Mutex::new(state), came: Condvar::new(), bytes_max, missed })
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an item, and wakes the reader.
    pub(super) fn push(&self, item: T, bytes: usize) {
        self.put(item, bytes).into_iter().for_each(Waker::wake);
    }

    /// The same, if a lock is held: a future is to be woken behind it, since that may drop what needs the lock.
    #[must_use]
    pub(super) fn put(&self, item: T, bytes: usize) -> Option<Waker> {
        let mut state = self.lock();
        if state.is_ended {
            return None;
        }
        if state.bytes >= self.bytes_max {
            state.missed += 1;
            return None;
        }
        if state.missed > 0 {
            let missed = (self.missed)(std::mem::take(&mut state.missed));
            state.items.push_back((missed, 0));
        }
        // What an item is kept in counts, too.
        let bytes = bytes + size_of::<T>();
        state.items.push_back((item, bytes));
        state.bytes += bytes;
        self.wake(state)
    }

    /// Nothing comes any more; what is there stays.
    pub(super) fn end(&self) {
        self.close().into_iter().for_each(Waker::wake);
    }

    /// The same, if a lock is held.
    #[must_use]
    pub(super) fn close(&self) -> Option<Waker> {
        let mut state = self.lock();
        state.is_ended = true;
        self.wake(state)
    }

    pub(super) fn is_ended(&self) -> bool {
        let state = self.lock();
        state.is_ended && state.items.is_empty() && state.missed == 0
    }

    /// Wakes a thread; gives a future to be woken.
    fn wake(&self, mut state: MutexGuard<'_, State<T>>) -> Option<Waker> {
        let waker = state.waker.take();
        let sleeps = std::mem::take(&mut state.sleeps);
        drop(state);
        if sleeps {
            self.came.notify_all();
        }
        waker
    }

    pub(super) fn take(&self) -> Taken<T> {
        self.next(&mut self.lock())
    }

    fn next(&self, state: &mut State<T>) -> Taken<T> {
        if let Some((item, bytes)) = state.items.pop_front() {
            state.bytes -= bytes;
            return Taken::Item(item);
        }
        match std::mem::take(&mut state.missed) {
            0 if state.is_ended => Taken::Ended,
            0 => Taken::Nothing,
            missed => Taken::Item((self.missed)(missed)),
        }
    }

    /// Waits for the next; [`Taken::Nothing`] at the deadline.
    pub(super) fn wait(&self, until: Option<Instant>) -> Taken<T> {
        let mut state = self.lock();
        loop {
            match self.next(&mut state) {
                Taken::Nothing => state.sleeps = true,
                taken => return taken,
            }
            state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.came.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return Taken::Nothing,
                Some(left) => self.came.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.lock();
        match self.next(&mut state) {
            Taken::Item(item) => Poll::Ready(Some(item)),
            Taken::Ended => Poll::Ready(None),
            Taken::Nothing => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
