//! Knows how to play a handle without its threads and its socket: what they would find is handed in, and so is the
//! time. For simulation and fuzzing.
//! Never: what is right.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::client::error::Error;
use crate::client::handle::connection::{Handle, Owner};
use crate::client::handle::options::{Options, Reconnect};
use crate::client::handle::pump::{farewell, take_in};
use crate::client::handle::reader::{end_all, run_job, run_tasks};
use crate::client::handle::shared::Shared;
use crate::client::handle::state::{Phase, State};
use crate::client::handle::writer::Hand;

/// A handle that is driven by its owner. It begins without a connection, and its limits are those that the daemon tells.
///
/// Calls that block (`wait`, and `send` without room) would block for ever.
pub struct Driven {
    handle: Handle,
    shared: Arc<Shared>,
    hand: Hand,
    began: Instant,
    elapsed: Arc<AtomicU64>,
    tries: u32,
}

impl Driven {
    /// A handle whose ids begin with `prefix`, and that keeps `output_bytes_max` to be written before it puts
    /// requests off.
    pub fn new(prefix: &str, reconnect: Reconnect, output_bytes_max: usize) -> Driven {
        let options = Options {
            address: Address::Abstract("driven".to_owned()),
            others: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            send_timeout: Duration::ZERO,
            output_bytes_max,
            reconnect: Some(reconnect),
        };
        let (began, elapsed) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let ours = Arc::clone(&elapsed);
        let clock = move || began + Duration::from_micros(ours.load(Ordering::Relaxed));
        let state = State::new(None, options, prefix.to_owned());
        let shared = Arc::new(Shared::new(state, Box::new(clock)));
        let handle = Handle { owner: Arc::new(Owner { shared: Arc::clone(&shared) }) };
        Driven { handle, shared, hand: Hand::default(), began, elapsed, tries: 0 }
    }

    /// The handle.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// It is this long after the beginning now. Ends what is over.
    pub fn set_time(&mut self, elapsed: Duration) {
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.elapsed.store(micros, Ordering::Relaxed);
        let now = self.shared.now();
        let mut state = self.shared.lock();
        let expired = state.expire(now);
        state.retry_names(now);
        drop(state);
        expired.into_iter().filter_map(|request| request.expire()).for_each(run_job);
    }

    /// When the next thing is over, since the beginning; `None` if nothing waits for time to pass.
    pub fn next_deadline(&self) -> Option<Duration> {
        let due = self.shared.lock().due();
        due.map(|due| due.saturating_duration_since(self.began))
    }

    /// A connection has been made.
    pub fn opened(&mut self) {
        self.tries += 1;
        self.shared.lock_intake().begin();
        let mut state = self.shared.lock();
        state.restore(self.tries, self.shared.now());
    }

    /// Whether all is restored.
    pub fn is_up(&self) -> bool {
        matches!(self.shared.lock().phase, Phase::Up)
    }

    /// Whether the connection is to be ended.
    pub fn is_broken(&self) -> bool {
        self.shared.lock().is_broken
    }

    /// Whether a signal would find room.
    pub fn has_room(&self) -> bool {
        self.shared.lock().output.has_room()
    }

    /// What is to be written next.
    pub fn output(&mut self) -> &[u8] {
        let mut state = self.shared.lock();
        if !state.is_writing {
            self.hand.take(&mut state);
        }
        self.hand.rest()
    }

    /// So much of that has been written.
    pub fn wrote(&mut self, length: usize) {
        self.hand.wrote(length, &mut self.shared.lock());
    }

    /// These bytes have come. The error is what is not the protocol; the connection is to be ended then.
    pub fn received(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut intake = self.shared.lock_intake();
        let arrivals = intake.cut(bytes);
        let taken = take_in(&self.shared, &mut intake, arrivals);
        drop(intake);
        run_tasks(&self.shared);
        taken
    }

    /// The connection has ended. True if all was restored by then.
    pub fn lost(&mut self) -> bool {
        let mut intake = self.shared.lock_intake();
        let arrivals = intake.finish();
        // What is wrong with it makes no difference any more.
        let _ = take_in(&self.shared, &mut intake, arrivals);
        let why = farewell(&intake);
        drop(intake);
        run_tasks(&self.shared);
        let mut state = self.shared.lock();
        let was_up = matches!(state.phase, Phase::Up);
        if was_up {
            self.tries = 0;
        }
        if state.is_writing {
            self.hand.give_back(&mut state);
        }
        let ended = state.lose(Error::Closed { why });
        drop(state);
        end_all(ended).into_iter().for_each(run_job);
        run_tasks(&self.shared);
        was_up
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        // Its end would be waited for.
        self.shared.abandon();
    }
}
