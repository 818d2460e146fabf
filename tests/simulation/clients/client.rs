//! Knows one client: what it has asked for, and what it has been told.
//! Never: the others, or the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use telex::client::{
    Answer, Arrival, Change, Driven, Error, Message, Presence, Reconnect, Stream, Ticket, WhileAway,
};
use telex::wire::code::Code;

use crate::model::Checked;

/// What runs on the threads of a real handle has noted.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The calls that were answered here, each as often as that happened.
    pub(crate) calls: BTreeMap<u64, u32>,
    /// The calls of this client's whose callback was called, each with the outcome.
    pub(crate) called_back: Vec<(u64, Result<Message, Error>)>,
    /// The last signal from each client.
    pub(crate) signals: BTreeMap<u64, u64>,
    /// All signals, by client and number.
    pub(crate) all_signals: BTreeSet<(u64, u64)>,
    pub(crate) wrong: Vec<String>,
}

/// A call that is on its way.
pub(crate) struct Call {
    pub(crate) id: u64,
    /// `None` if a callback waits for it.
    pub(crate) answer: Option<Answer>,
    pub(crate) timeout: Duration,
    pub(crate) at: Duration,
    /// How often a restored connection had been lost.
    pub(crate) losses: u64,
}

/// A request to the daemon that is on its way.
pub(crate) enum Ask {
    Register(String, Answer<String>),
    Unregister(String, Answer<()>),
    Subscribe(String, Option<&'static str>, Answer<Stream<Arrival>>),
    Monitor(String, Answer<Stream<Presence>>),
    End(Answer<()>),
}

/// What has come by a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A publication, by client and number.
    Published(u64, u64),
    Missed,
}

pub(crate) struct Subscription {
    pub(crate) pattern: String,
    pub(crate) group: Option<&'static str>,
    pub(crate) stream: Stream<Arrival>,
    pub(crate) items: Vec<Item>,
    /// The first publication that it has to get, of all clients.
    pub(crate) from: u64,
}

pub(crate) struct Monitor {
    pub(crate) pattern: String,
    pub(crate) stream: Stream<Presence>,
    pub(crate) up: BTreeSet<(String, String)>,
}

pub(crate) struct Gathering {
    pub(crate) id: u64,
    pub(crate) stream: Stream<Result<Message, Error>>,
    pub(crate) until: Duration,
    pub(crate) from: Vec<String>,
}

pub(crate) struct Client {
    pub(crate) driven: Driven,
    pub(crate) number: u64,
    pub(crate) meanwhile: WhileAway,
    pub(crate) link: Option<u64>,
    pub(crate) last_link: Option<u64>,
    pub(crate) heard: Arc<Mutex<Heard>>,
    pub(crate) calls: Vec<Call>,
    pub(crate) asks: Vec<Ask>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) monitors: Vec<Monitor>,
    pub(crate) gatherings: Vec<Gathering>,
    changes: Stream<Change>,
    pub(crate) inbox: Stream<Arrival>,
    /// Requests that it has yet to answer.
    pub(crate) owed: Vec<Message>,
    /// What it holds, as far as it was answered; and what of that it lost to others.
    pub(crate) names: BTreeSet<String>,
    pub(crate) lost_names: BTreeSet<String>,
    /// Names of which it cannot know.
    pub(crate) vague: BTreeSet<String>,
    /// Whether that is so of subscriptions and monitors.
    pub(crate) is_vague: bool,
    /// How often its connection ended, as it saw it or as the daemon did; how often its first name was lost.
    pub(crate) ends: u64,
    pub(crate) undelivered: BTreeSet<Ticket>,
    /// How often it was up, and was told; how often that ended, and was told.
    pub(crate) restored: [u64; 2],
    pub(crate) lost: [u64; 2],
    /// The daemon may still count a request that is over here: it was given up, or went to several.
    pub(crate) gave_up: bool,
}

impl Client {
    pub(crate) fn new(number: u64, meanwhile: WhileAway, output_bytes_max: usize) -> Client {
        let mut reconnect = Reconnect::default();
        reconnect.meanwhile = meanwhile;
        let driven = Driven::new(&format!("p{number}"), reconnect, output_bytes_max);
        let heard = Arc::new(Mutex::new(Heard::default()));
        let handle = driven.handle();
        for message_type in ["ask", "poll"] {
            let notes = Arc::clone(&heard);
            handle.on(message_type, move |request| {
                let id = request.body_value()["call"].as_u64().unwrap_or_default();
                *notes.lock().expect("a note").calls.entry(id).or_default() += 1;
                Ok::<_, String>(format!("{{\"call\":{id}}}"))
            });
        }
        let notes = Arc::clone(&heard);
        handle.on_signal(move |signal| note_signal(&mut notes.lock().expect("a note"), signal));
        let (changes, inbox) = (handle.changes(), handle.inbox());
        Client {
            driven,
            number,
            meanwhile,
            link: None,
            last_link: None,
            heard,
            calls: Vec::new(),
            asks: Vec::new(),
            subscriptions: Vec::new(),
            monitors: Vec::new(),
            gatherings: Vec::new(),
            changes,
            inbox,
            owed: Vec::new(),
            names: BTreeSet::new(),
            lost_names: BTreeSet::new(),
            vague: BTreeSet::new(),
            is_vague: false,
            ends: 0,
            undelivered: BTreeSet::new(),
            restored: [0, 0],
            lost: [0, 0],
            gave_up: false,
        }
    }

