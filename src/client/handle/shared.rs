//! Knows what the threads of a handle share: its state, and how they wake each other.
//! Never: reads or writes a socket.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Waker;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use crate::client::dial::Stream;
use crate::client::error::Error;
use crate::client::handle::book::{Book, Request, Waiter};
use crate::client::handle::change::{Arrival, Change};
use crate::client::handle::holdings::{Holdings, Note};
use crate::client::handle::intake::Intake;
use crate::client::handle::options::Options;
use crate::client::handle::output::Output;
use crate::client::handle::queue::Queue;
use crate::client::lines::{Outgoing, To};
use crate::client::message::Message;
use crate::client::refused::Refused;
use crate::client::unique;
use crate::limits::Limits;

/// How much longer than the daemon a request is waited for, so that it is the daemon that tells what happened.
pub(super) const GRACE: Duration = Duration::from_secs(1);
/// How long the last handle waits until all has been written.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// Answers the requests of one type: the answer, or a sentence that says what went wrong.
pub(super) type Answerer = Arc<Mutex<dyn FnMut(&Message) -> Result<String, String> + Send>>;
/// Takes signals.
pub(super) type Listener = Arc<Mutex<dyn FnMut(&Message) + Send>>;

/// Where a handle stands.
pub(super) enum Phase {
    Up,
    /// The connection is lost, and is to be made again.
    Away,
    /// The connection is made, and is told what the handle holds. Nothing else is written.
    Restoring,
    /// For ever. With the daemon's last word, if it was an error.
    Ended(Option<Box<Refused>>),
}

pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) stream: Option<Arc<Stream>>,
    pub(super) lines: Outgoing,
    pub(super) book: Book,
    pub(super) output: Output,
    /// What is written while the connection is restored.
    pub(super) setup: Vec<u8>,
    /// Whether the writer holds bytes.
    pub(super) is_writing: bool,
    /// Whether a write has failed; the reader will find the end, and says so.
    pub(super) is_broken: bool,
    pub(super) writer_sleeps: bool,
    /// Until when the end is put off for what is to be written, once it has been decided on.
    pub(super) closing: Option<Instant>,
    /// Whether all is written that will be.
    pub(super) is_flushed: bool,
    pub(super) holdings: Holdings,
    /// When lost names are tried again.
    pub(super) names_due: Option<Instant>,
    pub(super) answerers: HashMap<String, Answerer>,
    pub(super) listener: Option<Listener>,
    pub(super) inboxes: Vec<Weak<Queue<Arrival>>>,
    pub(super) changes: Vec<Weak<Queue<Change>>>,
}

pub(super) struct Shared {
    state: Mutex<State>,
    /// For the writer: there is something to do.
    to_write: Condvar,
    /// For all others: there is room, or where the handle stands has changed.
    pub(super) changed: Condvar,
    /// The reader's alone.
    pub(super) intake: Mutex<Intake>,
    pub(super) reader: OnceLock<ThreadId>,
    pub(super) options: Options,
    /// The process that made it: a fork takes neither of the threads along.
    process: u32,
}

impl Shared {
    pub(super) fn new(stream: Stream, options: Options) -> Shared {
        let state = State {
            phase: Phase::Up,
            stream: Some(Arc::new(stream)),
            lines: Outgoing::new(unique::prefix()),
            book: Book::new(Limits::default().max_requests),
            output: Output::new(),
            setup: Vec::new(),
            is_writing: false,
            is_broken: false,
            writer_sleeps: false,
            closing: None,
            is_flushed: false,
            holdings: Holdings::default(),
            names_due: None,
            answerers: HashMap::new(),
            listener: None,
            inboxes: Vec::new(),
            changes: Vec::new(),
        };
        Shared {
            state: Mutex::new(state),
            to_write: Condvar::new(),
            changed: Condvar::new(),
            intake: Mutex::new(Intake::new()),
            reader: OnceLock::new(),
            options,
            process: std::process::id(),
        }
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
        (state.phase, state.closing) = (Phase::Ended(None), Some(Instant::now()));
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

    /// Waits until something has changed, or then.
    pub(super) fn wait_for_change<'a>(&self, state: Locked<'a>, until: Option<Instant>) -> Locked<'a> {
        state.wait(&self.changed, until)
    }

    /// Sends a request when its turn has come.
    pub(super) fn request(
        &self,
        to: To<'_>,
        message_type: &str,
        body: &str,
        timeout: Duration,
        waiter: Waiter,
        note: Option<Note>,
    ) -> Result<u64, Error> {
        // Answers that are collected end with the time itself.
        let patience = match waiter {
            Waiter::One(_) => timeout.saturating_add(GRACE),
            Waiter::Many(_) => timeout,
        };
        let mut state = self.lock();
        state.check(to, &self.options)?;
        let mut line = Vec::with_capacity(body.len() + message_type.len() + 96);
        let ticket = state.lines.request(to, message_type, body, Some(timeout), &mut line)?;
        let request = Request::new(&line, waiter, patience, Instant::now()).noting(note);
        state.book.put(ticket.0, request);
        state.release();
        // Also if it has to wait: it may be the first whose time is over.
        self.wake_writer(&mut state);
        Ok(ticket.0)
    }
}

impl State {
    /// Whether something may be sent to `to`, be it later.
    pub(super) fn check(&self, to: To<'_>, options: &Options) -> Result<(), Error> {
        match &self.phase {
            Phase::Ended(why) => return Err(Error::Closed { why: why.clone() }),
            _ if self.closing.is_some() => return Err(Error::Closed { why: None }),
            Phase::Away | Phase::Restoring if !options.waits_while_away() => return Err(Error::Away),
            _ => {}
        }
        match self.holdings.lost_name() {
            Some(node_id) if to != To::Daemon => Err(Error::NameLost { node_id: node_id.to_owned() }),
            _ => Ok(()),
        }
    }

    /// Writes the requests whose turn it is.
    pub(super) fn release(&mut self) {
        if matches!(self.phase, Phase::Up) {
            self.book.release(&mut self.output);
        }
    }

    /// Tells all that want to know it.
    pub(super) fn tell(&mut self, mut change: impl FnMut() -> Change) {
        self.changes.retain(|queue| match queue.upgrade() {
            Some(queue) => {
                self.holdings.wakers.extend(queue.put(change(), 0));
                true
            }
            None => false,
        });
    }

    /// Takes in what the daemon says of its limits in an answer to `whoami`.
    pub(super) fn learn_limits(&mut self, whoami: &Message) {
        let limits = &whoami.body_value()["daemon"]["limits"];
        let number = |key: &str| limits[key].as_u64().and_then(|number| usize::try_from(number).ok());
        if let Some(bytes) = number("max_line_bytes") {
            self.lines.max_line_bytes = bytes;
        }
        if let Some(requests) = number("max_requests") {
            self.book.set_bound(requests);
        }
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
