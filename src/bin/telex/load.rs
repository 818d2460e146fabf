//! Knows how messages are sent and taken by many clients at once, from one thread that polls them all and never sleeps,
//! and how each that arrives is compared, byte by byte, with what it must be.
//! Never: what is measured.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};
use telex::address::Address;
use telex::client::{self, Event, Message, Refused, Session, To};

use crate::exit::{Exit, Failure};
use crate::socket::Socket;
use crate::stop::Stop;
use crate::waits::Waits;

/// What is read, or put to be written, at once.
const CHUNK_BYTES: usize = 256 << 10;
/// What all senders together have sent that has not arrived yet.
const IN_FLIGHT_BYTES: usize = 512 << 10;
/// So many requests of a client may be open; the daemon's own bound is above that unless it is lowered.
const OPEN_MAX: u64 = 4000;
/// How long anything may take that must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// No load goes on for longer than a century, which every clock can tell.
const TIME_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
/// Where the number of a message stands in a frame.
const NUMBER: &str = "1000000000";

/// A body of so many bytes: a string with a number in it. The quotes around it do not count.
fn body(bytes: usize) -> String {
    let room = bytes.saturating_sub(NUMBER.len());
    format!("\"{NUMBER}{:room$}\"", "telex ".repeat(room / 6))
}

/// A message as it stands on the wire, with its number in it.
#[derive(Clone)]
struct Frame {
    bytes: Vec<u8>,
    /// Where the number stands.
    places: Vec<usize>,
}

impl Frame {
    fn new(line: String) -> Frame {
        let places = line.match_indices(NUMBER).map(|(at, _)| at).collect();
        Frame { bytes: line.into_bytes(), places }
    }

    /// A message with a fixed number of bytes to which the daemon has nothing to add.
    fn message(message_type: &str, from: &str, (key, to): (&str, &str), body: &str) -> Frame {
        Frame::new(format!(
            "{{\"message_id\":\"telex-bench-{NUMBER}\",\"message_type\":\"{message_type}\",\"from\":{},\"{key}\":{},\
             \"body\":{body}}}\n",
            json!(from),
            json!(to)
        ))
    }

    /// Makes it the next message.
    fn advance(&mut self) {
        for &place in &self.places {
            for digit in self.bytes[place..place + NUMBER.len()].iter_mut().rev() {
                if *digit < b'9' {
                    *digit += 1;
                    break;
                }
                *digit = b'0';
            }
        }
    }
}

struct Client {
    socket: Socket,
    /// The beginning of something that came.
    partial: Vec<u8>,
    /// What must come next, and what is done then.
    expected: Option<(Frame, Then)>,
}

/// What is done with a message that has come.
enum Then {
    /// It is counted for this flow.
    Count(usize),
    /// It is answered.
    Answer(Frame),
}

/// What one client sends.
struct Flow {
    sender: usize,
    next: Frame,
    /// How many receivers get each message.
    copies: u64,
    /// How many messages may be under way.
    window: u64,
    sent: u64,
    arrived: u64,
    /// When each request that is under way was due.
    due: VecDeque<Instant>,
}

/// All clients, and what they do.
pub(crate) struct Load {
    address: Address,
    clients: Vec<Client>,
    flows: Vec<Flow>,
    buffer: Vec<u8>,
    /// The time between two requests, if there is one.
    every: Option<Duration>,
    /// When the next request is due, and from when on none is sent.
    next_due: Instant,
    end: Instant,
    /// How long each request took, from when it was due.
    pub(crate) waits: Waits,
}

impl Load {
    fn new(address: Address) -> Load {
        let (clients, flows, buffer, waits) = (Vec::new(), Vec::new(), vec![0; CHUNK_BYTES], Waits::new());
        let now = Instant::now();
        Load { address, clients, flows, buffer, every: None, next_due: now, end: now, waits }
    }

    /// So many senders, each to a receiver of its own, with bodies of so many bytes.
    pub(crate) fn pairs(address: Address, pairs: usize, bytes: usize) -> Result<Load, Failure> {
        let mut load = Load::new(address);
        for _ in 0..pairs {
            let ((sender, from), (receiver, to)) = (load.join("s-%u")?, load.join("r-%u")?);
            let frame = Frame::message("signal", &from, ("to", &to), &body(bytes));
            load.flow(sender, &[receiver], frame, pairs);
        }
        Ok(load)
    }

