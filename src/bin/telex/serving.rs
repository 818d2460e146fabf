//! Knows how messages are handed to commands, several at a time, and their answers back.
//! Never: what a command does.

use std::collections::VecDeque;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use telex::client::{Client, Error, Message};

use crate::command::Order;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::notice::notice;

/// Messages that are handed to commands.
pub(crate) struct Serving<'a> {
    client: &'a mut Client,
    context: &'a Context,
    order: Arc<Order>,
    jobs: usize,
    /// Commands that run: for all messages, and for those that nobody waits for an answer to.
    running: usize,
    signals: usize,
    /// Messages that have come and wait for a free place.
    waiting: VecDeque<Message>,
    /// How the connection has ended, once it has.
    over: Option<Failure>,
    done: (Sender<Done>, Receiver<Done>),
    /// Wakes the wait for the daemon when a command has ended.
    wake: (PipeReader, Arc<PipeWriter>),
}

type Done = (Message, Result<String, String>);

impl<'a> Serving<'a> {
    pub(crate) fn new(
        client: &'a mut Client,
        context: &'a Context,
        order: Order,
        jobs: usize,
    ) -> Result<Serving<'a>, Failure> {
        let (reader, writer) = pipe().map_err(|error| Failure::file("a pipe", &error))?;
        let (order, wake) = (Arc::new(order), (reader, Arc::new(writer)));
        Ok(Serving {
            client,
            context,
            order,
            jobs,
            running: 0,
            signals: 0,
            waiting: VecDeque::new(),
            over: None,
            done: channel(),
            wake,
        })
    }

    /// Runs the command for each message that `wants` says; goes on until the connection ends, and the signals that had
    /// come before have been done: their senders rely on it, while requests have been answered by the daemon. Messages
    /// that there is no free place for wait with the daemon.
    pub(crate) fn run(&mut self, wants: impl Fn(&Message) -> Wanted) -> Result<(), Failure> {
        loop {
            self.answer();
            while self.running < self.jobs
                && let Some(message) = self.waiting.pop_front()
            {
                self.start(message);
            }
            if self.running == 0
                && let Some(end) = self.over.take()
            {
                return Err(end);
            }
            let takes = self.over.is_none() && self.running < self.jobs;
            if !(takes && self.take_next(&wants)?) {
                self.wait(&wants)?;
            }
        }
    }

    /// Takes the next message, if there is one. The end of the connection is none, but the last thing to be told.
    fn take_next(&mut self, wants: &impl Fn(&Message) -> Wanted) -> Result<bool, Failure> {
        let message = match self.client.next(Some(Duration::ZERO)) {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(false),
            Err(error) => {
                self.end(error.into());
                return Ok(false);
            }
        };
        match (notice(&message), wants(&message)) {
            (Some(notice), _) => self.context.words.say(&notice),
            (None, Wanted::Yes) => self.waiting.push_back(message),
            (None, Wanted::Refused(why)) if message.is_request() => {
                reply(self.client, &message, Err(why))?;
            }
            (None, Wanted::Refused(_) | Wanted::No) => {}
        }
        Ok(true)
    }

    /// The connection is over: requests are not done any more, nor waited for.
    fn end(&mut self, end: Failure) {
        self.over = Some(end);
        self.waiting.retain(|message| !message.is_request());
        self.running = self.signals;
    }

    fn start(&mut self, message: Message) {
        self.running += 1;
        self.signals += usize::from(!message.is_request());
        let (order, done, wake) = (self.order.clone(), self.done.0.clone(), self.wake.1.clone());
        thread::spawn(move || {
            let answer = order.run(&message);
            // The command itself may be over, and then none wants to know.
            let _ = done.send((message, answer));
            let _ = (&*wake).write_all(&[0]);
        });
    }

    /// Answers what commands have ended for.
    fn answer(&mut self) {
        while let Ok((message, answer)) = self.done.1.try_recv() {
            if !message.is_request() {
                (self.running, self.signals) = (self.running - 1, self.signals - 1);
                if let Err(why) = answer {
                    self.context.words.say(&why);
                }
            } else if self.over.is_none() {
                self.running -= 1;
                if let Err(end) = reply(self.client, &message, answer) {
                    self.end(end);
                }
            }
        }
    }

    /// Waits until a command has ended, the connection is over, or a message comes that there is a free place for.
    fn wait(&mut self, wants: &impl Fn(&Message) -> Wanted) -> Result<(), Failure> {
        if self.over.is_some() && self.running == 0 {
            return Ok(());
        }
        let wanted = if self.running < self.jobs { PollFlags::POLLIN } else { PollFlags::empty() };
        let client: BorrowedFd<'_> = self.client.as_fd();
        let mut fds = [PollFd::new(self.wake.0.as_fd(), PollFlags::POLLIN), PollFd::new(client, wanted)];
        // The end is told again and again, whether it is wanted or not.
        let watched = if self.over.is_none() { 2 } else { 1 };
        match poll(&mut fds[..watched], PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Failure::new(Exit::Refused, format!("poll: {errno}"))),
        }
        let end = PollFlags::POLLHUP | PollFlags::POLLERR;
        let is_over = fds[1].revents().is_some_and(|events| events.intersects(end));
        if fds[0].any().unwrap_or(false) {
            let mut buffer = [0; 64];
            let _ = self.wake.0.read(&mut buffer);
        }
        while is_over && self.over.is_none() && self.take_next(wants)? {}
        Ok(())
    }
}

/// Answers a request. An answer that cannot be sent is an error for its asker, and none here.
pub(crate) fn reply(
    client: &mut Client,
    request: &Message,
    answer: Result<String, String>,
) -> Result<(), Failure> {
    let replied = match answer {
        Ok(body) => client.reply(request, &body),
        Err(why) => client.reply_error(request, &why),
    };
    match replied {
        Err(Error::Unsendable(why)) => {
            Ok(client.reply_error(request, &format!("the answer cannot be sent: {why}"))?)
        }
        replied => Ok(replied?),
    }
}

/// Whether the command is run for a message.
pub(crate) enum Wanted {
    Yes,
    No,
    /// A request is answered by this error.
    Refused(String),
}
