//! Knows how the daemon spells what it knows: nodes, subscribers, connections, counters (PROTOCOL.md sections 7
//! and 12).
//! Never: changes any of it.

use std::time::Duration;

use crate::core::gate::Counters;
use crate::core::own_line::AskedBy;
use crate::core::parcel::Parcel;
use crate::core::session::{Connections, Nodes, Page, Session, Through, Walk};
use crate::core::table::node::{Instance, Node, Status};
use crate::core::table::requests::Asked;
use crate::core::table::search::{Search, Subscriber};
use crate::core::traffic::Traffic;
use crate::core::{Core, SessionKey};
use crate::limits::{Limits, PAGE_ENTRIES_MAX, SharedNames};
use crate::name::{NodeAddress, literal_prefix, matches};
use crate::wire::code::Code;
use crate::wire::control::Delivery;
use crate::wire::json::{Object, write_seconds, write_string};
use crate::wire::message::{Refusal, excerpt};

/// Of so many instances of a node `list` tells more than their ids; `resolve` tells of all.
const DETAILED_INSTANCES_MAX: usize = 100;

/// Of a connection whose line waits for room, so many of the receivers are named.
const WAITED_FOR_MAX: usize = 8;

impl Core {
    /// An empty page of at most `limit` entries.
    pub(super) fn page(&self, limit: usize) -> Page {
        Page::new(limit, self.desk.limits.max_line_bytes / 2)
    }

