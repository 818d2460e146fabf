//! Knows one connection's state: what it sent and is not handled yet, what it is owed, what it
//! waits for, what it holds.
//! Never: another connection's state.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::core::SessionKey;
use crate::core::outbox::Outbox;
use crate::core::peer::{Identity, Peer};
use crate::core::registry::NodeKey;
use crate::wire::frame::Deframer;
use crate::wire::json::Object;
use crate::wire::message::Id;

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    /// Its unique number.
    pub(crate) number: u64,
    /// `:N`.
    pub(crate) unique_id: Rc<str>,
    pub(crate) peer: Peer,
    /// The node IDs that it holds, in the order in which it took them.
    pub(crate) names: Vec<NodeKey>,
    /// Subscriptions, monitors and taps.
    pub(crate) subscriptions: usize,
    /// Its messages that find no room are refused instead of waiting.
    pub(crate) never_waits: bool,
    /// Messages to it carry `sender`.
    pub(crate) wants_sender: bool,
    /// The member `sender` for messages from it, once somebody wanted it.
    sender_member: Option<Rc<[u8]>>,
    /// How many unique parts of names (`%u`) turned out to be taken.
    pub(crate) taken_parts: u64,
    /// How many ids it was given for messages without one.
    pub(crate) assigned_ids: u64,

    pub(crate) frame: Deframer,
    /// Bytes behind a line that could not be handled yet.
    pub(crate) backlog: Backlog,
    /// A judged line that waits for room.
    pub(crate) held: Option<Box<Held>>,
    /// It asked without reading: more of its answers wait than may while it is read.
    pub(crate) choked: bool,
    /// It has had its share of the work of this turn.
    pub(crate) weary: bool,
    /// A `monitor` whose first news are not all said yet.
    pub(crate) roll_call: Option<Box<RollCall>>,
    /// Its peer sends nothing more; some of what it sent may not be read yet.
    pub(crate) ending: bool,
    /// All that its peer sent has been read.
    pub(crate) ended: bool,
    pub(crate) broken_lines: u32,

    pub(crate) outbox: Outbox,
    /// Nothing can be written to its peer any more.
    pub(crate) broke: bool,
    /// Topic messages missed since the last `lagged`.
    pub(crate) missed: u64,
    /// Bytes that the kernel has taken for its peer, which may not have read them yet.
    pub(crate) taken: u64,
    /// It is looked at whether its peer reads enough of what waits for it.
    pub(crate) watch: Option<Box<ProgressWatch>>,
    /// Senders that wait for room here.
    pub(crate) congestion: Option<Box<Congestion>>,
    /// It is gone for everybody, and only gets what it is still owed.
    pub(crate) leaving: bool,
    /// It is ended when the line in hand has been handled.
    pub(crate) is_doomed: bool,
    /// It is in the list of those to be written to.
    pub(crate) dirty: bool,
    /// It is in the list of those to be written to at once.
    pub(crate) large: bool,

    /// What it keeps of `max_memory_bytes`, without its outbox.
    pub(crate) counted: usize,
    /// The part of that for its registrations and subscriptions.
    pub(crate) holdings: usize,
    pub(crate) last_to: Option<LastTo>,
}

/// Bytes that are to be handled later; those before `at` have been.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    pub(crate) bytes: Vec<u8>,
    pub(crate) at: usize,
}

impl Backlog {
    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }
}

/// A line that waits for room in a receiver's queue; judged, stamped, in no queue yet.
#[derive(Debug)]
pub(crate) struct Held {
    /// As it will leave, without its LF.
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

/// Why somebody who waited goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Called {
    /// It is his turn, and this receiver has room.
    HasRoom(SessionKey),
    /// The line may go elsewhere now.
    LookAgain,
}

impl Called {
    /// The receiver that has room.
    pub(crate) fn by(self) -> Option<SessionKey> {
        match self {
            Called::HasRoom(receiver) => Some(receiver),
            Called::LookAgain => None,
        }
    }
}

/// What a receiver is while senders wait for room in its queue.
#[derive(Debug, Default)]
pub(crate) struct Congestion {
    /// By ticket: first come, first served.
    pub(crate) waiters: BTreeMap<u64, SessionKey>,
    /// The queue has drained to half since it was full: the first waiter is called.
    pub(crate) relieved: bool,
}