    /// One client that publishes, and so many subscribers.
    pub(crate) fn topic(address: Address, subscribers: usize, bytes: usize) -> Result<Load, Failure> {
        let mut load = Load::new(address);
        let (sender, from) = load.join("s-%u")?;
        let topic = format!("bench.{from}");
        let receivers = (0..subscribers).map(|_| {
            let (receiver, _) = load.join("r-%u")?;
            load.clients[receiver].ask("subscribe", &json!({"topic": topic}))?;
            Ok(receiver)
        });
        let receivers: Vec<usize> = receivers.collect::<Result<_, Failure>>()?;
        let frame = Frame::message("signal", &from, ("topic", &topic), &body(bytes));
        load.flow(sender, &receivers, frame, 1);
        Ok(load)
    }

    /// A client that asks so often, and one that answers.
    pub(crate) fn calls(address: Address, every: Duration, bytes: usize) -> Result<Load, Failure> {
        let mut load = Load::new(address);
        let ((sender, from), (receiver, to)) = (load.join("s-%u")?, load.join("r-%u")?);
        let request = Frame::message("ask", &from, ("to", &to), &body(bytes));
        let reply =
            format!("{{\"in_reply_to\":\"telex-bench-{NUMBER}\",\"error\":null,\"result\":{}}}", body(bytes));
        let reply = Frame::message("ask_reply", &to, ("to", &from), &reply);
        load.clients[receiver].expected = Some((request.clone(), Then::Answer(reply.clone())));
        load.clients[sender].expected = Some((reply, Then::Count(0)));
        load.flows.push(Flow::new(sender, request, 1, OPEN_MAX));
        load.every = Some(every);
        Ok(load)
    }

    fn flow(&mut self, sender: usize, receivers: &[usize], frame: Frame, flows: usize) {
        for receiver in receivers {
            self.clients[*receiver].expected = Some((frame.clone(), Then::Count(self.flows.len())));
        }
        let window = (IN_FLIGHT_BYTES / flows / frame.bytes.len()).max(1);
        self.flows.push(Flow::new(sender, frame, receivers.len() as u64, window as u64));
    }

    /// Makes a client with this name, and says what came of the name.
    fn join(&mut self, name: &str) -> Result<(usize, String), Failure> {
        let socket = Socket::connect(&self.address)?;
        let mut client = Client { socket, partial: Vec::new(), expected: None };
        let told = client.ask("register", &json!({"node_id": name}))?.body_value();
        self.clients.push(client);
        Ok((self.clients.len() - 1, told["node_id"].as_str().unwrap_or(name).to_owned()))
    }

    /// How many messages have arrived.
    pub(crate) fn arrived(&self) -> u64 {
        self.flows.iter().map(|flow| flow.arrived).sum()
    }

    /// Sends and receives for some time, and then until all requests have been sent that were due in it. False if the
    /// user wants an end before.
    pub(crate) fn go_on(&mut self, time: Duration, stop: &Stop) -> Result<bool, Failure> {
        /// So often it is looked whether an end is wanted.
        const LOOK_EVERY: u64 = 64;
        let (began, mut turn) = (Instant::now(), 0_u64);
        (self.next_due, self.end) = (began, began + time.min(TIME_MAX));
        let (mut arrived, mut patient_until) = (self.arrived(), self.end + PATIENCE);
        while Instant::now() < self.end || self.is_behind() {
            turn += 1;
            if turn.is_multiple_of(LOOK_EVERY) {
                if stop.has_come() {
                    return Ok(false);
                }
                let now = Instant::now();
                if arrived != self.arrived() {
                    (arrived, patient_until) = (self.arrived(), self.end.max(now) + PATIENCE);
                } else if now > patient_until {
                    return Err(Failure::new(Exit::Timeout, "nothing arrives any more"));
                }
            }
            self.send()?;
            self.receive()?;
        }
        Ok(true)
    }

    /// Whether requests that were due have not been sent.
    fn is_behind(&self) -> bool {
        self.every.is_some() && self.next_due < self.end
    }