    /// Takes in what it is told of its connection.
    pub(crate) fn hear_changes(&mut self) -> Checked {
        while let Some(change) = next(&mut self.changes) {
            match change {
                Change::Lost { .. } => self.lost[1] += 1,
                Change::Restored { .. } => self.restored[1] += 1,
                Change::NameLost { node_id, .. } => {
                    self.ends += 1;
                    self.lost_names.insert(node_id);
                }
                Change::NameRegained { node_id } => drop(self.lost_names.remove(&node_id)),
                Change::Undelivered { why, .. } if why.is(Code::BadJson) || why.is(Code::NotAnObject) => {
                    return Err(format!("c{} has sent what is no message: {why}", self.number));
                }
                Change::Undelivered { ticket, .. } => self.undelivered.extend(ticket),
                other => return Err(format!("c{} was told {other:?}", self.number)),
            }
        }
        if self.restored[0] != self.restored[1] || self.lost[0] != self.lost[1] {
            return Err(format!(
                "c{} was up {} times and told {}, lost {} times and told {}",
                self.number, self.restored[0], self.restored[1], self.lost[0], self.lost[1]
            ));
        }
        let heard = self.heard.lock().expect("a note");
        heard.wrong.first().map_or(Ok(()), |wrong| Err(format!("c{}: {wrong}", self.number)))
    }

    /// Takes in what requests to the daemon have come to.
    pub(crate) fn hear_answers(&mut self, published: u64) {
        for ask in std::mem::take(&mut self.asks) {
            match ask {
                Ask::Register(name, mut answer) => match poll(&mut answer) {
                    None => self.asks.push(Ask::Register(name, answer)),
                    Some(Ok(name)) => drop(self.names.insert(name)),
                    Some(Err(error)) => self.doubt(&name, &error),
                },
                Ask::Unregister(name, mut answer) => match poll(&mut answer) {
                    None => self.asks.push(Ask::Unregister(name, answer)),
                    Some(Ok(())) => drop(self.names.remove(&name)),
                    Some(Err(error)) => self.doubt(&name, &error),
                },
                Ask::Subscribe(pattern, group, mut answer) => match poll(&mut answer) {
                    None => self.asks.push(Ask::Subscribe(pattern, group, answer)),
                    Some(Ok(stream)) => {
                        let (items, from) = (Vec::new(), published);
                        let subscription = Subscription { pattern, group, stream, items, from };
                        self.subscriptions.push(subscription);
                    }
                    Some(Err(error)) => self.is_vague |= is_vague(&error),
                },
                Ask::Monitor(pattern, mut answer) => match poll(&mut answer) {
                    None => self.asks.push(Ask::Monitor(pattern, answer)),
                    Some(Ok(stream)) => {
                        self.monitors.push(Monitor { pattern, stream, up: BTreeSet::new() });
                    }
                    Some(Err(error)) => self.is_vague |= is_vague(&error),
                },
                Ask::End(mut answer) => match poll(&mut answer) {
                    None => self.asks.push(Ask::End(answer)),
                    Some(Ok(())) => {}
                    Some(Err(error)) => self.is_vague |= is_vague(&error),
                },
            }
        }
    }

    fn doubt(&mut self, name: &str, error: &Error) {
        if is_vague(error) {
            self.vague.insert(name.to_owned());
        }
    }

    /// Takes in what has come by subscriptions and monitors, and looks at its order.
    pub(crate) fn hear_streams(&mut self) -> Checked {
        for one in &mut self.subscriptions {
            while let Some(arrival) = next(&mut one.stream) {
                let item = match arrival {
                    Arrival::Message(message) => published(&message),
                    _ => Item::Missed,
                };
                let last = one.items.iter().rev().find_map(|last| match (*last, item) {
                    (Item::Published(from, last), Item::Published(of, _)) if from == of => Some(last),
                    _ => None,
                });
                if let (Some(last), Item::Published(_, now)) = (last, item)
                    && now <= last
                {
                    return Err(format!("c{} got publication {now} behind {last}", self.number));
                }
                one.items.push(item);
            }
        }
        for one in &mut self.monitors {
            while let Some(news) = next(&mut one.stream) {
                let is_right = match &news {
                    Presence::Up { node_id, unique_id } => {
                        one.up.insert((node_id.clone(), unique_id.clone()))
                    }
                    Presence::Down { node_id, unique_id, .. } => {
                        one.up.remove(&(node_id.clone(), unique_id.clone()))
                    }
                    _ => false,
                };
                if !is_right {
                    return Err(format!("the monitor {} of c{} was told {news:?}", one.pattern, self.number));
                }
            }
        }
        Ok(())
    }
}

/// Whether the daemon may have done it or not, without the connection having ended.
fn is_vague(error: &Error) -> bool {
    matches!(error, Error::GaveUp { .. } | Error::Timeout(_))
}

fn note_signal(heard: &mut Heard, signal: &Message) {
    let mark = signal.body_value();
    let (Some(from), Some(number)) = (mark["s"][0].as_u64(), mark["s"][1].as_u64()) else {
        return heard.wrong.push(format!("a signal that none sent: {}", signal.line()));
    };
    if signal.topic().is_some() {
        heard.wrong.push(format!("a message to a topic came as a signal: {}", signal.line()));
    }
    if let Some(last) = heard.signals.insert(from, number)
        && number <= last
    {
        heard.wrong.push(format!("signal {number} of c{from} came behind its {last}"));
    }
    heard.all_signals.insert((from, number));
}

fn published(message: &Message) -> Item {
    let mark = message.body_value();
    Item::Published(mark["s"][0].as_u64().unwrap_or(u64::MAX), mark["s"][1].as_u64().unwrap_or_default())
}

/// What is next in a stream, if it is there.
pub(crate) fn next<T>(stream: &mut Stream<T>) -> Option<T> {
    match stream.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(item) => item,
        Poll::Pending => None,
    }
}

/// What an answer is, if it is there.
pub(crate) fn poll<T>(answer: &mut Answer<T>) -> Option<Result<T, Error>> {
    match Pin::new(answer).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}
