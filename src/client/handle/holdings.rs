//! Knows what a connection holds at its daemon: names, subscriptions, monitors; and whose a message is.
//! Never: how it is asked for.

use std::collections::HashSet;
use std::sync::Arc;
use std::task::Waker;

use serde_json::Value;

use crate::client::ask;
use crate::client::handle::change::{Arrival, Presence};
use crate::client::handle::queue::Queue;
use crate::client::message::Message;
use crate::name;
use crate::topic;
use crate::wire::control::Register;

/// What is to be remembered of a request that succeeds; of one that ends what is held, also if it fails.
#[derive(Clone)]
pub(super) enum Note {
    /// `register`: its body without the name.
    Registered(Terms),
    /// `unregister`.
    Unregistered(String),
    /// `unsubscribe`: the number of the end.
    Unsubscribed(u64),
    /// `monitor`: the pattern.
    Monitored(String),
    /// `unmonitor`: the pattern.
    Unmonitored(String),
}

/// What the daemon is asked that is to end something.
pub(super) struct End {
    pub(super) message_type: &'static str,
    pub(super) body: String,
    pub(super) note: Note,
}

/// What is asked for again over a new connection, beside names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// The pattern and the group.
    Subscription(String, Option<String>),
    /// The pattern.
    Monitor(String),
}

impl Held {
    /// The request for it.
    pub(super) fn ask(&self) -> (&'static str, String) {
        match self {
            Held::Subscription(pattern, group) => ("subscribe", ask::subscribe(pattern, group.as_deref())),
            Held::Monitor(pattern) => ("monitor", ask::node_id(pattern)),
        }
    }

    pub(super) fn pattern(&self) -> &str {
        match self {
            Held::Subscription(pattern, _) | Held::Monitor(pattern) => pattern,
        }
    }
}

/// The terms under which a name is held.
#[derive(Clone)]
pub(super) struct Terms(Register<'static>, Option<Box<str>>);

impl Terms {
    pub(super) fn of(options: &Register<'_>) -> Terms {
        let owned = |texts: &Vec<std::borrow::Cow<'_, str>>| {
            texts.iter().map(|text| text.clone().into_owned().into()).collect()
        };
        let terms = Register {
            node_id: None,
            delivery: options.delivery,
            exclusive: options.exclusive,
            // Two that took a name from each other whenever they come back would never end.
            replace: false,
            credentials: options.credentials,
            overflow: options.overflow,
            endpoints: options.endpoints.as_ref().map(owned),
            meta: None,
        };
        Terms(terms, options.meta.map(Into::into))
    }

    fn body(&self, node_id: &str) -> String {
        // What came out has no pattern in it any more.
        let node_id = node_id.replace('%', "%%").into();
        ask::register(&Register { node_id: Some(node_id), meta: self.1.as_deref(), ..self.0.clone() })
    }
}

pub(super) struct Name {
    pub(super) node_id: String,
    terms: Terms,
    /// Whether another connection took it.
    pub(super) is_lost: bool,
}

impl Name {
    /// The body of the `register` by which it is held again.
    pub(super) fn body(&self) -> String {
        self.terms.body(&self.node_id)
    }
}

struct Subscription {
    pattern: String,
    group: Option<String>,
    queue: Arc<Queue<Arrival>>,
    /// The connection was lost, and it is not restored: that something comes by another one does not mean that
    /// all does.
    is_out: bool,
    /// The number of the end that the daemon is asked for. What still comes is for nothing else.
    ending: Option<u64>,
}

struct Monitor {
    pattern: String,
    queue: Arc<Queue<Presence>>,
    /// The daemon has not told it all that is there. What it hears it has of another one's news.
    is_new: bool,
    /// Instances that are up, by name and unique id, as far as it was told.
    up: HashSet<(String, String)>,
    /// Those of them that have not been heard of since the connection was restored.
    stale: HashSet<(String, String)>,
}

impl Subscription {
    fn is(&self, pattern: &str, group: Option<&str>) -> bool {
        self.pattern == pattern && self.group.as_deref() == group
    }
}

impl Monitor {
    /// It has been told all that is there: what it has not heard of is gone.
    fn settle(&mut self, wakers: &mut Vec<Waker>) {
        self.is_new = false;
        let mut gone: Vec<_> = self.stale.drain().collect();
        gone.sort_unstable();
        for (node_id, unique_id) in gone {
            self.up.remove(&(node_id.clone(), unique_id.clone()));
            let down = Presence::Down { node_id, unique_id, reason: "unknown".to_owned() };
            wakers.extend(self.queue.put(down, 0));
        }
    }
}

#[derive(Default)]
pub(super) struct Holdings {
    names: Vec<Name>,
    subscriptions: Vec<Subscription>,
    monitors: Vec<Monitor>,
    /// How many ends of subscriptions were asked for.
    ends: u64,
    /// To be woken when no lock is held.
    pub(super) wakers: Vec<Waker>,
}

