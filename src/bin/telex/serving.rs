//! Knows how messages are handed to commands, several at a time, and their answers back.
//! Never: what a command does.

use std::collections::VecDeque;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use nix::poll::PollFlags;
use telex::client::{Client, Error, Message};

use crate::command::Order;
use crate::context::Context;
use crate::exit::{Failure, until_told};
use crate::notice::notice;
use crate::stop::Stop;
use crate::wait::wait;

/// Messages that are handed to commands. All commands that still run end with it.
pub(crate) struct Serving<'a> {
    context: &'a Context,
    stop: &'a Stop,
    order: Arc<Order>,
    jobs: usize,
    /// Commands that run for requests, whichever connection these came over, and for signals.
    requests: usize,
    signals: usize,
    /// Messages that have come and wait for a free place.
    waiting: VecDeque<Message>,
    /// Which connection it is; only over this one its requests are answered.
    connection: u64,
    /// How the connection has ended, once it has.
    over: Option<Failure>,
    done: (Sender<Done>, Receiver<Done>),
    /// Wakes the wait for the daemon when a command has ended.
    wake: (PipeReader, Arc<PipeWriter>),
}

/// A command that has ended: the connection that its message came over, the message, and the answer.
type Done = (u64, Message, Result<String, String>);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.order.groups.kill_all();
    }
}

impl<'a> Serving<'a> {
    pub(crate) fn new(
        context: &'a Context,
        stop: &'a Stop,
        order: Order,
        jobs: usize,
    ) -> Result<Serving<'a>, Failure> {
        let (reader, writer) = pipe().map_err(|error| Failure::file("a pipe", &error))?;
        let (order, wake) = (Arc::new(order), (reader, Arc::new(writer)));
        Ok(Serving {
            context,
            stop,
            order,
            jobs,
            requests: 0,
            signals: 0,
            waiting: VecDeque::new(),
            connection: 0,
            over: None,
            done: channel(),
            wake,
        })
    }

    /// Runs the command for each message that `wants` says, until the user wants an end, or the connection ends and the
    /// signals that had come before have been done. Requests that run keep their places, but are not answered any more;
    /// if they have all places, signals go on waiting. Messages that there is no free place for wait with the daemon.
    pub(crate) fn run(
        &mut self,
        client: &mut Client,
        wants: impl Fn(&Message) -> Wanted,
    ) -> Result<(), Failure> {
        self.connection += 1;
        loop {
            self.stop.check()?;
            self.take_answers(Some(&mut *client));
            self.fill_places();
            if self.signals == 0
                && let Some(end) = self.over.take()
            {
                return Err(end);
            }
            if self.over.is_some() {
                self.wait(None)?;
            } else if !self.has_place() {
                // Its end stands behind what has come, and is told again and again until it is read.
                if self.wait(Some((client.as_fd(), PollFlags::empty())))? {
                    while self.over.is_none() && self.take_next(client, &wants) {}
                }
            } else if !self.take_next(client, &wants) && self.over.is_none() {
                self.wait(Some((client.as_fd(), PollFlags::POLLIN)))?;
            }
        }
    }

    /// Ends it, since there will be no other connection: kills the commands of requests, whose askers have been answered by
    /// the daemon, and does the signals that had come before, since their senders rely on it.
    pub(crate) fn finish(mut self, ended: Result<(), Failure>) -> Result<(), Failure> {
        if ended.as_ref().is_err_and(Failure::is_stop) {
            return until_told(ended);
        }
        self.order.groups.kill_requests();
        self.requests = 0;
        loop {
            self.take_answers(None);
            self.fill_places();
            if self.signals == 0 || self.wait(None).is_err() || self.stop.has_come() {
                return ended;
            }
        }
    }

    fn has_place(&self) -> bool {
        self.requests + self.signals < self.jobs
    }

    fn fill_places(&mut self) {
        while self.has_place()
            && let Some(message) = self.waiting.pop_front()
        {
            self.start(message);
        }
    }

    /// Takes the next message, if there is one. The end of the connection is none, but the last thing to be told.
    fn take_next(&mut self, client: &mut Client, wants: &impl Fn(&Message) -> Wanted) -> bool {
        let message = match client.next(Some(Duration::ZERO)) {
            Ok(Some(message)) => message,
            Ok(None) => return false,
            Err(error) => {
                self.end(error.into());
                return false;
            }
        };
        match (notice(&message), wants(&message)) {
            (Some(notice), _) => self.context.words.say(&notice),
            (None, Wanted::Yes) => self.waiting.push_back(message),
            (None, Wanted::Refused(why)) if message.is_request() => {
                if let Err(end) = reply(client, &message, Err(why)) {
                    self.end(end);
                }
            }
            (None, Wanted::Refused(_) | Wanted::No) => {}
        }
        true
    }

    /// The connection is over: its requests are not done any more.
    fn end(&mut self, end: Failure) {
        self.over = Some(end);
        self.waiting.retain(|message| !message.is_request());
    }

    fn start(&mut self, message: Message) {
        *if message.is_request() { &mut self.requests } else { &mut self.signals } += 1;
        let (order, done, wake) = (self.order.clone(), self.done.0.clone(), self.wake.1.clone());
        let connection = self.connection;
        thread::spawn(move || {
            let answer = order.run(&message);
            // The command itself may be over, and then none wants to know.
            let _ = done.send((connection, message, answer));
            let _ = (&*wake).write_all(&[0]);
        });
    }

    /// Takes what commands have ended with, and answers the requests of this connection.
    fn take_answers(&mut self, mut client: Option<&mut Client>) {
        while let Ok((connection, message, answer)) = self.done.1.try_recv() {
            if !message.is_request() {
                self.signals -= 1;
                if let Err(why) = answer {
                    self.context.words.say(&why);
                }
                continue;
            }
            // At the end they are not counted any more.
            self.requests = self.requests.saturating_sub(1);
            if connection == self.connection
                && self.over.is_none()
                && let Some(client) = &mut client
                && let Err(end) = reply(client, &message, answer)
            {
                self.end(end);
            }
        }
    }

    /// Waits until a command has ended, an end is wanted, or something is to be told of the client; whether it is that.
    fn wait(&mut self, client: Option<(BorrowedFd<'_>, PollFlags)>) -> Result<bool, Failure> {
        let own = [(self.wake.0.as_fd(), PollFlags::POLLIN), (self.stop.as_fd(), PollFlags::POLLIN)];
        let files: Vec<_> = own.into_iter().chain(client).collect();
        let ready = wait(&files, None)?;
        if ready == Some(0) {
            let mut buffer = [0; 64];
            let _ = self.wake.0.read(&mut buffer);
        }
        Ok(ready == Some(2))
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
