//! Knows one node: its instances, what is kept of it, and whether a connection may join it (PROTOCOL.md sections 3
//! and 4).
//! Never: other nodes, or where it stands among them.

use std::sync::Arc;
use std::time::Duration;

use crate::core::SessionKey;
use crate::core::peer::User;
use crate::wire::control::Delivery;

/// A node ID and its instances.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Node {
    pub(crate) name: Arc<str>,
    /// In the order in which they came; none if the node is gone.
    pub(crate) instances: Vec<Instance>,
    /// Connections that are no instances any more, and may still send from here.
    pub(super) departed: Vec<Instance>,
    pub(crate) delivery: Delivery,
    pub(super) exclusive: bool,
    /// The place behind the instance that was picked last, for taking turns.
    pub(crate) turn: usize,
    pub(crate) endpoints: Vec<Box<str>>,
    /// An object as it was sent.
    pub(crate) meta: Option<Box<str>>,
    /// Why it is gone, if it is.
    pub(crate) status: Status,
    /// Since 1970.
    pub(crate) last_seen: Duration,
    /// Its place among the nodes that have endpoints.
    pub(super) known: Option<u64>,
}

/// One connection that holds a node ID.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Instance {
    pub(crate) session: SessionKey,
    pub(crate) number: u64,
    pub(crate) user: User,
    /// Since 1970.
    pub(crate) since: Duration,
}

/// Whether a node is here, or how it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Status {
    /// It has instances.
    Up,
    /// Its last instance unregistered.
    Down,
    /// Its last instance's connection ended.
    Lost,
}

impl Status {
    /// The word on the wire.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Status::Up => "up",
            Status::Down => "down",
            Status::Lost => "lost",
        }
    }
}

/// What a connection asks for when it registers.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) name: &'a str,
    pub(crate) instance: Instance,
    pub(crate) delivery: Option<Delivery>,
    pub(crate) exclusive: Option<bool>,
    pub(crate) replace: bool,
    /// Whether connections of several users may share the node ID.
    pub(crate) shared_by_any: bool,
    pub(crate) endpoints: Option<Vec<Box<str>>>,
    /// Given as null: `Some(None)`.
    pub(crate) meta: Option<Option<Box<str>>>,
}

/// Why a claim is refused; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// By connections of another user.
    ByOthers,
    /// Such connections have departed, and may still send from it.
    ByDeparted,
    /// By one that holds it alone.
    Exclusively,
    /// It cannot be had exclusively while there are others.
    Shared,
    /// Its instances share messages in this other way.
    Delivery(Delivery),
}

/// What an allocation takes beyond what is in it, about.
const ALLOCATION_BYTES: usize = 16;

pub(super) fn endpoints_bytes(endpoints: &[Box<str>]) -> usize {
    let each = size_of::<Box<str>>() + ALLOCATION_BYTES;
    endpoints.iter().map(|endpoint| endpoint.len() + each).sum()
}

impl Node {
    /// Whether it is here or remembered: else its name alone is kept, for connections that have departed.
    pub(crate) fn is_known(&self) -> bool {
        !self.instances.is_empty() || self.known.is_some()
    }

    /// Whether a connection that has departed may send from it.
    pub(crate) fn has_departed(&self, session: SessionKey) -> bool {
        self.departed.iter().any(|instance| instance.session == session)
    }

    /// Connections that have departed and may send from it.
    pub(crate) fn departed(&self) -> &[Instance] {
        &self.departed
    }

    /// About what it takes: its record and texts, and its places in the maps, which are half full at times.
    pub(super) fn footprint(&self) -> usize {
        const MAP_BYTES: usize = 192;
        let texts = endpoints_bytes(&self.endpoints);
        let meta = self.meta.as_ref().map_or(0, |meta| meta.len() + ALLOCATION_BYTES);
        let instances = (self.instances.capacity() + self.departed.capacity()) * size_of::<Instance>();
        size_of::<Node>() + MAP_BYTES + self.name.len() + texts + meta + instances
    }

    /// Whether a connection may have the node ID on these terms.
    pub(super) fn admits(&self, claim: &Claim<'_>) -> Result<(), Taken> {
        self.check_instances(claim)?;
        self.check_departed(claim)
    }

    /// Whether the instances that are here let another one in.
    fn check_instances(&self, claim: &Claim<'_>) -> Result<(), Taken> {
        let mine = |instance: &Instance| instance.session == claim.instance.session;
        let mut others = self.instances.iter().filter(|instance| !mine(instance)).peekable();
        if others.peek().is_none() {
            return Ok(());
        }
        let one_user = others.all(|instance| instance.user.is_same(&claim.instance.user));
        if claim.replace {
            return if one_user { Ok(()) } else { Err(Taken::ByOthers) };
        }
        if !one_user && !claim.shared_by_any {
            return Err(Taken::ByOthers);
        }
        if self.exclusive {
            return Err(Taken::Exclusively);
        }
        if claim.exclusive == Some(true) {
            return Err(Taken::Shared);
        }
        match claim.delivery {
            Some(delivery) if delivery != self.delivery => Err(Taken::Delivery(self.delivery)),
            _ => Ok(()),
        }
    }

    /// The same, of connections that have departed.
    pub(super) fn check_departed(&self, claim: &Claim<'_>) -> Result<(), Taken> {
        let mine = |instance: &Instance| instance.user.is_same(&claim.instance.user);
        match claim.shared_by_any || self.departed.iter().all(mine) {
            true => Ok(()),
            false => Err(Taken::ByDeparted),
        }
    }
}