impl Holdings {
    /// Remembers what a request has come to. Whether a name that was lost is held again is not looked at.
    pub(super) fn note(&mut self, note: Note, reply: &Message) {
        match note {
            Note::Registered(terms) => {
                let Value::String(node_id) = &reply.body_value()["node_id"] else { return };
                match self.names.iter_mut().find(|name| name.node_id == *node_id) {
                    Some(name) => name.terms = terms,
                    None => self.names.push(Name { node_id: node_id.clone(), terms, is_lost: false }),
                }
            }
            Note::Unregistered(node_id) => self.names.retain(|name| name.node_id != node_id),
            Note::Monitored(pattern) => self.monitored(&pattern),
            ended => self.ended(&ended),
        }
    }

    /// Forgets what was to end, and has ended: whatever the answer is, it is wanted no more.
    pub(super) fn ended(&mut self, note: &Note) {
        match note {
            Note::Unsubscribed(number) => self.subscriptions.retain(|one| one.ending != Some(*number)),
            Note::Unmonitored(pattern) => {
                // What they have heard by this one may go now, and none would tell.
                let new = self.monitors.iter_mut().filter(|one| one.is_new || one.pattern == *pattern);
                new.for_each(|one| one.stale.clone_from(&one.up));
            }
            Note::Registered(_) | Note::Unregistered(_) | Note::Monitored(_) => {}
        }
    }

    /// Ends a name, and tries no more to get it again if it is lost.
    pub(super) fn unregister(&mut self, node_id: &str) -> End {
        self.names.retain(|name| !(name.is_lost && name.node_id == node_id));
        let note = Note::Unregistered(node_id.to_owned());
        End { message_type: "unregister", body: ask::node_id(node_id), note }
    }

    pub(super) fn names(&mut self) -> &mut Vec<Name> {
        &mut self.names
    }

    /// The name that messages come from, if it is lost.
    pub(super) fn lost_name(&self) -> Option<&str> {
        self.names.first().filter(|name| name.is_lost).map(|name| name.node_id.as_str())
    }

    pub(super) fn subscribe(&mut self, pattern: &str, group: Option<&str>, queue: &Arc<Queue<Arrival>>) {
        let (pattern, group) = (pattern.to_owned(), group.map(str::to_owned));
        self.subscriptions.push(Subscription {
            pattern,
            group,
            queue: Arc::clone(queue),
            is_out: false,
            ending: None,
        });
    }

    /// Ends a subscription; gives what the daemon is to be asked, if no other one is the same.
    pub(super) fn drop_subscription(&mut self, queue: &Arc<Queue<Arrival>>) -> Option<End> {
        let is_it = |one: &Subscription| Arc::ptr_eq(&one.queue, queue) && one.ending.is_none();
        let at = self.subscriptions.iter().position(is_it)?;
        let Subscription { pattern, group, .. } = &self.subscriptions[at];
        let is_same = |one: &&Subscription| one.ending.is_none() && one.is(pattern, group.as_deref());
        if self.subscriptions.iter().filter(is_same).count() > 1 {
            self.subscriptions.swap_remove(at);
            return None;
        }
        let (pattern, group) = (pattern.clone(), group.clone());
        Some(self.unsubscribe(&pattern, group.as_deref()))
    }

    /// Ends all subscriptions to a pattern: what has come stays, and nothing comes any more. What is still on its
    /// way has a place to go until the daemon has answered.
    pub(super) fn unsubscribe(&mut self, pattern: &str, group: Option<&str>) -> End {
        self.ends += 1;
        let is_it = |one: &&mut Subscription| one.ending.is_none() && one.is(pattern, group);
        for one in self.subscriptions.iter_mut().filter(is_it) {
            one.ending = Some(self.ends);
            self.wakers.extend(one.queue.close());
        }
        let note = Note::Unsubscribed(self.ends);
        End { message_type: "unsubscribe", body: ask::subscribe(pattern, group), note }
    }

    pub(super) fn monitor(&mut self, pattern: &str, queue: &Arc<Queue<Presence>>) {
        self.monitors.push(Monitor {
            pattern: pattern.to_owned(),
            queue: Arc::clone(queue),
            is_new: true,
            up: HashSet::new(),
            stale: HashSet::new(),
        });
    }

    /// Ends a monitor; gives what the daemon is to be asked, if no other one has its pattern.
    pub(super) fn drop_monitor(&mut self, queue: &Arc<Queue<Presence>>) -> Option<End> {
        let at = self.monitors.iter().position(|one| Arc::ptr_eq(&one.queue, queue))?;
        let Monitor { pattern, .. } = self.monitors.swap_remove(at);
        let is_last = !self.monitors.iter().any(|one| one.pattern == pattern);
        is_last.then(|| self.unmonitor(&pattern))
    }

    /// Ends all monitors of a pattern: what has come stays, and nothing comes any more.
    pub(super) fn unmonitor(&mut self, pattern: &str) -> End {
        let ended = self.monitors.extract_if(.., |one| one.pattern == pattern);
        self.wakers.extend(ended.filter_map(|one| one.queue.close()));
        let note = Note::Unmonitored(pattern.to_owned());
        End { message_type: "unmonitor", body: ask::node_id(pattern), note }
    }

