//! Knows which node IDs there are, who holds them, and what is remembered of those that are gone
//! (PROTOCOL.md sections 3, 4 and 8).
//! Never: tells anybody. Each change is returned, and its caller spreads the news.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use slotmap::SlotMap;

use crate::core::SessionKey;
use crate::core::peer::User;
use crate::wire::control::Delivery;

slotmap::new_key_type! {
    /// One node. The key dies with the node, so that a remembered key never means another one.
    pub(crate) struct NodeKey;
}

/// All nodes that are here or remembered.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    nodes: SlotMap<NodeKey, Node>,
    /// Names come from peers, so the map is the standard library's, keyed in each process anew.
    by_name: HashMap<Arc<str>, NodeKey>,
    /// All nodes in the order of their names, for listings.
    in_order: BTreeMap<Arc<str>, NodeKey>,
    /// The nodes with endpoints, the oldest registration first.
    known: BTreeMap<u64, NodeKey>,
    /// Those of them that have no instances, in the same order.
    gone: BTreeMap<u64, NodeKey>,
    registrations: u64,
    here: usize,
    bytes: usize,
}

/// A node ID and its instances.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: Arc<str>,
    /// In the order in which they came; none if the node is gone.
    pub(crate) instances: Vec<Instance>,
    /// Connections that are no instances any more, and may still send from here.
    departed: Vec<Instance>,
    pub(crate) delivery: Delivery,
    exclusive: bool,
    /// How many messages were shared out, for taking turns.
    pub(crate) turn: usize,
    pub(crate) endpoints: Vec<Box<str>>,
    /// An object as it was sent.
    pub(crate) meta: Option<Box<str>>,
    /// Why it is gone, if it is.
    pub(crate) status: Status,
    /// Since 1970.
    pub(crate) last_seen: Duration,
    known: Option<u64>,
}

/// One connection that holds a node ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    pub(crate) session: SessionKey,
    pub(crate) number: u64,
    pub(crate) user: User,
    /// Since 1970.
    pub(crate) since: Duration,
}

/// Whether a node is here, or how it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// What a registration has changed.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) node: NodeKey,
    /// False if the connection held the node ID already.
    pub(crate) joined: bool,
    /// Those it was taken from, in the order in which they had come.
    pub(crate) ousted: Vec<Instance>,
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

impl Registry {
    /// How many nodes have instances.
    pub(crate) fn here(&self) -> usize {
        self.here
    }

    /// The node of this name, here, remembered, or with its name alone.
    pub(crate) fn find(&self, name: &str) -> Option<NodeKey> {
        self.by_name.get(name).copied()
    }

    /// The node of this name, if it is here or remembered.
    pub(crate) fn known(&self, name: &str) -> Option<&Node> {
        self.find(name).and_then(|key| self.get(key)).filter(|node| node.is_known())
    }

    /// The node of this key, if it is still the same.
    pub(crate) fn get(&self, key: NodeKey) -> Option<&Node> {
        self.nodes.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: NodeKey) -> Option<&mut Node> {
        self.nodes.get_mut(key)
    }

