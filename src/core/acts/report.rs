//! Knows how the daemon spells what it knows: nodes, subscribers, connections, counters (PROTOCOL.md sections 7
//! and 12).
//! Never: changes any of it.

use std::time::Duration;

use crate::core::gate::Counters;
use crate::core::own_line::AskedBy;
use crate::core::parcel::Parcel;
use crate::core::session::{Nodes, Page, Through, Walk};
use crate::core::table::node::{Instance, Node};
use crate::core::table::requests::Asked;
use crate::core::table::topics::{Search, Subscriber};
use crate::core::{Core, SessionKey};
use crate::limits::{Limits, PAGE_ENTRIES_MAX, SharedNames};
use crate::name::{literal_prefix, matches};
use crate::wire::code::Code;
use crate::wire::json::{Object, write_seconds, write_string};
use crate::wire::message::{Refusal, excerpt};

impl Core {
    /// An empty page of at most `limit` entries.
    pub(super) fn page(&self, limit: usize) -> Page {
        Page::new(limit, self.desk.limits.max_line_bytes / 2)
    }

    /// Answers `resolve`.
    pub(super) fn report_node(&mut self, parcel: &Parcel<'_>, node_id: &str) -> Result<(), Refusal> {
        let Some(node) = self.registry.known(node_id) else {
            return Err(Refusal::new(Code::NoSuchNode, format!("no node \"{}\" is known", excerpt(node_id))));
        };
        let mut page = self.page(PAGE_ENTRIES_MAX);
        let mut looked_at = 0;
        for instance in &node.instances {
            looked_at += 1;
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
        let last_seen = if node.instances.is_empty() { node.last_seen } else { self.desk.now.wall };
        report.seconds("last_seen", last_seen);
        self.desk.works(looked_at);
        self.say_report(parcel.sender, parcel.asked(), &body);
        Ok(())
    }

    fn write_instance(&self, entry: &mut Object<'_>, instance: &Instance) {
        if let Some(session) = self.sessions.get(instance.session) {
            session.caller.write_identity(entry);
            entry.seconds("since", instance.since);
            entry.number("open_requests", self.requests.owed_by(instance.session));
            entry.number("queue_bytes", session.outbound.outbox.queue_bytes());
        }
    }

    /// Goes on with the answer to `list`, and says it when the page is full or all nodes have been looked at.
    /// A node that is there throughout is given once: it has one place in the order.
    pub(super) fn go_on_with_nodes(&mut self, key: SessionKey, asked: Asked, mut nodes: Nodes) {
        let most = self.desk.tuning.line_effort.saturating_sub(self.desk.effort.call).max(1);
        let (mut looked_at, mut rest) = (0, None);
        let behind = nodes.after.take();
        for (_, node) in self.registry.nodes_after(behind.as_deref(), literal_prefix(&nodes.pattern)) {
            looked_at += 1 + node.instances.len() / 8;
            let is_told = if nodes.all { node.is_known() } else { !node.instances.is_empty() };
            let is_wanted = is_told && matches(&nodes.pattern, &node.name);
            if is_wanted && !nodes.page.add(|entry| write_node(entry, node)) {
                break;
            }
            if looked_at >= most {
                rest = Some(node.name.clone());
                break;
            }
        }
        self.desk.works(looked_at);
        if rest.is_some() {
            if let Err(refusal) = self.check_answer(key, nodes.page.kept_bytes()) {
                self.say_error_reply(key, asked.borrowed(), &refusal);
                return;
            }
            nodes.after = rest;
            self.desk.orders.resume(key);
            return self.suspend(key, Walk { asked, through: Through::Nodes(nodes) });
        }
        let mut body = Vec::new();
        let mut report = Object::begin(&mut body);
        nodes.page.write_to(&mut report, "nodes");
        report.boolean("more", nodes.page.more);
        self.say_report(key, asked.borrowed(), &body);
    }

    /// Goes on with the answer to `subscribers`, and says it when all have been found.
    pub(super) fn go_on_with_subscribers(
        &mut self,
        key: SessionKey,
        asked: Asked,
        (topic, limit, mut search): (Box<str>, usize, Search),
    ) {
        let most = self.desk.tuning.line_effort.saturating_sub(self.desk.effort.call).max(1);
        let (effort, is_over) = self.topics.search(&mut search, &topic, most);
        self.desk.works(effort);
        if !is_over {
            if let Err(refusal) = self.check_answer(key, search.kept_bytes()) {
                self.say_error_reply(key, asked.borrowed(), &refusal);
                return;
            }
            self.desk.orders.resume(key);
            return self.suspend(key, Walk { asked, through: Through::Subscribers { topic, limit, search } });
        }
        let mut page = self.page(limit);
        for subscriber in self.topics.found(&search) {
            if !page.add(|entry| self.write_subscriber(entry, subscriber)) {
                break;
            }
        }
        let mut body = Vec::new();
        let mut report = Object::begin(&mut body);
        page.write_to(&mut report, "subscribers");
        report.boolean("more", page.more);
        self.say_report(key, asked.borrowed(), &body);
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
        let names = self.sessions.get(key).map_or(&[][..], |session| &session.holdings.names);
        let nodes = names.iter().filter_map(|&name| self.registry.get(name));
        object.array("node_ids", nodes, |out, node| write_string(out, &node.name));
    }

    /// Answers `whoami`.
    pub(super) fn report_whoami(&mut self, parcel: &Parcel<'_>) {
        let Some(session) = self.sessions.get(parcel.sender) else { return };
        let peer = &session.caller.peer;
        let mut body = Vec::new();
        let mut report = Object::begin(&mut body);
        session.caller.write_identity(&mut report);
        self.write_node_ids(&mut report, parcel.sender);
        report.boolean("administrator", peer.administrator);
        report.string("transport", peer.transport.word());
        report.object("daemon", |daemon| {
            daemon.string("name", "telexd").string("version", self.about.version).number("protocol", 1);
            daemon.string("host", &self.about.host);
            daemon.object("limits", |limits| {
                write_limits(limits, &self.desk.limits, self.about.drain_timeout);
            });
        });
        // However many names or plugins there are, everybody may ask for this.
        self.say_counted(parcel.sender, parcel.asked(), &body, 0);
    }

    /// Answers `stats`.
    pub(super) fn report_stats(&mut self, parcel: &Parcel<'_>, plugins: &[Counters]) {
        let (desk, stats) = (&self.desk, &self.desk.stats);
        let mut body = Vec::new();
        let mut report = Object::begin(&mut body);
        report.seconds("uptime", desk.now.mono.saturating_sub(desk.started.mono));
        report.object("connections", |connections| {
            connections
                .number("now", self.sessions.len() - self.sessions.departed())
                .number("total", stats.connections_total);
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
        report.number("missed", stats.missed).number("untold", stats.untold);
        report.number("paused", self.rows.paused());
        let queued: usize =
            self.sessions.iter().map(|(_, session)| session.outbound.outbox.queue_bytes()).sum();
        report.number("queue_bytes", queued).number("queue_bytes_max", stats.queue_bytes_max);
        report.number("memory_bytes", self.kept_bytes());
        report.array("plugins", plugins, write_counters);
        // There is no spool yet: nothing is in it.
        report.object("spool", |spool| {
            spool.number("jobs", 0).number("bytes", 0);
        });
        report.number("turns", stats.turns);
        report.number("longest_turn_us", u64::try_from(stats.longest_turn.as_micros()).unwrap_or(u64::MAX));
        self.desk.works(self.sessions.len() / 4);
        // However many names or plugins there are, everybody may ask for this.
        self.say_counted(parcel.sender, parcel.asked(), &body, 0);
    }

    /// Replies with the members of `body`, an object without its closing brace. What is short is said also
    /// while memory is: the reason has to be found.
    fn say_report(&mut self, to: SessionKey, asked: AskedBy<'_>, body: &[u8]) {
        self.say_counted(to, asked, body, body.len());
    }

    /// Replies so as if the body had `bytes` bytes.
    fn say_counted(&mut self, to: SessionKey, asked: AskedBy<'_>, body: &[u8], bytes: usize) {
        match self.check_answer(to, bytes) {
            Ok(()) => self.say_reply(to, asked, |reply| reply.members(&body[1..])),
            Err(refusal) => drop(self.say_error_reply(to, asked, &refusal)),
        }
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
        SharedNames::User => "user",
        SharedNames::Any => "any",
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
