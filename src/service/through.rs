//! Knows how what comes through the switch gets to the functions of a service, on a thread of its own.
//! Never: how it is handled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use crate::client::{Arrival, Category, Error, Handle, Message, Stream};
use crate::service::answers::error_body;
use crate::service::work::{Caller, Job, Work};
use crate::wire::code::Code;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Hands on what comes, until the connection is over, or `ends` and nothing is left. It is unparked to look.
pub(super) fn run(mut inbox: Stream<Arrival>, handle: &Handle, work: &Work, ends: &AtomicBool) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        // Before the inbox is looked at: what came before the end is handed on.
        let is_end = ends.load(Ordering::Acquire);
        match inbox.poll_next(&mut context) {
            Poll::Ready(Some(Arrival::Message(message))) => hand_on(message, handle, work),
            // The switch tells who sent it.
            Poll::Ready(Some(_)) => {}
            Poll::Ready(None) => return,
            Poll::Pending if is_end => return,
            Poll::Pending => thread::park(),
        }
    }
}

fn hand_on(message: Message, handle: &Handle, work: &Work) {
    // What the daemon itself says is not for the functions.
    let Some(from) = message.from().map(str::to_owned) else { return };
    match message.category() {
        Category::Request if !work.has_room() => {
            let body = error_body("too much waits to be handled", Some(Code::Overloaded.word()));
            reply(handle, &message, &body);
        }
        Category::Request | Category::Signal => {
            work.wait_for_room();
            work.put(Caller::Switch(from), Job::new(message, Instant::now()));
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
