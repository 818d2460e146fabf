//! Knows the clock and the order of steps: lines out, lines in, what is kept for later.
//! Never: what a line means; that is the session's.

mod daemon;
mod direct;

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::client::ask;
use crate::client::attempt;
use crate::client::dial::Stream;
use crate::client::error::Error;
use crate::client::kept::Kept;
use crate::client::lines::{Ticket, To};
use crate::client::link::{Link, TURN};
use crate::client::message::Message;
use crate::client::refused::Refused;
use crate::client::seek;
use crate::client::session::{Event, Session};
use crate::client::told::Receipt;
use crate::client::unique;
use crate::client::unsendable::Unsendable;
use crate::wire::control::Register;
use crate::wire::json::write_string;

pub(super) use direct::is_for_the_daemon;

/// How long a connection is waited for.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long what concerns the daemon alone is waited for.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(30);
/// How much longer than the daemon a call waits, so that it is the daemon that tells what happened. A service that is
/// spoken to directly does not tell.
const GRACE: Duration = Duration::from_secs(1);

/// A connected socket, for a program that reads and writes the lines itself. It is waited for and fails as
/// [`Client::connect_within`] does.
pub fn socket(address: &Address, within: Duration) -> Result<OwnedFd, Error> {
    let connected = attempt::connect(address, within);
    connected.map(OwnedFd::from).map_err(|source| seek::unreachable(address, source))
}

/// A connection to a daemon over which one thread talks and waits.
///
/// Dropped, it first finishes a line that was half written and, over TCP, waits until the daemon has taken
/// all that was sent, for 2 s at most. What came and was not taken by [`Client::next`] is lost. The child of a
/// fork may drop its copy, which leaves the parent's connection as it is.
#[derive(Debug)]
pub struct Client {
    link: Link,
    session: Session,
    kept: Kept,
    /// How much longer than its timeout a call waits.
    grace: Duration,
}

impl Client {
    /// Connects, for 10 s at most. [`Error::Connect`] if nothing listens there, or takes no connection in
    /// time; [`Error::NoPermission`] if this user may not.
    pub fn connect(address: &Address) -> Result<Client, Error> {
        Client::connect_within(address, CONNECT_TIMEOUT)
    }

    /// The same, for as long as `within` at most. Of the addresses of a TCP host the next one is tried when one
    /// has failed.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use std::time::Duration;
    /// use telex::client::{Client, default_address};
    ///
    /// let client = Client::connect_within(&default_address()?, Duration::from_secs(1))?;
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn connect_within(address: &Address, within: Duration) -> Result<Client, Error> {
        let connected = attempt::connect(address, within).and_then(Client::over);
        connected.map_err(|source| seek::unreachable(address, source))
    }

    /// Over a socket that is connected to a daemon.
    #[doc(hidden)]
    pub fn over_socket(socket: UnixStream) -> Result<Client, Error> {
        Client::over(Stream::Unix(socket)).map_err(|source| Error::Io { doing: "connecting", source })
    }

    fn over(stream: Stream) -> io::Result<Client> {
        Ok(Client {
            link: Link::over(stream)?,
            session: Session::new(unique::prefix()),
            kept: Kept::default(),
            grace: GRACE,
        })
    }

    /// Sets the longest line, in bytes without its LF, that the daemon is known to take: 1 MiB at first. For a
    /// longer one the daemon is asked what it takes, so this is needed only if that is less.
    pub fn set_max_line_bytes(&mut self, bytes: usize) {
        self.session.set_max_line_bytes(bytes);
    }

    /// Becomes an instance of the node `node_id`, in which `%n` is the host's name and `%u` something
    /// unique. Gives the node ID that came out. [`Error::NameTaken`] if another user has the name, or has it
    /// alone.
    pub fn register(&mut self, node_id: &str) -> Result<String, Error> {
        self.register_with(&Register { node_id: Some(node_id.into()), ..Register::default() })
    }

    /// Becomes an instance of the node that `options` names, under its other terms, and gives the node ID
    /// that came out. [`Error::NameTaken`] if another user has the name, or has it alone;
    /// [`Error::DeliveryMismatch`] if its instances share messages in another way.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::client::{Client, Delivery, Register, default_address};
    ///
    /// let mut worker = Client::connect(&default_address()?)?;
    /// worker.register_with(&Register {
    ///     node_id: Some("converter".into()),
    ///     delivery: Some(Delivery::One),
    ///     ..Register::default()
    /// })?;
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn register_with(&mut self, options: &Register<'_>) -> Result<String, Error> {
        let reply = self.call(To::Daemon, "register", &ask::register(options), CONTROL_TIMEOUT)?;
        match &reply.body_value()["node_id"] {
            serde_json::Value::String(node_id) => Ok(node_id.clone()),
            _ => Ok(options.node_id.as_deref().unwrap_or_default().to_owned()),
        }
    }

