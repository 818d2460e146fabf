//! Knows a node's thread: when it takes what has come and what is asked for.
//! Never: what a message says.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use serde_json::{Value, json};

use crate::client::{Arrival, Change, Error, Presence, Stream};
use crate::node::base::{Fact, GroupChange, Node, NodeChange};
use crate::node::carry::{ANSWER_TIMEOUT, Turn, harmless, payload};
use crate::node::down::Down;
use crate::node::said::{name_of, node_of};

impl Turn {
    /// Works until the node ends.
    pub(super) fn run(mut self, first: Vec<Presence>) {
        self.present(first);
        self.ask_for_groups();
        let queue = Arc::clone(&self.node.inner.queue);
        let waker = Waker::from(Arc::clone(&queue));
        let mut context = Context::from_waker(&waker);
        while let Some(facts) = queue.take() {
            // All that came before these facts is there by now.
            self.look(&mut context);
            for fact in facts {
                self.prompt();
                self.act(fact);
            }
            self.prompt();
        }
        // When the last node is dropped, its name is free. Without a connection it is so already.
        let _ = self.node.inner.handle.unregister(self.node.id()).wait();
        queue.end();
    }

    /// Does what counts at once.
    fn prompt(&mut self) {
        while let Some(fact) = self.node.inner.queue.take_prompt() {
            self.act(fact);
        }
    }

    /// Takes what has come over the connection.
    fn look(&mut self, context: &mut Context<'_>) {
        let arrivals = all(&mut self.streams.inbox, context);
        let news = all(&mut self.streams.presence, context);
        if !news.is_empty() {
            // What these nodes sent before is in the inbox when the daemon has answered.
            let queue = Arc::clone(&self.node.inner.queue);
            self.node.inner.handle.ping().then(move |_| queue.push_now(Fact::Present { news }));
        }
        for arrival in arrivals {
            self.prompt();
            match arrival {
                Arrival::Message(message) => self.arrived(&message),
                Arrival::Missed(None) => self.away("the connection to the daemon was lost"),
                Arrival::Missed(Some(_)) => self.interrupted("more came than the node could take", true),
            }
        }
        if self.streams.inbox.is_ended() && !self.is_cut_off {
            self.away("the connection to the daemon has ended");
        }
        for change in all(&mut self.streams.changes, context) {
            match change {
                Change::Restored { .. } => self.restored(),
                Change::Undelivered { ticket: Some(ticket), why } => self.undelivered(ticket, why.error()),
                _ => {}
            }
        }
        self.look_at_groups(context);
    }

    fn look_at_groups(&mut self, context: &mut Context<'_>) {
        // What was told of a group may be younger than an answer, which goes first.
        let told = all(&mut self.streams.groups, context);
        if let Some(lists) = &mut self.lists {
            let answers = all(lists, context);
            let is_over = lists.is_ended();
            answers.into_iter().flatten().for_each(|answer| self.listed(&answer));
            if is_over {
                self.lists = None;
                self.node.inner.lock_directory().asked();
            }
        }
        for arrival in told {
            match arrival {
                Arrival::Message(message) => self.told(&message),
                Arrival::Missed(Some(_)) => self.ask_for_groups(),
                // When the connection stands again, they are asked.
                Arrival::Missed(None) => {}
            }
        }
        for message in all(&mut self.streams.questions, context).into_iter().filter_map(Arrival::message) {
            if message.is_request() {
                self.answer(&message);
            }
        }
    }

    fn act(&mut self, fact: Fact) {
        match fact {
            Fact::Create { name } => drop(self.ports.create(&name)),
            Fact::Receive { name, tag, handler } => self.ports.receive(&name, tag, handler),
            Fact::Send { to, message } => self.ports.send(&to, message),
            Fact::Kill { port, reason } => self.ports.kill(&port, reason),
            Fact::Watch { number, target, action, beat } => {
                self.ports.watch(number, &target, action);
                if let Some(every) = beat {
                    self.node.inner.queue.push_now(Fact::Beat { number, every });
                }
            }
            Fact::Unwatch { number } => {
                self.ports.unwatch(number);
                self.on_nodes.remove(&number);
                self.on_groups.remove(&number);
            }
            Fact::Beat { number, every } => {
                if self.ports.beat(number) {
                    self.node.inner.queue.push_after(every, Fact::Beat { number, every });
                }
            }
            Fact::Spawn { node, port, function, args } => self.spawn_at(&node, &port, &function, args),
            Fact::Start { port, function, args, told } => {
                let name = name_of(&port).unwrap_or_default();
                let made = self.spawn(name, &json!({"function": function, "args": args}));
                let why = |reply: Value| reply["error"].as_str().unwrap_or_default().to_owned();
                // What waits for it lives as long as this.
                let _ = told.send(made.map(drop).map_err(why));
            }
            Fact::NotSpawned { port, why } => {
                let node = node_of(&port).to_owned();
                self.ports.target_down(&port, &Down::NodeLost { node, why });
            }
            Fact::Asked { target, ask, answer } => self.ports.asked(&target, ask, answer),
            Fact::Present { news } => self.present(news),
            Fact::Back { losses } => self.back(losses),
            Fact::Group { group, port, is_member } => self.group(&group, port, is_member),
            Fact::WatchGroup { number, group, mut callback } => {
                let members = self.node.inner.lock_directory().members(&group);
                let change = GroupChange { joined: members.clone(), members, left: Vec::new() };
                harmless(|| callback(&self.node, &change));
                self.on_groups.insert(number, (group, callback));
            }
            Fact::WatchNodes { number, mut callback } => {
                let there = self.node.inner.lock_directory().others();
                for node in there {
                    harmless(|| callback(&self.node, &NodeChange::Up { node }));
                }
                self.on_nodes.insert(number, callback);
            }
            Fact::Later { name, work } => self.work(name, work),
        }
        self.carry_out();
    }

    fn work(&mut self, name: Option<String>, work: impl FnOnce(&Node)) {
        if name.as_deref().is_some_and(|name| !self.ports.is_alive(name)) {
            return;
        }
        let done = catch_unwind(AssertUnwindSafe(|| work(&self.node)));
        if let (Err(panic), Some(name)) = (done, name) {
            self.die(&name, payload(panic));
        }
    }

    fn spawn_at(&mut self, node: &str, port: &str, function: &str, args: Vec<Value>) {
        let body = json!({"port": port, "function": function, "args": args});
        if let Some(name) = self.ports.own_name(port).map(str::to_owned) {
            // Why it failed is told by the port's end.
            drop(self.spawn(&name, &body));
            return;
        }
        let (queue, port) = (Arc::clone(&self.node.inner.queue), port.to_owned());
        let answer = self.node.inner.handle.call(node, "port_spawn", &body.to_string(), ANSWER_TIMEOUT);
        answer.then(move |answer| match answer {
            // What the node itself says is told by the port's end.
            Ok(_) => {}
            Err(Error::Node(why)) if why.code().is_some() => {}
            Err(error) => queue.push_now(Fact::NotSpawned { port, why: error.to_string() }),
        });
    }
}

/// What has come by now.
fn all<T>(stream: &mut Stream<T>, context: &mut Context<'_>) -> Vec<T> {
    let next = || match stream.poll_next(context) {
        Poll::Ready(item) => item,
        Poll::Pending => None,
    };
    std::iter::from_fn(next).collect()
}
