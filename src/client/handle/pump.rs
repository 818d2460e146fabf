//! Knows how what comes is brought to what waits for it, and how to wait without standing in its way.
//! Never: how a connection is made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::error::Error;
use crate::client::fault::Fault;
use crate::client::handle::book::{Answered, Crowded, Ended, Reply, Request, Waiter};
use crate::client::handle::change::Change;
use crate::client::handle::intake::{Intake, Task};
use crate::client::handle::queue::{Queue, Taken};
use crate::client::handle::shared::Shared;
use crate::client::handle::slot::{Outcome, Slot};
use crate::client::handle::state::{Phase, State};
use crate::client::lines::{Outgoing, Ticket};
use crate::client::message::Message;
use crate::client::moment::after;
use crate::client::refused::Refused;
use crate::wire::code::Code;
use crate::wire::message::Category;

/// How long a wait in a handler for room leaves what comes unread.
const TURN: Duration = Duration::from_millis(5);

/// What one line has brought, to be seen to when the lock is let go.
enum Found {
    /// The answer to the request of this number.
    Answer(u64, Request, Reply),
    /// One of several answers to it.
    OneOfMany(u64, Arc<Queue<Outcome>>, Reply),
    /// Requests that have ended by it.
    Ended(Ended),
    Message(Message),
}

/// A message that has come, as far as it can be told without the lock that all callers need.
struct Heard {
    category: Category,
    /// The line of this client that it is about.
    ticket: Option<Ticket>,
    /// Of an `error` line and of what is about a line, whether it tells an error.
    what: Reply,
}

impl Heard {
    fn new(lines: &Outgoing, message: Message) -> Heard {
        let category = message.category();
        let may_be_about = matches!(category, Category::Reply | Category::Error);
        let ticket = if may_be_about { lines.answered(&message) } else { None };
        let is_checked = ticket.is_some() || category == Category::Error;
        Heard { category, ticket, what: if is_checked { Refused::check(message) } else { Ok(message) } }
    }
}

/// Reads once, fills in the answers that have come and keeps all else. The error is the end of the connection;
/// it is given again and again. On the reader thread only.
pub(super) fn pump(shared: &Shared, until: Option<Instant>) -> Result<(), Error> {
    let mut intake = shared.lock_intake();
    if intake.is_ended {
        return Err(Error::Closed { why: farewell(&intake) });
    }
    let Some(stream) = shared.lock().stream.clone() else { return Err(Error::Away) };
    let arrivals = intake.read(&stream, until).map_err(|source| Error::Io { doing: "reading", source })?;
    take_in(shared, &mut intake, arrivals)
}

/// Fills in the answers that have come and keeps all else. The error is what is not the protocol.
pub(super) fn take_in(
    shared: &Shared,
    intake: &mut Intake,
    arrivals: Vec<Result<Message, Fault>>,
) -> Result<(), Error> {
    if arrivals.is_empty() {
        return Ok(());
    }
    let mut found = Vec::new();
    let mut fault = None;
    {
        let arrivals: Vec<_> = arrivals
            .into_iter()
            .map(|arrival| arrival.map(|message| Heard::new(&shared.lines, message)))
            .collect();
        let now = shared.now();
        let mut state = shared.lock();
        let is_restoring = matches!(state.phase, Phase::Restoring(_));
        for arrival in arrivals {
            match arrival {
                Ok(heard) => sort(&mut state, intake, heard, &mut found, now),
                // It is skipped, and the next line is none the worse for it.
                Err(Fault::LineTooLong) => {}
                Err(other) => {
                    fault = Some(other);
                    break;
                }
            }
        }
        if is_restoring {
            shared.wake_writer(&mut state);
            shared.tell_change(&state);
        }
    }
    settle(shared, intake, found);
    match fault {
        // What says so is no daemon.
        Some(fault) => {
            intake.is_ended = true;
            Err(Error::Fault(fault))
        }
        None => Ok(()),
    }
}

pub(super) fn farewell(intake: &Intake) -> Option<Box<Refused>> {
    intake.farewell.clone()
}

fn sort(state: &mut State, intake: &mut Intake, heard: Heard, found: &mut Vec<Found>, now: Instant) {
    intake.farewell = None;
    let Heard { category, ticket, what } = heard;
    if let Some(Ticket(number)) = ticket {
        match state.book.answered(number) {
            Answered::One(number, request) => return found.push(answer(state, number, request, what, now)),
            Answered::OneOfMany(queue) => return found.push(Found::OneOfMany(number, queue, what)),
            // Another instance has answered before, or the request was given up.
            Answered::Nothing if category == Category::Reply => return,
            Answered::Nothing => {}
        }
    }
    match what {
        Err(why) => {
            if why.by_daemon() && why.message().in_reply_to().is_none() {
                intake.farewell = Some(why.clone());
            }
            state.tell(|| Change::Undelivered { ticket, why: why.clone() });
        }
        Ok(message) => {
            if let Phase::Restoring(restoring) = &mut state.phase {
                restoring.has_heard |= message.from().is_some();
            }
            let has_answerer = message.is_request() && state.answerers.contains_key(message.message_type());
            if has_answerer || !state.holdings.deliver(&message) {
                found.push(Found::Message(message));
            }
        }
    }
}

/// What must happen before the next line is looked at happens here; the rest when the lock is let go.
fn answer(state: &mut State, number: u64, mut request: Request, reply: Reply, now: Instant) -> Found {
    if let Waiter::Restoring(again) = request.waiter() {
        return Found::Ended(state.restored(again, reply, now));
    }
    if !is_crowded(&reply) {
        state.answered(&mut request, &reply, now);
    }
    Found::Answer(number, request, reply)
}