    /// The memory that all nodes take.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.bytes
    }

    /// How many more bytes a node would take with this claim's endpoints and meta.
    pub(crate) fn grows_by(&self, claim: &Claim<'_>) -> usize {
        let node = self.find(claim.name).and_then(|key| self.nodes.get(key));
        let Some(node) = node else { return size_of::<Node>() };
        let endpoints = claim.endpoints.as_deref().map_or(0, endpoints_bytes);
        let meta = claim.meta.as_ref().map_or(0, |meta| meta.as_ref().map_or(0, |meta| meta.len()));
        let before = claim.endpoints.as_ref().map_or(0, |_| endpoints_bytes(&node.endpoints))
            + claim.meta.as_ref().map_or(0, |_| node.meta.as_ref().map_or(0, |meta| meta.len()));
        (endpoints + meta).saturating_sub(before)
    }

    /// Registers, or says why not.
    pub(crate) fn register(&mut self, claim: Claim<'_>, known_max: usize) -> Result<Registered, Taken> {
        let key = self.find(claim.name);
        if let Some(node) = key.and_then(|key| self.nodes.get(key)) {
            check(node, &claim)?;
        }
        let key = key.unwrap_or_else(|| self.insert(claim.name));
        let node = &mut self.nodes[key];
        self.bytes -= node.footprint();
        let session = claim.instance.session;
        let joined = !node.instances.iter().any(|instance| instance.session == session);
        let was_here = !node.instances.is_empty();
        let mut ousted = Vec::new();
        if claim.replace {
            ousted = node.instances.extract_if(.., |instance| instance.session != session).collect();
        }
        match claim.delivery {
            Some(delivery) => node.delivery = delivery,
            None if !was_here => node.delivery = Delivery::All,
            None => {}
        }
        if joined {
            node.exclusive = claim.exclusive.unwrap_or(false);
            node.instances.push(claim.instance);
        } else if let Some(exclusive) = claim.exclusive {
            node.exclusive = exclusive;
        }
        node.status = Status::Up;
        self.here += usize::from(!was_here);
        if let Some(at) = node.known {
            self.gone.remove(&at);
        }
        if let Some(meta) = claim.meta {
            node.meta = meta;
        }
        let remembers = claim.endpoints.is_some();
        if let Some(endpoints) = claim.endpoints {
            node.endpoints = endpoints;
        }
        self.bytes += node.footprint();
        if remembers {
            self.remember(key, known_max);
        }
        Ok(Registered { node: key, joined, ousted })
    }

    fn insert(&mut self, name: &str) -> NodeKey {
        let name: Arc<str> = Arc::from(name);
        let key = self.nodes.insert(Node {
            name: name.clone(),
            instances: Vec::new(),
            delivery: Delivery::All,
            departed: Vec::new(),
            exclusive: false,
            turn: 0,
            endpoints: Vec::new(),
            meta: None,
            status: Status::Down,
            last_seen: Duration::ZERO,
            known: None,
        });
        self.bytes += self.nodes[key].footprint();
        self.by_name.insert(name.clone(), key);
        self.in_order.insert(name, key);
        key
    }

    /// Keeps a node with endpoints in mind beyond its instances, the youngest `most` of them.
    fn remember(&mut self, key: NodeKey, most: usize) {
        let node = &mut self.nodes[key];
        if let Some(old) = node.known.take() {
            self.known.remove(&old);
            self.gone.remove(&old);
        }
        if node.endpoints.is_empty() {
            return;
        }
        self.registrations += 1;
        node.known = Some(self.registrations);
        self.known.insert(self.registrations, key);
        while self.known.len() > most {
            let Some((at, oldest)) = self.known.pop_first() else { return };
            self.nodes[oldest].known = None;
            if self.gone.remove(&at).is_some() {
                self.forget(oldest);
            }
        }
    }

    /// Forgets nodes that are gone, the oldest registration first, until so many bytes are free. Says how many
    /// nodes it looked at.
    pub(crate) fn forget_gone(&mut self, bytes: usize) -> usize {
        let enough = self.bytes.saturating_sub(bytes);
        let mut looked_at = 0;
        while self.bytes > enough
            && let Some((at, oldest)) = self.gone.pop_first()
        {
            looked_at += 1;
            self.known.remove(&at);
            self.forget(oldest);
        }
        looked_at
    }

    /// Forgets a node, but for its name if that may still be sent from.
    fn forget(&mut self, key: NodeKey) {
        let node = &mut self.nodes[key];
        self.bytes -= node.footprint();
        if !node.departed.is_empty() {
            (node.endpoints, node.meta, node.known) = (Vec::new(), None, None);
            self.bytes += node.footprint();
        } else if let Some(node) = self.nodes.remove(key) {
            self.by_name.remove(&node.name);
            self.in_order.remove(&node.name);
        }
    }

    /// A connection that has departed may send from a node ID, if none of another user's may; it takes it from none.
    pub(crate) fn register_departed(&mut self, claim: Claim<'_>) -> Result<Registered, Taken> {
        let found = self.find(claim.name);
        if let Some(node) = found.and_then(|key| self.nodes.get(key)) {
            check_departed(node, &claim)?;
            let mine = |instance: &Instance| instance.user.is_same(&claim.instance.user);
            if !claim.shared_by_any && !node.instances.iter().all(mine) {
                return Err(Taken::ByOthers);
            }
        }
        let key = found.unwrap_or_else(|| self.insert(claim.name));
        let joined = !self.nodes[key].has_departed(claim.instance.session);
        if joined {
            self.keep_departed(key, claim.instance);
        }
        Ok(Registered { node: key, joined, ousted: Vec::new() })
    }

    /// A connection is no instance of a node any more, and may still send from it.
    pub(crate) fn depart(&mut self, key: NodeKey, session: SessionKey, now: Duration) {
        let instances = self.nodes.get(key).into_iter().flat_map(|node| &node.instances);
        if let Some(instance) = instances.into_iter().find(|instance| instance.session == session).cloned() {
            self.keep_departed(key, instance);
            self.unregister(key, session, Status::Lost, now);
        }
    }

    fn keep_departed(&mut self, key: NodeKey, instance: Instance) {
        let node = &mut self.nodes[key];
        self.bytes -= node.footprint();
        node.departed.push(instance);
        self.bytes += node.footprint();
    }

    /// A connection that has departed sends nothing more from a node ID; false if it could not.
    pub(crate) fn release(&mut self, key: NodeKey, session: SessionKey) -> bool {
        let Some(node) = self.nodes.get_mut(key).filter(|node| node.has_departed(session)) else {
            return false;
        };
        self.bytes -= node.footprint();
        node.departed.retain(|instance| instance.session != session);
        if node.departed.is_empty() {
            node.departed = Vec::new();
        }
        self.bytes += node.footprint();
        if !node.is_known() {
            self.forget(key);
        }
        true
    }

    /// Takes a node ID from a connection; false if it does not hold it. `status` is what
    /// becomes of a node that this was the last instance of.
    pub(crate) fn unregister(
        &mut self,
        key: NodeKey,
        session: SessionKey,
        status: Status,
        now: Duration,
    ) -> bool {
        let Some(node) = self.nodes.get_mut(key) else { return false };
        let Some(at) = node.instances.iter().position(|instance| instance.session == session) else {
            return false;
        };
        self.bytes -= node.footprint();
        node.instances.remove(at);
        if node.instances.is_empty() {
            // One that is remembered has no use for them.
            node.instances = Vec::new();
        }
        self.bytes += node.footprint();
        if node.instances.is_empty() {
            node.status = status;
            node.last_seen = now;
            node.exclusive = false;
            self.here -= 1;
            match node.known {
                Some(at) => drop(self.gone.insert(at, key)),
                None => self.forget(key),
            }
        }
        true
    }

    /// The nodes behind `after` in the order of their names, from `prefix` on.
    pub(crate) fn nodes_after<'a>(
        &'a self,
        after: Option<&str>,
        prefix: &'a str,
    ) -> impl Iterator<Item = (NodeKey, &'a Node)> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.in_order
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(move |(name, _)| name.starts_with(prefix))
            .map(|(_, &key)| (key, &self.nodes[key]))
    }

    /// Every node, in no order that means anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeKey, &Node)> {
        self.nodes.iter()
    }

    /// Panics if the maps and sums do not fit the nodes.
    pub(crate) fn check(&self) {
        assert_eq!((self.by_name.len(), self.in_order.len()), (self.nodes.len(), self.nodes.len()));
        let bytes: usize = self.nodes.values().map(Node::footprint).sum();
        assert_eq!(bytes, self.bytes, "what nodes keep");
        assert_eq!(self.nodes.values().filter(|node| !node.instances.is_empty()).count(), self.here);
        for (key, node) in &self.nodes {
            assert_eq!(self.by_name.get(&node.name), Some(&key));
            assert!(node.is_known() || !node.departed.is_empty(), "{} is kept for nothing", node.name);
            let is_gone = node.known.is_some_and(|at| self.gone.contains_key(&at));
            assert_eq!(is_gone, node.is_known() && node.instances.is_empty(), "{}", node.name);
        }
        assert_eq!(self.nodes.values().filter(|node| node.known.is_some()).count(), self.known.len());
    }
}

