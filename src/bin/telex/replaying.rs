//! Knows how recorded messages are sent again, each sender's over a connection of its own, and what comes back.
//! Never: waits for one connection alone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use serde_json::json;
use telex::address::Address;
use telex::client::{self, Category, Event, Message, Refused, Session, To};

use crate::answer::Members;
use crate::exit::{Exit, Failure, Failures};
use crate::notice::notice;
use crate::output::Words;
use crate::progress::Progress;
use crate::recording::Recorded;
use crate::socket::Socket;
use crate::stop::Stop;

/// No more is kept of a sender that the daemon does not take.
const UNSENT_BYTES_MAX: usize = 1 << 20;
/// So many requests of a sender may be open, at most: the daemon's own bound is above that unless it is lowered.
const OPEN_MAX: usize = 4000;
/// What is read at once.
const READ_BYTES: usize = 256 << 10;

/// The connection of a recorded sender.
struct Sender {
    socket: Socket,
    session: Session,
    /// The node IDs that it has.
    names: HashSet<String>,
    /// The numbers of its requests that have not been answered.
    open: HashSet<u64>,
}

/// What has become of the messages.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) sent: u64,
    pub(crate) answers: u64,
    /// By code; what nodes answered without one stands under `error`.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Messages of others that came to the senders.
    pub(crate) came: u64,
    failures: Failures,
}

/// What is told of a message that has come.
enum Told {
    Notice(String),
    Failure(Failure),
}

impl Outcome {
    /// What all errors come to.
    pub(crate) fn end(self, words: Words) -> Result<(), Failure> {
        self.failures.end(words)
    }
}

/// A replay under way.
pub(crate) struct Replaying<'a> {
    senders: Vec<Sender>,
    /// Which of them stands for which recorded connection.
    places: HashMap<String, usize>,
    stop: &'a Stop,
    words: Words,
    /// What begins each message ID.
    prefix: String,
    buffer: Vec<u8>,
    pub(crate) progress: Progress,
    pub(crate) outcome: Outcome,
}

