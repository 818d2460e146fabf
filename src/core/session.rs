//! Knows one connection's state, in parts: who it is, how far it is, what it sent, what it is owed, what it
//! holds.
//! Never: another connection's state.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::core::SessionKey;
use crate::core::event::Subject;
use crate::core::outbox::Outbox;
use crate::core::peer::{Peer, Transport, User};
use crate::core::phase::{Pauses, Phase};
use crate::core::row::Row;
use crate::core::stalls::Watch;
use crate::core::table::registry::NodeKey;
#[cfg(feature = "daemon")]
use crate::core::table::registry::Registry;
use crate::core::table::requests::Asked;
use crate::core::table::search::Search;
use crate::limits::Limits;
use crate::wire::frame::Deframer;
use crate::wire::json::Object;

/// One connection.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Session {
    pub(crate) caller: Caller,
    pub(crate) phase: Phase,
    /// It is gone for everybody else, and acts on: nothing can be written to it, and of what its peer sent a line has
    /// had to wait for room. What it held is kept for the `from` of these lines.
    pub(crate) departed: bool,
    pub(crate) inbound: Inbound,
    pub(crate) outbound: Outbound,
    pub(crate) holdings: Holdings,
    /// Senders that wait for room in its queue.
    pub(crate) row: Option<Box<Row>>,
    /// Whether its peer reads enough of what waits for it is being watched.
    pub(crate) watch: Option<Box<Watch>>,
    /// What it keeps of `max_memory_bytes`, without its outbox, as counted last.
    #[cfg_attr(feature = "daemon", serde(skip))]
    pub(crate) counted: usize,
}

/// What a connection is to others.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Caller {
    /// Its unique number.
    pub(crate) number: u64,
    /// `:N`.
    #[cfg_attr(feature = "daemon", serde(skip))]
    pub(crate) unique_id: Arc<str>,
    /// When it came, in milliseconds since 1970.
    since_ms: u64,
    pub(crate) peer: Peer,
    /// What its messages are stamped with unless they say otherwise, and what lines of the daemon's own to
    /// it are addressed to: the first node ID that it holds, else its unique id.
    #[cfg_attr(feature = "daemon", serde(skip))]
    pub(crate) address: Arc<str>,
    /// The member `sender` for messages from it, once it was wanted.
    #[cfg_attr(feature = "daemon", serde(skip))]
    sender_member: Option<Arc<Vec<u8>>>,
}

/// What a connection sent and has not been handled yet, and what that waits for.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Inbound {
    pub(crate) frame: Deframer,
    /// How much of a line without its end was there when memory was short and it was last looked at; none if
    /// that line has ended since, or was not read for a while.
    pub(crate) half_line_seen: Option<NonZeroU32>,
    /// Bytes behind a line that could not be handled yet.
    pub(crate) backlog: Backlog,
    /// A judged line that waits for room.
    pub(crate) held: Option<Box<Held>>,
    /// A long answer that is not all said yet.
    pub(crate) walk: Option<Box<Walk>>,
    pub(crate) pauses: Pauses,
    /// Its first line has come, or need not be looked at: over TCP any program may connect, and one that speaks
    /// another protocol is told so once.
    pub(crate) greeted: bool,
    /// Broken lines since the last that was none.
    pub(crate) broken_lines: u8,
    /// All that it ever sent.
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
    /// Ids that it was given for messages without one.
    pub(crate) assigned_ids: u64,
    /// Where its last message went: most go where the one before went.
    pub(crate) last_to: Option<Box<LastTo>>,
}

