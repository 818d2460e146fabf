//! Knows where the connection of a handle stands, and what may be sent over it.
//! Never: sockets as such, clocks, threads, randomness.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::client::dial::Stream;
use crate::client::error::Error;
use crate::client::handle::book::{Book, Ended, Request, Waiter};
use crate::client::handle::change::{Arrival, Change};
use crate::client::handle::holdings::{End, Holdings};
use crate::client::handle::options::Options;
use crate::client::handle::output::Output;
use crate::client::handle::queue::Queue;
use crate::client::handle::slot::Slot;
use crate::client::lines::{Draft, Outgoing, To};
use crate::client::message::Message;
use crate::client::refused::Refused;
use crate::limits::Limits;

/// How much longer than the daemon a request is waited for, so that it is the daemon that tells what happened.
const GRACE: Duration = Duration::from_secs(1);

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
    Restoring(Restoring),
    /// For ever. With the daemon's last word, if it was an error.
    Ended(Option<Box<Refused>>),
}

/// How far a connection is that is being restored.
#[derive(Clone, Copy)]
pub(super) struct Restoring {
    /// How many times a connection was tried.
    pub(super) tries: u32,
    /// Until when all has to be answered.
    pub(super) until: Instant,
    /// How many answers are still to come.
    pub(super) left: usize,
    /// Whether messages of others have come.
    pub(super) has_heard: bool,
}

