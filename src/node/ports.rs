//! Knows the ports of one node: their handlers, what watches them, what they watch, and what comes of it all.
//! Never: sockets, clocks, threads, or what a handler does.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use serde_json::Value;

use crate::node::down::Down;
use crate::node::said::{Event, name_of, node_of};

/// How many ports that died while they were made are remembered, with what they died of: a monitor of such a
/// port comes after its end as a rule.
const FAILED_MAX: usize = 1000;

/// What comes of the death of a watched port.
pub(super) enum Action<C> {
    /// The callback is told.
    Call(C),
    /// This port dies of the same reason, if there is any.
    Kill(String),
    /// This port is sent the message, with the reason's parts appended.
    Send(String, Vec<Value>),
}

/// What is to be done.
pub(super) enum Order<H, C> {
    /// Hand the message to the handler of the port of that name.
    Run { name: String, handler: H, message: Vec<Value> },
    /// Tell the callback.
    Call { callback: C, down: Down },
    /// Send a message to a port of another node.
    Send { to: String, message: Vec<Value> },
    /// Tell another node.
    Tell { node: String, event: Event },
    /// Monitor a port of another node, or the node itself.
    Ask { target: String, ask: u64 },
    /// Monitor it no more.
    Unask { target: String },
    /// A port is dead.
    Ended { port: String },
}

struct Port<H> {
    tags: HashMap<String, H>,
    default: Option<H>,
    /// A handler has failed: its death is on its way, behind what it has sent.
    is_deaf: bool,
    /// The watches of it in this node.
    watches: BTreeSet<u64>,
    /// The nodes that monitor it.
    watchers: BTreeSet<String>,
    /// The watches of others that act on it: they end with it.
    own: BTreeSet<u64>,
}

struct Watch<C> {
    target: String,
    action: Action<C>,
    /// Whether something was heard of the target since the last beat.
    is_heard: bool,
}

/// A port of another node, or another node, that is watched.
struct Target {
    watches: BTreeSet<u64>,
    ask: u64,
}

/// `H` is a handler, `C` a callback.
pub(super) struct Ports<H, C> {
    node: String,
    ports: HashMap<String, Port<H>>,
    watches: HashMap<u64, Watch<C>>,
    targets: BTreeMap<String, Target>,
    /// Which nodes monitor which ports.
    watchers: BTreeSet<(String, String)>,
    failed: VecDeque<(String, Vec<Value>)>,
    asks: u64,
    dying: VecDeque<(String, Vec<Value>)>,
    orders: VecDeque<Order<H, C>>,
}

impl<H: Clone, C> Ports<H, C> {
    pub(super) fn new(node: &str) -> Ports<H, C> {
        Ports {
            node: node.to_owned(),
            ports: HashMap::new(),
            watches: HashMap::new(),
            targets: BTreeMap::new(),
            watchers: BTreeSet::new(),
            failed: VecDeque::new(),
            asks: 0,
            dying: VecDeque::new(),
            orders: VecDeque::new(),
        }
    }

    /// What is to be done next.
    pub(super) fn order(&mut self) -> Option<Order<H, C>> {
        self.orders.pop_front()
    }

