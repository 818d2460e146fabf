//! Knows how the daemon spells what it knows: nodes, subscribers, connections, counters (PROTOCOL.md
//! sections 7 and 12).
//! Never: changes any of it.

use std::time::Duration;

use crate::core::registry::{Instance, Node};
use crate::core::route::Parcel;
use crate::core::topics::Subscriber;
use crate::core::{Core, Counters, SessionKey};
use crate::limits::{Limits, PAGE_ENTRIES_MAX};
use crate::name::{literal_prefix, matches};
use crate::wire::code::Code;
use crate::wire::json::{Object, write_seconds, write_string};
use crate::wire::message::{Refusal, excerpt};

/// The entries of one page of an answer, already written, as many as fit into a line.
struct Page {
    entries: Vec<u8>,
    count: usize,
    limit: usize,
    bytes_max: usize,
    more: bool,
}

impl Page {
    fn new(limit: usize, bytes_max: usize) -> Page {
        Page { entries: Vec::new(), count: 0, limit, bytes_max, more: false }
    }

    /// Adds an entry; false where the page is full, and there is more.
    fn add(&mut self, write: impl FnOnce(&mut Object<'_>)) -> bool {
        let before = self.entries.len();
        if self.count == self.limit {
            self.more = true;
            return false;
        }
        if self.count > 0 {
            self.entries.push(b',');
        }
        let mut entry = Object::begin(&mut self.entries);
        write(&mut entry);
        entry.end();
        if self.count > 0 && self.entries.len() > self.bytes_max {
            self.entries.truncate(before);
            self.more = true;
            return false;
        }
        self.count += 1;
        true
    }

    fn write_to(&self, object: &mut Object<'_>, name: &str) {
        let out = object.key(name);
        out.push(b'[');
        out.extend_from_slice(&self.entries);
        out.push(b']');
    }
}

impl Core {
    fn page(&self, limit: usize) -> Page {
        Page::new(limit, self.limits.max_line_bytes / 2)
    }

    pub(super) fn report_node(&mut self, parcel: &Parcel<'_>, node_id: &str) -> Result<(), Refusal> {
        let Some(key) = self.registry.find(node_id) else {
            return Err(Refusal::new(Code::NoSuchNode, format!("no node \"{}\" is known", excerpt(node_id))));
        };
        let mut page = self.page(PAGE_ENTRIES_MAX);
        let Some(node) = self.registry.get(key) else { return Ok(()) };
        for instance in &node.instances {
            if !page.add(|entry| self.write_instance(entry, instance)) {
                break;
            }
        }
        let mut body = Vec::new();
        let mut report = Object::begin(&mut body);
        report.string("node_id", &node.name).string("status", node.status.word());
        report.string("delivery", node.delivery.word());
        page.write_to(&mut report, "instances");
        if page.more {
            report.boolean("more", true);
        }
        report.strings("endpoints", node.endpoints.iter().map(|endpoint| &**endpoint));
        report.raw("meta", node.meta.as_deref().unwrap_or("null").as_bytes());
        report.seconds("last_seen", if node.instances.is_empty() { node.last_seen } else { self.now.wall });
        self.effort += node.instances.len();
        self.say_report(parcel, &body);
        Ok(())
    }

    fn write_instance(&self, entry: &mut Object<'_>, instance: &Instance) {
        if let Some(session) = self.sessions.get(instance.session) {
            session.write_identity(entry);
            entry.seconds("since", instance.since);
            entry.number("open_requests", self.requests.owed_by(instance.session));
            entry.number("queue_bytes", session.outbox.queue_bytes());
        }
    }

    pub(super) fn report_nodes(
        &mut self,
        parcel: &Parcel<'_>,
        pattern: &str,
        all: bool,
        after: Option<&str>,
        limit: usize,
    ) {
        let mut page = self.page(limit);
        let mut looked_at = 0;
        for (_, node) in self.registry.nodes_after(after, literal_prefix(pattern)) {
            looked_at += 1 + node.instances.len() / 8;
            let is_wanted = (all || !node.instances.is_empty()) && matches(pattern, &node.name);
            if is_wanted && !page.add(|entry| write_node(entry, node)) {
                break;
            }
        }
        self.effort += looked_at;
        let mut body = Vec::new();
        let mut report = Object::begin(&mut body);
        page.write_to(&mut report, "nodes");
        report.boolean("more", page.more);
        self.say_report(parcel, &body);
    }

    pub(super) fn report_subscribers(&mut self, parcel: &Parcel<'_>, topic: &str, limit: usize) {
        let mut page = self.page(limit);
        let subscribers = self.topics.subscribers(topic);
        self.effort += subscribers.len();
        for subscriber in &subscribers {
            if !page.add(|entry| self.write_subscriber(entry, subscriber)) {
                break;
            }
        }
        let mut body = Vec::new();
        let mut report = Object::begin(&mut body);
        page.write_to(&mut report, "subscribers");
        report.boolean("more", page.more);
        self.say_report(parcel, &body);
    }

    fn write_subscriber(&self, entry: &mut Object<'_>, subscriber: &Subscriber) {
        entry.string("unique_id", &format!(":{}", subscriber.number));
        self.write_node_ids(entry, subscriber.session);
        match &subscriber.group {
            Some(group) => entry.string("group", group),
            None => entry.null("group"),
        };
    }

