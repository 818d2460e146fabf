//! Knows a request that is on its way, as a future for any executor.
//! Never: what becomes of the request.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::client::switches::ask::Outcome;

/// The outcome of [`Switches::send_async`](crate::client::Switches::send_async), to be awaited. Dropped, it gives up the
/// outcome and not the request.
#[derive(Debug)]
#[must_use = "the outcome is told by awaiting it"]
pub struct Sending(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
}

/// The other end of a [`Sending`].
pub(super) struct Ending(Arc<Mutex<State>>);

pub(super) fn sending() -> (Ending, Sending) {
    let state = Arc::new(Mutex::new(State::default()));
    (Ending(Arc::clone(&state)), Sending(state))
}

impl Ending {
    pub(super) fn end(self, outcome: Outcome) {
        let waker = {
            let mut state = lock(&self.0);
            state.outcome = Some(outcome);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for Sending {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let mut state = lock(&self.0);
        if let Some(outcome) = state.outcome.take() {
            return Poll::Ready(outcome);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // What is locked here never panics.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