    /// The name of a port of this node, if `id` is one's.
    pub(super) fn own_name<'a>(&self, id: &'a str) -> Option<&'a str> {
        name_of(id).filter(|_| node_of(id) == self.node)
    }

    pub(super) fn is_alive(&self, name: &str) -> bool {
        self.ports.get(name).is_some_and(|port| !port.is_deaf)
    }

    /// Makes a port; false if there is one of that name.
    pub(super) fn create(&mut self, name: &str) -> bool {
        if self.ports.contains_key(name) {
            return false;
        }
        let port = Port {
            tags: HashMap::new(),
            default: None,
            is_deaf: false,
            watches: BTreeSet::new(),
            watchers: BTreeSet::new(),
            own: BTreeSet::new(),
        };
        self.ports.insert(name.to_owned(), port);
        true
    }

    /// Sets what takes the messages that begin with `tag`, or, without one, all others; nothing, without a
    /// handler.
    pub(super) fn receive(&mut self, name: &str, tag: Option<String>, handler: Option<H>) {
        let Some(port) = self.ports.get_mut(name) else { return };
        match (tag, handler) {
            (Some(tag), Some(handler)) => drop(port.tags.insert(tag, handler)),
            (Some(tag), None) => drop(port.tags.remove(&tag)),
            (None, handler) => port.default = handler,
        }
    }

    /// Sends a message to a port of any node. One for a port that is dead is dropped.
    pub(super) fn send(&mut self, to: &str, message: Vec<Value>) {
        match self.own_name(to) {
            Some(name) => self.deliver(name, message),
            None => self.orders.push_back(Order::Send { to: to.to_owned(), message }),
        }
        self.settle();
    }

    fn deliver(&mut self, name: &str, mut message: Vec<Value>) {
        let Some(port) = self.ports.get(name).filter(|port| !port.is_deaf) else { return };
        let tagged = message.first().and_then(Value::as_str).and_then(|tag| port.tags.get(tag)).cloned();
        let handler = match (tagged, &port.default) {
            (Some(handler), _) => {
                message.remove(0);
                handler
            }
            (None, Some(handler)) => handler.clone(),
            (None, None) if port.tags.is_empty() => {
                let text = "received a message on a port without a handler";
                return self.dying.push_back((name.to_owned(), vec!["die".into(), text.into()]));
            }
            (None, None) => return,
        };
        self.orders.push_back(Order::Run { name: name.to_owned(), handler, message });
    }

    /// A handler of the port has failed: it takes no more messages, and is to be killed when what it has sent
    /// is handed over.
    pub(super) fn deafen(&mut self, name: &str) {
        if let Some(port) = self.ports.get_mut(name) {
            port.is_deaf = true;
        }
    }

    /// Kills a port of any node. An empty reason is none: linked ports live.
    pub(super) fn kill(&mut self, id: &str, reason: Vec<Value>) {
        match self.own_name(id) {
            Some(name) => self.dying.push_back((name.to_owned(), reason)),
            None => {
                let event = Event::Kill { port: id.to_owned(), reason };
                self.orders.push_back(Order::Tell { node: node_of(id).to_owned(), event });
            }
        }
        self.settle();
    }

    /// Kills a port that could not be made, and remembers why.
    pub(super) fn fail(&mut self, name: &str, reason: Vec<Value>) {
        if self.failed.len() == FAILED_MAX {
            self.failed.pop_front();
        }
        self.failed.push_back((name.to_owned(), reason.clone()));
        self.dying.push_back((name.to_owned(), reason));
        self.settle();
    }

    /// Watches a port of any node, or another node, once. `number` is the caller's, and never the same.
    pub(super) fn watch(&mut self, number: u64, target: &str, action: Action<C>) {
        if let Action::Kill(port) | Action::Send(port, _) = &action
            && let Some(name) = self.own_name(port)
        {
            // What would act on a dead port acts on nothing.
            let Some(port) = self.ports.get_mut(name) else { return };
            port.own.insert(number);
        }
        self.watches.insert(number, Watch { target: target.to_owned(), action, is_heard: true });
        match self.own_name(target) {
            Some(name) => match self.ports.get_mut(name) {
                Some(port) => drop(port.watches.insert(number)),
                None => self.fire(number, &self.missing(name)),
            },
            None => self.watch_target(number, target),
        }
        self.settle();
    }

    fn watch_target(&mut self, number: u64, target: &str) {
        if let Some(known) = self.targets.get_mut(target) {
            known.watches.insert(number);
            return;
        }
        self.asks += 1;
        let watched = Target { watches: BTreeSet::from([number]), ask: self.asks };
        self.targets.insert(target.to_owned(), watched);
        // This node itself is there as long as it can be asked.
        if target != self.node {
            self.orders.push_back(Order::Ask { target: target.to_owned(), ask: self.asks });
        }
    }

    /// How a port ended that is not there.
    fn missing(&self, name: &str) -> Down {
        match self.failed.iter().find(|(failed, _)| failed == name) {
            Some((_, reason)) => Down::Killed(reason.clone()),
            None => Down::NoSuchPort { port: format!("{}#{name}", self.node) },
        }
    }

    /// Ends a watch without a word.
    pub(super) fn unwatch(&mut self, number: u64) {
        if let Some(watch) = self.forget(number) {
            self.leave_target(number, &watch.target);
        }
    }

    /// The last watch of a port of another node ends what was asked for.
    fn leave_target(&mut self, number: u64, target: &str) {
        let Some(watched) = self.targets.get_mut(target) else { return };
        watched.watches.remove(&number);
        if watched.watches.is_empty() {
            self.targets.remove(target);
            self.orders.push_back(Order::Unask { target: target.to_owned() });
        }
    }

    /// Takes a watch off the books of the ports of this node.
    fn forget(&mut self, number: u64) -> Option<Watch<C>> {
        let watch = self.watches.remove(&number)?;
        if let Some(port) = self.own_name(&watch.target).and_then(|name| self.ports.get_mut(name)) {
            port.watches.remove(&number);
        }
        if let Action::Kill(port) | Action::Send(port, _) = &watch.action
            && let Some(port) = self.own_name(port).and_then(|name| self.ports.get_mut(name))
        {
            port.own.remove(&number);
        }
        Some(watch)
    }

    /// What [`Order::Ask`] asked for has been answered.
    pub(super) fn asked(&mut self, target: &str, ask: u64, answer: Result<(), Down>) {
        if let Err(down) = answer
            && self.targets.get(target).is_some_and(|target| target.ask == ask)
        {
            self.target_down(target, &down);
        }
    }

    /// A port of another node is dead, or messages to it were lost.
    pub(super) fn target_down(&mut self, target: &str, down: &Down) {
        let watches = self.targets.remove(target).map(|target| target.watches);
        watches.into_iter().flatten().for_each(|number| self.fire(number, down));
        self.settle();
    }

    /// Whether messages to this port of another node must not be lost unseen.
    pub(super) fn is_watched(&self, target: &str) -> bool {
        self.targets.contains_key(target)
    }

    /// Another node is not there any more.
    pub(super) fn node_down(&mut self, node: &str, why: &str) {
        let down = Down::NodeLost { node: node.to_owned(), why: why.to_owned() };
        let ports = format!("{node}#");
        let of_node = self.targets.range(ports.clone()..).map(|(target, _)| target);
        let mut lost: Vec<String> =
            of_node.take_while(|target| target.starts_with(&ports)).cloned().collect();
        lost.push(node.to_owned());
        lost.iter().for_each(|target| self.target_down(target, &down));
        let of_node = self.watchers.range((node.to_owned(), String::new())..);
        let gone: Vec<_> = of_node.take_while(|(watcher, _)| watcher == node).cloned().collect();
        gone.iter().for_each(|(node, name)| self.unmonitored(name, node));
    }

    /// Messages from all other nodes may have been lost. `is_unseen` if those do not know.
    pub(super) fn interrupted(&mut self, why: &str, is_unseen: bool) {
        let targets: Vec<String> =
            self.targets.keys().filter(|target| **target != self.node).cloned().collect();
        for target in targets {
            let down = Down::NodeLost { node: node_of(&target).to_owned(), why: why.to_owned() };
            self.target_down(&target, &down);
        }
        for (node, name) in std::mem::take(&mut self.watchers) {
            if let Some(port) = self.ports.get_mut(&name) {
                port.watchers.remove(&node);
            }
            if is_unseen {
                let down = Down::NodeLost { node: self.node.clone(), why: why.to_owned() };
                self.tell_down(&node, &name, down.reason());
            }
        }
    }

    /// Another node monitors a port of this one; false if there is no such port.
    pub(super) fn monitored(&mut self, name: &str, node: &str) -> bool {
        if let Some(port) = self.ports.get_mut(name) {
            port.watchers.insert(node.to_owned());
            self.watchers.insert((node.to_owned(), name.to_owned()));
            return true;
        }
        match self.missing(name) {
            Down::Killed(reason) => {
                self.tell_down(node, name, reason);
                true
            }
            _ => false,
        }
    }

    /// Another node monitors it no more.
    pub(super) fn unmonitored(&mut self, name: &str, node: &str) {
        self.watchers.remove(&(node.to_owned(), name.to_owned()));
        if let Some(port) = self.ports.get_mut(name) {
            port.watchers.remove(node);
        }
    }

    /// Something was heard of a port of another node.
    pub(super) fn heard(&mut self, target: &str) {
        for number in self.targets.get(target).iter().flat_map(|target| &target.watches) {
            if let Some(watch) = self.watches.get_mut(number) {
                watch.is_heard = true;
            }
        }
    }

    /// It is time for a beat: asks whether the port or node is there, or finds it lost, if the last question was
    /// not answered. False if the watch is over, or there is nothing to find out: this node is there.
    pub(super) fn beat(&mut self, number: u64) -> bool {
        let Some(watch) = self.watches.get_mut(&number) else { return false };
        let target = watch.target.clone();
        let node = node_of(&target).to_owned();
        if node == self.node {
            return false;
        }
        if std::mem::take(&mut watch.is_heard) {
            self.orders.push_back(Order::Tell { node, event: Event::Beat { port: target } });
            return true;
        }
        let why = "it gives no sign of life".to_owned();
        self.leave_target(number, &target);
        self.fire(number, &Down::NodeLost { node, why });
        self.settle();
        false
    }

    fn tell_down(&mut self, node: &str, name: &str, reason: Vec<Value>) {
        let event = Event::Down { port: format!("{}#{name}", self.node), reason };
        self.orders.push_back(Order::Tell { node: node.to_owned(), event });
    }

    fn fire(&mut self, number: u64, down: &Down) {
        let Some(watch) = self.forget(number) else { return };
        match watch.action {
            Action::Call(callback) => {
                self.orders.push_back(Order::Call { callback, down: down.clone() });
            }
            Action::Kill(port) => {
                let reason = down.reason();
                match self.own_name(&port) {
                    _ if reason.is_empty() => {}
                    Some(name) => self.dying.push_back((name.to_owned(), reason)),
                    None => {
                        let node = node_of(&port).to_owned();
                        self.orders.push_back(Order::Tell { node, event: Event::Kill { port, reason } });
                    }
                }
            }
            Action::Send(to, mut message) => {
                message.extend(down.reason());
                match self.own_name(&to) {
                    Some(name) => self.deliver(name, message),
                    None => self.orders.push_back(Order::Send { to, message }),
                }
            }
        }
    }

    /// Ends the ports that are to die, and those that die of that.
    fn settle(&mut self) {
        while let Some((name, reason)) = self.dying.pop_front() {
            let Some(port) = self.ports.remove(&name) else { continue };
            self.orders.push_back(Order::Ended { port: format!("{}#{name}", self.node) });
            port.own.into_iter().for_each(|number| self.unwatch(number));
            for node in port.watchers {
                self.watchers.remove(&(node.clone(), name.clone()));
                self.tell_down(&node, &name, reason.clone());
            }
            let down = Down::Killed(reason);
            port.watches.into_iter().for_each(|number| self.fire(number, &down));
        }
    }
}

#[cfg(test)]
mod tests;