pub(super) struct State {
    pub(super) options: Arc<Options>,
    pub(super) phase: Phase,
    pub(super) stream: Option<Arc<Stream>>,
    pub(super) lines: Arc<Outgoing>,
    pub(super) book: Book,
    pub(super) output: Output,
    /// What is written while the connection is restored.
    pub(super) setup: Vec<u8>,
    /// Whether the writer holds bytes.
    pub(super) is_writing: bool,
    /// Whether a write has failed; the reader will find the end, and says so.
    pub(super) is_broken: bool,
    pub(super) writer_sleeps: bool,
    /// How many threads wait until something has changed.
    pub(super) waits_for_change: usize,
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

impl State {
    /// A connection that stands, or one that is to be made if there is no `stream`.
    pub(super) fn new(stream: Option<Stream>, options: Options, prefix: String) -> State {
        State {
            phase: if stream.is_some() { Phase::Up } else { Phase::Away },
            stream: stream.map(Arc::new),
            lines: Arc::new(Outgoing::new(prefix)),
            book: Book::new(Limits::default().max_requests),
            output: Output::new(options.output_bytes_max),
            options: Arc::new(options),
            setup: Vec::new(),
            is_writing: false,
            is_broken: false,
            writer_sleeps: false,
            waits_for_change: 0,
            closing: None,
            is_flushed: false,
            holdings: Holdings::default(),
            names_due: None,
            answerers: HashMap::new(),
            listener: None,
            inboxes: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// Whether something may be sent to `to`, be it later.
    pub(super) fn check(&self, to: To<'_>) -> Result<(), Error> {
        if matches!(self.phase, Phase::Restoring(_)) && !self.options.waits_while_away() {
            return Err(Error::Away);
        }
        self.check_reply()?;
        match self.holdings.lost_name() {
            Some(node_id) if to != To::Daemon => Err(Error::NameLost { node_id: node_id.to_owned() }),
            _ => Ok(()),
        }
    }

    /// Takes a request, which is sent when its turn has come. Gives the number of its line.
    pub(super) fn request(
        &mut self,
        to: To<'_>,
        message_type: &str,
        body: &str,
        timeout: Duration,
        waiter: Waiter,
        now: Instant,
    ) -> Result<u64, Error> {
        self.check(to)?;
        self.put(to, message_type, body, timeout, waiter, now)
    }

    /// The same, whether it may be sent or not.
    pub(super) fn put(
        &mut self,
        to: To<'_>,
        message_type: &str,
        body: &str,
        timeout: Duration,
        waiter: Waiter,
        now: Instant,
    ) -> Result<u64, Error> {
        let draft = self.lines.draft(to, message_type, body, timeout)?;
        Ok(self.take(draft, waiter, now))
    }

    /// Takes a request that may be sent. Gives the number of its line.
    pub(super) fn take(&mut self, draft: Draft, waiter: Waiter, now: Instant) -> u64 {
        // Answers that are collected end with the time itself.
        let patience = match waiter {
            Waiter::Many(_) => draft.timeout,
            _ => draft.timeout.saturating_add(GRACE),
        };
        let request = Request::new(draft.line, waiter, patience, now).for_daemon(draft.is_to_daemon);
        self.book.put(draft.number, request);
        self.release();
        draft.number
    }

    /// Asks the daemon to end something that was held, which has ended if it cannot be asked.
    pub(super) fn end(
        &mut self,
        end: End,
        slot: Arc<Slot>,
        timeout: Duration,
        now: Instant,
    ) -> Result<u64, Error> {
        let End { message_type, body, note } = end;
        let waiter = Waiter::One(slot, Some(note.clone()));
        let asked = match self.phase {
            // It may have been asked for again.
            Phase::Restoring(_) => self.put(To::Daemon, message_type, &body, timeout, waiter, now),
            _ => self.request(To::Daemon, message_type, &body, timeout, waiter, now),
        };
        if asked.is_err() {
            self.holdings.ended(&note);
        }
        asked
    }

    /// The connection is lost. Gives the requests that end by it, and how; in the order in which they were sent.
    /// Nothing of it is in the writer's hand any more.
    pub(super) fn lose(&mut self, error: Error) -> Ended {
        let is_end = self.options.reconnect.is_none() || self.closing.is_some();
        let why = match &error {
            Error::Closed { why } => why.clone(),
            _ => None,
        };
        let heard = match self.phase {
            Phase::Restoring(restoring) => restoring.has_heard,
            _ => true,
        };
        let is_news = !matches!(self.phase, Phase::Restoring(_)) || is_end;
        (self.stream, self.is_broken, self.names_due) = (None, false, None);
        self.setup.clear();
        let gives_up = is_end || !self.options.waits_while_away();
        let written = self.output.cut(gives_up);
        let mut lost = self.book.lose(written, gives_up);
        lost.iter_mut().filter_map(|(request, _)| request.note()).for_each(|note| self.holdings.ended(&note));
        if is_end {
            self.phase = Phase::Ended(why.clone());
        } else {
            self.phase = Phase::Away;
            self.holdings.interrupt(heard);
            let inboxes = self.inboxes.iter().filter(|_| heard).filter_map(Weak::upgrade);
            self.holdings.wakers.extend(inboxes.filter_map(|inbox| inbox.put(Arrival::Missed(None), 0)));
        }
        if self.closing.is_none() && is_news {
            let error = Arc::new(error);
            self.tell(|| Change::Lost { error: Arc::clone(&error) });
        }
        let end_of = |is_written| match is_written {
            true => Error::Lost { why: why.clone() },
            false if is_end => Error::Closed { why: why.clone() },
            false => Error::Away,
        };
        lost.into_iter().map(|(request, is_written)| (request, end_of(is_written))).collect()
    }

    /// When a request is to be given up or a lost name tried again, at the earliest.
    pub(super) fn due(&self) -> Option<Instant> {
        let names_due = self.names_due.filter(|_| matches!(self.phase, Phase::Up));
        self.book.due().into_iter().chain(names_due).min()
    }

    /// Writes the requests whose turn it is.
    pub(super) fn release(&mut self) {
        if matches!(self.phase, Phase::Up) {
            self.book.release(&mut self.output);
        }
    }

    /// Whether a reply may be sent: it needs no name of its own, and is to a request of this connection if that
    /// is being restored.
    pub(super) fn check_reply(&self) -> Result<(), Error> {
        match &self.phase {
            Phase::Ended(why) => Err(Error::Closed { why: why.clone() }),
            _ if self.closing.is_some() => Err(Error::Closed { why: None }),
            Phase::Away if !self.options.waits_while_away() => Err(Error::Away),
            _ => Ok(()),
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
            self.lines.max_line_bytes.store(bytes, Relaxed);
        }
        if let Some(requests) = number("max_requests") {
            self.book.set_bound(requests);
        }
    }
}
