//! Knows how a new connection is told what the old one held.
//! Never: how it is made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::error::Error;
use crate::client::handle::book::{Request, Waiter};
use crate::client::handle::change::Change;
use crate::client::handle::pump::wait_for;
use crate::client::handle::shared::{Shared, State};
use crate::client::handle::slot::{Job, Outcome, Slot};
use crate::client::lines::To;
use crate::client::message::Message;
use crate::client::refused::Refused;

/// How long a name that another connection took is left alone.
const NAME_DELAY: Duration = Duration::from_secs(1);

/// Asks for all of it again, and waits for the answers; an error if there is no connection any more, or the
/// daemon does not answer. Gives callbacks to be run. On the reader thread only.
pub(super) fn restore(shared: &Shared) -> Result<Vec<Job>, Error> {
    let until = Instant::now() + shared.options.connect_timeout;
    let whoami = ask(shared, &mut shared.lock(), "whoami", "")?;
    let reply = answer(shared, &whoami, until)??;
    let (names, asks) = {
        let mut state = shared.lock();
        state.learn_limits(&reply);
        let names: Vec<_> =
            state.holdings.names().iter().map(|name| (name.node_id.clone(), name.body())).collect();
        let names: Result<Vec<_>, _> = names
            .into_iter()
            .map(|(node_id, body)| Ok((node_id, ask(shared, &mut state, "register", &body)?)))
            .collect();
        let asks: Result<Vec<_>, Error> = state
            .holdings
            .asks()
            .into_iter()
            .map(|(what, pattern, body)| Ok((what, pattern, ask(shared, &mut state, what, &body)?)))
            .collect();
        (names.map_err(|error: Error| error)?, asks?)
    };
    let mut jobs = Vec::new();
    for (node_id, slot) in names {
        match answer(shared, &slot, until)? {
            Ok(_) => shared.lock().held(&node_id),
            Err(error) => match error.refused() {
                Some(why) => jobs.extend(lose_name(shared, &node_id, why)),
                None => return Err(error),
            },
        }
    }
    for (what, pattern, slot) in asks {
        match answer(shared, &slot, until)? {
            Ok(_) => {}
            Err(error) if error.refused().is_some() => {
                let mut state = shared.lock();
                state.holdings.refused(what, &pattern);
                let error = Arc::new(error);
                state.tell(|| Change::Ended { pattern: pattern.clone(), error: Arc::clone(&error) });
            }
            Err(error) => return Err(error),
        }
    }
    shared.lock().holdings.settle();
    Ok(jobs)
}

fn ask(shared: &Shared, state: &mut State, what: &str, body: &str) -> Result<Arc<Slot>, Error> {
    let slot = Slot::new();
    let patience = shared.options.connect_timeout;
    let mut line = Vec::new();
    let ticket = state.lines.request(To::Daemon, what, body, Some(patience), &mut line)?;
    let request = Request::new(&line, Waiter::One(Arc::clone(&slot)), patience, Instant::now());
    state.book.put_open(ticket.0, request);
    state.setup.append(&mut line);
    shared.wake_writer(state);
    Ok(slot)
}

fn answer(shared: &Shared, slot: &Slot, until: Instant) -> Result<Outcome, Error> {
    let after = shared.options.connect_timeout;
    wait_for(shared, slot, Some(until))?.ok_or(Error::GaveUp { after })
}

/// A name is another connection's. If messages come from it, all that waits to be sent is given up.
fn lose_name(shared: &Shared, node_id: &str, why: &Refused) -> Vec<Job> {
    let mut state = shared.lock();
    state.names_due = Some(Instant::now() + NAME_DELAY);
    for name in state.holdings.names().iter_mut().filter(|name| name.node_id == node_id) {
        name.is_lost = true;
    }
    state.tell(|| Change::NameLost { node_id: node_id.to_owned(), why: Box::new(why.clone()) });
    if state.holdings.lost_name() != Some(node_id) {
        return Vec::new();
    }
    let written = state.output.cut(true);
    let lost = state.book.give_up_unwritten(written);
    drop(state);
    let lost = lost.into_iter();
    lost.filter_map(|request| request.end(Err(Error::NameLost { node_id: node_id.to_owned() }))).collect()
}

impl State {
    /// A name is this connection's.
    fn held(&mut self, node_id: &str) {
        let mut is_regained = false;
        for name in self.holdings.names().iter_mut().filter(|name| name.node_id == node_id) {
            is_regained |= std::mem::take(&mut name.is_lost);
        }
        if is_regained {
            self.tell(|| Change::NameRegained { node_id: node_id.to_owned() });
        }
    }
}

/// Tries to get lost names again.
pub(super) fn retry_names(shared: &Arc<Shared>, state: &mut State) {
    state.names_due = None;
    let lost: Vec<(String, String)> = state
        .holdings
        .names()
        .iter()
        .filter(|name| name.is_lost)
        .map(|name| (name.node_id.clone(), name.body()))
        .collect();
    for (node_id, body) in lost {
        let ours = Arc::downgrade(shared);
        let slot = Slot::called(Box::new(move |outcome: Result<Message, Error>| {
            let Some(shared) = ours.upgrade() else { return };
            let mut state = shared.lock();
            match outcome {
                Ok(_) => state.held(&node_id),
                Err(_) => state.names_due = Some(Instant::now() + NAME_DELAY),
            }
            shared.wake_writer(&mut state);
        }));
        let mut line = Vec::new();
        let patience = shared.options.connect_timeout;
        // What was taken once is taken again.
        let Ok(ticket) = state.lines.request(To::Daemon, "register", &body, Some(patience), &mut line) else {
            continue;
        };
        let request = Request::new(&line, Waiter::One(slot), patience, Instant::now());
        state.book.put(ticket.0, request);
    }
    state.release();
}
