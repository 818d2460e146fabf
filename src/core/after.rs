//! Knows what has been decided and is not carried out yet, in its order.
//! Never: how any of it is carried out.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::core::SessionKey;
use crate::core::emission::Emission;
use crate::core::event::Subject;
use crate::core::happening::Party;
use crate::core::order::Reason;
use crate::core::outbox::{Origin, Outbox};
use crate::core::table::node::Instance;
use crate::core::table::requests::{Asked, RequestKey};
use crate::core::table::search::Search;
use crate::wire::message::Id;

/// What something leads to beyond itself. What nothing stands before is done at once; the rest waits here
/// and is done in its order, as much in each turn as is bearable.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum After {
    /// An instance came or went: monitors have to be told.
    News(News),
    /// A connection reads too slowly, and is to be ended.
    Doomed { session: SessionKey, reason: Reason, why: String },
    /// A leaving session may have got all that it is owed.
    Settled(SessionKey),
    /// A connection is no instance any more: it is to be struck off the requests that it owes answers to,
    /// then its going is told.
    Left(Box<Leaver>),
    /// A connection is no instance any more, and acts on: its going is to be told.
    Departed(Box<Leaver>),
    /// The queue of a receiver that takes nothing more: its senders have to be told.
    Undelivered(Box<Undelivered>),
    /// A message to a topic that has many subscribers.
    Publication(Box<Publication>),
    /// A signal of the daemon's own, to one of its topics.
    Emission(Box<Emission>),
    /// The daemon ends: everybody has to be told.
    Stop(Box<Stop>),
}

/// An instance came, or went for this reason.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct News {
    pub(crate) node_id: Arc<str>,
    pub(crate) number: u64,
    pub(crate) reason: Option<Reason>,
    /// The number of the last monitor that was told.
    pub(crate) told: u64,
}

/// A connection that is gone for everybody else, and whose going is not told yet.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Leaver {
    pub(crate) session: SessionKey,
    pub(crate) number: u64,
    pub(crate) reason: Reason,
    /// As it was, for its record; none if that is made already.
    pub(crate) about: Option<Subject>,
    /// As plugins are told of it.
    pub(crate) party: Option<Party>,
    /// What it did not take, while its senders are being told.
    pub(crate) undelivered: Option<Box<Undelivered>>,
    /// The node IDs that it held.
    pub(crate) node_ids: Vec<Arc<str>>,
    /// How many of them monitors have been told of.
    pub(crate) told: usize,
    /// The monitors of the next one that have been told, if any have.
    pub(crate) news: Option<News>,
}

/// Lines that a receiver did not take.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Undelivered {
    /// `:N`.
    pub(crate) receiver: Arc<str>,
    pub(crate) outbox: Outbox,
    /// The fates of what was no request, one for each sender, in the order of their first messages.
    pub(crate) fates: Vec<Fate>,
    /// Where each sender stands in `fates`.
    pub(crate) places: HashMap<SessionKey, usize>,
    /// How many fates have been told.
    pub(crate) told: usize,
}

/// The messages of one sender that one receiver did not take.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Fate {
    pub(crate) sender: SessionKey,
    /// The id of the first of them.
    pub(crate) first: Option<Id<'static>>,
    pub(crate) count: u64,
}

/// A message to a topic on its way to its subscribers.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Publication {
    pub(crate) origin: Origin,
    pub(crate) topic: Box<str>,
    /// As it leaves, without LF; empty if there was no memory for it, so that all miss it.
    #[cfg_attr(feature = "daemon", serde(with = "serde_bytes"))]
    pub(crate) line: Vec<u8>,
    /// Looks for the subscribers; over when `receivers` is there.
    pub(crate) search: Search,
    /// Those that were picked of what it found; it is kept if there are groups among them.
    pub(crate) receivers: Option<Vec<SessionKey>>,
    /// How many of them have been served.
    pub(crate) served: usize,
    /// How many subscriptions had ended before: once more have, each is looked at again before it is served.
    pub(crate) ended: u64,
    /// Of a request, when it is over. It is handed to all of them at once.
    pub(crate) deadline: Option<Duration>,
    /// What has come of it so far.
    pub(crate) reached: Reached,
    /// The signal as it is to be answered when all are served, if its publisher wants a receipt.
    pub(crate) receipt: Option<Box<Asked>>,
}

