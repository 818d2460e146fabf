//! Knows what other nodes and the daemon say, and what it means for the ports of this one.
//! Never: when it is heard.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Category, Error, Message, Presence, To};
use crate::node::base::{Fact, Function, Node, NodeChange};
use crate::node::carry::{GROUPS, Turn, harmless, payload};
use crate::node::down::Down;
use crate::node::said::{Event, name_of, node_of};

/// How long other nodes have to tell the members of their groups.
const GROUPS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a daemon that did not answer a ping is left alone.
const PING_DELAY: Duration = Duration::from_secs(1);

impl Turn {
    pub(super) fn interrupted(&mut self, why: &str, is_unseen: bool) {
        self.ports.interrupted(why, is_unseen);
        self.carry_out();
    }

    /// The connection is lost, and with it all other nodes.
    pub(super) fn away(&mut self, why: &str) {
        self.is_cut_off = true;
        self.interrupted(why, false);
        let gone = self.node.inner.lock_directory().away();
        for node in gone {
            self.forget(&node, why);
        }
    }

    /// The connection stands again.
    pub(super) fn restored(&mut self) {
        self.is_cut_off = false;
        let losses = self.node.inner.lock_directory().losses();
        await_news(&self.node, losses);
        let own = self.memberships_of(&self.node.inner.id.clone());
        for (group, port) in own {
            self.publish(&group, &Event::Join { port });
        }
        self.ask_for_groups();
    }

    pub(super) fn ask_for_groups(&mut self) {
        self.node.inner.lock_directory().ask();
        let handle = &self.node.inner.handle;
        self.lists = Some(handle.gather(To::Topic(GROUPS), "group_list", "", GROUPS_TIMEOUT));
        // It is looked at in the next turn.
        self.node.inner.queue.push_now(Fact::Later { name: None, work: Box::new(|_| {}) });
    }

    /// A message for the node or a port of it.
    pub(super) fn arrived(&mut self, message: &Message) {
        match message.category() {
            Category::Request => self.answer(message),
            Category::Signal => {
                let name = message.to().and_then(name_of);
                match (name, message.body_value()) {
                    (Some(name), Value::Array(elements)) => {
                        self.ports.send(&format!("{}#{name}", self.node.id()), elements);
                    }
                    (Some(_), _) => {}
                    (None, body) => self.event(message, &body),
                }
            }
            _ => {}
        }
        self.carry_out();
    }

    /// Something that another node says about a port.
    fn event(&mut self, message: &Message, body: &Value) {
        let from = message.from().map(node_of).unwrap_or_default();
        match Event::read(body) {
            // Only its own node knows of it.
            Some(Event::Down { port, reason }) if node_of(&port) == from => {
                self.ports.target_down(&port, &Down::Killed(reason));
            }
            Some(Event::Kill { port, reason }) if self.ports.own_name(&port).is_some() => {
                self.ports.kill(&port, reason);
            }
            Some(Event::Beat { port }) => match self.ports.own_name(&port) {
                Some(name) if self.ports.is_alive(name) => self.say(from, &Event::Beat { port }),
                Some(_) => {}
                None if port == self.node.id() => self.say(from, &Event::Beat { port }),
                None if node_of(&port) == from => self.ports.heard(&port),
                None => {}
            },
            _ => {}
        }
    }

    pub(super) fn answer(&mut self, request: &Message) {
        let body = request.body_value();
        let port = body["port"].as_str().and_then(|port| self.ports.own_name(port));
        let from = request.from().map(node_of).unwrap_or_default();
        let answer = match (request.message_type(), port) {
            ("group_list", _) => {
                Ok(json!({"groups": self.node.inner.lock_directory().groups_of(self.node.id())}))
            }
            ("port_monitor", Some(_)) if from.starts_with(':') => {
                Err(json!({"error": "only a connection with a node ID can monitor a port"}))
            }
            ("port_monitor", Some(name)) => match self.ports.monitored(name, from) {
                true => Ok(json!({})),
                false => Err(json!({"error": "there is no such port", "code": "no_such_port"})),
            },
            ("port_unmonitor", Some(name)) => {
                self.ports.unmonitored(name, from);
                Ok(json!({}))
            }
            ("port_spawn", Some(name)) => self.spawn(name, &body),
            ("port_monitor" | "port_unmonitor" | "port_spawn", None) => {
                Err(json!({"error": "\"port\" must be the ID of a port of this node"}))
            }
            (other, _) => Err(json!({"error": format!("this node does not answer \"{other}\"")})),
        };
        let body = answer.unwrap_or_else(|error| error);
        // Without a connection there is nothing to reply to.
        let _ = self.node.inner.handle.reply(request, &body.to_string());
        self.carry_out();
    }

