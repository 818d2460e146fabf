//! Knows one server as its cluster sees it: its link, whether it is out, what waits for it and what is in flight.
//! Never: other servers, or what a request is.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::cluster::connector::{LinkId, RequestId};
use crate::cluster::servers::Server;

/// A server. Times are readings of the cluster's clock.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) server: Server,
    /// The program has not taken it out of the balance.
    pub(super) is_active: bool,
    pub(super) link: Link,
    /// When it is probed next; it is out while there is such a time.
    pub(super) out_until: Option<Duration>,
    /// When the answer to a probe comes at the latest, if one is under way.
    pub(super) probe_ends: Option<Duration>,
    pub(super) waiting: BTreeSet<RequestId>,
    pub(super) in_flight: BTreeSet<RequestId>,
    /// When anything came from it last, over this link.
    pub(super) heard: Duration,
    /// When a request or an answer went over this link last; probes do not count.
    pub(super) moved: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Closed,
    Opening { link: LinkId, until: Duration },
    Open(LinkId),
}

impl Link {
    pub(super) fn id(self) -> Option<LinkId> {
        match self {
            Link::Closed => None,
            Link::Opening { link, .. } | Link::Open(link) => Some(link),
        }
    }
}

/// What is to be done about a server because time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    ConnectTimeout(LinkId),
    ProbeTimeout(LinkId),
    Silence(LinkId),
    Probe,
}

/// How long a server may be silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// While it is waited for.
    pub(super) silence: Option<Duration>,
    /// At any time, before it is probed.
    pub(super) keepalive: Option<Duration>,
}

impl Member {
    pub(super) fn new(server: Server) -> Member {
        Member {
            server,
            is_active: true,
            link: Link::Closed,
            out_until: None,
            probe_ends: None,
            waiting: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            heard: Duration::ZERO,
            moved: Duration::ZERO,
        }
    }

    pub(super) fn is_out(&self) -> bool {
        self.out_until.is_some()
    }

    /// What time brings about next, and when.
    pub(super) fn next_due(&self, patience: Patience) -> Option<(Duration, Due)> {
        let mut dues = Vec::new();
        match self.link {
            Link::Opening { link, until } => dues.push((until, Due::ConnectTimeout(link))),
            Link::Open(link) => {
                let silence = patience.silence.filter(|_| !self.in_flight.is_empty());
                dues.extend(silence.map(|most| (self.moved.saturating_add(most), Due::Silence(link))));
                match (self.probe_ends, patience.keepalive) {
                    (Some(until), _) => dues.push((until, Due::ProbeTimeout(link))),
                    (None, Some(most)) => dues.push((self.heard.saturating_add(most), Due::Probe)),
                    (None, None) => {}
                }
                let probe = self.out_until.filter(|_| self.probe_ends.is_none());
                dues.extend(probe.map(|at| (at, Due::Probe)));
            }
            Link::Closed => dues.extend(self.out_until.map(|at| (at, Due::Probe))),
        }
        dues.into_iter().min_by_key(|(at, _)| *at)
    }
}
