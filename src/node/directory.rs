//! Knows which nodes there are, and which ports are in which groups.
//! Never: who wants to know.

use std::collections::{BTreeMap, BTreeSet};

use crate::node::said::node_of;

/// How many nodes that are gone are remembered.
const GONE_MAX: usize = 10_000;

/// A word about a member of a group that came while the others were asked may be younger than their answers.
type Left = BTreeSet<(String, String)>;

pub(super) struct Directory {
    /// The node whose directory this is.
    own: String,
    /// Whether its connection is lost, so that no other node is there for it.
    is_away: bool,
    /// How often that was so.
    losses: u64,
    /// The instances of each node; none, if it is gone.
    nodes: BTreeMap<String, BTreeSet<String>>,
    gone: usize,
    groups: BTreeMap<String, BTreeSet<String>>,
    left: Option<Left>,
}

impl Directory {
    pub(super) fn new(own: &str) -> Directory {
        Directory {
            own: own.to_owned(),
            is_away: false,
            losses: 0,
            nodes: BTreeMap::new(),
            gone: 0,
            groups: BTreeMap::new(),
            left: None,
        }
    }

    /// The connection is lost. Gives the other nodes, which are not there any more.
    pub(super) fn away(&mut self) -> Vec<String> {
        let gone = self.others();
        self.is_away = true;
        self.losses += 1;
        gone
    }

    /// How often the connection was lost.
    pub(super) fn losses(&self) -> u64 {
        self.losses
    }

    /// The connection stands again, if it was not lost more often. Gives the other nodes, which are there again.
    pub(super) fn back(&mut self, losses: u64) -> Vec<String> {
        if !self.is_away || self.losses != losses {
            return Vec::new();
        }
        self.is_away = false;
        self.others()
    }

    /// The other nodes that are there.
    pub(super) fn others(&self) -> Vec<String> {
        self.up().into_iter().filter(|node| *node != self.own).collect()
    }

    /// Whether it is news that the node is there.
    pub(super) fn node_up(&mut self, node: &str, instance: &str) -> bool {
        let is_known = self.nodes.contains_key(node);
        let instances = self.nodes.entry(node.to_owned()).or_default();
        let is_new = instances.is_empty();
        instances.insert(instance.to_owned());
        self.gone -= usize::from(is_known && is_new);
        is_new && !self.is_away
    }

    /// Whether it is news that the node is not there any more.
    pub(super) fn node_down(&mut self, node: &str, instance: &str) -> bool {
        let Some(instances) = self.nodes.get_mut(node) else { return false };
        if !instances.remove(instance) || !instances.is_empty() {
            return false;
        }
        if self.gone < GONE_MAX {
            self.gone += 1;
        } else {
            self.nodes.remove(node);
        }
        !self.is_away
    }