    /// Waits until all that was sent has arrived.
    pub(crate) fn drain(&mut self) -> Result<(), Failure> {
        let until = Instant::now() + PATIENCE;
        while self.flows.iter().any(|flow| flow.arrived < flow.sent * flow.copies) {
            if Instant::now() > until {
                let sent: u64 = self.flows.iter().map(|flow| flow.sent * flow.copies).sum();
                let words = format!("of {sent} messages only {} have arrived", self.arrived());
                return Err(Failure::new(Exit::Timeout, words));
            }
            self.write()?;
            self.receive()?;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        for flow in &mut self.flows {
            let socket = &mut self.clients[flow.sender].socket;
            while flow.has_room() && socket.unsent() < CHUNK_BYTES {
                if let Some(every) = self.every {
                    if self.next_due > now || self.next_due >= self.end {
                        break;
                    }
                    // However late it is sent, and whatever it waits for: it was due then.
                    flow.due.push_back(self.next_due);
                    self.next_due += every;
                }
                socket.out().extend_from_slice(&flow.next.bytes);
                flow.next.advance();
                flow.sent += 1;
            }
        }
        self.write()
    }

    fn write(&mut self) -> Result<(), Failure> {
        let mut waiting = self.clients.iter_mut().filter(|client| client.socket.unsent() > 0);
        waiting.try_for_each(|client| client.socket.write())
    }

    fn receive(&mut self) -> Result<(), Failure> {
        // Also those to which nothing should come.
        for client in &mut self.clients {
            let kept = client.partial.len();
            self.buffer[..kept].copy_from_slice(&client.partial);
            let came = match client.socket.read(&mut self.buffer[kept..])? {
                None => continue,
                Some(0) => return Err(Failure::new(Exit::Unreachable, "the daemon ended the connection")),
                Some(count) => kept + count,
            };
            let used = client.take(&self.buffer[..came], &mut self.flows, &mut self.waits)?;
            client.partial.clear();
            client.partial.extend_from_slice(&self.buffer[used..came]);
        }
        Ok(())
    }
}

impl Client {
    /// Asks the daemon itself, and waits for its answer.
    fn ask(&mut self, message_type: &str, body: &Value) -> Result<Message, Failure> {
        let mut session = Session::new("telex-bench");
        let asked = session.request(To::Daemon, message_type, &body.to_string(), None, self.socket.out());
        asked.map_err(client::Error::Unsendable)?;
        let until = Instant::now() + PATIENCE;
        let mut buffer = [0; 4096];
        while Instant::now() < until {
            self.socket.write()?;
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            // A signal is no fault, and what else fails shows at the read.
            let _ = poll(&mut fds, PollTimeout::from(100_u8));
            let Some(count) = self.socket.read(&mut buffer)? else { continue };
            if count == 0 {
                break;
            }
            let mut came = &buffer[..count];
            while let Some(event) = session.take(&mut came) {
                match event {
                    Event::Answer { answer, .. } => return answer.map_err(|refused| failure(&refused)),
                    Event::Message(message) => {
                        drop(Refused::check(message).map_err(|refused| failure(&refused))?)
                    }
                    Event::Fault(fault) => return Err(client::Error::Fault(fault).into()),
                }
            }
        }
        Err(Failure::new(Exit::Unreachable, format!("the daemon did not answer {message_type}")))
    }

    /// Takes what has come; says how much of it has come to its end.
    fn take(&mut self, came: &[u8], flows: &mut [Flow], waits: &mut Waits) -> Result<usize, Failure> {
        let mut rest = came;
        while let Some((frame, then)) = &mut self.expected
            && let Some(behind) = rest.strip_prefix(&*frame.bytes)
        {
            rest = behind;
            frame.advance();
            match then {
                Then::Count(flow) => flows[*flow].count(waits),
                Then::Answer(reply) => {
                    self.socket.out().extend_from_slice(&reply.bytes);
                    reply.advance();
                }
            }
        }
        let expected = self.expected.as_ref().map_or(&b""[..], |(frame, _)| &frame.bytes);
        if expected.starts_with(rest) {
            return Ok(came.len() - rest.len());
        }
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => Err(strange(&rest[..end])),
            // What it is shows when all of it is here.
            None if rest.len() < CHUNK_BYTES / 2 => Ok(came.len() - rest.len()),
            None => Err(strange(rest)),
        }
    }
}

/// What came in place of what must come.
fn strange(line: &[u8]) -> Failure {
    let told = Message::read(line.to_vec()).ok().and_then(|message| Refused::check(message).err());
    told.map_or_else(
        || {
            Failure::new(
                Exit::Refused,
                format!("not what was sent has arrived: {:.300}", String::from_utf8_lossy(line)),
            )
        },
        |refused| failure(&refused),
    )
}

fn failure(refused: &Refused) -> Failure {
    Failure::new(Exit::of_refusal(refused), refused.to_string())
}

impl Flow {
    fn new(sender: usize, next: Frame, copies: u64, window: u64) -> Flow {
        Flow { sender, next, copies, window, sent: 0, arrived: 0, due: VecDeque::new() }
    }

    fn has_room(&self) -> bool {
        self.arrived + self.window * self.copies > self.sent * self.copies
    }

    fn count(&mut self, waits: &mut Waits) {
        self.arrived += 1;
        if let Some(due) = self.due.pop_front() {
            waits.add(due.elapsed());
        }
    }
}
