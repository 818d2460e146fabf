//! Knows how the core is embedded in a program: messages come by calls and leave by closures, without sockets.
//! Never: what a message means, or how it travels outside.
//!
//! A [`Hub`] is what `telexd` is between its sockets. The program brings its own transport, such as a
//! WebSocket server, hands in each message, and gets the messages for each connection through the closure
//! that it registered. Three nodes, of which one asks another:
//!
//! ```
//! use std::sync::mpsc;
//! use telex::hub::Hub;
//!
//! let mut hub = Hub::new(|level, text| eprintln!("{level:?}: {text}"));
//! let mut inboxes = Vec::new();
//! for node in ["ctrl", "display", "printer"] {
//!     let (sender, inbox) = mpsc::channel();
//!     let message = format!(r#"{{"message_id":1,"message_type":"register","from":"{node}"}}"#);
//!     hub.register(node, &message, move |line| Ok(sender.send(line.to_owned())?))?;
//!     assert!(inbox.recv()?.contains(r#""register_reply""#));
//!     inboxes.push(inbox);
//! }
//! hub.distribute(r#"{"message_id":2,"message_type":"read","from":"ctrl","to":"display"}"#)?;
//! assert!(inboxes[1].recv()?.contains(r#""message_type":"read""#));
//! hub.distribute(
//!     r#"{"message_id":3,"message_type":"read_reply","from":"display","to":"ctrl",
//!         "body":{"in_reply_to":2,"error":null,"text":"one"}}"#,
//! )?;
//! assert!(inboxes[0].recv()?.contains(r#""text":"one""#));
//! hub.unregister("printer");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Names
//!
//! `unique_id` is the program's own name for a connection, any text. On the wire a connection is `:N`, as with
//! the daemon. The peers are users of which the kernel says nothing: they share node IDs, `whoami` calls
//! their transport `tcp`, and none is an administrator.
//!
//! # Time
//!
//! Each call reads the clock once. Nothing runs between calls, so requests that are not answered in time are
//! told by [`Hub::tick`]; [`Hub::next_tick`] says when to call it. The clock is the system's, or one that is
//! handed in ([`Hub::with`]).
//!
//! # Threads
//!
//! A hub is [`Send`]; several threads share it in a mutex. Closures run inside the call that has something for
//! them and must not call the hub. They must not wait either: what cannot be taken at once is a failure.
//!
//! # Coming from jQluster::Server
//!
//! The messages are those of [`protocol`](crate::protocol), which holds wherever the two differ:
//!
//! | jQluster::Server 0.03 | here |
//! | --- | --- |
//! | `register_reply` goes to every connection of the node ID | to the new one alone |
//! | a second `register` on a connection is an exception | a further node ID, or the same one again |
//! | node IDs `""` and `"0"`, `to` as a number | `"0"` is a node ID; the others are `bad_field` |
//! | `to` null or absent: nothing happens | the message is for the hub; a request that it does not know is answered `unknown_type` |
//! | unknown `to`: a reply for two types, else a log line | every request is answered, all else is told by an `error` |
//! | any `from` is taken | it must be held by a connection; [`Hub::distribute_from`] takes no other one's |
//! | a sender that dies stops the call; connections behind it get nothing | its connection ends, all others get the message |
//! | requests stay open for ever | they end with `timeout`, or `node_gone` when the last receiver leaves |

mod error;

use std::collections::{BTreeMap, HashMap};
use std::error::Error as StdError;
use std::fmt;
use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::core::{
    About, Core, Identity, Input, Note, OpenGate, Order, Outcome, Peer, SessionKey, Transport,
};
use crate::limits::Limits;
use crate::panics::words_of;
use crate::wire::envelope::Envelope;
use crate::wire::json::write_on_one_line;
use crate::wire::message::{Kind, Message, Target, Told};

pub use crate::clock::Now;
pub use crate::core::Level;
pub use error::Error;

use error::{broken, check_register, node_id_of, refused};

/// What a sender gives back; any error will do.
pub type Sent = Result<(), Box<dyn StdError + Send + Sync>>;

