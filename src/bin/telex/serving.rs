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
    running: usize,
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
        Ok(Serving { client, context, order, jobs, running: 0, done: channel(), wake })
    }

    /// Runs the command for each message that `wants` says; goes on until the connection ends. Messages that there is no
    /// free place for wait with the daemon.
    pub(crate) fn run(&mut self, wants: impl Fn(&Message) -> Wanted) -> Result<(), Failure> {
        let mut waiting = VecDeque::new();
        loop {
            self.answer()?;
            while self.running < self.jobs
                && let Some(message) = waiting.pop_front()
            {
                self.start(message);
            }
            if self.running < self.jobs
                && let Some(message) = self.client.next(Some(Duration::ZERO))?
            {
                match (notice(&message), wants(&message)) {
                    (Some(notice), _) => self.context.words.say(&notice),
                    (None, Wanted::Yes) => waiting.push_back(message),
                    (None, Wanted::Refused(why)) if message.is_request() => {
                        self.client.reply_error(&message, &why)?;
                    }
                    (None, Wanted::Refused(_) | Wanted::No) => {}
                }
                continue;
            }
            self.wait()?;
        }
    }

    fn start(&mut self, message: Message) {
        self.running += 1;
        let (order, done, wake) = (self.order.clone(), self.done.0.clone(), self.wake.1.clone());
        thread::spawn(move || {
            let answer = order.run(&message);
            // The command itself may be over, and then none wants to know.
            let _ = done.send((message, answer));
            let _ = (&*wake).write_all(&[0]);
        });
    }

    /// Answers what commands have ended for.
    fn answer(&mut self) -> Result<(), Failure> {
        while let Ok((message, answer)) = self.done.1.try_recv() {
            self.running -= 1;
            if !message.is_request() {
                if let Err(why) = answer {
                    self.context.words.say(&why);
                }
                continue;
            }
            let replied = match answer {
                Ok(body) => self.client.reply(&message, &body),
                Err(why) => self.client.reply_error(&message, &why),
            };
            if let Err(Error::Unsendable(why)) = &replied {
                self.client.reply_error(&message, &format!("the answer cannot be sent: {why}"))?;
                continue;
            }
            replied?;
        }
        Ok(())
    }

    /// Waits until a command has ended, or a message comes that there is a free place for.
    fn wait(&mut self) -> Result<(), Failure> {
        let wanted = if self.running < self.jobs { PollFlags::POLLIN } else { PollFlags::empty() };
        let client: BorrowedFd<'_> = self.client.as_fd();
        let mut fds = [PollFd::new(client, wanted), PollFd::new(self.wake.0.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Failure::new(Exit::Refused, format!("poll: {errno}"))),
        }
        if fds[1].any().unwrap_or(false) {
            let mut buffer = [0; 64];
            let _ = self.wake.0.read(&mut buffer);
        }
        Ok(())
    }
}

/// Whether the command is run for a message.
pub(crate) enum Wanted {
    Yes,
    No,
    /// A request is answered by this error.
    Refused(String),
}