/// What waits for a connection, and what is known of its reading.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Outbound {
    #[cfg_attr(feature = "daemon", serde(skip))]
    pub(crate) outbox: Outbox,
    /// Nothing can be written to its peer any more.
    pub(crate) broken: bool,
    /// Messages to it carry `sender`.
    pub(crate) wants_sender: bool,
    /// It is in the list of those to be written to.
    pub(crate) dirty: bool,
    /// It is in the list of those to be written to at once.
    pub(crate) large: bool,
    /// What it has missed, if it ever missed anything.
    pub(crate) lag: Option<Box<Lag>>,
    /// Bytes that the kernel has taken for its peer, which may not have read them yet.
    pub(crate) taken: u64,
    /// All lines that were ever queued for it.
    pub(crate) lines: u64,
}

/// Topic messages that a connection has missed.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Lag {
    /// Those of the last `lagged` not counted.
    pub(crate) untold: u64,
    pub(crate) all: u64,
    /// Of all, those that the log tells of, and when it did last.
    pub(crate) logged: u64,
    pub(crate) logged_at: Duration,
}

/// What a connection holds of what all share.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Holdings {
    /// The node IDs that it holds, in the order in which it took them.
    pub(crate) names: Vec<NodeKey>,
    /// Unique parts of names (`%u`) that turned out to be taken.
    pub(crate) taken_parts: u32,
    /// Its messages that find no room are refused instead of waiting.
    pub(crate) never_waits: bool,
    /// Subscriptions, monitors and taps.
    pub(crate) subscriptions: u32,
    /// The memory that these take, about.
    pub(crate) subscription_bytes: u32,
}

/// Bytes that are to be handled later. Most connections have none, and then it takes no more than a word.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Backlog(Option<Box<Unhandled>>);

#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
struct Unhandled {
    #[cfg_attr(feature = "daemon", serde(with = "serde_bytes"))]
    bytes: Vec<u8>,
    /// How many of them have been handled.
    at: usize,
}

impl Backlog {
    /// A backlog of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Backlog {
        Backlog(Some(Box::new(Unhandled { bytes: bytes.to_vec(), at: 0 })))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// What is still to be handled.
    pub(crate) fn rest(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |unhandled| &unhandled.bytes[unhandled.at..])
    }

    /// Takes note that so many more bytes have been handled.
    pub(crate) fn advance(&mut self, count: usize) {
        if let Some(unhandled) = &mut self.0 {
            unhandled.at += count;
        }
    }

    /// Adds bytes behind those that are there.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Some(unhandled) => unhandled.bytes.extend_from_slice(bytes),
            None => *self = Backlog::of(bytes),
        }
    }

    /// The memory that it takes.
    fn kept_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |unhandled| size_of::<Unhandled>() + unhandled.bytes.capacity())
    }
}

/// A line that waits for room in a receiver's queue; judged, stamped, in no queue yet.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Held {
    /// As it will leave, without its LF.
    #[cfg_attr(feature = "daemon", serde(with = "serde_bytes"))]
    pub(crate) line: Vec<u8>,
    /// Where it is in the row of all that ever waited.
    pub(crate) ticket: u64,
    /// The receivers that it waits for: it goes on as soon as one of them has room.
    pub(crate) receivers: Box<[SessionKey]>,
    /// Why its sender goes on when its turn comes; none while it has to wait.
    pub(crate) called: Option<Called>,
    /// A request's: when it is over.
    pub(crate) deadline: Option<Duration>,
}

/// Why a line that has waited goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Called {
    /// This receiver has room.
    HasRoom(SessionKey),
    /// Its receivers are others now.
    LookAgain,
}

impl Called {
    /// The receiver that called it.
    pub(crate) fn by(self) -> Option<SessionKey> {
        match self {
            Called::HasRoom(receiver) => Some(receiver),
            Called::LookAgain => None,
        }
    }
}

/// An answer that takes more than one step: what it is looking for, and how far it has come.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Walk {
    /// The request that it answers.
    pub(crate) asked: Asked,
    pub(crate) through: Through,
}