    fn write_node_ids(&self, object: &mut Object<'_>, key: SessionKey) {
        let names = self.sessions.get(key).map_or(&[][..], |session| &session.names);
        let nodes = names.iter().filter_map(|&name| self.registry.get(name));
        object.array("node_ids", nodes, |out, node| write_string(out, &node.name));
    }

    pub(super) fn report_whoami(&mut self, parcel: &Parcel<'_>) {
        let Some(session) = self.sessions.get(parcel.sender) else { return };
        let mut body = Vec::new();
        let mut report = Object::begin(&mut body);
        session.write_identity(&mut report);
        self.write_node_ids(&mut report, parcel.sender);
        report.boolean("administrator", session.peer.administrator);
        report.string("transport", session.peer.transport.word());
        report.object("daemon", |daemon| {
            daemon.string("name", "telexd").string("version", self.about.version).number("protocol", 1);
            daemon.string("host", &self.about.host);
            daemon.object("limits", |limits| write_limits(limits, &self.limits, self.about.drain_timeout));
        });
        self.say_report(parcel, &body);
    }

    pub(super) fn report_stats(&mut self, parcel: &Parcel<'_>, plugins: &[Counters]) {
        let stats = &self.stats;
        let mut body = Vec::new();
        let mut report = Object::begin(&mut body);
        report.seconds("uptime", self.now.mono.saturating_sub(self.started.mono));
        report.object("connections", |connections| {
            connections.number("now", self.sessions.len()).number("total", stats.connections_total);
            connections.number("refused", stats.connections_refused);
        });
        report.number("nodes", self.registry.here()).number("subscriptions", self.topics.len());
        report.number("open_requests", self.requests.len());
        report.number("lines_in", stats.lines_in).number("lines_out", stats.lines_out);
        report.number("bytes_in", stats.bytes_in).number("bytes_out", stats.bytes_out);
        report.number("delivered", stats.delivered);
        report.object("errors", |errors| {
            for (code, count) in stats.errors() {
                errors.number(code.word(), count);
            }
        });
        report.number("missed", stats.missed).number("untold", stats.untold).number("paused", self.paused);
        let queued: usize = self.sessions.values().map(|session| session.outbox.queue_bytes()).sum();
        self.effort += self.sessions.len();
        report.number("queue_bytes", queued).number("queue_bytes_max", stats.queue_bytes_max);
        report.number("memory_bytes", self.kept_bytes());
        report.array("plugins", plugins, write_counters);
        // There is no spool yet: nothing is in it.
        report.object("spool", |spool| {
            spool.number("jobs", 0).number("bytes", 0);
        });
        report.number("turns", stats.turns);
        report.number("longest_turn_us", u64::try_from(stats.longest_turn.as_micros()).unwrap_or(u64::MAX));
        self.say_report(parcel, &body);
    }

    /// Replies with the members of `body`, an object without its closing brace. What is short is said
    /// also while memory is: somebody has to find out why.
    fn say_report(&mut self, parcel: &Parcel<'_>, body: &[u8]) {
        const SHORT_BYTES: usize = 4096;
        if self.is_overloaded() && body.len() > SHORT_BYTES {
            let refusal = self.out_of_memory();
            return self.refuse(parcel, &refusal);
        }
        self.say_reply(parcel.sender, parcel.asked(), |reply| reply.members(&body[1..]));
    }
}

fn write_node(entry: &mut Object<'_>, node: &Node) {
    entry.string("node_id", &node.name).string("status", node.status.word());
    entry.string("delivery", node.delivery.word());
    entry.array("instances", &node.instances, |out, instance| {
        write_string(out, &format!(":{}", instance.number))
    });
}

fn write_counters(out: &mut Vec<u8>, plugin: &Counters) {
    let mut entry = Object::begin(out);
    entry.string("name", &plugin.name).number("calls", plugin.calls);
    entry.number("pass", plugin.pass).number("drop", plugin.drop);
    entry.number("reject", plugin.reject).number("replace", plugin.replace);
    entry.number("nanoseconds", plugin.nanoseconds).number("strikes", plugin.strikes);
    entry.end();
}

fn write_limits(object: &mut Object<'_>, limits: &Limits, drain_timeout: Duration) {
    let shared_names = match limits.shared_names {
        crate::limits::SharedNames::User => "user",
        crate::limits::SharedNames::Any => "any",
    };
    object
        .number("max_line_bytes", limits.max_line_bytes)
        .number("max_queue_bytes", limits.max_queue_bytes)
        .number("max_memory_bytes", limits.max_memory_bytes)
        .number("max_connections", limits.max_connections)
        .number("max_connections_per_uid", limits.max_connections_per_uid)
        .number("max_names", limits.max_names)
        .number("max_requests", limits.max_requests)
        .number("max_subscriptions", limits.max_subscriptions)
        .number("max_known_nodes", limits.max_known_nodes);
    write_seconds(object.key("request_timeout"), limits.request_timeout);
    write_seconds(object.key("stall_timeout"), limits.stall_timeout);
    write_seconds(object.key("drain_timeout"), drain_timeout);
    object.string("shared_names", shared_names);
}
