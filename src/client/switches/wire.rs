//! Knows how requests of a cluster travel over sockets to switches: threads that connect, read and write.
//! Never: which switch is asked, or how often.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use crate::address::Address;
use crate::client::attempt;
use crate::client::dial::Stream;
use crate::client::lines::{Ticket, To};
use crate::client::refused::Refused;
use crate::client::session::{Event, Session};
use crate::client::switches::ask::{Answer, Ask};
use crate::cluster::{Connector, ErrorKind, Fact, Fate, LinkId, LinkOptions, Server, Try, TryId};
use crate::limits::NAME_BYTES_MAX;
use crate::wire::code::Code;

/// Reads of a link that have not been heard, at most: while the cluster is busy its servers wait.
const UNHEARD_MAX: usize = 8;

/// What a thread of a link tells.
pub(super) enum News {
    /// It is connected, and reads from now on, as far as there is room for what comes.
    Connected(LinkId, Stream, Receiver<Unheard>),
    Came(LinkId, Vec<u8>),
    Written(TryId),
    Ended(LinkId, String),
}

/// One read that has not been heard.
pub(super) struct Unheard;

type Tell = Arc<dyn Fn(News) + Send + Sync>;

pub(super) struct Wire {
    tell: Tell,
    /// What begins each `message_id`, and how many links there were: each has ids of its own.
    prefix: String,
    links: HashMap<LinkId, Link>,
    facts: VecDeque<Fact<Answer>>,
}

struct Link {
    session: Session,
    /// None until it is connected.
    output: Option<Output>,
    tries: HashMap<Ticket, TryId>,
    probes: HashSet<Ticket>,
}

struct Output {
    stream: Stream,
    unheard: Receiver<Unheard>,
    lines: Sender<(Vec<u8>, Option<TryId>)>,
}

impl Drop for Output {
    /// Ends the two threads of the link.
    fn drop(&mut self) {
        self.stream.shut();
    }
}

impl Wire {
    pub(super) fn new(prefix: String, tell: impl Fn(News) + Send + Sync + 'static) -> Wire {
        Wire { tell: Arc::new(tell), prefix, links: HashMap::new(), facts: VecDeque::new() }
    }

    pub(super) fn hears(&mut self, news: News) {
        match news {
            News::Connected(id, stream, unheard) => {
                // Without a link it was given up meanwhile.
                let Some(link) = self.links.get_mut(&id) else { return stream.shut() };
                match Output::start(stream, unheard, Arc::clone(&self.tell)) {
                    Ok(output) => {
                        link.output = Some(output);
                        self.facts.push_back(Fact::Opened(id));
                    }
                    Err(error) => self.ended(id, error.to_string()),
                }
            }
            News::Came(id, bytes) => self.came(id, &bytes),
            News::Written(id) => self.facts.push_back(Fact::Written(id)),
            News::Ended(link, why) => self.ended(link, why),
        }
    }

    fn ended(&mut self, link: LinkId, why: String) {
        if let Some(over) = self.links.remove(&link) {
            let why = over.session.farewell().map_or(why, |word| word.to_string());
            self.facts.push_back(Fact::Ended { link, why });
        }
    }

    fn came(&mut self, id: LinkId, mut bytes: &[u8]) {
        if let Some(Link { output: Some(output), .. }) = self.links.get(&id) {
            // It makes room for another one.
            let _ = output.unheard.try_recv();
        }
        while let Some(link) = self.links.get_mut(&id)
            && let Some(event) = link.session.take(&mut bytes)
        {
            match event {
                Event::Answer { to, .. } if link.probes.remove(&to) => {
                    self.facts.push_back(Fact::Probed(id));
                }
                Event::Answer { to, answer } => {
                    let fact = link.tries.remove(&to).map(|id| fact_of(id, answer));
                    self.facts.extend(fact);
                }
                // News and errors about signals, which are done when they are written.
                Event::Message(_) => {}
                Event::Fault(fault) => self.ended(id, fault.to_string()),
            }
        }
    }
}

impl Connector for Wire {
    type Request = Ask;
    type Answer = Answer;

    fn open(&mut self, link: LinkId, server: &Server, options: &LinkOptions) {
        let session = Session::new(format!("{}-{}", self.prefix, link.number()));
        let (tries, probes) = (HashMap::new(), HashSet::new());
        self.links.insert(link, Link { session, output: None, tries, probes });
        let (address, options, tell) = (server.address.clone(), *options, Arc::clone(&self.tell));
        let started = thread::Builder::new()
            .name("telex-link".to_owned())
            .spawn(move || dial_and_read(link, &address, &options, &*tell));
        if let Err(error) = started {
            self.ended(link, error.to_string());
        }
    }