/// What a walk goes through.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Through {
    /// The nodes that a new monitor is told of first.
    RollCall(RollCall),
    /// The nodes of a `list`.
    Nodes(Nodes),
    /// The connections of `connections`.
    Connections(Connections),
    /// The subscribers of a topic.
    Subscribers { topic: Box<str>, limit: usize, search: Search },
}

/// The nodes that a new monitor is told of first, in the order of their names.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct RollCall {
    pub(crate) pattern: Box<str>,
    /// The monitor was there before: then nothing is left to the roll call alone.
    pub(crate) is_repeated: bool,
    /// The last instance that it was told of, by its node and number; news of those behind it are left to
    /// the roll call.
    pub(crate) after: Option<(Arc<str>, u64)>,
}

/// The entries of a `list`, in the order of their names.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Nodes {
    pub(crate) pattern: Box<str>,
    /// Those that are remembered too.
    pub(crate) all: bool,
    /// With all that `resolve` tells of their instances.
    pub(crate) details: bool,
    /// The last name that was looked at.
    pub(crate) after: Option<Arc<str>>,
    pub(crate) page: Page,
}

/// The entries of `connections`, in the order of their numbers.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Connections {
    /// The user whose they are; all if none.
    pub(crate) of: Option<User>,
    /// The last number that was looked at.
    pub(crate) after: u64,
    pub(crate) page: Page,
}

/// The entries of one page of an answer, already written, as many as fit into a line.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Page {
    #[cfg_attr(feature = "daemon", serde(with = "serde_bytes"))]
    entries: Vec<u8>,
    count: usize,
    limit: usize,
    bytes_max: usize,
    pub(crate) more: bool,
}

impl Page {
    /// A page of at most `limit` entries and `bytes_max` bytes, but for a first entry that is longer.
    pub(crate) fn new(limit: usize, bytes_max: usize) -> Page {
        Page { entries: Vec::new(), count: 0, limit, bytes_max, more: false }
    }

    /// The memory that it takes.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.entries.capacity()
    }

    /// Adds an entry; false if the page is full, and there is more.
    pub(crate) fn add(&mut self, write: impl FnOnce(&mut Object<'_>)) -> bool {
        let before = self.entries.len();
        if self.count == self.limit {
            self.more = true;
            return false;
        }
        if self.count > 0 {
            self.entries.push(b',');
        }
        let mut entry = Object::begin(&mut self.entries);
        write(&mut entry);
        entry.end();
        if self.count > 0 && self.entries.len() > self.bytes_max {
            self.entries.truncate(before);
            self.more = true;
            return false;
        }
        self.count += 1;
        true
    }

    /// Writes the entries as the array `name`.
    pub(crate) fn write_to(&self, object: &mut Object<'_>, name: &str) {
        let out = object.key(name);
        out.push(b'[');
        out.extend_from_slice(&self.entries);
        out.push(b']');
    }
}

/// Where the last message went.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct LastTo {
    pub(crate) to: Box<str>,
    pub(crate) node: NodeKey,
}

impl Session {
    pub(crate) fn new(number: u64, peer: Peer, since: Duration) -> Session {
        let unique_id = unique_id(number);
        let address = unique_id.clone();
        let since_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let greeted = peer.transport == Transport::Unix;
        Session {
            caller: Caller { number, unique_id, since_ms, peer, address, sender_member: None },
            phase: Phase::default(),
            departed: false,
            inbound: Inbound { greeted, ..Inbound::default() },
            outbound: Outbound::default(),
            holdings: Holdings::default(),
            row: None,
            watch: None,
            counted: 0,
        }
    }

    /// Makes anew what is not carried to another process: its addresses, and the count of its bytes.
    #[cfg(feature = "daemon")]
    pub(crate) fn restored(&mut self, registry: &Registry) {
        let caller = &mut self.caller;
        caller.unique_id = unique_id(caller.number);
        let first = self.holdings.names.first().and_then(|&name| registry.get(name));
        caller.address = first.map_or(&caller.unique_id, |node| &node.name).clone();
        self.counted = self.kept_bytes();
    }

