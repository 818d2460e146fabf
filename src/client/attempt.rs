//! Knows how to wait for a connection no longer than until a deadline, however long the kernel would.
//! Never: what an address is.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::client::dial::Stream;

/// Attempts that were not waited for to their end: connect(2) to a Unix socket whose backlog is full waits
/// for as long as it is full, and the standard library cannot set it a time. The next attempt at the same
/// address goes on with that one, so that there are never more threads than there were callers at a time.
static LEFT: Mutex<Vec<(Address, Arc<Attempt>)>> = Mutex::new(Vec::new());

/// A connection that is being made on a thread of its own.
struct Attempt {
    /// The process whose thread it is: a fork takes no threads along.
    process: u32,
    state: Mutex<State>,
    done: Condvar,
}

enum State {
    Awaited,
    Left,
    Done(io::Result<Stream>),
    Over,
}

/// Connects. [`io::ErrorKind::TimedOut`] if that takes longer than `within`.
pub(super) fn connect(address: &Address, within: Duration) -> io::Result<Stream> {
    let deadline = Instant::now().checked_add(within);
    let attempt = match left(address) {
        Some(attempt) => attempt,
        None => begin(address, within)?,
    };
    let mut state = attempt.lock();
    loop {
        match std::mem::replace(&mut *state, State::Over) {
            State::Done(made) => return made,
            other => *state = other,
        }
        let left = deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            break;
        }
        // Longer waits than that the kernel does not know.
        let left = left.min(Duration::from_secs(86_400));
        state = attempt.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    *state = State::Left;
    lock(&LEFT).push((address.clone(), Arc::clone(&attempt)));
    let why = format!("it took no connection within {} s: it hangs, or is stopped", within.as_secs_f64());
    Err(io::Error::new(io::ErrorKind::TimedOut, why))
}

fn begin(address: &Address, within: Duration) -> io::Result<Arc<Attempt>> {
    let attempt = Arc::new(Attempt {
        process: std::process::id(),
        state: Mutex::new(State::Awaited),
        done: Condvar::new(),
    });
    let (address, ours) = (address.clone(), Arc::clone(&attempt));
    thread::Builder::new().name("telex-connect".to_owned()).spawn(move || {
        let made = Stream::connect(&address, within);
        let mut state = ours.lock();
        match *state {
            State::Awaited => *state = State::Done(made),
            _ => *state = State::Over,
        }
        drop(state);
        ours.done.notify_all();
        lock(&LEFT).retain(|(_, left)| !Arc::ptr_eq(left, &ours));
    })?;
    Ok(attempt)
}

/// An attempt at this address that was left and goes on.
fn left(address: &Address) -> Option<Arc<Attempt>> {
    let process = std::process::id();
    let mut all = lock(&LEFT);
    all.retain(|(_, attempt)| attempt.process == process);
    let at = all.iter().position(|(of, _)| of == address)?;
    let (_, attempt) = all.swap_remove(at);
    drop(all);
    let mut state = attempt.lock();
    if !matches!(*state, State::Left) {
        return None;
    }
    *state = State::Awaited;
    drop(state);
    Some(attempt)
}

impl Attempt {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
