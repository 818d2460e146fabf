//! Knows the messages that wait to be handled, whose turn it is, and the threads that handle them.
//! Never: what handling is.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use crate::client::Message;

/// Messages through the switch that wait or are in hand, and their bytes, from which on there is no room for more.
const OF_SWITCH_MAX: usize = 4096;
const OF_SWITCH_BYTES_MAX: usize = 16 << 20;

/// Whose message it is. Those of one caller begin in their order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Caller {
    /// A direct connection, by its number.
    Direct(u64),
    /// A sender at the switch, by its address.
    Switch(String),
}

/// A message that is to be handled.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) message: Message,
    /// When the caller waits no more.
    due: Option<Instant>,
}

impl Job {
    pub(super) fn new(message: Message, now: Instant) -> Job {
        let due = message.timeout().and_then(|timeout| now.checked_add(timeout));
        Job { message, due }
    }

    /// Whether its sender waits no more.
    pub(super) fn is_late(&self) -> bool {
        self.due.is_some_and(|due| due <= Instant::now())
    }

    /// What it takes of the memory.
    pub(super) fn bytes(&self) -> usize {
        self.message.line().len() + size_of::<Message>()
    }
}

pub(super) struct Work {
    /// How many messages of one caller may be in hand at the same time.
    per_caller: usize,
    state: Mutex<State>,
    /// For the threads: there is something to do.
    came: Condvar,
    /// For the end: something has been done.
    done: Condvar,
}

#[derive(Default)]
struct State {
    /// Those that have something waiting or in hand.
    callers: HashMap<Caller, Line>,
    /// Callers that may have one more message in hand, in the order of their turns.
    turns: VecDeque<Caller>,
    /// Jobs that wait or are in hand.
    jobs: usize,
    /// How many of them came through the switch, and their bytes.
    of_switch: (usize, usize),
    /// What is woken when there is room again for what comes through the switch.
    waits_for_room: Option<Waker>,
    is_over: bool,
}

/// The messages of one caller.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Job>,
    /// How many are in hand, or have their turn.
    begun: usize,
}

