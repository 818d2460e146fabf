//! Knows the socket, the clock and the order of steps: lines out, lines in, what is kept for later.
//! Never: what a line means; that is the session's.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::client::ask;
use crate::client::dial::Stream;
use crate::client::error::{Error, Refused};
use crate::client::message::Message;
use crate::client::session::{Event, Session, Ticket, To};
use crate::wire::control::Register;
use crate::wire::json::write_string;

/// What is kept at most, in bytes of memory, of messages that came while something else was waited for.
/// Past it calls end in [`Error::KeptFull`] until [`Client::next`] has taken some.
pub const KEPT_BYTES_MAX: usize = 16 << 20;

const READ_BYTES: usize = 64 << 10;
/// How long what concerns the daemon alone is waited for.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(30);
/// How much longer than the daemon a call waits, so that it is the daemon that tells what happened.
const GRACE: Duration = Duration::from_secs(1);
/// How long a write waits for room, and then a read for bytes, in turn: either may be what the daemon
/// waits for.
const TURN: Duration = Duration::from_millis(5);

/// A connection to a daemon over which one thread talks and waits.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    session: Session,
    /// What was read; `input[at..filled]` is not yet looked at.
    input: Box<[u8]>,
    at: usize,
    filled: usize,
    ended: bool,
    /// Lines to be written, of which `sent` bytes are.
    output: Vec<u8>,
    sent: usize,
    kept: VecDeque<Message>,
    kept_bytes: usize,
}

impl Client {
    /// Connects. A TCP host's addresses are tried one after the other, for 10 s each.
    pub fn connect(address: &Address) -> Result<Client, Error> {
        Stream::connect(address)
            .and_then(Client::over)
            .map_err(|source| Error::Connect { address: address.clone(), source })
    }

    fn over(stream: Stream) -> std::io::Result<Client> {
        stream.set_write_timeout(TURN)?;
        Ok(Client {
            stream,
            session: Session::new(unique_prefix()),
            input: vec![0; READ_BYTES].into_boxed_slice(),
            at: 0,
            filled: 0,
            ended: false,
            output: Vec::new(),
            sent: 0,
            kept: VecDeque::new(),
            kept_bytes: 0,
        })
    }

    /// The longest line, in bytes, that is sent; to be called where the daemon's `max_line_bytes` is
    /// configured to be another than 1 MiB.
    pub fn set_max_line_bytes(&mut self, bytes: usize) {
        self.session.set_max_line_bytes(bytes);
    }

    /// Becomes an instance of the node `node_id`, in which `%n` is the host's name and `%u` something
    /// unique. Gives the node ID that came out.
    pub fn register(&mut self, node_id: &str) -> Result<String, Error> {
        self.register_with(&Register { node_id: Some(node_id.into()), ..Register::default() })
    }

    /// The same with options.
    pub fn register_with(&mut self, options: &Register<'_>) -> Result<String, Error> {
        let reply = self.call(To::Daemon, "register", &ask::register(options), CONTROL_TIMEOUT)?;
        match &reply.body_value()["node_id"] {
            serde_json::Value::String(node_id) => Ok(node_id.clone()),
            _ => Ok(options.node_id.as_deref().unwrap_or_default().to_owned()),
        }
    }

    /// Subscribes to a pattern of topics: `*` is any one token, `>` at the end one or more. Of those who
    /// share a `group` one gets each message.
    pub fn subscribe(&mut self, pattern: &str, group: Option<&str>) -> Result<(), Error> {
        self.call(To::Daemon, "subscribe", &ask::subscribe(pattern, group), CONTROL_TIMEOUT).map(drop)
    }