    /// Answers `resolve`.
    pub(super) fn report_node(&mut self, parcel: &Parcel<'_>, node_id: &str) -> Result<(), Refusal> {
        if let Ok(NodeAddress::Unique(number)) = NodeAddress::parse(node_id) {
            return self.report_connection(parcel, node_id, number);
        }
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

    /// Answers `resolve` of a unique id: its connection as if it were a node of its own.
    fn report_connection(
        &mut self,
        parcel: &Parcel<'_>,
        unique_id: &str,
        number: u64,
    ) -> Result<(), Refusal> {
        let found = self.sessions.here(number).and_then(|key| Some((key, self.sessions.get(key)?)));
        let Some((key, session)) = found.filter(|(_, session)| *session.caller.unique_id == *unique_id)
        else {
            return Err(Refusal::new(Code::NoSuchNode, format!("no connection \"{}\"", excerpt(unique_id))));
        };
        let mut page = self.page(PAGE_ENTRIES_MAX);
        page.add(|entry| {
            session.caller.write_identity(entry);
            entry.seconds("since", session.caller.since());
            self.write_load(entry, key, session);
        });
        let mut body = Vec::new();
        let mut report = Object::begin(&mut body);
        report.string("node_id", unique_id).string("status", Status::Up.word());
        report.string("delivery", Delivery::All.word());
        self.write_node_ids(&mut report, key);
        page.write_to(&mut report, "instances");
        report.strings("endpoints", std::iter::empty()).null("meta");
        report.seconds("last_seen", self.desk.now.wall);
        self.say_report(parcel.sender, parcel.asked(), &body);
        Ok(())
    }

    fn write_instance(&self, entry: &mut Object<'_>, instance: &Instance) {
        if let Some(session) = self.sessions.get(instance.session) {
            session.caller.write_identity(entry);
            entry.seconds("since", instance.since);
            self.write_load(entry, instance.session, session);
        }
    }

    /// What a connection owes and is owed.
    fn write_load(&self, entry: &mut Object<'_>, key: SessionKey, session: &Session) {
        let outbox = &session.outbound.outbox;
        let oldest_ms = outbox.oldest_at().map_or(0, |at| self.desk.queued_for(at));
        entry.number("open_requests", self.requests.owed_by(key));
        entry.number("queue_bytes", outbox.queue_bytes()).number("oldest_ms", oldest_ms);
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
            if is_wanted && nodes.details {
                looked_at += node.instances.len().min(DETAILED_INSTANCES_MAX);
            }
            if is_wanted && !nodes.page.add(|entry| self.write_node(entry, node, nodes.details)) {
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

    /// Goes on with the answer to `connections`, and says it when the page is full or all have been looked at.
    pub(super) fn go_on_with_connections(
        &mut self,
        key: SessionKey,
        asked: Asked,
        mut connections: Connections,
    ) {
        let most = self.desk.tuning.line_effort.saturating_sub(self.desk.effort.call).max(1);
        let (mut looked_at, mut is_over) = (0, true);
        for (shown, session) in self.sessions.behind(connections.after) {
            if looked_at >= most {
                is_over = false;
                break;
            }
            looked_at += 1;
            let is_wanted = connections.of.as_ref().is_none_or(|user| session.caller.user().is_same(user))
                || shown == key;
            if is_wanted && !connections.page.add(|entry| self.write_connection(entry, shown, session)) {
                break;
            }
            connections.after = session.caller.number;
        }
        self.desk.works(looked_at);
        if !is_over {
            if let Err(refusal) = self.check_answer(key, connections.page.kept_bytes()) {
                self.say_error_reply(key, asked.borrowed(), &refusal);
                return;
            }
            self.desk.orders.resume(key);
            return self.suspend(key, Walk { asked, through: Through::Connections(connections) });
        }
        let mut body = Vec::new();
        let mut report = Object::begin(&mut body);
        connections.page.write_to(&mut report, "connections");
        report.boolean("more", connections.page.more);
        self.say_report(key, asked.borrowed(), &body);
    }

    fn write_connection(&self, entry: &mut Object<'_>, key: SessionKey, session: &Session) {
        let Session { caller, inbound, outbound, .. } = session;
        caller.write_identity(entry);
        self.write_node_ids(entry, key);
        entry.string("transport", caller.peer.transport.word()).seconds("since", caller.since());
        entry.number("lines_in", inbound.lines).number("lines_out", outbound.lines);
        entry.number("bytes_in", inbound.bytes).number("bytes_out", outbound.taken);
        self.write_load(entry, key, session);
        entry.number("asked_requests", self.requests.asked_by(key));
        entry.number("subscriptions", session.holdings.subscriptions);
        entry.number("missed", outbound.lag.as_ref().map_or(0, |lag| lag.all));
        match inbound.pauses.word() {
            Some(word) => entry.string("paused", word),
            None => entry.null("paused"),
        };
        if let Some(held) = &inbound.held {
            let waits_for = held.receivers.iter().filter_map(|&receiver| self.sessions.get(receiver));
            let waits_for = waits_for.take(WAITED_FOR_MAX).map(|receiver| &*receiver.caller.unique_id);
            entry.strings("waits_for", waits_for);
        }
        entry.boolean("leaving", !session.is_here());
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

    fn write_node(&self, entry: &mut Object<'_>, node: &Node, details: bool) {
        entry.string("node_id", &node.name).string("status", node.status.word());
        entry.string("delivery", node.delivery.word());
        if !details {
            entry.array("instances", &node.instances, |out, instance| {
                write_string(out, &format!(":{}", instance.number))
            });
            return;
        }
        entry.array("instances", node.instances.iter().take(DETAILED_INSTANCES_MAX), |out, instance| {
            let mut detailed = Object::begin(out);
            self.write_instance(&mut detailed, instance);
            detailed.end();
        });
        if node.instances.len() > DETAILED_INSTANCES_MAX {
            entry.boolean("more", true);
        }
    }

    fn write_subscriber(&self, entry: &mut Object<'_>, subscriber: &Subscriber) {
        entry.string("unique_id", &format!(":{}", subscriber.number));
        self.write_node_ids(entry, subscriber.session);
        match &subscriber.group {
            Some(group) => entry.string("group", group),
            None => entry.null("group"),
        };
    }

    pub(super) fn write_node_ids(&self, object: &mut Object<'_>, key: SessionKey) {
        let names = self.sessions.get(key).map_or(&[][..], |session| &session.holdings.names);
        let nodes = names.iter().filter_map(|&name| self.registry.get(name));
        object.array("node_ids", nodes, |out, node| write_string(out, &node.name));
    }

    /// Answers `topics`: those with the most messages of late. From the first such request on they are counted.
    pub(super) fn report_topics(&mut self, parcel: &Parcel<'_>, limit: usize) {
        let now = self.desk.mono();
        let traffic = self.traffic.get_or_insert_with(|| Box::new(Traffic::new(now)));
        traffic.asked(now);
        let busiest = traffic.busiest(now);
        let (seconds, others) = (traffic.counted_for(now), traffic.others(now));
        let mut page = Page::new(limit, self.desk.limits.max_line_bytes / 2);
        for (topic, counts) in &busiest {
            let is_added = page.add(|entry| {
                entry
                    .string("topic", topic)
                    .number("messages", counts.messages)
                    .number("bytes", counts.bytes);
                entry.number("subscribers", counts.subscribers).number("missed", counts.missed);
            });
            if !is_added {
                break;
            }
        }
        self.desk.works(busiest.len());
        let mut body = Vec::new();
        let mut report = Object::begin(&mut body);
        report.seconds("seconds", seconds);
        page.write_to(&mut report, "topics");
        report.number("others", others).boolean("more", page.more);
        self.say_report(parcel.sender, parcel.asked(), &body);
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
        let ages = self.sessions.iter().filter_map(|(_, session)| session.outbound.outbox.oldest_at());
        report.number("oldest_ms", ages.map(|at| desk.queued_for(at)).max().unwrap_or(0));
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
    pub(super) fn say_report(&mut self, to: SessionKey, asked: AskedBy<'_>, body: &[u8]) {
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
