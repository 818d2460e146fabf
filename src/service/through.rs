//! Knows how what comes through the switch gets to the functions of a service, on a thread of its own.
//! Never: how it is handled.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use crate::client::{Arrival, Category, Error, Handle, Message, Stream};
use crate::service::answers::error_body;
use crate::service::work::{Caller, Job, Work};
use crate::wire::code::Code;

/// Signals that wait until there is room, in bytes; those beyond are dropped.
const WAITING_BYTES_MAX: usize = 16 << 20;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Hands on what comes, until the connection is over, or `ends`, and nothing is left. It is unparked to look.
pub(super) fn run(mut inbox: Stream<Arrival>, handle: &Handle, work: &Work, ends: &AtomicBool) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut waiting = Waiting::default();
    loop {
        // Before the inbox is looked at: what came before the end is handed on.
        let is_end = ends.load(Ordering::Acquire);
        while work.has_room(&waker)
            && let Some((caller, job)) = waiting.pop()
        {
            work.put(caller, job);
        }
        match inbox.poll_next(&mut context) {
            Poll::Ready(Some(Arrival::Message(message))) => {
                hear(message, handle, work, &mut waiting, &waker);
            }
            // The connection was lost; or more came than this thread could take, while the daemon took no replies.
            // Requests that are missed end with their timeouts.
            Poll::Ready(Some(_)) => {}
            Poll::Ready(None) if waiting.signals.is_empty() => return,
            Poll::Pending if is_end && waiting.signals.is_empty() => return,
            Poll::Ready(None) | Poll::Pending => thread::park(),
        }
    }
}

/// Signals for which there was no room yet, in their order.
#[derive(Default)]
struct Waiting {
    signals: VecDeque<(Caller, Job)>,
    bytes: usize,
}

impl Waiting {
    /// Takes one; beyond the bound it is dropped.
    fn push(&mut self, caller: Caller, job: Job) {
        if self.bytes < WAITING_BYTES_MAX {
            self.bytes += job.bytes();
            self.signals.push_back((caller, job));
        }
    }

    fn pop(&mut self) -> Option<(Caller, Job)> {
        let (caller, job) = self.signals.pop_front()?;
        self.bytes -= job.bytes();
        Some((caller, job))
    }
}

fn hear(message: Message, handle: &Handle, work: &Work, waiting: &mut Waiting, waker: &Waker) {
    // What the daemon itself says is not for the functions.
    let Some(from) = message.from().map(str::to_owned) else { return };
    // What came before goes first.
    let has_room = waiting.signals.is_empty() && work.has_room(waker);
    match message.category() {
        Category::Request | Category::Signal if has_room => {
            work.put(Caller::Switch(from), Job::new(message, Instant::now()));
        }
        Category::Signal => waiting.push(Caller::Switch(from), Job::new(message, Instant::now())),
        Category::Request => {
            let body = error_body("too much waits to be handled", Some(Code::Overloaded.word()));
            reply(handle, &message, &body);
        }
        Category::Reply | Category::Error => {}
    }
}

/// Replies; if the answer cannot be sent, that is the reply.
pub(super) fn reply(handle: &Handle, request: &Message, body: &str) {
    if let Err(Error::Unsendable(why)) = handle.reply(request, body) {
        // With that it has been tried.
        let _ = handle.reply(request, &error_body(&why.to_string(), None));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_wait_in_their_order_and_within_a_bound() {
        let mut waiting = Waiting::default();
        let mut taken = 0;
        let signal = |number: usize| {
            let body = format!("{number} {}", " ".repeat(1 << 20));
            let line = format!("{{\"message_type\":\"signal\",\"body\":{body}}}");
            Job::new(Message::read(line.into_bytes()).expect("a message"), Instant::now())
        };
        for number in 0..20 {
            waiting.push(Caller::Direct(1), signal(number));
        }
        while let Some((_, job)) = waiting.pop() {
            assert_eq!(job.message.body_value(), taken);
            taken += 1;
        }
        assert_eq!((taken, waiting.bytes), (16, 0));
        waiting.push(Caller::Direct(1), signal(20));
        assert_eq!(waiting.signals.len(), 1);
    }
}
