//! Knows the thread that reads, runs handlers and callbacks, and makes a lost connection again.
//! Never: writes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Instant;

use crate::client::attempt;
use crate::client::error::Error;
use crate::client::handle::backoff::Backoff;
use crate::client::handle::book::Ended;
use crate::client::handle::change::Arrival;
use crate::client::handle::intake::Task;
use crate::client::handle::options::Reconnect;
use crate::client::handle::pump::{pump, say};
use crate::client::handle::shared::Shared;
use crate::client::handle::slot::Job;
use crate::client::handle::state::{Phase, State};
use crate::client::handle::writer::WRITE_TIMEOUT;
use crate::client::lines::{HEAD_BYTES, Ticket};
use crate::client::message::Message;
use crate::client::moment::after;
use crate::client::unique;
use crate::panics::words_of;
use crate::wire::json::write_string;
use crate::wire::message::Category;

/// How often a connection has been tried for since the last one that was restored, and when it is tried again.
struct Attempts {
    reconnect: Reconnect,
    backoff: Backoff,
    tries: u32,
}

/// Reads until the handle has ended.
pub(super) fn run(shared: &Arc<Shared>) {
    let mut attempts = shared.options.reconnect.clone().map(Attempts::new);
    let mut jobs;
    loop {
        let error = read_on(shared);
        let was_up = matches!(shared.lock().phase, Phase::Up);
        jobs = lose(shared, error);
        let Some(attempts) = &mut attempts else { break };
        if was_up {
            *attempts = Attempts::new(attempts.reconnect.clone());
        }
        jobs.drain(..).for_each(run_job);
        if !reconnect(shared, attempts) {
            break;
        }
    }
    let ended = end(shared);
    jobs.into_iter().chain(ended).for_each(run_job);
}

impl Attempts {
    fn new(reconnect: Reconnect) -> Attempts {
        let backoff = Backoff::new(reconnect.first_delay, reconnect.longest_delay);
        Attempts { reconnect, backoff, tries: 0 }
    }
}

/// Reads and runs what is to be run, until the connection ends.
fn read_on(shared: &Arc<Shared>) -> Error {
    loop {
        run_tasks(shared);
        if let Err(error) = pump(shared, None) {
            // What came before the end.
            run_tasks(shared);
            return error;
        }
    }
}

pub(super) fn run_tasks(shared: &Arc<Shared>) {
    loop {
        // A task of its own statement: the lock must not be held while it runs.
        let task = shared.lock_intake().next_task();
        match task {
            Some(Task::Job(job)) => run_job(job),
            Some(Task::Message(message)) => handle(shared, message),
            None => return,
        }
    }
}

pub(super) fn run_job(job: Job) {
    // A panic has been told where it happened, and stops nothing else.
    let _ = catch_unwind(AssertUnwindSafe(job));
}

/// Hands a message to its handler, else to an inbox.
fn handle(shared: &Arc<Shared>, message: Message) {
    let (answerer, listener) = {
        let state = shared.lock();
        (state.answerers.get(message.message_type()).cloned(), state.listener.clone())
    };
    match message.category() {
        Category::Request if answerer.is_some() => {
            let Some(answerer) = answerer else { return };
            let run =
                AssertUnwindSafe(|| (answerer.lock().unwrap_or_else(PoisonError::into_inner))(&message));
            let answer = catch_unwind(run)
                .unwrap_or_else(|panic| Err(format!("what should answer panicked: {}", words_of(&*panic))));
            reply(shared, &message, answer);
        }
        Category::Signal if listener.is_some() => {
            let Some(listener) = listener else { return };
            let run = AssertUnwindSafe(|| {
                (listener.lock().unwrap_or_else(PoisonError::into_inner))(&message);
            });
            let _ = catch_unwind(run);
        }
        category => {
            let inboxes: Vec<_> = shared.lock().inboxes.iter().filter_map(Weak::upgrade).collect();
            for inbox in &inboxes {
                inbox.push(Arrival::Message(message.clone()), message.line().len());
            }
            if inboxes.is_empty() && category == Category::Request {
                let error = format!("this node does not answer \"{}\"", message.message_type());
                reply(shared, &message, Err(error));
            }
        }
    }
}

