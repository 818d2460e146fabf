//! Knows the thread that writes, and that tells when a time is over.
//! Never: reads.

use std::io::ErrorKind;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::handle::book::Request;
use crate::client::handle::shared::{Locked, Shared};
use crate::client::handle::slot::Job;
use crate::client::handle::state::{Phase, State};

/// How long a write waits for room before the clock is looked at.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_millis(50);

/// What the writer has taken to write.
#[derive(Default)]
pub(super) struct Hand {
    bytes: Vec<u8>,
    at: usize,
    /// Whether it is of the output, and not of what restores a connection.
    is_of_output: bool,
}

/// Writes until the handle has ended.
pub(super) fn run(shared: &Arc<Shared>) {
    let mut hand = Hand::default();
    let mut state = shared.lock();
    loop {
        let now = shared.now();
        let expired = state.expire(now);
        if !expired.is_empty() {
            drop(state);
            expire(expired);
            state = shared.lock();
            continue;
        }
        state.retry_names(now);
        let can_write = matches!(state.phase, Phase::Up | Phase::Restoring(_));
        if !can_write && state.is_writing {
            hand.give_back(&mut state);
            shared.tell_change(&state);
        }
        if matches!(state.phase, Phase::Ended(_)) {
            return;
        }
        end_if_due(shared, &mut state, now);
        if can_write && !state.is_broken {
            if !state.is_writing {
                hand.take(&mut state);
            }
            if state.is_writing {
                state = write(shared, state, &mut hand);
                continue;
            }
        }
        let closing = state.closing.filter(|_| !state.is_broken);
        let due = state.due().into_iter().chain(closing).min();
        state = shared.sleep_writer(state, due);
    }
}

impl Hand {
    pub(super) fn take(&mut self, state: &mut State) {
        if !state.setup.is_empty() {
            self.bytes = std::mem::take(&mut state.setup);
            self.is_of_output = false;
        } else if matches!(state.phase, Phase::Up) && state.output.unwritten() > 0 {
            state.output.hand_over(&mut self.bytes);
            self.is_of_output = true;
        } else {
            return;
        }
        state.is_writing = true;
    }

    /// What is still to be written of it.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// So much of it was written.
    pub(super) fn wrote(&mut self, length: usize, state: &mut State) {
        if self.is_of_output {
            state.output.wrote(&self.bytes[self.at..self.at + length]);
        }
        self.at += length;
        if self.at == self.bytes.len() {
            self.bytes.clear();
            (self.at, state.is_writing) = (0, false);
        }
        state.release();
    }

    pub(super) fn give_back(&mut self, state: &mut State) {
        if self.is_of_output {
            state.output.give_back(&self.bytes[self.at..]);
        }
        self.bytes.clear();
        (self.at, state.is_writing) = (0, false);
    }
}

/// Writes once.
fn write<'a>(shared: &'a Shared, state: Locked<'a>, hand: &mut Hand) -> Locked<'a> {
    let Some(stream) = state.stream.clone() else { return state };
    drop(state);
    let written = stream.write(hand.rest());
    let mut state = shared.lock();
    match written {
        Ok(length) => {
            hand.wrote(length, &mut state);
            shared.tell_change(&state);
        }
        Err(error) => match error.kind() {
            ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut => {}
            // The reader hears the daemon out, and finds the end.
            _ => {
                stream.shut();
                state.is_broken = true;
            }
        },
    }
    state
}

/// Ends the connection, if that was decided on and all is written, or the time for it is over.
fn end_if_due(shared: &Shared, state: &mut State, now: Instant) {
    let Some(closing) = state.closing else { return };
    if matches!(state.phase, Phase::Away) {
        // There is nothing to write to, and the reader will see that it is to end.
        state.is_flushed = true;
        shared.tell_change(state);
        return;
    }
    let is_late = closing <= now;
    let is_written = state.output.unwritten() == 0 && matches!(state.phase, Phase::Up);
    if !(is_late || is_written) {
        return;
    }
    if let Some(stream) = &state.stream {
        // A TCP socket that is closed with something unread in it takes back what is still on its way.
        if is_late || !stream.end_of_tcp() {
            stream.shut();
            state.is_flushed = true;
        }
        state.is_broken = is_late || state.is_flushed;
    }
    shared.tell_change(state);
}

/// Ends requests whose time is over. Callbacks get a thread of their own: they may wait, and the reader may
/// be waiting for a line that never comes.
fn expire(expired: Vec<Request>) {
    let jobs: Vec<Job> = expired.into_iter().filter_map(Request::expire).collect();
    if !jobs.is_empty() {
        let run = move || {
            for job in jobs {
                // A panic has been told where it happened, and stops nothing else.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            }
        };
        // Without a thread to be had there is nothing left to tell it by.
        let _ = thread::Builder::new().name("telex-late".to_owned()).spawn(run);
    }
}
