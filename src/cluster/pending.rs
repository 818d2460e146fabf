//! Knows one request that is not done: its message, its tries and how far it is.
//! Never: servers, but for their places in the list.

use std::time::Duration;

use crate::cluster::message::Message;

#[derive(Debug)]
pub(super) struct Pending<Q, A> {
    pub(super) message: Message<Q, A>,
    pub(super) state: State,
    /// The servers of its tries, in their order.
    pub(super) tried: Vec<usize>,
    pub(super) may_be_executed: bool,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for `max_parallel`.
    Waiting,
    /// Waits for its next try.
    Delayed { until: Duration },
    /// Waits for a server: for its connection, or for its other requests.
    Queued { server: usize },
    /// Has been sent.
    InFlight { server: usize, since: Duration, until: Option<Duration> },
}

impl<Q, A> Pending<Q, A> {
    pub(super) fn new(message: Message<Q, A>) -> Pending<Q, A> {
        Pending { message, state: State::Waiting, tried: Vec::new(), may_be_executed: false }
    }

    /// Its tries so far.
    pub(super) fn tries(&self) -> u32 {
        self.tried.len() as u32
    }

    /// When time brings about something, if ever.
    pub(super) fn due(&self) -> Option<Duration> {
        match self.state {
            State::Delayed { until } => Some(until),
            State::InFlight { until, .. } => until,
            State::Waiting | State::Queued { .. } => None,
        }
    }

    /// Whether one more try may be made after a failed one.
    pub(super) fn may_go_on(&self, tries_max: u32) -> bool {
        self.tries() < tries_max && (self.message.retry || !self.may_be_executed)
    }
}
