//! Knows what the threads of a handle share: its state, and how they wake each other.
//! Never: reads or writes a socket.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use crate::client::handle::intake::Intake;
use crate::client::handle::options::Options;
use crate::client::handle::state::{Phase, State};
use crate::client::lines::Outgoing;

/// How long the last handle waits until all has been written.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// What time it is.
pub(super) type Clock = Box<dyn Fn() -> Instant + Send + Sync>;

pub(super) struct Shared {
    state: Mutex<State>,
    /// For the writer: there is something to do.
    to_write: Condvar,
    /// For all others: there is room, or where the handle stands has changed.
    changed: Condvar,
    /// The reader's alone.
    pub(super) intake: Mutex<Intake>,
    pub(super) reader: OnceLock<ThreadId>,
    pub(super) options: Arc<Options>,
    /// The lines that are written, for what can be done of them without the lock.
    pub(super) lines: Arc<Outgoing>,
    clock: Clock,
    /// The process that made it: a fork takes neither of the threads along.
    process: u32,
}

impl Shared {
    /// What a connection in `state` needs to be shared; the time is what `clock` says.
    pub(super) fn new(state: State, clock: Clock) -> Shared {
        Shared {
            options: Arc::clone(&state.options),
            lines: Arc::clone(&state.lines),
            state: Mutex::new(state),
            to_write: Condvar::new(),
            changed: Condvar::new(),
            intake: Mutex::new(Intake::new()),
            reader: OnceLock::new(),
            clock,
            process: std::process::id(),
        }
    }

    pub(super) fn now(&self) -> Instant {
        (self.clock)()
    }

    pub(super) fn lock(&self) -> Locked<'_> {
        Locked { state: Some(self.state.lock().unwrap_or_else(PoisonError::into_inner)) }
    }

    pub(super) fn lock_intake(&self) -> MutexGuard<'_, Intake> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_on_reader(&self) -> bool {
        self.reader.get() == Some(&std::thread::current().id())
    }

    /// Ends it all before it has begun, for want of a thread.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        (state.phase, state.closing) = (Phase::Ended(None), Some(self.now()));
        if let Some(stream) = state.stream.take() {
            stream.shut();
        }
    }

    /// Whether this is the child of a fork, in which nothing of this may be used.
    pub(super) fn is_inherited(&self) -> bool {
        self.process != std::process::id()
    }

    /// Wakes the writer, if it has something to do and does not know.
    pub(super) fn wake_writer(&self, state: &mut State) {
        if std::mem::take(&mut state.writer_sleeps) {
            self.to_write.notify_one();
        }
    }

    /// The writer sleeps until it is woken, or then.
    pub(super) fn sleep_writer<'a>(&self, mut state: Locked<'a>, until: Option<Instant>) -> Locked<'a> {
        state.writer_sleeps = true;
        let mut state = state.wait(&self.to_write, until);
        state.writer_sleeps = false;
        state
    }

    /// Wakes those that wait for a change, if there are any: to wake none costs a system call, too.
    pub(super) fn tell_change(&self, state: &State) {
        if state.waits_for_change > 0 {
            self.changed.notify_all();
        }
    }

    /// Waits until something has changed, or then.
    pub(super) fn wait_for_change<'a>(&self, mut state: Locked<'a>, until: Option<Instant>) -> Locked<'a> {
        state.waits_for_change += 1;
        let mut state = state.wait(&self.changed, until);
        state.waits_for_change -= 1;
        state
    }
}

/// The state, locked. When it is let go, the futures are woken for which something has come: to wake one may
/// drop it, and with it a handle, whose end needs the lock.
pub(super) struct Locked<'a> {
    /// There until it is let go.
    state: Option<MutexGuard<'a, State>>,
}

impl<'a> Locked<'a> {
    fn wait(mut self, condvar: &Condvar, until: Option<Instant>) -> Locked<'a> {
        let state = self.state.take().map(|state| match until {
            None => condvar.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                condvar.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
            }
        });
        Locked { state }
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.state.as_deref().expect("it is locked")
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.state.as_deref_mut().expect("it is locked")
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if let Some(mut state) = self.state.take() {
            let wakers = std::mem::take(&mut state.holdings.wakers);
            drop(state);
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}