/// What has come of a message to a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Reached {
    /// Into so many queues it has been put.
    pub(crate) receivers: usize,
    /// So many had no room.
    pub(crate) missed: usize,
}

impl Reached {
    pub(crate) fn add(&mut self, more: Reached) {
        self.receivers += more.receivers;
        self.missed += more.missed;
    }
}

/// An end of the daemon that is being told.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Stop {
    /// Senders that wait for room are told, from this one on.
    Held(Vec<SessionKey>, usize),
    /// Then all askers whose requests are open.
    Requests(Vec<RequestKey>, usize),
    /// Then monitors are told of every instance.
    Nodes(Vec<(Arc<str>, Vec<Instance>)>, usize),
    /// Then everybody hears `shutdown`.
    Everybody(Vec<SessionKey>, usize),
}

impl After {
    /// About what it takes, without the outbox that may be in it.
    fn kept_bytes(&self) -> usize {
        // A node ID that none holds any more.
        const NAME_BYTES: usize = 64;
        let boxed = match self {
            After::News(_) | After::Settled(_) => 0,
            After::Doomed { why, .. } => why.capacity(),
            After::Left(leaver) | After::Departed(leaver) => {
                let undelivered = leaver.undelivered.as_deref().map_or(0, Undelivered::kept_bytes);
                size_of::<Leaver>() + leaver.node_ids.len() * NAME_BYTES + undelivered
            }
            After::Undelivered(undelivered) => undelivered.kept_bytes(),
            After::Publication(publication) => {
                let receivers = publication.receivers.as_ref().map_or(0, Vec::capacity);
                let receipt = publication.receipt.as_ref().map_or(0, |asked| {
                    size_of::<Asked>() + asked.from.len() + asked.id.text.len() + asked.message_type.len()
                });
                size_of::<Publication>()
                    + receipt
                    + publication.topic.len()
                    + publication.line.capacity()
                    + publication.search.kept_bytes()
                    + receivers * size_of::<SessionKey>()
            }
            After::Emission(emission) => size_of::<Emission>() + emission.kept_bytes(),
            // Nothing is refused any more.
            After::Stop(_) => 0,
        };
        size_of::<After>() + boxed
    }
}

impl Undelivered {
    /// About what it takes, without its outbox.
    fn kept_bytes(&self) -> usize {
        // A place in a map.
        const PLACE_BYTES: usize = 32;
        size_of::<Undelivered>() + self.fates.len() * (size_of::<Fate>() + PLACE_BYTES)
    }
}

/// The queue of consequences.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Consequences {
    queue: VecDeque<After>,
    /// How much is in it that monitors are told of, how many publications of the daemon's own, and how many
    /// connections that may be closed.
    news: usize,
    own_publications: usize,
    closings: usize,
    /// What all of it takes, in bytes.
    #[cfg_attr(feature = "daemon", serde(skip))]
    bytes: usize,
    /// How many have been put into it, and taken out, so far.
    put: u64,
    taken: u64,
    /// Sessions that go on when so many have been taken out, in that order.
    waiting: VecDeque<(u64, SessionKey)>,
    /// Sessions that go on when monitors have been told all.
    pub(crate) behind_news: Vec<SessionKey>,
    /// Killed sessions, to which it is tried once more to write.
    pub(crate) condemned: Vec<SessionKey>,
}

/// Places that are kept when the queue is empty.
const PLACES_KEPT_MAX: usize = 4096;

impl Consequences {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Makes anew what is not carried to another process: the count of bytes.
    #[cfg(feature = "daemon")]
    pub(crate) fn restored(&mut self) {
        self.bytes = self.queue.iter().map(After::kept_bytes).sum();
    }

    /// Whether anything is in it that is told to others: what is decided now must not come before that.
    pub(crate) fn tells_others(&self) -> bool {
        self.queue.len() > self.closings
    }

    /// Whether monitors have not been told all yet.
    pub(crate) fn has_news(&self) -> bool {
        self.news > 0
    }