/// How far a peer had read when it began to be watched.
#[derive(Debug)]
pub(crate) struct ProgressWatch {
    /// When it is looked at again; the timer for that is set.
    pub(crate) due: Duration,
    /// The bytes that it had read; none before they were measured.
    pub(crate) read: Option<u64>,
    /// The time has come, and they are being measured.
    pub(crate) is_due: bool,
}

/// The nodes that a new monitor is told of first, in the order of their names.
#[derive(Debug)]
pub(crate) struct RollCall {
    pub(crate) pattern: Box<str>,
    /// The monitor was there before: then nothing is left to the roll call alone.
    pub(crate) is_repeated: bool,
    /// The last instance that it was told of, by its node and number; news of those behind it are left to
    /// the roll call.
    pub(crate) after: Option<(Rc<str>, u64)>,
    /// The `monitor` that is answered at the end: its id and `from`.
    pub(crate) id: Id<'static>,
    pub(crate) from: Box<str>,
}

/// Where the last message went: most go where the one before went.
#[derive(Debug)]
pub(crate) struct LastTo {
    pub(crate) to: Box<str>,
    pub(crate) node: NodeKey,
}

impl Session {
    pub(crate) fn new(number: u64, peer: Peer) -> Session {
        Session {
            number,
            unique_id: Rc::from(format!(":{number}")),
            peer,
            names: Vec::new(),
            subscriptions: 0,
            never_waits: false,
            wants_sender: false,
            sender_member: None,
            taken_parts: 0,
            assigned_ids: 0,
            frame: Deframer::default(),
            backlog: Backlog::default(),
            held: None,
            choked: false,
            weary: false,
            roll_call: None,
            ending: false,
            ended: false,
            broken_lines: 0,
            outbox: Outbox::default(),
            broke: false,
            missed: 0,
            taken: 0,
            watch: None,
            congestion: None,
            leaving: false,
            is_doomed: false,
            dirty: false,
            large: false,
            counted: 0,
            holdings: 0,
            last_to: None,
        }
    }

    /// Whether nothing more of what it sent can be handled now.
    pub(crate) fn is_blocked(&self) -> bool {
        self.held.is_some()
            || (self.choked && !self.broke)
            || self.weary
            || self.roll_call.is_some()
            || self.leaving
    }

    /// Whether nothing of what it sent is left, but for a line without its end.
    pub(crate) fn is_done(&self) -> bool {
        self.backlog.is_empty() && self.held.is_none() && self.roll_call.is_none() && !self.leaving
    }

    /// Whether others can address it.
    pub(crate) fn is_here(&self) -> bool {
        !self.leaving
    }

    /// What it keeps of `max_memory_bytes` now, without its outbox.
    pub(crate) fn kept_bytes(&self) -> usize {
        // A place in a receiver's row of waiters, about.
        const PLACE_BYTES: usize = 64;
        let held_bytes = |held: &Held| held.line.capacity() + held.receivers.len() * PLACE_BYTES;
        self.frame.kept_bytes()
            + self.backlog.bytes.capacity()
            + self.held.as_deref().map_or(0, held_bytes)
            + self.holdings
    }

    /// Writes who this is: `unique_id`, then `uid`, `gid` and `pid`, or `user`.
    pub(crate) fn write_identity(&self, object: &mut Object<'_>) {
        object.string("unique_id", &self.unique_id);
        match &self.peer.identity {
            Identity::Kernel { uid, gid, pid } => {
                object.number("uid", *uid).number("gid", *gid).number("pid", *pid);
            }
            Identity::Anonymous => {}
        }
    }

    /// The member `sender` for messages from this session, with a comma behind it.
    pub(crate) fn sender_member(&mut self) -> Rc<[u8]> {
        if let Some(member) = &self.sender_member {
            return member.clone();
        }
        let mut out = Vec::from(&b"\"sender\":"[..]);
        let mut object = Object::begin(&mut out);
        self.write_identity(&mut object);
        object.end();
        out.push(b',');
        self.sender_member.insert(Rc::from(out)).clone()
    }
}