    fn send(&mut self, link: LinkId, one: Try<'_>, ask: &Ask) {
        let Some(Link { session, output: Some(output), tries, .. }) = self.links.get_mut(&link) else {
            return;
        };
        let mut line = Vec::new();
        let (to, id) = (to_of(ask, one.key), one.id);
        let put = match one.no_reply {
            true => session.signal(to, &ask.body, &mut line),
            // Without a bound the daemon's own would count.
            false => {
                let timeout = one.timeout.unwrap_or(Duration::MAX);
                session.request(to, &ask.message_type, &ask.body, Some(timeout), &mut line)
            }
        };
        match put {
            Ok(ticket) if !one.no_reply => drop(tries.insert(ticket, id)),
            Ok(_) => {}
            Err(why) => {
                let fate = Fate::Final(ErrorKind::Unsendable);
                return self.facts.push_back(Fact::Failed { id, fate, why: why.to_string() });
            }
        }
        // A writer that is gone tells so by itself.
        drop(output.lines.send((line, one.no_reply.then_some(id))));
    }

    fn probe(&mut self, link: LinkId) {
        let Some(Link { session, output: Some(output), probes, .. }) = self.links.get_mut(&link) else {
            return;
        };
        let mut line = Vec::new();
        if let Ok(ticket) = session.request(To::Daemon, "ping", "", None, &mut line) {
            probes.insert(ticket);
            drop(output.lines.send((line, None)));
        }
    }

    fn close(&mut self, link: LinkId) {
        self.links.remove(&link);
    }

    fn answer(&mut self) -> Option<Fact<Answer>> {
        self.facts.pop_front()
    }
}

/// Where a request goes: its node, or the service at the other end itself. A key that is too long for the line is cut,
/// always alike.
fn to_of<'a>(ask: &'a Ask, key: Option<&'a str>) -> To<'a> {
    let key = key.unwrap_or_default();
    let end = (0..=key.len().min(NAME_BYTES_MAX)).rfind(|end| key.is_char_boundary(*end));
    match (&ask.to, &key[..end.unwrap_or_default()]) {
        (None, _) => To::Daemon,
        (Some(node), "") => To::Node(node),
        (Some(node), key) => To::Keyed { node, key },
    }
}

/// What an answer says of its try. A node's own error is an answer; the daemon's tells what became of the request.
fn fact_of(id: TryId, answer: Answer) -> Fact<Answer> {
    match answer {
        Err(refused) if refused.by_daemon() => {
            Fact::Failed { id, fate: fate_of(&refused), why: refused.to_string() }
        }
        answer => Fact::Answered { id, answer },
    }
}

fn fate_of(refused: &Refused) -> Fate {
    match refused.code().and_then(Code::of) {
        Some(Code::NoSuchNode | Code::NoSubscribers | Code::Overloaded | Code::TooManyRequests) => {
            Fate::NotExecuted
        }
        Some(Code::NodeGone) => Fate::Unknown(ErrorKind::Lost),
        Some(Code::Timeout) => Fate::Unknown(ErrorKind::Timeout),
        Some(Code::Internal) | None => Fate::Unknown(ErrorKind::Refused),
        Some(_) => Fate::Final(ErrorKind::Refused),
    }
}

impl Output {
    /// Starts the thread that writes.
    fn start(stream: Stream, unheard: Receiver<Unheard>, tell: Tell) -> io::Result<Output> {
        let (lines, to_write) = channel();
        // If it cannot be started, the thread that reads ends with it.
        let output = Output { stream, unheard, lines };
        let socket = output.stream.try_clone()?;
        thread::Builder::new()
            .name("telex-writer".to_owned())
            .spawn(move || write_all(socket, &to_write, &*tell))?;
        Ok(output)
    }
}

fn write_all(
    stream: Stream,
    lines: &Receiver<(Vec<u8>, Option<TryId>)>,
    tell: &(dyn Fn(News) + Send + Sync),
) {
    while let Ok((mut bytes, written)) = lines.recv() {
        let mut written: Vec<TryId> = written.into_iter().collect();
        for (more, id) in lines.try_iter() {
            bytes.extend_from_slice(&more);
            written.extend(id);
        }
        let mut at = 0;
        while at < bytes.len() {
            match stream.write(&bytes[at..]) {
                Ok(count) => at += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // What came before is still to be read; its reader finds the end.
                Err(_) => return,
            }
        }
        written.into_iter().for_each(|id| tell(News::Written(id)));
    }
}

fn dial_and_read(
    link: LinkId,
    address: &Address,
    options: &LinkOptions,
    tell: &(dyn Fn(News) + Send + Sync),
) {
    let dialled = attempt::connect(address, options.connect_timeout).and_then(|stream| {
        stream.set_nodelay(options.tcp_nodelay)?;
        Ok((stream.try_clone()?, stream))
    });
    let (stream, writes) = match dialled {
        Ok(both) => both,
        Err(error) => return tell(News::Ended(link, error.to_string())),
    };
    let (room, unheard) = sync_channel(UNHEARD_MAX);
    tell(News::Connected(link, writes, unheard));
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stream.read(&mut buffer, None) {
            Ok(0) => return tell(News::Ended(link, "the server ended the connection".to_owned())),
            Ok(count) => match room.send(Unheard) {
                Ok(()) => tell(News::Came(link, buffer[..count].to_vec())),
                // The link is given up.
                Err(_) => return,
            },
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return tell(News::Ended(link, error.to_string())),
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("links", &self.links.len()).finish_non_exhaustive()
    }
}
