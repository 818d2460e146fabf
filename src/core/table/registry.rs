//! Knows which node IDs there are, who holds them, and what is remembered of those that are gone
//! (PROTOCOL.md sections 3, 4 and 8).
//! Never: tells anybody. Each change is returned, and its caller spreads the news.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use slotmap::SlotMap;

use crate::core::SessionKey;
use crate::core::table::node::{Claim, Instance, Node, Status, Taken, endpoints_bytes};
use crate::core::table::spread::Spread;
use crate::wire::control::Delivery;

slotmap::new_key_type! {
    /// One node. The key dies with the node, so that a remembered key never means another one.
    pub(crate) struct NodeKey;
}

/// All nodes that are here or remembered.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Registry {
    nodes: SlotMap<NodeKey, Node>,
    #[cfg_attr(feature = "daemon", serde(skip))]
    by_name: Spread<NodeKey>,
    /// Names come from peers, so this is the standard library's, keyed in each process anew.
    #[cfg_attr(feature = "daemon", serde(skip))]
    hasher: RandomState,
    /// All nodes in the order of their names, for listings.
    #[cfg_attr(feature = "daemon", serde(skip))]
    in_order: BTreeMap<Arc<str>, NodeKey>,
    /// The nodes with endpoints, the oldest registration first.
    known: BTreeMap<u64, NodeKey>,
    /// Those of them that have no instances, in the same order.
    gone: BTreeMap<u64, NodeKey>,
    registrations: u64,
    here: usize,
    #[cfg_attr(feature = "daemon", serde(skip))]
    bytes: usize,
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

impl Registry {
    /// How many nodes have instances.
    pub(crate) fn here(&self) -> usize {
        self.here
    }

    /// The node of this name, here, remembered, or with its name alone.
    pub(crate) fn find(&self, name: &str) -> Option<NodeKey> {
        self.by_name.find(self.hasher.hash_one(name), |&key| *self.nodes[key].name == *name).copied()
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
            node.admits(&claim)?;
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
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        self.by_name.insert_unique(hasher.hash_one(&*name), key, |&key| hasher.hash_one(&*nodes[key].name));
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
            self.by_name.remove(self.hasher.hash_one(&*node.name), |&other| other == key);
            self.in_order.remove(&node.name);
        }
    }

    /// A connection that has departed may send from a node ID, if none of another user's may; it takes it from none.
    pub(crate) fn register_departed(&mut self, claim: Claim<'_>) -> Result<Registered, Taken> {
        let found = self.find(claim.name);
        if let Some(node) = found.and_then(|key| self.nodes.get(key)) {
            node.check_departed(&claim)?;
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

    /// Makes anew what is not carried to another process: the maps by name, and the count of bytes.
    #[cfg(feature = "daemon")]
    pub(crate) fn restored(&mut self) {
        for (key, node) in &self.nodes {
            let hash = self.hasher.hash_one(&*node.name);
            self.by_name.insert_unique(hash, key, |&key| self.hasher.hash_one(&*self.nodes[key].name));
            self.in_order.insert(node.name.clone(), key);
            self.bytes += node.footprint();
        }
    }

    /// Panics if the maps and sums do not fit the nodes.
    pub(crate) fn check(&self) {
        assert_eq!((self.by_name.len(), self.in_order.len()), (self.nodes.len(), self.nodes.len()));
        let bytes: usize = self.nodes.values().map(Node::footprint).sum();
        assert_eq!(bytes, self.bytes, "what nodes keep");
        assert_eq!(self.nodes.values().filter(|node| !node.instances.is_empty()).count(), self.here);
        for (key, node) in &self.nodes {
            assert_eq!(self.find(&node.name), Some(key));
            assert!(node.is_known() || !node.departed.is_empty(), "{} is kept for nothing", node.name);
            let is_gone = node.known.is_some_and(|at| self.gone.contains_key(&at));
            assert_eq!(is_gone, node.is_known() && node.instances.is_empty(), "{}", node.name);
        }
        assert_eq!(self.nodes.values().filter(|node| node.known.is_some()).count(), self.known.len());
    }
}

#[cfg(test)]
mod tests;