/// What an allocation takes beyond what is in it, about.
const ALLOCATION_BYTES: usize = 16;

fn endpoints_bytes(endpoints: &[Box<str>]) -> usize {
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
    fn footprint(&self) -> usize {
        const MAP_BYTES: usize = 192;
        let texts = endpoints_bytes(&self.endpoints);
        let meta = self.meta.as_ref().map_or(0, |meta| meta.len() + ALLOCATION_BYTES);
        let instances = (self.instances.capacity() + self.departed.capacity()) * size_of::<Instance>();
        size_of::<Node>() + MAP_BYTES + self.name.len() + texts + meta + instances
    }
}

fn check(node: &Node, claim: &Claim<'_>) -> Result<(), Taken> {
    check_instances(node, claim)?;
    check_departed(node, claim)
}

fn check_instances(node: &Node, claim: &Claim<'_>) -> Result<(), Taken> {
    let mine = |instance: &Instance| instance.session == claim.instance.session;
    let mut others = node.instances.iter().filter(|instance| !mine(instance)).peekable();
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
    if node.exclusive {
        return Err(Taken::Exclusively);
    }
    if claim.exclusive == Some(true) {
        return Err(Taken::Shared);
    }
    match claim.delivery {
        Some(delivery) if delivery != node.delivery => Err(Taken::Delivery(node.delivery)),
        _ => Ok(()),
    }
}

