//! Knows the thread that reads, runs handlers and callbacks, and makes a lost connection again.
//! Never: writes.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Instant;

use crate::client::attempt;
use crate::client::error::Error;
use crate::client::handle::backoff::Backoff;
use crate::client::handle::change::{Arrival, Change};
use crate::client::handle::intake::Task;
use crate::client::handle::options::Reconnect;
use crate::client::handle::pump::{pump, say};
use crate::client::handle::restore::restore;
use crate::client::handle::shared::{Phase, Shared};
use crate::client::handle::slot::Job;
use crate::client::handle::writer::WRITE_TIMEOUT;
use crate::client::lines::{Ticket, To};
use crate::client::message::Message;
use crate::client::unique;
use crate::wire::json::write_string;
use crate::wire::message::Category;

/// Reads until the handle has ended.
pub(super) fn run(shared: &Arc<Shared>) {
    let mut jobs;
    loop {
        let error = read_on(shared);
        jobs = lose(shared, error);
        let Some(reconnect) = shared.options.reconnect.clone() else { break };
        jobs.drain(..).for_each(run_job);
        if !reconnect_as(shared, &reconnect) {
            break;
        }
    }
    let ended = end(shared);
    jobs.into_iter().chain(ended).for_each(run_job);
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

fn run_tasks(shared: &Arc<Shared>) {
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

fn run_job(job: Job) {
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
            let answer = catch_unwind(run).unwrap_or_else(|panic| Err(words_of(&*panic)));
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

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
    format!("what should answer panicked: {text}")
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
    // A reply needs no name of its own.
    say(shared, To::Daemon, |state| {
        let mut line = Vec::new();
        let ticket = state.lines.reply(request, body, &mut line)?;
        state.output.lines().append(&mut line);
        Ok(ticket)
    })
}

/// The connection is lost: ends what was on its way. Gives callbacks to be run.
fn lose(shared: &Shared, error: Error) -> Vec<Job> {
    let mut state = shared.lock();
    let is_end = shared.options.reconnect.is_none() || state.closing.is_some();
    let why = match &error {
        Error::Closed { why } => why.clone(),
        _ => None,
    };
    state.phase = Phase::Away;
    if let Some(stream) = &state.stream {
        stream.shut();
    }
    while state.is_writing {
        shared.wake_writer(&mut state);
        state = shared.wait_for_change(state, None);
    }
    (state.stream, state.is_broken) = (None, false);
    state.setup.clear();
    let gives_up = is_end || !shared.options.waits_while_away();
    let written = state.output.cut(gives_up);
    let lost = state.book.lose(written, gives_up);
    if is_end {
        state.phase = Phase::Ended(why.clone());
    } else {
        state.holdings.interrupt();
        let inboxes = state.inboxes.iter().filter_map(Weak::upgrade);
        let wakers: Vec<_> = inboxes.filter_map(|inbox| inbox.put(Arrival::Missed(None), 0)).collect();
        state.holdings.wakers.extend(wakers);
    }
    if state.closing.is_none() {
        let error = Arc::new(error);
        state.tell(|| Change::Lost { error: Arc::clone(&error) });
    }
    shared.wake_writer(&mut state);
    drop(state);
    shared.changed.notify_all();
    let end_of = |is_written| match is_written {
        true => Error::Lost { why: why.clone() },
        false if is_end => Error::Closed { why: why.clone() },
        false => Error::Away,
    };
    lost.into_iter().filter_map(|(request, is_written)| request.end(Err(end_of(is_written)))).collect()
}

/// Makes the connection again; false if the handle is to end.
fn reconnect_as(shared: &Arc<Shared>, reconnect: &Reconnect) -> bool {
    let mut backoff = Backoff::new(reconnect.first_delay, reconnect.longest_delay);
    for tries in 1.. {
        // What handlers were kept from by an attempt that failed.
        run_tasks(shared);
        if !pause(shared, Instant::now() + backoff.next(unique::random())) {
            return false;
        }
        let Ok(stream) = attempt::connect(shared.options.address_of(tries), shared.options.connect_timeout)
        else {
            continue;
        };
        if stream.set_write_timeout(WRITE_TIMEOUT).is_err() {
            continue;
        }
        shared.lock_intake().begin();
        {
            let mut state = shared.lock();
            if state.closing.is_some() {
                return false;
            }
            (state.phase, state.stream) = (Phase::Restoring, Some(Arc::new(stream)));
        }
        match restore(shared) {
            Ok(jobs) => {
                let mut state = shared.lock();
                state.phase = Phase::Up;
                state.release();
                state.tell(|| Change::Restored { tries });
                shared.wake_writer(&mut state);
                drop(state);
                shared.changed.notify_all();
                jobs.into_iter().for_each(run_job);
                return true;
            }
            Err(_) => lose_again(shared),
        }
    }
    false
}

/// The connection did not last until all was restored.
fn lose_again(shared: &Shared) {
    let mut state = shared.lock();
    state.phase = Phase::Away;
    if let Some(stream) = state.stream.take() {
        stream.shut();
    }
    while state.is_writing {
        shared.wake_writer(&mut state);
        state = shared.wait_for_change(state, None);
    }
    state.is_broken = false;
    state.setup.clear();
    let written = state.output.written();
    // All that was written of this connection is what was to restore it, and this thread waited for that.
    let lost = state.book.lose(written, false);
    drop(state);
    drop(lost);
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
    drop(state);
    shared.changed.notify_all();
    drop((answerers, listener));
    inboxes.iter().filter_map(Weak::upgrade).for_each(|inbox| inbox.end());
    changes.iter().filter_map(Weak::upgrade).for_each(|changes| changes.end());
    lost.into_iter().filter_map(|(request, _)| request.end(Err(Error::Closed { why: None }))).collect()
}
