//! Knows which requests wait for their answers or for their turn, until when, and how many may be open.
//! Never: sockets, clocks, randomness.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::error::Error;
use crate::client::handle::holdings::{Held, Note};
use crate::client::handle::output::Output;
use crate::client::handle::queue::Queue;
use crate::client::handle::slot::{Job, Outcome, Slot};
use crate::client::message::Message;
use crate::client::moment::after;
use crate::client::refused::Refused;
use crate::wire::code::Code;

/// What a connection is asked that is being restored.
pub(super) enum Again {
    Whoami,
    Name(String),
    Held(Held),
}

/// What an answer is handed to.
pub(super) enum Waiter {
    /// With what is to be remembered once it has succeeded.
    One(Arc<Slot>, Option<Note>),
    /// All answers until the time is over.
    Many(Arc<Queue<Outcome>>),
    /// The connection itself, which is being restored.
    Restoring(Again),
    /// The connection itself, which tries to get a lost name again.
    LostName(String),
}

/// A request.
pub(super) struct Request {
    /// Kept, since it is sent again if the daemon had no room for it.
    line: Vec<u8>,
    waiter: Waiter,
    /// How long it is waited for, and until when that is.
    patience: Duration,
    until: Instant,
    /// Where in the output it begins; `None` while it waits for its turn.
    at: Option<u64>,
    /// Whether it is for the daemon, and needs no name to come from.
    is_to_daemon: bool,
}

impl Request {
    pub(super) fn new(line: Vec<u8>, waiter: Waiter, patience: Duration, now: Instant) -> Request {
        let until = after(now, patience);
        Request { line, waiter, patience, until, at: None, is_to_daemon: false }
    }

    pub(super) fn for_daemon(mut self, is_to_daemon: bool) -> Request {
        self.is_to_daemon = is_to_daemon;
        self
    }

    pub(super) fn waiter(&mut self) -> &mut Waiter {
        &mut self.waiter
    }

    /// What is to be remembered of it.
    pub(super) fn note(&mut self) -> Option<Note> {
        match &mut self.waiter {
            Waiter::One(_, note) => note.take(),
            _ => None,
        }
    }

    /// Whether it is of the connection itself.
    fn is_own(&self) -> bool {
        matches!(self.waiter, Waiter::Restoring(_) | Waiter::LostName(_))
    }

    /// Ends it; a callback is given back, to be run.
    pub(super) fn end(self, outcome: Outcome) -> Option<Job> {
        match self.waiter {
            Waiter::One(slot, _) => slot.fill(outcome),
            Waiter::Many(queue) => {
                // That its time is over is how it is meant to end.
                if !outcome.as_ref().is_err_and(|error| error.is(Code::Timeout)) {
                    queue.push(outcome, 0);
                }
                queue.end();
                None
            }
            Waiter::Restoring(_) | Waiter::LostName(_) => None,
        }
    }

    /// Ends it, its time being over.
    pub(super) fn expire(self) -> Option<Job> {
        let after = self.patience;
        self.end(Err(Error::GaveUp { after }))
    }

    fn is_forgotten(&self) -> bool {
        match &self.waiter {
            Waiter::One(slot, note) => note.is_none() && slot.is_forgotten(),
            Waiter::Many(queue) => Arc::strong_count(queue) == 1,
            Waiter::Restoring(_) | Waiter::LostName(_) => false,
        }
    }
}

/// Requests that have ended, and how.
pub(super) type Ended = Vec<(Request, Error)>;

/// The answer to a request.
pub(super) type Reply = Result<Message, Box<Refused>>;

/// A request that the daemon had no room for, by the number of its line, and what the daemon said.
pub(super) type Crowded = (u64, Request, Box<Refused>);

/// What an answer is to.
pub(super) enum Answered {
    /// The request is over.
    One(u64, Request),
    /// One of several answers.
    OneOfMany(Arc<Queue<Outcome>>),
    /// Nothing that is waited for.
    Nothing,
}

/// All requests of a handle, by the numbers of their lines.
pub(super) struct Book {
    requests: HashMap<u64, Request>,
    /// Those that wait for their turn.
    waiting: VecDeque<u64>,
    /// How many are sent and not answered.
    open: usize,
    /// How many may be open, and what that can grow to.
    bound: usize,
    bound_max: usize,
    /// How many answers have come since the bound was changed.
    since: usize,
    /// When requests are given up; those that are answered stay in it for a while.
    due: BinaryHeap<Reverse<(Instant, u64)>>,
}

impl Book {
    pub(super) fn new(bound: usize) -> Book {
        Book {
            requests: HashMap::new(),
            waiting: VecDeque::new(),
            open: 0,
            bound,
            bound_max: bound,
            since: 0,
            due: BinaryHeap::new(),
        }
    }

    /// How many requests the daemon lets be open.
    pub(super) fn set_bound(&mut self, bound: usize) {
        (self.bound, self.bound_max, self.since) = (bound.max(1), bound.max(1), 0);
    }