    /// Sends a signal. Where it could not be delivered, the daemon says so by a message of
    /// [`Category::Error`](crate::client::Category::Error), which [`answered`](Client::answered) ties to the
    /// ticket. Waits where the receiver reads too slowly, and keeps meanwhile what comes. After an
    /// [`Error::KeptFull`] nothing of it was sent.
    pub fn send<'a>(&mut self, to: impl Into<To<'a>>, body: &str) -> Result<Ticket, Error> {
        self.check_room()?;
        let ticket = self.session.signal(to.into(), body, &mut self.output)?;
        self.flush(None)?;
        Ok(ticket)
    }

    /// Sends a signal to whoever subscribes to `topic`; nobody is no error.
    pub fn publish(&mut self, topic: &str, body: &str) -> Result<Ticket, Error> {
        self.send(To::Topic(topic), body)
    }

    /// Sends a request and waits for its reply. The daemon is told the timeout (up to an hour) and answers
    /// when it has passed; where not even that comes, the call ends a second later. Of the replies of
    /// several instances the first counts. What else comes meanwhile is kept for [`Client::next`].
    pub fn call<'a>(
        &mut self,
        to: impl Into<To<'a>>,
        message_type: &str,
        body: &str,
        timeout: Duration,
    ) -> Result<Message, Error> {
        let ticket = self.session.request(to.into(), message_type, body, Some(timeout), &mut self.output)?;
        let patience = timeout.saturating_add(GRACE);
        let answer = match self.wait(ticket, deadline_after(patience)) {
            Ok(Some(answer)) => answer.map_err(Error::Refused),
            Ok(None) => Err(Error::Timeout { after: patience }),
            Err(error) => Err(error),
        };
        self.session.forget(ticket);
        answer
    }

    /// Replies to a request. `body` is an object, or empty; `in_reply_to` and, where it has no `error` of
    /// its own, `"error":null` are added to it.
    pub fn reply(&mut self, request: &Message, body: &str) -> Result<(), Error> {
        self.check_room()?;
        self.session.reply(request, body, &mut self.output)?;
        self.flush(None).map(drop)
    }

    /// Replies to a request that it failed; `error` is a sentence for people.
    pub fn reply_error(&mut self, request: &Message, error: &str) -> Result<(), Error> {
        let mut body = b"{\"error\":".to_vec();
        write_string(&mut body, error);
        body.push(b'}');
        self.reply(request, &String::from_utf8_lossy(&body))
    }

    /// The next message: a request or signal to this client, or the daemon's error about something it
    /// sent. `None` where nothing came for `timeout` (nothing: forever; zero: what is there already). A
    /// timeout loses nothing, also in the middle of a line.
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Option<Message>, Error> {
        if let Some(message) = self.kept.pop_front() {
            self.kept_bytes -= weight(&message);
            return Ok(Some(message));
        }
        let deadline = timeout.and_then(deadline_after);
        loop {
            // The rest of a line that found no room before: the daemon may wait for it.
            if self.sent < self.output.len() {
                self.write_some()?;
            }
            let now = Instant::now();
            let unsent = self.sent < self.output.len();
            let until =
                if unsent { Some(deadline.map_or(now, |deadline| deadline.min(now))) } else { deadline };
            match self.event(until)? {
                Some(Event::Message(message)) => return Ok(Some(message)),
                Some(_) => {}
                None if deadline.is_some_and(|deadline| deadline <= Instant::now()) => return Ok(None),
                None => {}
            }
        }
    }

    /// Which line of this client a message of [`Category::Error`](crate::client::Category::Error) is about.
    pub fn answered(&self, message: &Message) -> Option<Ticket> {
        self.session.answered(message)
    }

    /// Writes what is to be written, then waits for the answer to `ticket`; `None` at the deadline.
    fn wait(
        &mut self,
        ticket: Ticket,
        deadline: Option<Instant>,
    ) -> Result<Option<Result<Message, Box<Refused>>>, Error> {
        if !self.flush(deadline)? {
            self.check_room()?;
            return Ok(None);
        }
        loop {
            self.check_room()?;
            match self.event(deadline)? {
                Some(Event::Answer { to, answer }) if to == ticket => return Ok(Some(answer)),
                Some(Event::Message(message)) => self.keep(message),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// Writes all of the output; false where the deadline passed or what is kept grew too much, and then
    /// the rest goes ahead of what is done next. Whenever there is no room it is looked what came: a daemon
    /// whose answers nobody takes reads no further, and two who wait for each other would wait forever.
    fn flush(&mut self, deadline: Option<Instant>) -> Result<bool, Error> {
        while self.sent < self.output.len() {
            if self.write_some()? {
                continue;
            }
            let turn = Instant::now() + TURN;
            while let Some(event) = self.event(Some(turn))? {
                if let Event::Message(message) = event {
                    self.keep(message);
                }
                if self.check_room().is_err() {
                    return Ok(false);
                }
            }
            if deadline.is_some_and(|deadline| deadline <= turn) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes once; false where there was no room.
    fn write_some(&mut self) -> Result<bool, Error> {
        match self.stream.write(&self.output[self.sent..]) {
            Ok(0) => Err(Error::Closed),
            Ok(written) => {
                self.sent += written;
                if self.sent == self.output.len() {
                    self.output.clear();
                    self.sent = 0;
                }
                Ok(true)
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => Ok(true),
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(false),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Err(Error::Closed),
                _ => Err(Error::Io { doing: "writing", source: error }),
            },
        }
    }

    fn check_room(&self) -> Result<(), Error> {
        if self.kept_bytes < KEPT_BYTES_MAX { Ok(()) } else { Err(Error::KeptFull) }
    }

    fn keep(&mut self, message: Message) {
        self.kept_bytes += weight(&message);
        self.kept.push_back(message);
    }

    /// What comes next; `None` at the deadline.
    fn event(&mut self, deadline: Option<Instant>) -> Result<Option<Event>, Error> {
        loop {
            let mut rest = &self.input[self.at..self.filled];
            let mut event = self.session.take(&mut rest);
            self.at = self.filled - rest.len();
            if event.is_none() && self.ended {
                event = Some(self.session.finish().ok_or(Error::Closed)?);
            }
            match event {
                Some(Event::Fault(fault)) => return Err(Error::Fault(fault)),
                Some(event) => return Ok(Some(event)),
                None if self.read_some(deadline)? => {}
                None => return Ok(None),
            }
        }
    }

    /// Reads once; false where nothing came until the deadline.
    fn read_some(&mut self, deadline: Option<Instant>) -> Result<bool, Error> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match self.stream.read(&mut self.input, left) {
                Ok(length) => {
                    self.ended = length == 0;
                    (self.at, self.filled) = (0, length);
                    return Ok(true);
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                            return Ok(false);
                        }
                    }
                    ErrorKind::ConnectionReset => {
                        self.ended = true;
                        return Ok(true);
                    }
                    _ => return Err(Error::Io { doing: "reading", source: error }),
                },
            }
        }
    }
}

/// What a kept message counts: its line and what is around it.
fn weight(message: &Message) -> usize {
    message.line().len() + size_of::<Message>()
}

/// Nothing, which is forever, where the moment is too far away to be told.
fn deadline_after(time: Duration) -> Option<Instant> {
    Instant::now().checked_add(time)
}

/// Sixteen hexadecimal digits that no other session has: the standard library seeds its hashers from the
/// system's randomness, and what a fork would repeat is told apart by process and time.
fn unique_prefix() -> String {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!("{:016x}", RandomState::new().hash_one((std::process::id(), now)))
}

#[cfg(test)]
mod tests;
