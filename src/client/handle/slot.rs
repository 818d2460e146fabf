//! Knows one answer that is waited for: by a thread, a future or a callback.
//! Never: what was asked, or what the answer says.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::client::error::Error;
use crate::client::message::Message;

/// How a request ended.
pub(super) type Outcome = Result<Message, Error>;
/// What is to be run on a thread that may wait.
pub(super) type Job = Box<dyn FnOnce() + Send>;
type Callback = Box<dyn FnOnce(Outcome) + Send>;

pub(super) struct Slot {
    state: Mutex<State>,
    filled: Condvar,
}

enum State {
    Awaited {
        waker: Option<Waker>,
        sleeps: bool,
    },
    Called(Callback),
    Filled(Outcome),
    /// Taken, or forgotten.
    Over,
}

impl Slot {
    pub(super) fn new() -> Arc<Slot> {
        Slot::with(State::Awaited { waker: None, sleeps: false })
    }

    pub(super) fn filled(outcome: Outcome) -> Arc<Slot> {
        Slot::with(State::Filled(outcome))
    }

    fn with(state: State) -> Arc<Slot> {
        Arc::new(Slot { state: Mutex::new(state), filled: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills it, once. A callback is given back, to be run.
    pub(super) fn fill(&self, outcome: Outcome) -> Option<Job> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Over) {
            State::Awaited { waker, sleeps } => {
                *state = State::Filled(outcome);
                drop(state);
                if sleeps {
                    self.filled.notify_all();
                }
                if let Some(waker) = waker {
                    waker.wake();
                }
                None
            }
            State::Called(callback) => Some(Box::new(move || callback(outcome))),
            // The first counts.
            other => {
                *state = other;
                None
            }
        }
    }

    /// Drops the outcome when it comes. A callback stays.
    pub(super) fn forget(&self) {
        let mut state = self.lock();
        if !matches!(*state, State::Called(_)) {
            let forgotten = std::mem::replace(&mut *state, State::Over);
            drop(state);
            drop(forgotten);
        }
    }

    pub(super) fn is_forgotten(&self) -> bool {
        matches!(*self.lock(), State::Over)
    }

    pub(super) fn take(&self) -> Option<Outcome> {
        take(&mut self.lock())
    }

    /// Waits for the outcome; `None` at the deadline.
    pub(super) fn wait(&self, until: Option<Instant>) -> Option<Outcome> {
        let mut state = self.lock();
        loop {
            if let Some(outcome) = take(&mut state) {
                return Some(outcome);
            }
            if let State::Awaited { sleeps, .. } = &mut *state {
                *sleeps = true;
            }
            state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return None,
                Some(left) => self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<Outcome> {
        let mut state = self.lock();
        if let Some(outcome) = take(&mut state) {
            return Poll::Ready(outcome);
        }
        if let State::Awaited { waker, .. } = &mut *state {
            match waker {
                Some(waker) => waker.clone_from(context.waker()),
                None => *waker = Some(context.waker().clone()),
            }
        }
        Poll::Pending
    }

    /// Hands the outcome to `callback` when it comes; at once if it is there.
    pub(super) fn call_back(&self, callback: Callback) {
        let mut state = self.lock();
        match take(&mut state) {
            Some(outcome) => {
                drop(state);
                callback(outcome);
            }
            None => *state = State::Called(callback),
        }
    }
}

fn take(state: &mut State) -> Option<Outcome> {
    match std::mem::replace(state, State::Over) {
        State::Filled(outcome) => Some(outcome),
        other => {
            *state = other;
            None
        }
    }
}