fn check_departed(node: &Node, claim: &Claim<'_>) -> Result<(), Taken> {
    let mine = |instance: &Instance| instance.user.is_same(&claim.instance.user);
    match claim.shared_by_any || node.departed.iter().all(mine) {
        true => Ok(()),
        false => Err(Taken::ByDeparted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions() -> [SessionKey; 3] {
        let mut sessions: SlotMap<SessionKey, ()> = SlotMap::with_key();
        std::array::from_fn(|_| sessions.insert(()))
    }

    fn claim(name: &str, session: SessionKey, uid: u32) -> Claim<'_> {
        let instance = Instance { session, number: 0, user: User::Uid(uid), since: Duration::ZERO };
        Claim {
            name,
            instance,
            delivery: None,
            exclusive: None,
            replace: false,
            shared_by_any: false,
            endpoints: None,
            meta: None,
        }
    }

    #[test]
    fn one_user_per_node_unless_any_may_share() {
        let [a, b, c] = sessions();
        let mut registry = Registry::default();
        assert!(registry.register(claim("n", a, 1), 9).is_ok_and(|done| done.joined));
        assert!(registry.register(claim("n", a, 1), 9).is_ok_and(|done| !done.joined));
        assert!(registry.register(claim("n", b, 1), 9).is_ok());
        assert_eq!(registry.register(claim("n", c, 2), 9).err(), Some(Taken::ByOthers));
        assert!(registry.register(Claim { shared_by_any: true, ..claim("n", c, 2) }, 9).is_ok());
        let replace = Claim { replace: true, shared_by_any: true, ..claim("n", a, 1) };
        assert_eq!(registry.register(replace, 9).err(), Some(Taken::ByOthers));
    }

    #[test]
    fn a_departed_connection_keeps_the_name_from_other_users() {
        let [a, b, c] = sessions();
        let mut registry = Registry::default();
        let now = Duration::ZERO;
        let with_endpoints = Claim { endpoints: Some(vec!["unix:/x".into()]), ..claim("n", a, 1) };
        let node = registry.register(with_endpoints, 9).expect("new").node;
        registry.depart(node, a, now);
        registry.check();
        assert_eq!(registry.register(claim("n", c, 2), 9).err(), Some(Taken::ByDeparted));
        assert!(registry.register(Claim { shared_by_any: true, ..claim("n", c, 2) }, 9).is_ok());
        assert!(registry.unregister(node, c, Status::Lost, now));
        // What is remembered of it may be forgotten meanwhile; the key of the node stays.
        registry.forget_gone(usize::MAX);
        registry.check();
        assert_eq!(registry.find("n"), Some(node));
        assert!(registry.get(node).is_some_and(|node| !node.is_known() && node.endpoints.is_empty()));
        let alone = Claim { exclusive: Some(true), ..claim("n", b, 1) };
        assert!(registry.register(alone, 9).is_ok(), "its own user's");
        let late =
            registry.register_departed(Claim { replace: true, ..claim("n", a, 1) }).expect("the same user's");
        assert!(!late.joined && late.ousted.is_empty());
        assert_eq!(registry.register_departed(claim("n", c, 2)).err(), Some(Taken::ByDeparted));
        assert!(registry.release(node, a) && !registry.release(node, a));
        assert_eq!(registry.register_departed(claim("n", c, 2)).err(), Some(Taken::ByOthers));
        registry.unregister(node, b, Status::Lost, now);
        registry.check();
        assert_eq!((registry.find("n"), registry.kept_bytes()), (None, 0));
        let late = registry.register_departed(claim("late", a, 1)).expect("new").node;
        registry.check();
        assert!(registry.release(late, a) && registry.find("late").is_none());
    }

    #[test]
    fn delivery_and_exclusive() {
        let [a, b, _] = sessions();
        let mut registry = Registry::default();
        let one = |session| Claim { delivery: Some(Delivery::One), ..claim("n", session, 1) };
        let all = |session| Claim { delivery: Some(Delivery::All), ..claim("n", session, 1) };
        let alone = |session| Claim { exclusive: Some(true), ..claim("n", session, 1) };
        let node = registry.register(claim("n", a, 1), 9).expect("new").node;
        assert!(registry.register(one(a), 9).is_ok(), "an only instance may change it");
        assert_eq!(registry.register(all(b), 9).err(), Some(Taken::Delivery(Delivery::One)));
        assert!(registry.register(claim("n", b, 1), 9).is_ok(), "who names none takes the node's");
        assert_eq!(registry.register(all(a), 9).err(), Some(Taken::Delivery(Delivery::One)));
        assert_eq!(registry.register(alone(a), 9).err(), Some(Taken::Shared));
        registry.unregister(node, b, Status::Down, Duration::ZERO);
        assert!(registry.register(alone(a), 9).is_ok());
        assert_eq!(registry.register(one(b), 9).err(), Some(Taken::Exclusively));
        let taken = registry.register(Claim { replace: true, ..claim("n", b, 1) }, 9).expect("taken over");
        assert_eq!(taken.ousted.iter().map(|instance| instance.session).collect::<Vec<_>>(), [a]);
        assert!(registry.register(claim("n", a, 1), 9).is_ok(), "the new one did not ask to be alone");
        registry.unregister(node, a, Status::Down, Duration::ZERO);
        registry.unregister(node, b, Status::Down, Duration::ZERO);
        assert_eq!((registry.find("n"), registry.kept_bytes()), (None, 0));
        let node = registry.register(claim("n", a, 1), 9).expect("new").node;
        assert_eq!(registry.get(node).map(|node| node.delivery), Some(Delivery::All));
    }

    #[test]
    fn the_youngest_with_endpoints_are_remembered() {
        let [a, ..] = sessions();
        let mut registry = Registry::default();
        for name in ["x", "y", "z", "plain"] {
            let endpoints = (name != "plain").then(|| vec!["unix:/x".into()]);
            let node = registry.register(Claim { endpoints, ..claim(name, a, 1) }, 2).expect("new").node;
            assert!(registry.unregister(node, a, Status::Lost, Duration::from_secs(5)));
            assert!(!registry.unregister(node, a, Status::Lost, Duration::ZERO));
        }
        let names: Vec<_> = registry.nodes_after(None, "").map(|(_, node)| &*node.name).collect();
        assert_eq!(names, ["y", "z"]);
        assert_eq!(registry.here(), 0);
        let y = registry.find("y").and_then(|key| registry.get(key)).expect("remembered");
        assert_eq!((y.status, y.last_seen), (Status::Lost, Duration::from_secs(5)));
    }

    #[test]
    fn in_order() {
        let [a, ..] = sessions();
        let mut registry = Registry::default();
        for name in ["b.2", "a", "b.1", "c"] {
            registry.register(claim(name, a, 1), 9).expect("new");
        }
        let names = |after, prefix| {
            registry.nodes_after(after, prefix).map(|(_, node)| &*node.name).collect::<Vec<_>>()
        };
        assert_eq!(names(None, ""), ["a", "b.1", "b.2", "c"]);
        assert_eq!(names(Some("b.1"), ""), ["b.2", "c"]);
        assert_eq!(names(Some("a"), "b."), ["b.1", "b.2"]);
        assert_eq!(names(Some("b.1"), "b."), ["b.2"]);
        assert_eq!(names(Some("c"), "b."), [""; 0]);
    }
}