type Logger = Box<dyn FnMut(Level, &str) + Send>;
type Sender = Box<dyn FnMut(&str) -> Sent + Send>;

/// A connection whose sender failed or panicked. It has ended, as if it had been unregistered; its requests are
/// answered `node_gone`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The program's name for it.
    pub unique_id: String,
    /// What the sender said, or its panic's text.
    pub why: String,
}

/// What came of [`Hub::register`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The node ID that the connection holds: `%n` and `%u` are filled in.
    pub node_id: String,
    /// Other connections whose senders failed at what they were told about it.
    pub failed: Vec<Failed>,
}

/// A message switch inside a program. The [module](self) tells how it is used.
pub struct Hub {
    core: Core,
    clock: Box<dyn FnMut() -> Now + Send>,
    logger: Logger,
    last_number: u64,
    /// By their numbers; one that has ended stays until the core closes it.
    connections: BTreeMap<u64, Connection>,
    numbers: HashMap<SessionKey, u64>,
    unique_ids: HashMap<Arc<str>, u64>,
    /// The first line to the connection that is being registered.
    first_line: Option<(u64, Option<String>)>,
}

struct Connection {
    unique_id: Arc<str>,
    key: SessionKey,
    /// None once it has ended.
    sender: Option<Sender>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("unique_ids", &self.unique_ids).finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub without connections, with the protocol's bounds and the system's clock. `logger` is called for
    /// each record of what happens, with one line of text.
    pub fn new(logger: impl FnMut(Level, &str) + Send + 'static) -> Hub {
        let limits =
            Limits { max_connections_per_uid: Limits::default().max_connections, ..Limits::default() };
        let start = Instant::now();
        let clock = move || Now {
            mono: start.elapsed(),
            wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        };
        Hub::with(limits, clock, logger)
    }

    /// A hub with bounds and a clock of its own; all peers count as one user. The clock is read once in each
    /// call; its `mono` must not go back.
    ///
    /// ```
    /// use std::time::Duration;
    /// use telex::hub::{Hub, Now};
    /// use telex::limits::Limits;
    ///
    /// let still = || Now { mono: Duration::ZERO, wall: Duration::from_secs(1_800_000_000) };
    /// let mut hub = Hub::with(Limits { max_connections: 10, ..Limits::default() }, still, |_, _| {});
    /// assert_eq!(hub.next_tick(), None);
    /// ```
    pub fn with(
        limits: Limits,
        mut clock: impl FnMut() -> Now + Send + 'static,
        logger: impl FnMut(Level, &str) + Send + 'static,
    ) -> Hub {
        let about = About {
            version: env!("CARGO_PKG_VERSION"),
            host: "hub".to_owned(),
            drain_timeout: Duration::ZERO,
        };
        let core = Core::new(about, limits, clock());
        Hub {
            core,
            clock: Box::new(clock),
            logger: Box::new(logger),
            last_number: 0,
            connections: BTreeMap::new(),
            numbers: HashMap::new(),
            unique_ids: HashMap::new(),
            first_line: None,
        }
    }

    /// Opens a connection under the program's own name `unique_id` and hands in its first message, a `register`.
    /// From then on `sender` is called for each line to it, without LF; the first is the answer to the
    /// `register`. After an error the connection is not there.
    pub fn register(
        &mut self,
        unique_id: &str,
        message: &str,
        sender: impl FnMut(&str) -> Sent + Send + 'static,
    ) -> Result<Registered, Error> {
        if self.unique_ids.contains_key(unique_id) {
            return Err(Error::UniqueIdTaken);
        }
        check_register(message)?;
        let now = self.turn();
        let number = self.last_number + 1;
        let peer = Peer { transport: Transport::Tcp, identity: Identity::Anonymous, administrator: false };
        let key = self.core.open(number, peer, now).map_err(|line| refused(&line))?;
        self.last_number = number;
        let unique_id: Arc<str> = unique_id.into();
        self.numbers.insert(key, number);
        self.unique_ids.insert(Arc::clone(&unique_id), number);
        let connection =
            Connection { unique_id: Arc::clone(&unique_id), key, sender: Some(Box::new(sender)) };
        self.connections.insert(number, connection);
        self.first_line = Some((number, None));
        let mut failed = self.receive(key, message, now);
        let answer = self.first_line.take().and_then(|(_, line)| line);
        if let Some(at) = failed.iter().position(|it| it.unique_id == *unique_id) {
            return Err(Error::SenderFailed { why: failed.remove(at).why });
        }
        match node_id_of(answer.as_deref().unwrap_or_default()) {
            Ok(node_id) => Ok(Registered { node_id, failed }),
            Err(why) => {
                self.end(number, now);
                self.settle(now);
                Err(why)
            }
        }
    }