/// Replies; if the answer cannot be sent, that is the reply.
fn reply(shared: &Shared, request: &Message, answer: Result<String, String>) {
    let sent = match &answer {
        Ok(body) => send_reply(shared, request, body),
        Err(error) => send_reply(shared, request, &error_body(error)),
    };
    if let Err(Error::Unsendable(why)) = sent {
        // With that it has been tried; without a connection there is nothing to reply to.
        let _ = send_reply(shared, request, &error_body(&why.to_string()));
    }
}

/// The body of a reply that tells an error.
pub(super) fn error_body(error: &str) -> String {
    let mut body = b"{\"error\":".to_vec();
    write_string(&mut body, error);
    body.push(b'}');
    String::from_utf8_lossy(&body).into_owned()
}

pub(super) fn send_reply(shared: &Shared, request: &Message, body: &str) -> Result<Ticket, Error> {
    let mut line = Vec::with_capacity(body.len() + HEAD_BYTES);
    let ticket = shared.lines.reply(request, body, &mut line)?;
    say(shared, State::check_reply, &line)?;
    Ok(ticket)
}

/// The connection is lost: ends what was on its way. Gives callbacks to be run.
fn lose(shared: &Shared, error: Error) -> Vec<Job> {
    let mut state = shared.lock();
    // While it is away the writer gives back what it has in hand.
    let phase = std::mem::replace(&mut state.phase, Phase::Away);
    if let Some(stream) = &state.stream {
        stream.shut();
    }
    while state.is_writing {
        shared.wake_writer(&mut state);
        state = shared.wait_for_change(state, None);
    }
    state.phase = phase;
    let ended = state.lose(error);
    shared.wake_writer(&mut state);
    shared.tell_change(&state);
    drop(state);
    end_all(ended)
}

/// Ends requests. Gives callbacks to be run.
pub(super) fn end_all(ended: Ended) -> Vec<Job> {
    ended.into_iter().filter_map(|(request, error)| request.end(Err(error))).collect()
}

/// Makes the connection again, which is restored then by what comes over it; false if the handle is to end.
fn reconnect(shared: &Arc<Shared>, attempts: &mut Attempts) -> bool {
    loop {
        attempts.tries = attempts.tries.saturating_add(1);
        // What handlers were kept from by an attempt that failed.
        run_tasks(shared);
        if !pause(shared, after(Instant::now(), attempts.backoff.next(unique::random()))) {
            return false;
        }
        let Ok(stream) =
            attempt::connect(shared.options.address_of(attempts.tries), shared.options.connect_timeout)
        else {
            continue;
        };
        if stream.set_write_timeout(WRITE_TIMEOUT).is_err() {
            continue;
        }
        shared.lock_intake().begin();
        let mut state = shared.lock();
        if state.closing.is_some() {
            return false;
        }
        state.stream = Some(Arc::new(stream));
        state.restore(attempts.tries, shared.now());
        shared.wake_writer(&mut state);
        return true;
    }
}

/// Waits until then; false if the handle is to end.
fn pause(shared: &Shared, until: Instant) -> bool {
    let mut state = shared.lock();
    while state.closing.is_none() && Instant::now() < until {
        state = shared.wait_for_change(state, Some(until));
    }
    state.closing.is_none()
}

/// Ends everything. Gives callbacks to be run.
fn end(shared: &Shared) -> Vec<Job> {
    let mut state = shared.lock();
    if !matches!(state.phase, Phase::Ended(_)) {
        state.phase = Phase::Ended(None);
    }
    state.is_flushed = true;
    let written = state.output.cut(true);
    let lost = state.book.lose(written, true);
    state.holdings.end();
    let (inboxes, changes) = (std::mem::take(&mut state.inboxes), std::mem::take(&mut state.changes));
    // Handlers may hold handles, whose end needs the lock.
    let answerers = std::mem::take(&mut state.answerers);
    let listener = state.listener.take();
    shared.wake_writer(&mut state);
    shared.tell_change(&state);
    drop(state);
    drop((answerers, listener));
    inboxes.iter().filter_map(Weak::upgrade).for_each(|inbox| inbox.end());
    changes.iter().filter_map(Weak::upgrade).for_each(|changes| changes.end());
    lost.into_iter().filter_map(|(request, _)| request.end(Err(Error::Closed { why: None }))).collect()
}