    /// The nodes that are or were there.
    pub(super) fn known(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    pub(super) fn up(&self) -> Vec<String> {
        self.nodes.keys().filter(|node| self.is_up(node)).cloned().collect()
    }

    pub(super) fn is_up(&self, node: &str) -> bool {
        let is_there = self.nodes.get(node).is_some_and(|instances| !instances.is_empty());
        is_there && (!self.is_away || node == self.own)
    }

    pub(super) fn members(&self, group: &str) -> Vec<String> {
        self.groups.get(group).into_iter().flatten().cloned().collect()
    }

    /// The groups of the ports of `node`, with these.
    pub(super) fn groups_of(&self, node: &str) -> BTreeMap<String, Vec<String>> {
        let own = |members: &BTreeSet<String>| -> Vec<String> {
            members.iter().filter(|port| node_of(port) == node).cloned().collect()
        };
        let groups = self.groups.iter().map(|(group, members)| (group.clone(), own(members)));
        groups.filter(|(_, members)| !members.is_empty()).collect()
    }

    /// Whether it was no member before.
    pub(super) fn join(&mut self, group: &str, port: &str) -> bool {
        self.groups.entry(group.to_owned()).or_default().insert(port.to_owned())
    }

    /// Whether it was a member.
    pub(super) fn leave(&mut self, group: &str, port: &str) -> bool {
        if let Some(left) = &mut self.left {
            left.insert((group.to_owned(), port.to_owned()));
        }
        let Some(members) = self.groups.get_mut(group) else { return false };
        let was_member = members.remove(port);
        if members.is_empty() {
            self.groups.remove(group);
        }
        was_member
    }

    /// The groups that these are in.
    pub(super) fn memberships(&self, is_meant: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let of = |(group, members): (&String, &BTreeSet<String>)| -> Vec<(String, String)> {
            let meant = members.iter().filter(|port| is_meant(port));
            meant.map(|port| (group.clone(), port.clone())).collect()
        };
        self.groups.iter().flat_map(of).collect()
    }

    /// The other nodes are asked for their members.
    pub(super) fn ask(&mut self) {
        self.left = Some(Left::new());
    }

    /// All answers are there.
    pub(super) fn asked(&mut self) {
        self.left = None;
    }

    /// Whether it left after the others were asked.
    pub(super) fn has_left(&self, group: &str, port: &str) -> bool {
        self.left.as_ref().is_some_and(|left| left.contains(&(group.to_owned(), port.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_there_while_an_instance_is() {
        let mut directory = Directory::new("own");
        assert!(directory.node_up("a", ":1"));
        assert!(!directory.node_up("a", ":2"));
        assert!(!directory.node_up("a", ":2"), "told once more");
        assert!(!directory.node_down("a", ":1"));
        assert!(directory.is_up("a"));
        assert!(directory.node_down("a", ":2"));
        assert!(!directory.node_down("a", ":2") && !directory.is_up("a"));
        assert_eq!((directory.known(), directory.up()), (vec!["a".to_owned()], vec![]));
        assert!(directory.node_up("a", ":3"));
    }

    #[test]
    fn without_a_connection_no_other_node_is_there() {
        let mut directory = Directory::new("own");
        for node in ["own", "a", "b"] {
            directory.node_up(node, ":1");
        }
        assert_eq!(directory.away(), ["a", "b"]);
        assert_eq!((directory.up(), directory.is_up("a")), (vec!["own".to_owned()], false));
        // What has changed meanwhile is told with all else.
        assert!(!directory.node_down("a", ":1") && !directory.node_up("c", ":2"));
        assert!(directory.away().is_empty(), "lost once more before it stood");
        assert!(directory.back(1).is_empty(), "of the time before");
        assert_eq!(directory.back(2), ["b", "c"]);
        assert!(directory.back(2).is_empty());
        assert!(directory.node_down("b", ":1") && directory.is_up("c"));
    }

    #[test]
    fn nodes_that_are_gone_are_forgotten_when_there_are_too_many() {
        let mut directory = Directory::new("own");
        for number in 0..GONE_MAX + 5 {
            directory.node_up(&number.to_string(), ":1");
            directory.node_down(&number.to_string(), ":1");
        }
        assert_eq!(directory.known().len(), GONE_MAX);
    }

    #[test]
    fn an_answer_that_is_older_than_a_leave_brings_nothing_back() {
        let mut directory = Directory::new("own");
        directory.ask();
        assert!(!directory.leave("g", "a#1"));
        assert!(directory.has_left("g", "a#1") && !directory.has_left("g", "a#2"));
        directory.asked();
        assert!(!directory.has_left("g", "a#1"));
        assert!(directory.join("g", "a#2") && !directory.join("g", "a#2"));
        assert_eq!(directory.members("g"), ["a#2"]);
        assert_eq!(directory.memberships(|port| port == "a#2"), [("g".to_owned(), "a#2".to_owned())]);
        assert!(directory.groups_of("b").is_empty());
        assert!(directory.leave("g", "a#2") && directory.members("g").is_empty());
    }
}
