//! Knows what a node's thread holds, and does what comes of facts.
//! Never: where a fact comes from.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Arrival, Change, Error, Message, Presence, Stream, Ticket};
use crate::node::base::{Callback, Fact, GroupChange, Handler, Node, OnGroup, OnNode, Port};
use crate::node::down::Down;
use crate::node::ports::{Order, Ports};
use crate::node::said::{Event, name_of, node_of};
use crate::panics::words_of;
use crate::topic::check_topic;

/// The topic at which all nodes with ports are asked for their groups; what is told of a group is published
/// on the group's name behind it.
pub(super) const GROUPS: &str = "port.group";
/// How long a node has to answer a question about its ports.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How many messages to ports that are monitored are remembered: those that the switch may still refuse.
const SENT_MAX: usize = 16_384;

/// What comes over the connection.
pub(super) struct Streams {
    pub(super) inbox: Stream<Arrival>,
    pub(super) changes: Stream<Change>,
    pub(super) presence: Stream<Presence>,
    pub(super) groups: Stream<Arrival>,
    pub(super) questions: Stream<Arrival>,
}

/// The thread's own.
pub(super) struct Turn {
    pub(super) node: Node,
    pub(super) ports: Ports<Handler, Callback>,
    pub(super) streams: Streams,
    /// What other nodes tell of their groups, while they are asked.
    pub(super) lists: Option<Stream<Result<Message, Error>>>,
    pub(super) on_groups: BTreeMap<u64, (String, OnGroup)>,
    pub(super) on_nodes: BTreeMap<u64, OnNode>,
    /// What was sent last to ports that are monitored, so that what the switch could not deliver is told.
    sent: VecDeque<(Ticket, String)>,
    /// Whether there is no connection just now.
    pub(super) is_cut_off: bool,
}

impl Turn {
    /// `node` is one that does not keep the node from ending.
    pub(super) fn new(node: Node, streams: Streams) -> Turn {
        let ports = Ports::new(node.id());
        let (on_groups, on_nodes) = (BTreeMap::new(), BTreeMap::new());
        Turn {
            node,
            ports,
            streams,
            lists: None,
            on_groups,
            on_nodes,
            sent: VecDeque::new(),
            is_cut_off: false,
        }
    }

    pub(super) fn memberships_of(&self, node: &str) -> Vec<(String, String)> {
        self.node.inner.lock_directory().memberships(|port| node_of(port) == node)
    }

    /// A port of this node joins a group or leaves it.
    pub(super) fn group(&mut self, group: &str, port: String, is_member: bool) {
        let is_alive = self.ports.own_name(&port).is_some_and(|name| self.ports.is_alive(name));
        if check_topic(&topic_of(group)).is_err() || is_member && !is_alive {
            return;
        }
        if self.changed(group, &port, is_member) {
            let event = if is_member { Event::Join { port } } else { Event::Leave { port } };
            self.publish(group, &event);
        }
    }

    pub(super) fn publish(&self, group: &str, event: &Event) {
        // When a lost connection stands again, all is published once more.
        let _ = self.node.inner.handle.publish(&topic_of(group), &event.write());
    }

    /// Enters a change into the directory and tells of it, if it is one.
    pub(super) fn changed(&mut self, group: &str, port: &str, is_member: bool) -> bool {
        let members = {
            let mut directory = self.node.inner.lock_directory();
            let is_change =
                if is_member { directory.join(group, port) } else { directory.leave(group, port) };
            if !is_change {
                return false;
            }
            directory.members(group)
        };
        let mut change = GroupChange { members, ..GroupChange::default() };
        if is_member { &mut change.joined } else { &mut change.left }.push(port.to_owned());
        for (_, callback) in self.on_groups.values_mut().filter(|(of, _)| of == group) {
            harmless(|| callback(&self.node, &change));
        }
        true
    }

    /// Does what comes of what was just done.
    pub(super) fn carry_out(&mut self) {
        while let Some(order) = self.ports.order() {
            match order {
                Order::Run { name, handler, message } => self.run_handler(&name, &handler, &message),
                Order::Call { callback, down } => harmless(|| callback(&self.node, &down)),
                Order::Send { to, message } => self.send(&to, message),
                Order::Tell { node, event } => self.say(&node, &event),
                Order::Ask { target, ask } => self.ask(target, ask),
                Order::Unask { target } => self.unask(&target),
                Order::Ended { port } => {
                    let groups = self.node.inner.lock_directory().memberships(|member| member == port);
                    for (group, port) in groups {
                        self.group(&group, port, false);
                    }
                }
            }
        }
    }

