//! Knows which lines of one connection wait for an answer, and what each line that comes is to it.
//! Never: sockets, clocks, randomness.

use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::client::fault::Fault;
use crate::client::lines::{Incoming, Outgoing, Ticket, To};
use crate::client::message::Message;
use crate::client::refused::Refused;
use crate::client::unsendable::Unsendable;
use crate::wire::message::Category;

/// What a line that came is.
#[derive(Debug)]
pub enum Event {
    /// The answer to a request of this session, which no longer waits.
    Answer {
        /// The request.
        to: Ticket,
        /// Its reply; or the error that it was answered with, be it by a reply or by an `error` line.
        answer: Result<Message, Box<Refused>>,
    },
    /// A request or signal to this client, or an `error` line about something that was no request.
    Message(Message),
    /// What is not the protocol.
    Fault(Fault),
}

/// One connection as its client sees it, without a socket: for event loops and runtimes of any kind. Lines
/// are appended to buffers of the caller, which writes them to the socket and hands in the bytes that come.
///
/// ```
/// use telex::client::{Event, Session, To};
///
/// let mut session = Session::new("4f1c");
/// let mut out = Vec::new();
/// let asked = session.request(To::Daemon, "ping", "", None, &mut out)?;
/// assert_eq!(out, b"{\"message_id\":\"4f1c-1\",\"message_type\":\"ping\"}\n");
///
/// assert_eq!(session.pending(), 1);
///
/// let mut came: &[u8] =
///     b"{\"message_type\":\"ping_reply\",\"from\":null,\"body\":{\"in_reply_to\":\"4f1c-1\",\"error\":null}}\n";
/// while let Some(event) = session.take(&mut came) {
///     let Event::Answer { to, answer: Ok(_) } = event else { panic!("{event:?}") };
///     assert_eq!(to, asked);
/// }
/// # Ok::<(), telex::client::Unsendable>(())
/// ```
///
/// Requests of others are answered, signals that could not be delivered are told, and the end is to be told:
///
/// ```
/// use telex::client::{Event, Session, To};
///
/// let mut session = Session::new("4f1c");
/// session.set_max_line_bytes(65_536);
/// assert_eq!(session.max_line_bytes(), 65_536);
/// let mut out = Vec::new();
/// let sent = session.signal(To::Node("logger"), "1", &mut out)?;
/// let asked = session.request(To::Node("hall"), "read", "", None, &mut out)?;
/// session.forget(asked);
///
/// let mut came: &[u8] = b"{\"message_id\":9,\"message_type\":\"read\",\"from\":\"hall\"}\n\
///     {\"message_type\":\"error\",\"from\":null,\"body\":{\"in_reply_to\":\"4f1c-1\",\"error\":\"gone\"}}\n";
/// while let Some(event) = session.take(&mut came) {
///     let Event::Message(message) = event else { panic!("{event:?}") };
///     if message.is_request() {
///         session.reply(&message, r#"{"c":20.5}"#, &mut out)?;
///     } else {
///         assert_eq!(session.answered(&message), Some(sent));
///     }
/// }
/// assert!(session.finish().is_none() && session.farewell().is_none());
/// # Ok::<(), telex::client::Unsendable>(())
/// ```
#[derive(Debug)]
pub struct Session {
    outgoing: Outgoing,
    incoming: Incoming,
    pending: HashSet<u64>,
    farewell: Option<Message>,
}

impl Session {
    /// A new connection. `prefix` begins each `message_id` and must be one that no other session has
    /// (clients that share a node ID must not use the same ids), of at most 200 bytes.
    pub fn new(prefix: impl Into<String>) -> Session {
        Session {
            outgoing: Outgoing::new(prefix.into()),
            incoming: Incoming::default(),
            pending: HashSet::new(),
            farewell: None,
        }
    }

    /// The longest line, in bytes without its LF, that is written: 1 MiB, unless
    /// [`set_max_line_bytes`](Session::set_max_line_bytes) has said otherwise.
    pub fn max_line_bytes(&self) -> usize {
        self.outgoing.max_line_bytes.load(Relaxed)
    }

    /// Sets the longest line, in bytes without its LF, that is written. What the daemon takes is
    /// `daemon.limits.max_line_bytes` in its answer to `whoami`.
    pub fn set_max_line_bytes(&mut self, bytes: usize) {
        self.outgoing.max_line_bytes.store(bytes, Relaxed);
    }