    /// Whether others can address it.
    pub(crate) fn is_here(&self) -> bool {
        self.phase.acts() && !self.departed
    }

    /// Whether nothing more of what it sent can be handled now.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.inbound.pauses.is_empty() || !self.phase.acts()
    }

    /// Topic messages that it has missed and was not told of yet.
    #[inline]
    pub(crate) fn untold(&self) -> u64 {
        self.outbound.lag.as_ref().map_or(0, |lag| lag.untold)
    }

    /// Whether a message to a topic may enter its queue.
    pub(crate) fn has_topic_room(&self, limits: &Limits) -> bool {
        self.outbound.outbox.direct_bytes() < limits.half_queue()
    }

    /// Whether nothing of what it sent is left, but for a line without its end.
    pub(crate) fn is_done(&self) -> bool {
        use crate::core::phase::Pause::{Consequences, Room, Walk};
        let pauses = self.inbound.pauses;
        self.inbound.backlog.is_empty()
            && self.phase.acts()
            && ![Room, Walk, Consequences].iter().any(|&pause| pauses.contains(pause))
    }

    /// A connection for a record.
    pub(crate) fn subject(&self) -> Subject {
        let Caller { number, peer, address, .. } = &self.caller;
        let node_id = (!self.holdings.names.is_empty()).then(|| address.clone());
        Subject { node_id, ..Subject::new(*number, peer) }
    }

    /// What it keeps of `max_memory_bytes` now, without its outbox.
    pub(crate) fn kept_bytes(&self) -> usize {
        // A place in a receiver's row of waiters, about.
        const PLACE_BYTES: usize = 64;
        let Inbound { frame, backlog, held, walk, last_to, .. } = &self.inbound;
        let held = held
            .as_deref()
            .map_or(0, |held| size_of::<Held>() + held.line.capacity() + held.receivers.len() * PLACE_BYTES);
        frame.kept_bytes()
            + backlog.kept_bytes()
            + held
            + walk.as_deref().map_or(0, Walk::kept_bytes)
            + last_to.as_ref().map_or(0, |last| size_of::<LastTo>() + last.to.len())
            + self.caller.sender_member.as_ref().map_or(0, |member| member.len())
            + self.holdings.subscription_bytes as usize
    }
}

fn unique_id(number: u64) -> Arc<str> {
    Arc::from(format!(":{number}"))
}

impl Walk {
    fn kept_bytes(&self) -> usize {
        size_of::<Walk>()
            + match &self.through {
                Through::RollCall(roll_call) => roll_call.pattern.len(),
                Through::Nodes(nodes) => nodes.pattern.len() + nodes.page.kept_bytes(),
                Through::Connections(connections) => connections.page.kept_bytes(),
                Through::Subscribers { search, .. } => search.kept_bytes(),
            }
    }
}

impl Caller {
    /// When it came, since 1970.
    pub(crate) fn since(&self) -> Duration {
        Duration::from_millis(self.since_ms)
    }

    /// The user that it counts as.
    pub(crate) fn user(&self) -> User {
        self.peer.user()
    }

    /// Writes its identity: `unique_id`, and `uid`, `gid` and `pid` if the kernel has said.
    pub(crate) fn write_identity(&self, object: &mut Object<'_>) {
        object.string("unique_id", &self.unique_id);
        self.peer.write_identity(object);
    }

    /// The member `sender` for messages from this session, with a comma behind it.
    pub(crate) fn sender_member(&mut self) -> Arc<Vec<u8>> {
        if let Some(member) = &self.sender_member {
            return member.clone();
        }
        let mut out = Vec::from(&b"\"sender\":"[..]);
        let mut object = Object::begin(&mut out);
        self.write_identity(&mut object);
        object.end();
        out.push(b',');
        self.sender_member.insert(Arc::new(out)).clone()
    }
}