    /// Makes a port by a function; the error is the body of a reply.
    pub(super) fn spawn(&mut self, name: &str, body: &Value) -> Result<Value, Value> {
        let args = body["args"].as_array().map(Vec::as_slice).unwrap_or_default();
        if !self.ports.create(name) {
            return Err(json!({"error": "there is such a port", "code": "port_taken"}));
        }
        let function = body["function"].as_str().unwrap_or_default();
        let found: Option<Function> = self.node.inner.lock_functions().get(function).cloned();
        let Some(run) = found else {
            let text = format!("the node offers no function \"{function}\"");
            let reply = json!({"error": text, "code": "no_such_function"});
            self.ports.fail(name, vec!["no_such_function".into(), text.into(), function.into()]);
            return Err(reply);
        };
        let port = self.node.port_named(name);
        let why = match catch_unwind(AssertUnwindSafe(|| run(&port, args))) {
            Ok(Ok(())) => return Ok(json!({})),
            Ok(Err(error)) => error.into(),
            Err(panic) => payload(panic),
        };
        let text = why.as_str().map_or_else(|| why.to_string(), str::to_owned);
        self.ports.fail(name, vec!["die".into(), why]);
        Err(json!({"error": text, "code": "function_failed"}))
    }

    /// The daemon's news of nodes.
    pub(super) fn present(&mut self, news: Vec<Presence>) {
        for word in news {
            match word {
                Presence::Up { node_id, unique_id } => {
                    let is_new = self.node.inner.lock_directory().node_up(&node_id, &unique_id);
                    if is_new && node_id != self.node.id() {
                        self.tell_of_node(&NodeChange::Up { node: node_id });
                    }
                }
                Presence::Down { node_id, unique_id, reason } => {
                    let is_gone = self.node.inner.lock_directory().node_down(&node_id, &unique_id);
                    if is_gone && node_id != self.node.id() {
                        self.node_gone(&node_id, &reason);
                    }
                }
                Presence::Missed(_) => self.ports.interrupted("news of nodes were missed", true),
            }
            self.carry_out();
        }
    }

    fn node_gone(&mut self, node: &str, reason: &str) {
        self.ports.node_down(node, &format!("the node is gone: {reason}"));
        self.carry_out();
        self.forget(node, reason);
    }

    /// The connection is up again: tells of every other node that is there.
    pub(super) fn back(&mut self, losses: u64) {
        let there = self.node.inner.lock_directory().back(losses);
        there.into_iter().for_each(|node| self.tell_of_node(&NodeChange::Up { node }));
    }

    /// Another node is not there any more: its ports are in no group.
    fn forget(&mut self, node: &str, why: &str) {
        for (group, port) in self.memberships_of(node) {
            self.changed(&group, &port, false);
        }
        self.tell_of_node(&NodeChange::Down { node: node.to_owned(), why: why.to_owned() });
    }

    fn tell_of_node(&mut self, change: &NodeChange) {
        for callback in self.on_nodes.values_mut() {
            harmless(|| callback(&self.node, change));
        }
    }

    /// What another node publishes of a port of its own.
    pub(super) fn told(&mut self, message: &Message) {
        let from = message.from().map(node_of).unwrap_or_default();
        let group = message.topic().and_then(|topic| topic.strip_prefix(GROUPS)?.strip_prefix('.'));
        let (Some(group), true) = (group, from != self.node.id()) else { return };
        match Event::read(&message.body_value()) {
            Some(Event::Join { port }) if node_of(&port) == from => drop(self.changed(group, &port, true)),
            Some(Event::Leave { port }) if node_of(&port) == from => drop(self.changed(group, &port, false)),
            _ => {}
        }
    }

    /// What another node answers of its groups.
    pub(super) fn listed(&mut self, answer: &Message) {
        let from = answer.from().map(node_of).unwrap_or_default();
        if from == self.node.id() {
            return;
        }
        let body = answer.body_value();
        for (group, members) in body["groups"].as_object().into_iter().flatten() {
            let ports = members.as_array().into_iter().flatten().filter_map(Value::as_str);
            for port in ports.filter(|port| node_of(port) == from) {
                let has_left = self.node.inner.lock_directory().has_left(group, port);
                if !has_left {
                    self.changed(group, port, true);
                }
            }
        }
    }
}

/// Has it told when all that is different after loss number `losses` has arrived: it comes ahead of the answer to a
/// ping.
fn await_news(node: &Node, losses: u64) {
    let queue = Arc::clone(&node.inner.queue);
    node.inner.handle.ping().then(move |answer| match answer {
        Ok(()) => queue.push_now(Fact::Back { losses }),
        // The next connection is asked, once it is up.
        Err(Error::Lost { .. } | Error::Away | Error::Closed { .. }) => {}
        Err(_) => {
            let work = Box::new(move |node: &Node| await_news(node, losses));
            queue.push_after(PING_DELAY, Fact::Later { name: None, work });
        }
    });
}