impl<'a> Replaying<'a> {
    /// A replay of so many messages.
    pub(crate) fn new(messages: u64, stop: &'a Stop, words: Words) -> Replaying<'a> {
        let prefix = format!("replay-{}", std::process::id());
        let (senders, places, buffer) = (Vec::new(), HashMap::new(), vec![0; READ_BYTES]);
        let progress = Progress::new(messages, words);
        Replaying { senders, places, stop, words, prefix, buffer, progress, outcome: Outcome::default() }
    }

    /// Makes the connection of a recorded sender, with these names.
    pub(crate) fn join(
        &mut self,
        address: &Address,
        sender: &str,
        names: &HashSet<String>,
    ) -> Result<(), Failure> {
        let (session, open) =
            (Session::new(format!("{}-{}", self.prefix, self.senders.len())), HashSet::new());
        let socket = Socket::connect(address)?;
        let mut joined = Sender { socket, session, names: names.clone(), open };
        for name in names {
            // A percent sign has a meaning there.
            let body = json!({"node_id": name.replace('%', "%%")}).to_string();
            joined.ask("register", &body)?;
        }
        self.places.insert(sender.to_owned(), self.senders.len());
        self.senders.push(joined);
        Ok(())
    }

    /// Sends a message once it is due, and there is room for it. False if the user wants an end.
    pub(crate) fn send(&mut self, recorded: &Recorded, due: Option<Instant>) -> Result<bool, Failure> {
        /// So many messages are sent before it is looked what has come.
        const LOOK_EVERY: u64 = 64;
        let Some(place) = self.places.get(&recorded.sender).copied() else { return Ok(true) };
        if self.outcome.sent.is_multiple_of(LOOK_EVERY) && !self.turn(Some(Instant::now()))? {
            return Ok(false);
        }
        loop {
            let has_room = self.senders[place].has_room();
            if has_room && due.is_none_or(|due| due <= Instant::now()) {
                break;
            }
            if !self.turn(due.filter(|_| has_room))? {
                return Ok(false);
            }
        }
        let sender = &mut self.senders[place];
        self.outcome.sent += 1;
        let line = sender.line(&recorded.message, &self.prefix, self.outcome.sent)?;
        sender.socket.out().extend_from_slice(line.as_bytes());
        sender.socket.write()?;
        Ok(true)
    }

    /// Waits until the daemon has handled all that was sent, and then for the answers until the deadline. False if the user
    /// wants an end.
    pub(crate) fn finish(&mut self, deadline: Option<Instant>) -> Result<bool, Failure> {
        for sender in &mut self.senders {
            sender.ask("ping", "")?;
        }
        self.settle(deadline)
    }

    /// Waits until all that was asked has been answered, or until the deadline. False if the user wants an end.
    pub(crate) fn settle(&mut self, deadline: Option<Instant>) -> Result<bool, Failure> {
        let is_asking = |sender: &Sender| !sender.open.is_empty() || sender.session.pending() > 0;
        while self.senders.iter().any(is_asking) && deadline.is_none_or(|deadline| deadline > Instant::now())
        {
            if !self.turn(deadline)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How many requests wait for an answer.
    pub(crate) fn unanswered(&self) -> u64 {
        self.senders.iter().map(|sender| sender.open.len() as u64).sum()
    }

    /// Waits until there is something to do, and does it. False if the user wants an end.
    fn turn(&mut self, until: Option<Instant>) -> Result<bool, Failure> {
        /// So that the progress goes on.
        const AT_MOST: Duration = Duration::from_millis(100);
        let left =
            until.map_or(AT_MOST, |until| until.saturating_duration_since(Instant::now()).min(AT_MOST));
        let events = |sender: &Sender| match sender.socket.unsent() {
            0 => PollFlags::POLLIN,
            _ => PollFlags::POLLIN | PollFlags::POLLOUT,
        };
        let mut fds: Vec<_> =
            self.senders.iter().map(|sender| PollFd::new(sender.socket.as_fd(), events(sender))).collect();
        fds.push(PollFd::new(self.stop.as_fd(), PollFlags::POLLIN));
        match ppoll(&mut fds, Some(TimeSpec::from_duration(left)), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Failure::new(Exit::Refused, format!("poll: {errno}"))),
        }
        let is_ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        for place in (0..self.senders.len()).filter(|place| is_ready[*place]) {
            self.serve(place)?;
        }
        Ok(!is_ready[self.senders.len()])
    }

    fn serve(&mut self, place: usize) -> Result<(), Failure> {
        let sender = &mut self.senders[place];
        sender.socket.write()?;
        let Some(count) = sender.socket.read(&mut self.buffer)? else { return Ok(()) };
        if count == 0 {
            return Err(Failure::new(Exit::Unreachable, "the daemon ended the connection of a sender"));
        }
        let mut came = &self.buffer[..count];
        while let Some(event) = sender.session.take(&mut came) {
            match event {
                Event::Answer { answer, .. } => drop(
                    answer
                        .map_err(|refused| Failure::new(Exit::of_refusal(&refused), refused.to_string()))?,
                ),
                Event::Fault(fault) => return Err(client::Error::Fault(fault).into()),
                Event::Message(message) => {
                    let told = self.outcome.take(message, sender, &self.prefix);
                    if let Some(told) = told {
                        self.progress.aside(|| self.outcome.tell(&told, self.words));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Sender {
    /// Whether another message may be sent.
    fn has_room(&self) -> bool {
        self.open.len() < OPEN_MAX && self.socket.unsent() < UNSENT_BYTES_MAX
    }

    /// Asks the daemon itself.
    fn ask(&mut self, message_type: &str, body: &str) -> Result<(), Failure> {
        let asked = self.session.request(To::Daemon, message_type, body, None, self.socket.out());
        asked.map_err(client::Error::Unsendable)?;
        self.socket.write()
    }

    /// A message as this connection sends it: from a name that it has, and with an ID of its own.
    fn line(&mut self, message: &Message, prefix: &str, number: u64) -> Result<String, Failure> {
        let members: Result<Members, _> = serde_json::from_str(message.line());
        let members = members.map_err(|error| Failure::new(Exit::Refused, error.to_string()))?;
        let node = message.from().map(|from| from.split_once('#').map_or(from, |(node, _)| node));
        let is_own = node.is_some_and(|node| self.names.contains(node));
        let others: &[&str] =
            if is_own { &["message_id", "sender"] } else { &["message_id", "sender", "from"] };
        if message.is_request() {
            self.open.insert(number);
        }
        let rest = members.without(others).to_line();
        Ok(format!("{{\"message_id\":\"{prefix}.{number}\",{}\n", rest.trim_start_matches('{')))
    }
}

impl Outcome {
    /// Takes what has come to a sender; gives what is to be told of it.
    fn take(&mut self, message: Message, sender: &mut Sender, prefix: &str) -> Option<Told> {
        let number = number_of(&message, prefix);
        let is_fate = number.is_some() && matches!(message.category(), Category::Reply | Category::Error);
        if !is_fate {
            let notice = notice(&message).map(Told::Notice);
            self.came += u64::from(notice.is_none());
            return notice;
        }
        number.map(|number| sender.open.remove(&number));
        match Refused::check(message) {
            Ok(_) => {
                self.answers += 1;
                None
            }
            Err(refused) => {
                let code = refused.code().filter(|_| refused.by_daemon()).unwrap_or("error");
                *self.errors.entry(code.to_owned()).or_default() += refused.count().unwrap_or(1);
                Some(Told::Failure(Failure::new(Exit::of_refusal(&refused), refused.to_string())))
            }
        }
    }

    fn tell(&mut self, told: &Told, words: Words) {
        match told {
            Told::Notice(notice) => words.say(notice),
            Told::Failure(failure) => self.failures.add(failure, words),
        }
    }
}

/// The number of the message that another one is about.
fn number_of(message: &Message, prefix: &str) -> Option<u64> {
    let id = message.in_reply_to()?;
    id.text.strip_prefix(prefix)?.strip_prefix('.')?.parse().ok()
}