    /// What is to be asked for again over a new connection, each once.
    pub(super) fn held(&self) -> Vec<Held> {
        let subscriptions = self.subscriptions.iter().filter(|one| one.ending.is_none());
        let subscriptions =
            subscriptions.map(|one| Held::Subscription(one.pattern.clone(), one.group.clone()));
        let monitors = self.monitors.iter().map(|one| Held::Monitor(one.pattern.clone()));
        let mut held: Vec<Held> = Vec::new();
        for one in subscriptions.chain(monitors) {
            if !held.contains(&one) {
                held.push(one);
            }
        }
        held
    }

    /// The connection was lost. If `has_missed`, what comes by subscriptions is missing from here on.
    pub(super) fn interrupt(&mut self, has_missed: bool) {
        for one in &mut self.subscriptions {
            one.is_out = true;
            if has_missed {
                self.wakers.extend(one.queue.put(Arrival::Missed(None), 0));
            }
        }
        for monitor in &mut self.monitors {
            monitor.stale.clone_from(&monitor.up);
        }
    }

    /// The daemon has granted what was asked for again.
    pub(super) fn granted(&mut self, held: &Held) {
        match held {
            Held::Subscription(pattern, group) => {
                let granted = self.subscriptions.iter_mut().filter(|one| one.is(pattern, group.as_deref()));
                granted.for_each(|one| one.is_out = false);
            }
            Held::Monitor(pattern) => self.monitored(pattern),
        }
    }

    /// The monitors of this pattern have been told all that is there.
    fn monitored(&mut self, pattern: &str) {
        for one in self.monitors.iter_mut().filter(|one| one.pattern == pattern) {
            one.settle(&mut self.wakers);
        }
    }

    /// Ends what was refused when it was asked for again.
    pub(super) fn refused(&mut self, held: &Held) {
        match held {
            Held::Subscription(pattern, group) => {
                let refused = self.subscriptions.extract_if(.., |one| one.is(pattern, group.as_deref()));
                self.wakers.extend(refused.filter_map(|one| one.queue.close()));
            }
            Held::Monitor(pattern) => {
                let refused = self.monitors.extract_if(.., |one| one.pattern == *pattern);
                self.wakers.extend(refused.filter_map(|one| one.queue.close()));
            }
        }
    }

    /// Nothing comes any more.
    pub(super) fn end(&mut self) {
        self.subscriptions
            .iter()
            .filter_map(|one| one.queue.close())
            .for_each(|waker| self.wakers.push(waker));
        self.monitors.iter().filter_map(|one| one.queue.close()).for_each(|waker| self.wakers.push(waker));
    }

    /// Hands a message to the subscriptions and monitors that it is for; false if there are none.
    pub(super) fn deliver(&mut self, message: &Message) -> bool {
        if let Some(to) = message.topic() {
            let mut is_taken = false;
            for one in self.subscriptions.iter().filter(|one| topic::matches(&one.pattern, to)) {
                is_taken = true;
                if !one.is_out {
                    self.wakers
                        .extend(one.queue.put(Arrival::Message(message.clone()), message.line().len()));
                }
            }
            return is_taken;
        }
        if message.from().is_some() || message.message_type() != "signal" {
            return false;
        }
        let body = message.body_value();
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        match body["event"].as_str() {
            Some("lagged") => {
                let lagged = Arrival::Missed(Some(body["count"].as_u64().unwrap_or(1)));
                let queues = self.subscriptions.iter().map(|one| &one.queue);
                self.wakers.extend(queues.filter_map(|queue| queue.put(lagged.clone(), 0)));
                true
            }
            Some("node_up") => {
                self.up(&text("node_id"), &text("unique_id"));
                true
            }
            Some("node_down") => {
                self.down(&text("node_id"), &text("unique_id"), &text("reason"));
                true
            }
            _ => false,
        }
    }

    fn up(&mut self, node_id: &str, unique_id: &str) {
        let instance = (node_id.to_owned(), unique_id.to_owned());
        for monitor in self.monitors.iter_mut().filter(|one| name::matches(&one.pattern, node_id)) {
            monitor.stale.remove(&instance);
            // A monitor of another pattern may have had it told again.
            if monitor.up.insert(instance.clone()) {
                let (node_id, unique_id) = instance.clone();
                self.wakers.extend(monitor.queue.put(Presence::Up { node_id, unique_id }, 0));
            }
        }
    }

    fn down(&mut self, node_id: &str, unique_id: &str, reason: &str) {
        let instance = (node_id.to_owned(), unique_id.to_owned());
        for monitor in self.monitors.iter_mut().filter(|one| name::matches(&one.pattern, node_id)) {
            monitor.stale.remove(&instance);
            if monitor.up.remove(&instance) {
                let (node_id, unique_id) = instance.clone();
                self.wakers.extend(
                    monitor.queue.put(Presence::Down { node_id, unique_id, reason: reason.to_owned() }, 0),
                );
            }
        }
    }
}
