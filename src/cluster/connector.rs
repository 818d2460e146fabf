//! Knows what a cluster asks of the wire, and what it is told.
//! Never: a wire.

use std::time::Duration;

use crate::cluster::error::ErrorKind;
use crate::cluster::servers::Server;

/// One connection to a server. A server that is connected to again has a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub(super) u64);

impl LinkId {
    /// Its number, from 1 on.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// One request, in the order in which they were submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(super) u64);

impl RequestId {
    /// Its number, from 1 on.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// One try of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TryId {
    /// The request.
    pub request: RequestId,
    /// Which of its tries, from 1 on.
    pub nth: u32,
}

/// How a connection is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkOptions {
    /// How long it may take; the cluster gives up by itself then.
    pub connect_timeout: Duration,
    /// Whether small writes leave at once (TCP alone).
    pub tcp_nodelay: bool,
}

/// What a try is, beside its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Try<'a> {
    /// Names it in the facts about it.
    pub id: TryId,
    /// Whether [`Fact::Written`] is all that is wanted.
    pub no_reply: bool,
    /// How long its answer is waited for; `None` if there is no such bound.
    pub timeout: Option<Duration>,
    /// The key of its message, which may matter behind the server, too.
    pub key: Option<&'a str>,
}

/// What happened on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact<A> {
    /// A connection is made.
    Opened(LinkId),
    /// A connection could not be made, or has ended; of this link nothing more is told.
    Ended {
        /// Which.
        link: LinkId,
        /// What happened, for people.
        why: String,
    },
    /// A try that wants no reply has been written.
    Written(TryId),
    /// The server has answered.
    Answered {
        /// Which try.
        id: TryId,
        /// The answer.
        answer: A,
    },
    /// A try has failed, and its connection goes on.
    Failed {
        /// Which.
        id: TryId,
        /// What became of it.
        fate: Fate,
        /// What happened, for people.
        why: String,
    },
    /// The server has answered a probe.
    Probed(LinkId),
}

/// What became of a try that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The server certainly did not execute it, and another one may: it is tried elsewhere.
    NotExecuted,
    /// The server may have executed it: it is tried again only if its message allows that.
    Unknown(ErrorKind),
    /// It was not executed, and another try would end alike.
    Final(ErrorKind),
}

/// A wire to servers. Each method returns at once; what comes of it is told by [`Connector::answer`].
///
/// The [module](crate::cluster) shows a whole one.
pub trait Connector {
    /// What is asked of a server.
    type Request;
    /// What it answers.
    type Answer;

    /// Connects to `server`. [`Fact::Opened`] or [`Fact::Ended`] follows.
    fn open(&mut self, link: LinkId, server: &Server, options: &LinkOptions);

    /// Sends a request over an open link. One fact about the try follows, unless the link ends.
    fn send(&mut self, link: LinkId, one: Try<'_>, request: &Self::Request);

    /// Asks the server over an open link whether it is well. [`Fact::Probed`] follows, unless it is not.
    fn probe(&mut self, link: LinkId);

    /// Ends a link, be it open or not. No fact about it may follow, and none is waited for.
    fn close(&mut self, link: LinkId);

    /// What happened next; `None` when all has been told.
    fn answer(&mut self) -> Option<Fact<Self::Answer>>;
}