    /// Hands in a message of the connection that holds its `from`; of several, of the oldest, or for a reply of
    /// the oldest that owes it. Everything that the message leads to has been handed to the senders when this
    /// returns; it never waits. Gives the connections whose senders failed, which have ended; all
    /// others have got what was for them.
    ///
    /// The `from` is believed. A transport that knows over which connection a message came uses
    /// [`distribute_from`](Hub::distribute_from).
    ///
    /// ```
    /// use telex::hub::{Error, Hub};
    ///
    /// let mut hub = Hub::new(|_, _| {});
    /// let message = r#"{"message_id":1,"message_type":"register","from":"n"}"#;
    /// hub.register("well", message, |_| Ok(()))?;
    /// let mut lines = 0;
    /// hub.register("ill", message, move |_| {
    ///     lines += 1;
    ///     if lines == 1 { Ok(()) } else { Err("its buffer is full".into()) }
    /// })?;
    /// let failed = hub.distribute(r#"{"message_type":"signal","from":"n","to":"n"}"#)?;
    /// assert_eq!((failed[0].unique_id.as_str(), failed[0].why.as_str()), ("ill", "its buffer is full"));
    /// let unknown = hub.distribute(r#"{"message_type":"signal","from":"x","to":"n"}"#);
    /// assert_eq!(unknown, Err(Error::NoSuchSender));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn distribute(&mut self, message: &str) -> Result<Vec<Failed>, Error> {
        let mut line = Vec::new();
        write_on_one_line(&mut line, message);
        let envelope = Envelope::scan(&line).map_err(broken)?;
        let from = Told::of(&envelope).from.ok_or(Error::NoSuchSender)?;
        let read = Message::read(&envelope);
        let answers = match &read {
            Ok(Message { kind: Kind::Reply(id), target: Target::Address(to), .. }) => Some((id, &**to)),
            _ => None,
        };
        let now = self.turn();
        let key = self.core.speaker(&from, answers).ok_or(Error::NoSuchSender)?;
        Ok(self.receive(key, message, now))
    }

    /// Hands in a message that came over the connection `unique_id`, exactly as if it had come over a socket: one
    /// that is at fault is answered, a `from` of another one's is refused, and a message without `from` is
    /// stamped. [`Error::NoSuchSender`] for an unknown connection.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use telex::hub::Hub;
    ///
    /// let mut hub = Hub::new(|_, _| {});
    /// let (sender, inbox) = mpsc::channel();
    /// let register = r#"{"message_id":1,"message_type":"register","from":"n"}"#;
    /// hub.register("7", register, move |line| Ok(sender.send(line.to_owned())?))?;
    /// hub.distribute_from("7", r#"{"message_type":"signal","from":"president","to":"n"}"#)?;
    /// assert!(inbox.try_iter().last().is_some_and(|line| line.contains(r#""code":"not_yours""#)));
    /// # Ok::<(), telex::hub::Error>(())
    /// ```
    pub fn distribute_from(&mut self, unique_id: &str, message: &str) -> Result<Vec<Failed>, Error> {
        let number = self.unique_ids.get(unique_id).ok_or(Error::NoSuchSender)?;
        let key = self.connections.get(number).ok_or(Error::NoSuchSender)?.key;
        let now = self.turn();
        Ok(self.receive(key, message, now))
    }

    /// Ends a connection; its sender is not called any more. Other connections of its nodes go on. An unknown
    /// one is no error, and nothing happens. Gives the connections whose senders failed at what they were told
    /// about it.
    pub fn unregister(&mut self, unique_id: &str) -> Vec<Failed> {
        let Some(&number) = self.unique_ids.get(unique_id) else { return Vec::new() };
        let now = self.turn();
        self.end(number, now);
        self.settle(now)
    }

    /// How long from now until [`Hub::tick`] is wanted; `None` while nothing waits for time to pass. Each call of
    /// the hub may change it.
    pub fn next_tick(&mut self) -> Option<Duration> {
        let now = (self.clock)();
        self.core.next_deadline().map(|at| at.saturating_sub(now.mono))
    }

    /// Does what time alone brings about: requests whose time is over are answered `timeout`. Gives the
    /// connections whose senders failed at that.
    ///
    /// ```
    /// use std::time::Duration;
    /// use telex::hub::Hub;
    ///
    /// let mut hub = Hub::new(|_, _| {});
    /// hub.register("1", r#"{"message_id":1,"message_type":"register","from":"n"}"#, |_| Ok(()))?;
    /// hub.distribute(
    ///     r#"{"message_id":2,"message_type":"ask","from":"n","to":"n","timeout_ms":10}"#,
    /// )?;
    /// while let Some(wait) = hub.next_tick() {
    ///     std::thread::sleep(wait);
    ///     hub.tick();
    /// }
    /// # Ok::<(), telex::hub::Error>(())
    /// ```
    pub fn tick(&mut self) -> Vec<Failed> {
        let now = self.turn();
        self.settle(now)
    }

    /// Ends the hub: open requests are answered `node_gone`, and every connection gets the signal `shutdown` as
    /// its last line. Dropping the hub tells nothing to anyone.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use telex::hub::Hub;
    ///
    /// let mut hub = Hub::new(|_, _| {});
    /// let (sender, inbox) = mpsc::channel();
    /// let register = r#"{"message_id":1,"message_type":"register","from":"n"}"#;
    /// hub.register("1", register, move |line| Ok(sender.send(line.to_owned())?))?;
    /// assert!(hub.shut_down().is_empty());
    /// assert!(inbox.iter().last().is_some_and(|line| line.contains(r#""event":"shutdown""#)));
    /// # Ok::<(), telex::hub::Error>(())
    /// ```
    pub fn shut_down(mut self) -> Vec<Failed> {
        let now = self.turn();
        self.core.handle(Input::StopAsked, now, &mut OpenGate);
        self.settle(now)
    }

    /// Begins a turn of the core.
    fn turn(&mut self) -> Now {
        let now = (self.clock)();
        self.core.handle(Input::TimePassed, now, &mut OpenGate);
        now
    }

    fn receive(&mut self, session: SessionKey, message: &str, now: Now) -> Vec<Failed> {
        let mut line = Vec::with_capacity(message.len() + 1);
        write_on_one_line(&mut line, message);
        line.push(b'\n');
        self.core.handle(Input::Received { session, bytes: &line }, now, &mut OpenGate);
        self.settle(now)
    }

    /// Has the core go on until nothing is left to be done now, and hands all lines to their senders. It ends: what
    /// goes on here is bounded by what the core keeps, and each failure takes a connection away.
    fn settle(&mut self, now: Now) -> Vec<Failed> {
        let mut failed = Vec::new();
        loop {
            let mut resumed = Vec::new();
            let mut is_quiet = true;
            while let Some(order) = self.core.next_order() {
                self.carry_out(order, &mut resumed, now);
                is_quiet = false;
            }
            while let Some(key) = self.core.next_dirty() {
                failed.extend(self.write(key, now));
                is_quiet = false;
            }
            is_quiet &= !self.core.has_condemned();
            self.core.reap();
            for session in resumed {
                self.core.handle(Input::Resumed { session }, now, &mut OpenGate);
            }
            if self.core.next_deadline().is_some_and(|at| at <= now.mono) {
                self.core.handle(Input::TimePassed, now, &mut OpenGate);
            } else if is_quiet {
                return failed;
            }
        }
    }

    fn carry_out(&mut self, order: Order, resumed: &mut Vec<SessionKey>, now: Now) {
        match order {
            Order::Resume(session) => resumed.push(session),
            // What a sender has taken is no longer here.
            Order::Measure(session) => {
                self.core.handle(Input::Measured { session, unread: 0 }, now, &mut OpenGate);
            }
            Order::Close(key) => {
                let ended = self.numbers.remove(&key).and_then(|number| self.connections.remove(&number));
                if let Some(Connection { unique_id, sender: Some(_), .. }) = ended {
                    self.unique_ids.remove(&unique_id);
                }
            }
            Order::Do(token, _) => {
                let outcome = Outcome::Failed("a hub has no configuration");
                self.core.handle(Input::Done { token, outcome }, now, &mut OpenGate);
            }
            Order::Note(note) => self.log(&note),
            Order::Happened(_) => {}
        }
    }

    fn log(&mut self, note: &Note) {
        let about = note.about.number.and_then(|number| self.connections.get(&number));
        let unique_id = about.map_or(String::new(), |connection| format!("{} ", connection.unique_id));
        (self.logger)(note.level, &format!("{unique_id}{}", note.text));
    }

    /// Hands a connection what it is owed, line by line. One that does not take it ends here.
    fn write(&mut self, key: SessionKey, now: Now) -> Option<Failed> {
        const SLICES: usize = 16;
        let mut line = Vec::new();
        while self.core.is_owed(key) {
            let mut slices = [IoSlice::new(b""); SLICES];
            let filled = self.core.transmit(key, &mut slices);
            let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
            for part in bytes.split_inclusive(|&byte| byte == b'\n') {
                line.extend_from_slice(part);
                if let Some(whole) = line.strip_suffix(b"\n")
                    && let Err(why) = self.hand_over(key, &String::from_utf8_lossy(whole))
                {
                    return self.lose(key, why, now);
                }
                if line.ends_with(b"\n") {
                    line.clear();
                }
                self.core.wrote(key, part.len(), now);
            }
        }
        None
    }

    fn hand_over(&mut self, key: SessionKey, line: &str) -> Result<(), String> {
        let Some(number) = self.numbers.get(&key) else { return Ok(()) };
        let Some(connection) = self.connections.get_mut(number) else { return Ok(()) };
        let Some(sender) = &mut connection.sender else { return Ok(()) };
        if let Some((new, first @ None)) = &mut self.first_line
            && *new == *number
        {
            *first = Some(line.to_owned());
        }
        match catch_unwind(AssertUnwindSafe(|| sender(line))) {
            Ok(sent) => sent.map_err(|why| why.to_string()),
            Err(panic) => Err(format!("panicked: {}", words_of(&*panic))),
        }
    }

    fn lose(&mut self, key: SessionKey, why: String, now: Now) -> Option<Failed> {
        let number = *self.numbers.get(&key)?;
        let unique_id = self.end(number, now)?;
        (self.logger)(Level::Warning, &format!("{unique_id} takes no more: {why}"));
        Some(Failed { unique_id: unique_id.to_string(), why })
    }

    /// Ends a connection: for all others it is gone, and its unique id is free.
    fn end(&mut self, number: u64, now: Now) -> Option<Arc<str>> {
        let connection = self.connections.get_mut(&number)?;
        drop(connection.sender.take()?);
        let (session, unique_id) = (connection.key, Arc::clone(&connection.unique_id));
        self.unique_ids.remove(&unique_id);
        self.core.handle(Input::Broke { session }, now, &mut OpenGate);
        self.core.handle(Input::Ended { session }, now, &mut OpenGate);
        Some(unique_id)
    }
}

const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Hub>();
};

#[cfg(test)]
mod tests;