    /// Subscribes to a pattern of topics: `*` is any one token, `>` at the end one or more. Of the
    /// connections that subscribe with the same `group` one gets each message. [`Error::BadField`] if it is no
    /// pattern, [`Error::TooManySubscriptions`] if it is one too many.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::client::{Client, default_address};
    ///
    /// let mut client = Client::connect(&default_address()?)?;
    /// client.set_max_line_bytes(65_536);
    /// client.subscribe("sensor.>", None)?;
    /// client.publish("sensor.hall", r#"{"c":20.5}"#)?;
    /// let news = client.next(None)?.expect("news");
    /// assert_eq!((news.topic(), news.body()), (Some("sensor.hall"), Some(r#"{"c":20.5}"#)));
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn subscribe(&mut self, pattern: &str, group: Option<&str>) -> Result<(), Error> {
        self.call(To::Daemon, "subscribe", &ask::subscribe(pattern, group), CONTROL_TIMEOUT).map(drop)
    }

    /// Sends a signal. Waits while the receiver reads too slowly, and keeps meanwhile what comes. If it
    /// could not be delivered, the daemon says so by a message of
    /// [`Category::Error`](crate::client::Category::Error), which [`answered`](Client::answered) ties to the
    /// ticket. Whether the daemon has handled all that was sent is told by a `ping` that it answers.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use std::time::Duration;
    /// use telex::client::{Category, Client, To, default_address};
    ///
    /// let mut client = Client::connect(&default_address()?)?;
    /// let sent = client.send("logger", "\"here I am\"")?;
    /// client.call(To::Daemon, "ping", "", Duration::from_secs(5))?;
    /// while let Some(message) = client.next(Some(Duration::ZERO))? {
    ///     if message.category() == Category::Error && client.answered(&message) == Some(sent) {
    ///         eprintln!("it did not arrive: {}", message.line());
    ///     }
    /// }
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn send<'a>(&mut self, to: impl Into<To<'a>>, body: &str) -> Result<Ticket, Error> {
        let to = to.into();
        self.say(|session, out| session.signal(to, body, out))
    }

    /// Sends a signal to all that subscribe to `topic`; that nothing does is no error.
    pub fn publish(&mut self, topic: &str, body: &str) -> Result<Ticket, Error> {
        self.send(To::Topic(topic), body)
    }

    /// Publishes a signal and waits until it is in the queues of all who get it: how many these are, and how many missed
    /// it. A daemon that knows no receipts does not answer: [`Error::GaveUp`] after `timeout`.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use std::time::Duration;
    /// use telex::client::{Client, Receipt, default_address};
    ///
    /// let mut client = Client::connect(&default_address()?)?;
    /// let receipt = client.publish_for_receipt("nothing.hears.this", "1", Duration::from_secs(5))?;
    /// assert_eq!(receipt, Receipt { receivers: 0, missed: 0 });
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn publish_for_receipt(
        &mut self,
        topic: &str,
        body: &str,
        timeout: Duration,
    ) -> Result<Receipt, Error> {
        let (ticket, new) =
            self.put(timeout, |session, out| session.publish_for_receipt(topic, body, out))?;
        Ok(Receipt::read(&self.answer(ticket, new, timeout)?))
    }

    /// Sends a request and waits for its reply. The daemon is told the timeout (up to an hour) and answers
    /// when it has passed; if not even that comes, the call ends a second later in [`Error::GaveUp`]. Over a
    /// direct connection ([`dial`](Client::dial)) it ends without that second. Of the replies of several
    /// instances the first counts; one that tells an error is [`Error::Node`]. What else comes meanwhile is
    /// kept for [`Client::next`].
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use std::time::Duration;
    /// use telex::client::{Client, default_address};
    /// use telex::wire::code::Code;
    ///
    /// let mut client = Client::connect(&default_address()?)?;
    /// match client.call("heating", "set", r#"{"c":21}"#, Duration::from_secs(5)) {
    ///     Ok(reply) => println!("{}", reply.body().unwrap_or("null")),
    ///     Err(error) if error.is(Code::NoSuchNode) => println!("there is no heating"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(())
    /// ```
    pub fn call<'a>(
        &mut self,
        to: impl Into<To<'a>>,
        message_type: &str,
        body: &str,
        timeout: Duration,
    ) -> Result<Message, Error> {
        let to = to.into();
        let (ticket, new) =
            self.put(timeout, |session, out| session.request(to, message_type, body, Some(timeout), out))?;
        self.answer(ticket, new, timeout)
    }

    /// Replies to `request`. To a `body` that is an object `in_reply_to` and, if it has no `error` of its own,
    /// `"error":null` are added; any other JSON stands in the reply's body as `result`
    /// ([`Message::result`]), and an empty text as nothing.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use telex::client::{Client, default_address};
    ///
    /// let mut client = Client::connect(&default_address()?)?;
    /// client.register("thermometer")?;
    /// # client.call("heating", "set", "", std::time::Duration::from_secs(5))?;
    /// while let Some(message) = client.next(None)? {
    ///     match message.message_type() {
    ///         "read" => client.reply(&message, r#"{"c":20.5}"#)?,
    ///         _ if message.is_request() => client.reply_error(&message, "only read is answered here")?,
    ///         _ => {}
    ///     }
    /// #   break;
    /// }
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn reply(&mut self, request: &Message, body: &str) -> Result<(), Error> {
        self.say(|session, out| session.reply(request, body, out)).map(drop)
    }

    /// Replies to `request` that it failed; `error` is a sentence for people.
    pub fn reply_error(&mut self, request: &Message, error: &str) -> Result<(), Error> {
        let mut body = b"{\"error\":".to_vec();
        write_string(&mut body, error);
        body.push(b'}');
        self.reply(request, &String::from_utf8_lossy(&body))
    }

    /// The next message: a request or signal to this client, or the daemon's error about something it
    /// sent. `None` if nothing came for `timeout` (`None`: forever; zero: only what is there already). A
    /// timeout loses nothing, also in the middle of a line.
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Option<Message>, Error> {
        let deadline = timeout.and_then(deadline_after);
        loop {
            if let Some(arrival) = self.kept.pop() {
                return arrival.map(Some).map_err(Error::Fault);
            }
            let mut until = deadline;
            // The rest of a line that found no room before: the daemon may wait for it.
            if self.link.has_unsent() {
                match self.write() {
                    Ok(_) => until = Some(deadline_at_most(deadline, Instant::now())),
                    Err(Error::Closed { .. }) => continue,
                    Err(error) => return Err(error),
                }
            }
            match self.event(until)? {
                Some(event) => self.keep(event),
                None if deadline.is_some_and(|deadline| deadline <= Instant::now()) => return Ok(None),
                None => {}
            }
        }
    }

    /// The line of this client that a message of [`Category::Error`](crate::client::Category::Error) is
    /// about; `None` if it is about none.
    pub fn answered(&self, message: &Message) -> Option<Ticket> {
        self.session.answered(message)
    }

    /// Sends a line that no answer is waited for.
    fn say(
        &mut self,
        line: impl Fn(&mut Session, &mut Vec<u8>) -> Result<Ticket, Unsendable>,
    ) -> Result<Ticket, Error> {
        let (ticket, new) = self.put(CONTROL_TIMEOUT, line)?;
        self.flush(new, None)?;
        Ok(ticket)
    }

    /// Puts a line into the output, and tells where in it. That a line is too long is the daemon's word, and
    /// its bound may have been raised: it is asked, for as long as `patience`.
    fn put(
        &mut self,
        patience: Duration,
        line: impl Fn(&mut Session, &mut Vec<u8>) -> Result<Ticket, Unsendable>,
    ) -> Result<(Ticket, usize), Error> {
        self.check_room()?;
        let new = self.link.output.len();
        match line(&mut self.session, &mut self.link.output) {
            Err(Unsendable::LineTooLong { .. }) => self.ask_max_line_bytes(patience)?,
            put => return Ok((put?, new)),
        }
        let new = self.link.output.len();
        Ok((line(&mut self.session, &mut self.link.output)?, new))
    }

    /// Asks the daemon how long a line may be. If it does not say so, what was known stays.
    fn ask_max_line_bytes(&mut self, patience: Duration) -> Result<(), Error> {
        let new = self.link.output.len();
        let asked = self.session.request(To::Daemon, "whoami", "", Some(patience), &mut self.link.output);
        let Ok(ticket) = asked else { return Ok(()) };
        match self.answer(ticket, new, patience) {
            Ok(reply) => {
                let most = reply.body_value()["daemon"]["limits"]["max_line_bytes"].as_u64();
                if let Some(most) = most.and_then(|most| usize::try_from(most).ok()) {
                    self.session.set_max_line_bytes(most);
                }
                Ok(())
            }
            Err(Error::GaveUp { .. }) => Ok(()),
            Err(error) if error.refused().is_some() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn answer(&mut self, ticket: Ticket, new: usize, timeout: Duration) -> Result<Message, Error> {
        let patience = timeout.saturating_add(self.grace);
        self.answer_within(ticket, new, patience)
    }

    fn answer_within(&mut self, ticket: Ticket, new: usize, patience: Duration) -> Result<Message, Error> {
        let answer = self.wait(ticket, new, deadline_after(patience));
        self.session.forget(ticket);
        match answer? {
            Some(answer) => answer.map_err(Error::from),
            None => Err(Error::GaveUp { after: patience }),
        }
    }

    /// Writes what is to be written, then waits for the answer to `ticket`; `None` at the deadline.
    fn wait(
        &mut self,
        ticket: Ticket,
        new: usize,
        deadline: Option<Instant>,
    ) -> Result<Option<Result<Message, Box<Refused>>>, Error> {
        let is_written = self.flush(new, deadline)?;
        loop {
            self.check_room()?;
            if !is_written {
                return Ok(None);
            }
            match self.event(deadline)? {
                Some(Event::Answer { to, answer }) if to == ticket => return Ok(Some(answer)),
                // What says so is no daemon that would answer.
                Some(Event::Fault(fault)) => return Err(Error::Fault(fault)),
                Some(event) => self.keep(event),
                None => return Ok(None),
            }
        }
    }

    /// Writes the output, whose last line begins at `new`. Whenever there is no room, what came is taken in: a
    /// daemon whose answers are not read may read no further, and the two would wait for each other forever.
    /// If the deadline passes or too much is kept, that line is taken back; one that was begun stays, and its
    /// rest goes ahead of what is done next. False then, but an error if it was taken back because too much
    /// is kept.
    fn flush(&mut self, new: usize, deadline: Option<Instant>) -> Result<bool, Error> {
        while self.link.has_unsent() {
            if self.write()? {
                continue;
            }
            let turn = Instant::now() + TURN;
            while self.kept.has_room()
                && Instant::now() < turn
                && let Some(event) = self.event(Some(turn))?
            {
                self.keep(event);
            }
            let is_full = !self.kept.has_room();
            if is_full || deadline.is_some_and(|deadline| deadline <= turn) {
                let is_back = self.link.take_back(new);
                return if is_back && is_full { Err(Error::KeptFull) } else { Ok(false) };
            }
        }
        Ok(true)
    }

    /// Writes once; false if there was no room.
    fn write(&mut self) -> Result<bool, Error> {
        self.link.write().map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => self.hear_out(),
            _ => Error::Io { doing: "writing", source: error },
        })
    }

    /// The end of the connection, as a write has found it. What the daemon had said before is read first: it
    /// may say why.
    fn hear_out(&mut self) -> Error {
        self.link.forget_output();
        let deadline = Instant::now() + GRACE;
        loop {
            match self.event(Some(deadline)) {
                Ok(Some(event)) => self.keep(event),
                Ok(None) => self.link.is_ended = true,
                Err(error) => return error,
            }
        }
    }

    fn check_room(&self) -> Result<(), Error> {
        if self.kept.has_room() { Ok(()) } else { Err(Error::KeptFull) }
    }

    fn keep(&mut self, event: Event) {
        match event {
            Event::Message(message) => self.kept.push(Ok(message)),
            Event::Fault(fault) => self.kept.push(Err(fault)),
            // The call that it answers has ended.
            Event::Answer { .. } => {}
        }
    }

    /// What comes next; `None` at the deadline.
    fn event(&mut self, deadline: Option<Instant>) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.link.take(|input| self.session.take(input)) {
                return Ok(Some(event));
            }
            if self.link.is_ended {
                let last = self.session.finish();
                return last.map(Some).ok_or_else(|| Error::Closed { why: self.session.farewell() });
            }
            match self.link.read(deadline) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(source) => return Err(Error::Io { doing: "reading", source }),
            }
        }
    }
}

/// The socket, for poll(2) and its like. That it is readable says that something came since the last call;
/// to see all that came before, call [`Client::next`] with a timeout of zero until it gives `None`.
impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

fn deadline_at_most(deadline: Option<Instant>, most: Instant) -> Instant {
    deadline.map_or(most, |deadline| deadline.min(most))
}

/// `None`, which is forever, if the moment is too far away to be told.
fn deadline_after(time: Duration) -> Option<Instant> {
    Instant::now().checked_add(time)
}

#[cfg(test)]
mod tests;