    /// Takes a request whose line is written by the caller.
    pub(super) fn put_open(&mut self, number: u64, mut request: Request) {
        request.at = Some(0);
        self.open += 1;
        self.due.push(Reverse((request.until, number)));
        self.requests.insert(number, request);
    }

    /// Takes a request. It waits for its turn; [`Book::release`] sends what may be sent.
    pub(super) fn put(&mut self, number: u64, request: Request) {
        if self.due.len() > 2 * self.requests.len() + 1024 {
            let requests = &self.requests;
            self.due.retain(|Reverse((_, number))| requests.contains_key(number));
        }
        self.due.push(Reverse((request.until, number)));
        self.requests.insert(number, request);
        self.waiting.push_back(number);
    }

    /// Writes the lines of those whose turn it is.
    pub(super) fn release(&mut self, output: &mut Output) {
        while self.open < self.bound && output.has_room() {
            let Some(number) = self.waiting.pop_front() else { return };
            let at = output.position();
            let Some(request) = self.requests.get_mut(&number) else { continue };
            if request.is_forgotten() {
                self.requests.remove(&number);
                continue;
            }
            output.lines().extend_from_slice(&request.line);
            request.at = Some(at);
            self.open += 1;
        }
    }

    /// Takes the request that an answer is to off the book.
    pub(super) fn answered(&mut self, number: u64) -> Answered {
        match self.requests.get(&number) {
            Some(Request { waiter: Waiter::Many(queue), .. }) => {
                return Answered::OneOfMany(Arc::clone(queue));
            }
            // What waits for its turn has been answered before, and was put back.
            Some(Request { at: Some(_), .. }) => {}
            _ => return Answered::Nothing,
        }
        match self.remove(number) {
            Some(request) => Answered::One(number, request),
            None => Answered::Nothing,
        }
    }

    /// So many requests found room. When as many have as may be open, it is tried whether there is more.
    pub(super) fn found_room(&mut self, count: usize) {
        self.since += count;
        if self.since >= self.bound && self.bound < self.bound_max {
            self.bound = (self.bound + self.bound.div_ceil(8)).min(self.bound_max);
            self.since = 0;
        }
    }

    /// Ends a request whose answers are collected.
    pub(super) fn end(&mut self, number: u64) -> Option<Request> {
        self.remove(number)
    }

    /// Puts requests back that the daemon had no room for, ahead of all others, and expects less room from now
    /// on. They are given back if nothing else is open, whose answer would make room.
    pub(super) fn put_back(&mut self, refused: Vec<Crowded>) -> Vec<Crowded> {
        if self.open == 0 {
            return refused;
        }
        (self.bound, self.since) = (self.bound.min(self.open), 0);
        for (number, mut request, _) in refused.into_iter().rev() {
            request.at = None;
            // It may have been looked for while it was away.
            self.due.push(Reverse((request.until, number)));
            self.requests.insert(number, request);
            self.waiting.push_front(number);
        }
        Vec::new()
    }

    /// When the next request is to be given up, at the earliest.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((until, _))| *until)
    }

    /// The requests whose time is over.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Request> {
        let mut expired = Vec::new();
        while let Some(Reverse((until, number))) = self.due.peek().copied()
            && until <= now
        {
            self.due.pop();
            expired.extend(self.remove(number));
        }
        expired
    }

    /// The requests that ended with the connection, those that were sent first, each with whether any of it
    /// was written: what stands before `written` in the output. If not `all`, the others stay, but for those of
    /// the connection itself.
    pub(super) fn lose(&mut self, written: u64, all: bool) -> Vec<(Request, bool)> {
        let is_written = |request: &Request| request.at.is_some_and(|at| at < written);
        let is_lost = |request: &Request| all || request.is_own() || is_written(request);
        let mut lost: Vec<u64> =
            self.requests.iter().filter(|(_, request)| is_lost(request)).map(|(number, _)| *number).collect();
        lost.sort_unstable();
        let take = |number| {
            let request = self.remove(number)?;
            let is_written = is_written(&request);
            Some((request, is_written))
        };
        lost.into_iter().filter_map(take).collect()
    }

    /// The requests to others of which nothing was written: what stands before `written` in the output was, and
    /// what stood behind it is written anew.
    pub(super) fn give_up_unwritten(&mut self, written: u64) -> Vec<Request> {
        let is_unwritten = |request: &Request| !request.is_own() && request.at.is_none_or(|at| at >= written);
        let unwritten = self.requests.iter().filter(|(_, request)| is_unwritten(request));
        let mut unwritten: Vec<u64> = unwritten.map(|(number, _)| *number).collect();
        unwritten.sort_unstable();
        let mut lost = Vec::new();
        for number in unwritten.into_iter().rev() {
            let Some(request) = self.requests.get_mut(&number) else { continue };
            if !request.is_to_daemon {
                lost.extend(self.remove(number));
            } else if request.at.take().is_some() {
                self.open -= 1;
                self.waiting.push_front(number);
            }
        }
        lost.reverse();
        lost
    }

    fn remove(&mut self, number: u64) -> Option<Request> {
        let request = self.requests.remove(&number)?;
        self.open -= usize::from(request.at.is_some());
        Some(request)
    }
}