    /// Whether a signal of the daemon's own to a topic is still on its way.
    pub(crate) fn has_own_publications(&self) -> bool {
        self.own_publications > 0
    }

    /// How many have been put into it so far.
    pub(crate) fn put(&self) -> u64 {
        self.put
    }

    pub(crate) fn push(&mut self, after: After) {
        self.count(&after, 1);
        self.put += 1;
        self.queue.push_back(after);
    }

    /// Takes the first; what is left of it is given back by [`Consequences::put_back`].
    pub(crate) fn take(&mut self) -> Option<After> {
        let after = self.queue.pop_front()?;
        if self.queue.is_empty() && self.queue.capacity() > PLACES_KEPT_MAX {
            self.queue = VecDeque::new();
        }
        self.count(&after, -1);
        self.taken += 1;
        Some(after)
    }

    /// The first, if it is a connection that leaves.
    pub(crate) fn first_leaver(&self) -> Option<&Leaver> {
        match self.queue.front() {
            Some(After::Left(leaver)) => Some(leaver),
            _ => None,
        }
    }

    /// Gives back the rest of what was taken last.
    pub(crate) fn put_back(&mut self, after: After) {
        self.count(&after, 1);
        self.taken -= 1;
        self.queue.push_front(after);
    }

    fn count(&mut self, after: &After, by: isize) {
        self.bytes = self.bytes.wrapping_add_signed(by * after.kept_bytes() as isize);
        match after {
            After::News(_) | After::Left(_) | After::Departed(_) => {
                self.news = self.news.wrapping_add_signed(by);
            }
            After::Publication(publication) if publication.origin == Origin::Daemon => {
                self.own_publications = self.own_publications.wrapping_add_signed(by);
            }
            After::Settled(_) => self.closings = self.closings.wrapping_add_signed(by),
            _ => {}
        }
    }

    /// Lets a session wait until all that is in the queue now has been taken out of it.
    pub(crate) fn wait(&mut self, session: SessionKey) {
        self.waiting.push_back((self.put, session));
    }

    /// The next session that need not wait any more.
    pub(crate) fn next_ready(&mut self) -> Option<SessionKey> {
        let (mark, _) = self.waiting.front()?;
        (*mark <= self.taken).then(|| self.waiting.pop_front().map(|(_, session)| session))?
    }

    /// Whether connections are leaving, or may be closed.
    pub(crate) fn has_leavers(&self) -> bool {
        let leaves = |after: &After| matches!(after, After::Left(_) | After::Departed(_));
        self.closings > 0 || self.news > 0 && self.queue.iter().any(leaves)
    }

    /// The sessions that wait for what is in the queue.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = SessionKey> {
        self.waiting.iter().map(|&(_, session)| session)
    }

    /// The memory that the queue takes. The outboxes in it are counted as outboxes.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.bytes
            + self.waiting.len() * size_of::<(u64, SessionKey)>()
            + self.condemned.len() * size_of::<SessionKey>()
    }

    /// The outboxes in the queue.
    pub(crate) fn outboxes(&self) -> impl Iterator<Item = &Outbox> {
        self.queue.iter().filter_map(|after| match after {
            After::Undelivered(undelivered) => Some(&undelivered.outbox),
            After::Left(leaver) => leaver.undelivered.as_deref().map(|undelivered| &undelivered.outbox),
            _ => None,
        })
    }

    /// Panics if the counts are not those of what is in the queue.
    pub(crate) fn check(&self) {
        let is_news = |after: &&After| matches!(after, After::News(_) | After::Left(_) | After::Departed(_));
        let news = self.queue.iter().filter(is_news).count();
        let closings = self.queue.iter().filter(|after| matches!(after, After::Settled(_))).count();
        assert_eq!((news, closings), (self.news, self.closings));
        assert_eq!(self.queue.iter().map(After::kept_bytes).sum::<usize>(), self.bytes, "what is to be done");
        assert_eq!(self.put - self.taken, self.queue.len() as u64);
        assert!(self.waiting.iter().all(|(mark, _)| *mark > self.taken || self.queue.is_empty()));
    }
}