    /// Appends a signal to `out`. An error leaves `out` as it was.
    pub fn signal(&mut self, to: To<'_>, body: &str, out: &mut Vec<u8>) -> Result<Ticket, Unsendable> {
        self.outgoing.signal(to, body, out)
    }

    /// Appends a request to `out`, and waits for its answer from now on. `timeout` is what the daemon is told
    /// (1 ms to 1 h; without one it takes its own, of 60 s unless configured); this session has no clock and
    /// never gives a request up. An error leaves `out` as it was.
    pub fn request(
        &mut self,
        to: To<'_>,
        message_type: &str,
        body: &str,
        timeout: Option<Duration>,
        out: &mut Vec<u8>,
    ) -> Result<Ticket, Unsendable> {
        let ticket = self.outgoing.request(to, message_type, body, timeout, out)?;
        self.pending.insert(ticket.0);
        Ok(ticket)
    }

    /// Appends a signal to a topic to `out`, and waits for the daemon's receipt from now on: an answer whose body has
    /// `receivers`, how many subscribers got it, and `missed`, how many had no room (PROTOCOL.md section 6). An error
    /// leaves `out` as it was.
    ///
    /// ```
    /// use telex::client::Session;
    ///
    /// let (mut session, mut out) = (Session::new("4f1c"), Vec::new());
    /// session.publish_for_receipt("sensor.hall", "21", &mut out)?;
    /// let line = r#"{"message_id":"4f1c-1","message_type":"signal","topic":"sensor.hall","receipt":true,"body":21}"#;
    /// assert_eq!(String::from_utf8_lossy(&out), format!("{line}\n"));
    /// assert_eq!(session.pending(), 1);
    /// # Ok::<(), telex::client::Unsendable>(())
    /// ```
    pub fn publish_for_receipt(
        &mut self,
        topic: &str,
        body: &str,
        out: &mut Vec<u8>,
    ) -> Result<Ticket, Unsendable> {
        let ticket = self.outgoing.publish_for_receipt(topic, body, out)?;
        self.pending.insert(ticket.0);
        Ok(ticket)
    }

    /// Appends the reply to `request` to `out`. The members of a `body` that is an object stand in the reply's
    /// body beside `in_reply_to`, with `"error":null` if it has no `error`; any other JSON stands in it as
    /// `result`, and an empty text as nothing. An error leaves `out` as it was.
    pub fn reply(&mut self, request: &Message, body: &str, out: &mut Vec<u8>) -> Result<Ticket, Unsendable> {
        self.outgoing.reply(request, body, out)
    }

    /// Waits no longer for the answer to `request`: what still comes to answer it is dropped.
    pub fn forget(&mut self, request: Ticket) {
        self.pending.remove(&request.0);
    }

    /// How many requests wait for their answers.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What the next line in `input` is. `input` is advanced past that line; `None` when it is used up, and
    /// then an unfinished line at its end is kept for the next call.
    pub fn take(&mut self, input: &mut &[u8]) -> Option<Event> {
        while let Some(arrival) = self.incoming.next(input) {
            if let Some(event) = self.sort(arrival) {
                return Some(event);
            }
        }
        None
    }

    /// What the last line is, if the connection has ended without its LF. A line that was cut off is no
    /// fault: the connection ended, and that is all there is to say.
    pub fn finish(&mut self) -> Option<Event> {
        let last = self.incoming.finish()?;
        self.sort(Ok(last))
    }

    /// The error that came last, if it was the daemon's and about nothing that was sent: why the connection
    /// ended, once it has.
    pub fn farewell(&self) -> Option<Box<Refused>> {
        Refused::check(self.farewell.clone()?).err()
    }

    /// The line of this session that `message` answers, or tells the fate of; `None` if it is about none.
    pub fn answered(&self, message: &Message) -> Option<Ticket> {
        self.outgoing.answered(message)
    }

    fn sort(&mut self, arrival: Result<Message, Fault>) -> Option<Event> {
        self.farewell = None;
        let message = match arrival {
            Ok(message) => message,
            Err(fault) => return Some(Event::Fault(fault)),
        };
        let category = message.category();
        if matches!(category, Category::Reply | Category::Error)
            && let Some(to) = self.answered(&message)
        {
            if self.pending.remove(&to.0) {
                return Some(Event::Answer { to, answer: Refused::check(message) });
            }
            // Another instance has answered before, or the request was given up.
            if category == Category::Reply {
                return None;
            }
        }
        if category == Category::Error && message.from().is_none() && message.in_reply_to().is_none() {
            self.farewell = Some(message.clone());
        }
        Some(Event::Message(message))
    }
}

#[cfg(test)]
mod tests;