/// Whether the daemon had no room for the request, which is put back then.
fn is_crowded(reply: &Reply) -> bool {
    reply.as_ref().is_err_and(|why| why.is(Code::TooManyRequests))
}

/// Fills in the answers, and keeps what is to be run, in the order of the lines: outside the lock that all callers need.
fn settle(shared: &Shared, intake: &mut Intake, found: Vec<Found>) {
    let mut refused = Vec::new();
    let mut found_room = 0;
    for found in found {
        let job = match found {
            Found::Ended(ended) => {
                let jobs = ended.into_iter().filter_map(|(request, error)| request.end(Err(error)));
                jobs.for_each(|job| intake.keep(Task::Job(job)));
                None
            }
            Found::Message(message) => {
                intake.keep(Task::Message(message));
                None
            }
            Found::Answer(number, request, Err(why)) if why.is(Code::TooManyRequests) => {
                refused.push((number, request, why));
                None
            }
            Found::Answer(_, request, reply) => {
                found_room += 1;
                request.end(reply.map_err(Error::from))
            }
            // The daemon's own word is that no more comes.
            Found::OneOfMany(number, _, Err(why)) if why.by_daemon() => {
                let request = shared.lock().book.end(number);
                match request {
                    Some(request) if why.is(Code::TooManyRequests) => {
                        refused.push((number, request, why));
                        None
                    }
                    request => {
                        found_room += usize::from(request.is_some());
                        request.and_then(|request| request.end(Err(why.into())))
                    }
                }
            }
            Found::OneOfMany(_, queue, answer) => {
                let bytes = answer.as_ref().unwrap_or_else(|why| why.message()).line().len();
                queue.push(answer.map_err(Error::from), bytes);
                None
            }
        };
        job.into_iter().for_each(|job| intake.keep(Task::Job(job)));
    }
    go_on(shared, intake, refused, found_room);
}

/// Sends those whose turn has come, since others were answered or had no room.
fn go_on(shared: &Shared, intake: &mut Intake, refused: Vec<Crowded>, found_room: usize) {
    if refused.is_empty() && found_room == 0 {
        return;
    }
    let mut state = shared.lock();
    let mut refused = if refused.is_empty() { refused } else { state.book.put_back(refused) };
    let now = shared.now();
    refused.iter_mut().for_each(|(_, request, _)| state.failed(request, now));
    state.book.found_room(found_room);
    state.release();
    if state.output.unwritten() > 0 || state.names_due.is_some() {
        shared.wake_writer(&mut state);
    }
    drop(state);
    for (_, request, why) in refused {
        if let Some(job) = request.end(Err(why.into())) {
            intake.keep(Task::Job(job));
        }
    }
}

/// Waits for an outcome. On the reader thread it reads meanwhile; an error if that comes to its end, or too
/// much is kept.
pub(super) fn wait_for(
    shared: &Shared,
    slot: &Slot,
    until: Option<Instant>,
) -> Result<Option<Outcome>, Error> {
    if !shared.is_on_reader() {
        return Ok(slot.wait(until));
    }
    loop {
        if let Some(outcome) = slot.take() {
            return Ok(Some(outcome));
        }
        if until.is_some_and(|until| until <= Instant::now()) {
            return Ok(None);
        }
        pump_a_little(shared, until)?;
    }
}

/// Waits for what is next in a queue, likewise.
pub(super) fn wait_for_next<T>(
    shared: &Shared,
    queue: &Queue<T>,
    until: Option<Instant>,
) -> Result<Taken<T>, Error> {
    if !shared.is_on_reader() {
        return Ok(queue.wait(until));
    }
    loop {
        match queue.take() {
            Taken::Nothing if until.is_some_and(|until| until <= Instant::now()) => {
                return Ok(Taken::Nothing);
            }
            Taken::Nothing => pump_a_little(shared, until)?,
            taken => return Ok(taken),
        }
    }
}

fn pump_a_little(shared: &Shared, until: Option<Instant>) -> Result<(), Error> {
    if !shared.lock_intake().has_room() {
        return Err(Error::KeptFull);
    }
    // The end of the wait may be far away, and what is waited for may end without a line.
    let soon = Instant::now() + Duration::from_secs(1);
    pump(shared, Some(until.map_or(soon, |until| until.min(soon)))).map_err(|error| match error {
        Error::Closed { why } => Error::Lost { why },
        other => other,
    })
}

/// Appends a line when there is room, if `check` lets it.
pub(super) fn say(
    shared: &Shared,
    check: impl Fn(&State) -> Result<(), Error>,
    line: &[u8],
) -> Result<(), Error> {
    let mut until = None;
    let mut state = shared.lock();
    loop {
        check(&state)?;
        if state.output.has_room() {
            state.output.lines().extend_from_slice(line);
            if matches!(state.phase, Phase::Up) {
                shared.wake_writer(&mut state);
            }
            return Ok(());
        }
        let patience = shared.options.send_timeout;
        let end = *until.get_or_insert_with(|| after(Instant::now(), patience));
        if end <= Instant::now() {
            return Err(Error::GaveUp { after: patience });
        }
        if shared.is_on_reader() {
            // A daemon whose answers are not read may read no further.
            drop(state);
            pump_a_little(shared, Some(Instant::now() + TURN))?;
            state = shared.lock();
        } else {
            state = shared.wait_for_change(state, Some(end));
        }
    }
}
