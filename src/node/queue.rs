//! Knows what a node's thread is to do, in which order, and when.
//! Never: what it is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::time::{Duration, Instant};

/// How much may wait before others than the node's own thread wait, too.
const WAITING_MAX: usize = 65_536;
/// How long the end is waited for.
const LINGER: Duration = Duration::from_secs(2);

pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    prompt: VecDeque<T>,
    items: VecDeque<T>,
    timers: BTreeMap<(Instant, u64), T>,
    /// Numbers the timers of one moment.
    timers_made: u64,
    is_woken: bool,
    is_closed: bool,
    is_over: bool,
    taker: Option<std::thread::ThreadId>,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Queue<T> {
        let state = State {
            prompt: VecDeque::new(),
            items: VecDeque::new(),
            timers: BTreeMap::new(),
            timers_made: 0,
            is_woken: true,
            is_closed: false,
            is_over: false,
            taker: None,
        };
        Queue { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room, unless it is the taker that has something to add.
    pub(super) fn push(&self, item: T) {
        let mut state = self.lock();
        while state.items.len() >= WAITING_MAX
            && !state.is_over
            && state.taker != Some(std::thread::current().id())
        {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.add(state, item);
    }

    /// Never waits.
    pub(super) fn push_now(&self, item: T) {
        self.add(self.lock(), item);
    }

    fn add(&self, mut state: MutexGuard<'_, State<T>>, item: T) {
        if !state.is_over {
            state.items.push_back(item);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Is taken ahead of all others.
    pub(super) fn push_prompt(&self, item: T) {
        let mut state = self.lock();
        if !state.is_over {
            state.prompt.push_back(item);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Is taken after that time.
    pub(super) fn push_after(&self, delay: Duration, item: T) {
        let mut state = self.lock();
        // What is too far away to be told never comes.
        if let Some(due) = Instant::now().checked_add(delay)
            && !state.is_over
        {
            state.timers_made += 1;
            let number = state.timers_made;
            state.timers.insert((due, number), item);
        }
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn take_prompt(&self) -> Option<T> {
        self.lock().prompt.pop_front()
    }

    /// Waits until there is something to do, or something else has woken the taker; `None` at the end. What
    /// was pushed before the end is taken before it.
    pub(super) fn take(&self) -> Option<Vec<T>> {
        let mut state = self.lock();
        state.taker = Some(std::thread::current().id());
        loop {
            let now = Instant::now();
            while let Some(first) = state.timers.first_entry()
                && first.key().0 <= now
            {
                let item = first.remove();
                state.items.push_back(item);
            }
            if state.is_woken || !state.items.is_empty() || !state.prompt.is_empty() {
                state.is_woken = false;
                let items = state.items.drain(..).collect();
                drop(state);
                self.changed.notify_all();
                return Some(items);
            }
            if state.is_closed {
                return None;
            }
            let due = state.timers.first_key_value().map(|((due, _), _)| due.saturating_duration_since(now));
            state = match due {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// There is an end to it once all has been taken.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// The taker takes no more.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        (state.is_closed, state.is_over) = (true, true);
        let rest = (std::mem::take(&mut state.items), std::mem::take(&mut state.prompt));
        let timers = std::mem::take(&mut state.timers);
        drop(state);
        self.changed.notify_all();
        drop((rest, timers));
    }

    /// Waits until the taker takes no more, for 2 s at most; the taker itself does not.
    pub(super) fn linger(&self) {
        let until = Instant::now() + LINGER;
        let mut state = self.lock();
        while !state.is_over && state.taker != Some(std::thread::current().id()) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<T: Send> Wake for Queue<T> {
    fn wake(self: Arc<Self>) {
        self.lock().is_woken = true;
        self.changed.notify_all();
    }
}