impl Work {
    pub(super) fn new(per_caller: usize) -> Work {
        let per_caller = per_caller.max(1);
        Work { per_caller, state: Mutex::default(), came: Condvar::new(), done: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, caller: Caller, job: Job) {
        let mut state = self.lock();
        if state.is_over {
            return;
        }
        state.count(&caller, &job, true);
        let line = state.callers.entry(caller.clone()).or_default();
        line.waiting.push_back(job);
        if line.begun < self.per_caller {
            line.begun += 1;
            state.turns.push_back(caller);
            drop(state);
            self.came.notify_one();
        }
    }

    /// The next message, when there is one; none at the end. [`Work::done`] has to follow.
    pub(super) fn next(&self) -> Option<(Caller, Job)> {
        let mut state = self.lock();
        loop {
            // Of a caller that is forgotten nothing waits.
            while let Some(caller) = state.turns.pop_front() {
                match state.callers.get_mut(&caller).and_then(|line| line.waiting.pop_front()) {
                    Some(job) => return Some((caller, job)),
                    None => state.end_turn(&caller),
                }
            }
            if state.is_over {
                return None;
            }
            state = self.came.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A message has been handled: it is the next one's turn.
    pub(super) fn done(&self, caller: Caller, job: &Job) {
        let mut state = self.lock();
        state.count(&caller, job, false);
        match state.callers.get(&caller) {
            // If it has another turn, that may take what waits.
            Some(line) if !line.waiting.is_empty() => {
                state.turns.push_back(caller);
                self.came.notify_one();
            }
            _ => state.end_turn(&caller),
        }
        let waker = state.room_waker();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        self.done.notify_all();
    }

    /// Drops what waits of a caller.
    pub(super) fn forget(&self, caller: &Caller) {
        let mut state = self.lock();
        let Some(line) = state.callers.get_mut(caller) else { return };
        let dropped = std::mem::take(&mut line.waiting);
        dropped.iter().for_each(|job| state.count(caller, job, false));
        drop(state);
        self.done.notify_all();
    }

    /// Whether there is room for more that comes through the switch; if not, `waker` is woken once there is. At the
    /// end there is room for all, and what comes then is dropped.
    pub(super) fn has_room(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        let has_room = state.has_room();
        state.waits_for_room = (!has_room).then(|| waker.clone());
        has_room
    }

    /// Waits until all is done, or then.
    pub(super) fn finish(&self, until: Instant) {
        let mut state = self.lock();
        while state.jobs > 0 && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            state = self.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends the threads, each when what it has in hand is done. What waits is dropped.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        let dropped = (std::mem::take(&mut state.turns), std::mem::take(&mut state.callers));
        state.is_over = true;
        let waker = state.room_waker();
        drop(state);
        drop(dropped);
        waker.into_iter().for_each(Waker::wake);
        self.came.notify_all();
        self.done.notify_all();
    }
}

impl State {
    fn has_room(&self) -> bool {
        let (jobs, bytes) = self.of_switch;
        self.is_over || (jobs < OF_SWITCH_MAX && bytes < OF_SWITCH_BYTES_MAX)
    }

    /// What is to be woken, once the lock is released, since there is room.
    fn room_waker(&mut self) -> Option<Waker> {
        if self.has_room() { self.waits_for_room.take() } else { None }
    }

    /// A turn of a caller is over, and nothing waits for the next one.
    fn end_turn(&mut self, caller: &Caller) {
        let Some(line) = self.callers.get_mut(caller) else { return };
        line.begun -= 1;
        if line.begun == 0 && line.waiting.is_empty() {
            self.callers.remove(caller);
        }
    }

    fn count(&mut self, caller: &Caller, job: &Job, is_new: bool) {
        let change = |count: &mut usize, by: usize| match is_new {
            true => *count += by,
            false => *count = count.saturating_sub(by),
        };
        change(&mut self.jobs, 1);
        if matches!(caller, Caller::Switch(_)) {
            change(&mut self.of_switch.0, 1);
            change(&mut self.of_switch.1, job.bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(work: &Work, caller: u64, message_type: &str) {
        let line = format!("{{\"message_type\":\"{message_type}\"}}");
        let message = Message::read(line.into_bytes()).expect("a message");
        work.put(Caller::Direct(caller), Job::new(message, Instant::now()));
    }

    fn next(work: &Work) -> (Caller, Job, String) {
        let (caller, job) = work.next().expect("a job");
        let name = job.message.message_type().to_owned();
        (caller, job, name)
    }

    #[test]
    fn callers_take_turns_and_each_keeps_its_order() {
        let work = Work::new(1);
        for name in ["a", "b", "c"] {
            put(&work, 1, name);
        }
        put(&work, 2, "x");
        let mut order = String::new();
        let (one, one_job, name) = next(&work);
        order += &name;
        // While one message of a caller is in hand, none of it is handed out.
        let (other, other_job, name) = next(&work);
        order += &name;
        work.done(one, &one_job);
        work.done(other, &other_job);
        for _ in 0..2 {
            let (caller, job, name) = next(&work);
            order += &name;
            work.done(caller, &job);
        }
        assert_eq!(order, "axbc");
        put(&work, 1, "forgotten");
        work.forget(&Caller::Direct(1));
        put(&work, 2, "y");
        let (caller, job, name) = next(&work);
        assert_eq!(name, "y");
        work.done(caller, &job);
        let state = work.lock();
        assert_eq!((state.jobs, state.turns.len(), state.callers.len()), (0, 0, 0));
        drop(state);
        work.end();
        assert!(work.next().is_none());
    }

    #[test]
    fn so_many_messages_of_one_caller_are_in_hand_at_once() {
        let work = Work::new(2);
        for name in ["a", "b", "c", "d"] {
            put(&work, 1, name);
        }
        put(&work, 2, "x");
        let (one, one_job, first) = next(&work);
        let (other, other_job, second) = next(&work);
        let (third, third_job, name) = next(&work);
        assert_eq!(format!("{first}{second}{name}"), "abx", "the first caller has two in hand");
        assert!(work.lock().turns.is_empty());
        work.done(other, &other_job);
        let (fourth, fourth_job, name) = next(&work);
        assert_eq!((name.as_str(), work.lock().turns.len()), ("c", 0));
        work.done(one, &one_job);
        work.done(third, &third_job);
        work.done(fourth, &fourth_job);
        let (last, last_job, name) = next(&work);
        assert_eq!(name, "d");
        work.done(last, &last_job);
        put(&work, 2, "y");
        let (caller, job, name) = next(&work);
        assert_eq!(name, "y");
        work.done(caller, &job);
        let state = work.lock();
        assert_eq!((state.jobs, state.turns.len(), state.callers.len()), (0, 0, 0));
    }
}