    fn run_handler(&mut self, name: &str, handler: &Handler, message: &[Value]) {
        if !self.ports.is_alive(name) {
            return;
        }
        let port: Port = self.node.port_named(name);
        let mut handler = handler.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| handler(&port, message))) {
            drop(handler);
            self.die(name, payload(panic));
        }
    }

    /// The port's code has failed. What it has sent goes first.
    pub(super) fn die(&mut self, name: &str, why: Value) {
        self.ports.deafen(name);
        let port = format!("{}#{name}", self.node.id());
        self.node.inner.queue.push_now(Fact::Kill { port, reason: vec!["die".into(), why] });
    }

    fn send(&mut self, to: &str, message: Vec<Value>) {
        match self.node.inner.handle.send(to, &Value::from(message).to_string()) {
            Ok(ticket) if self.ports.is_watched(to) => {
                if self.sent.len() == SENT_MAX {
                    self.sent.pop_front();
                }
                self.sent.push_back((ticket, to.to_owned()));
            }
            Ok(_) => {}
            Err(error) => self.lost(to, &error.to_string()),
        }
    }

    /// The switch says that it has not delivered something.
    pub(super) fn undelivered(&mut self, ticket: Ticket, why: &str) {
        // Later tickets are greater.
        if let Ok(at) = self.sent.binary_search_by_key(&ticket, |(sent, _)| *sent) {
            self.lost(&self.sent[at].1.clone(), why);
            self.carry_out();
        }
    }

    /// A message to a port of another node was lost.
    fn lost(&mut self, to: &str, why: &str) {
        let down = Down::NodeLost { node: node_of(to).to_owned(), why: why.to_owned() };
        self.ports.target_down(to, &down);
    }

    pub(super) fn say(&mut self, node: &str, event: &Event) {
        // Without a connection the other side finds out by that.
        let _ = self.node.inner.handle.send(node, &event.write());
    }

    fn ask(&mut self, target: String, ask: u64) {
        let (handle, queue) = (&self.node.inner.handle, Arc::clone(&self.node.inner.queue));
        let node = node_of(&target).to_owned();
        if self.is_cut_off {
            let why = "there is no connection to the daemon just now".to_owned();
            return queue.push_now(Fact::Asked { target, ask, answer: Err(Down::NodeLost { node, why }) });
        }
        if name_of(&target).is_none() {
            let lost = Down::NodeLost { node, why: "the node is not there".to_owned() };
            return handle.resolve(&target).then(move |answer| {
                let answer = answer.is_ok_and(|node| node.status == "up").then_some(()).ok_or(lost);
                queue.push_now(Fact::Asked { target, ask, answer });
            });
        }
        let body = json!({"port": target}).to_string();
        handle.call(&node.clone(), "port_monitor", &body, ANSWER_TIMEOUT).then(move |answer| {
            let answer = match answer {
                Ok(_) => Ok(()),
                Err(Error::Node(why)) if why.code() == Some("no_such_port") => {
                    Err(Down::NoSuchPort { port: target.clone() })
                }
                Err(error) => Err(Down::NodeLost { node, why: error.to_string() }),
            };
            queue.push_now(Fact::Asked { target, ask, answer });
        });
    }

    fn unask(&mut self, target: &str) {
        if name_of(target).is_some() && node_of(target) != self.node.id() {
            let body = json!({"port": target}).to_string();
            drop(self.node.inner.handle.call(node_of(target), "port_unmonitor", &body, ANSWER_TIMEOUT));
        }
    }
}

/// Where is told what becomes of a group.
fn topic_of(group: &str) -> String {
    format!("{GROUPS}.{group}")
}

/// A panic has been told where it happened, and stops nothing else.
pub(super) fn harmless(run: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(run));
}

/// What a panic says.
pub(super) fn payload(panic: Box<dyn Any + Send>) -> Value {
    let panic = match panic.downcast::<Value>() {
        Ok(value) => return *value,
        Err(other) => other,
    };
    words_of(&*panic).into()
}
