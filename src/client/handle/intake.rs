//! Knows what has been read, and what of it the reader has still to do.
//! Never: what a message is for.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use crate::client::dial::Stream;
use crate::client::fault::Fault;
use crate::client::handle::slot::Job;
use crate::client::kept::KEPT_BYTES_MAX;
use crate::client::lines::Incoming;
use crate::client::message::Message;
use crate::client::refused::Refused;

const READ_BYTES: usize = 64 << 10;
/// How often a wait in a handler looks up from reading: what it waits for may also end without a line.
const LOOK_UP: Duration = Duration::from_millis(100);

/// What the reader thread is to do next.
pub(super) enum Task {
    /// A message for a handler or an inbox.
    Message(Message),
    /// A callback.
    Job(Job),
}

pub(super) struct Intake {
    incoming: Incoming,
    buffer: Box<[u8]>,
    /// What reads wait at most, as the socket was told; `None` if it was not.
    patience: Option<Option<Duration>>,
    tasks: VecDeque<Task>,
    kept_bytes: usize,
    /// Whether all has been read that will ever come over this connection.
    pub(super) is_ended: bool,
    /// The last message, if it was an error of the daemon's about nothing that was sent.
    pub(super) farewell: Option<Box<Refused>>,
}

impl Intake {
    pub(super) fn new() -> Intake {
        Intake {
            incoming: Incoming::default(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            patience: None,
            tasks: VecDeque::new(),
            kept_bytes: 0,
            is_ended: false,
            farewell: None,
        }
    }

    /// Begins with a new connection. What is still to be done stays.
    pub(super) fn begin(&mut self) {
        (self.incoming, self.patience) = (Incoming::default(), None);
        (self.is_ended, self.farewell) = (false, None);
    }

    /// Reads once: what came, or an error if it is the end. Nothing after the deadline, and sooner.
    pub(super) fn read(
        &mut self,
        stream: &Stream,
        until: Option<Instant>,
    ) -> io::Result<Vec<Result<Message, Fault>>> {
        let patience = until.map(|until| {
            let left = until.saturating_duration_since(Instant::now());
            left.clamp(Duration::from_millis(1), LOOK_UP)
        });
        if self.patience != Some(patience) {
            stream.set_read_timeout(patience)?;
            self.patience = Some(patience);
        }
        match stream.read_some(&mut self.buffer) {
            Ok(0) => Ok(self.finish()),
            Ok(length) => {
                let mut rest = &self.buffer[..length];
                Ok(std::iter::from_fn(|| self.incoming.next(&mut rest)).collect())
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(Vec::new()),
                ErrorKind::ConnectionReset => Ok(self.finish()),
                _ => {
                    self.is_ended = true;
                    Err(error)
                }
            },
        }
    }

    /// What has come with these bytes.
    pub(super) fn cut(&mut self, mut bytes: &[u8]) -> Vec<Result<Message, Fault>> {
        std::iter::from_fn(|| self.incoming.next(&mut bytes)).collect()
    }

    /// What has come now that nothing more will.
    pub(super) fn finish(&mut self) -> Vec<Result<Message, Fault>> {
        self.is_ended = true;
        self.incoming.finish().map(Ok).into_iter().collect()
    }

    pub(super) fn keep(&mut self, task: Task) {
        self.kept_bytes += weight(&task);
        self.tasks.push_back(task);
    }

    pub(super) fn next_task(&mut self) -> Option<Task> {
        let task = self.tasks.pop_front()?;
        self.kept_bytes -= weight(&task);
        Some(task)
    }

    /// Whether more may be kept while a handler waits.
    pub(super) fn has_room(&self) -> bool {
        self.kept_bytes < KEPT_BYTES_MAX || self.tasks.len() < 2
    }
}

fn weight(task: &Task) -> usize {
    match task {
        Task::Message(message) => message.line().len() + size_of::<Message>(),
        Task::Job(_) => 0,
    }
}
