//! Knows how node IDs are taken and given up (PROTOCOL.md sections 3 and 4).
//! Never: who is told of it; that is handed on.

use std::sync::Arc;

use crate::core::event::{Event, Level};
use crate::core::happening::Happening;
use crate::core::order::Reason;
use crate::core::own_line::AskedBy;
use crate::core::parcel::Parcel;
use crate::core::peer::Identity;
use crate::core::table::node::{Claim, Instance, Status, Taken};
use crate::core::table::registry::{NodeKey, Registered};
use crate::core::{Core, SessionKey};
use crate::limits::SharedNames;
use crate::name::{check_node_id, expand, is_reserved, node_of};
use crate::wire::code::Code;
use crate::wire::control::{Delivery, Overflow, Register};
use crate::wire::message::{Refusal, excerpt};

/// What a new instance costs: its node stands in several tables, and the log tells of it.
const JOIN_EFFORT: usize = 16;

impl Core {
    /// Answers `register`.
    pub(super) fn register(&mut self, parcel: &Parcel<'_>, body: Register<'_>) -> Result<(), Refusal> {
        let key = parcel.sender;
        let (pattern, field) = self.node_id_asked_for(parcel, &body)?;
        let name = self.expand_node_id(key, pattern, field)?;
        let Some(session) = self.sessions.get(key) else { return Ok(()) };
        let (number, user) = (session.caller.number, session.caller.user());
        let claim = Claim {
            name: &name,
            instance: Instance { session: key, number, user, since: self.desk.now.wall },
            delivery: body.delivery,
            exclusive: body.exclusive,
            replace: body.replace,
            shared_by_any: self.desk.limits.shared_names == SharedNames::Any,
            endpoints: body.endpoints.map(|list| list.into_iter().map(Box::from).collect()),
            meta: body.meta.map(|meta| Some(meta).filter(|meta| *meta != "null").map(Box::from)),
        };
        self.check_room_for(key, &claim)?;
        let (has_departed, known_max) = (session.departed, self.desk.limits.max_known_nodes);
        let done = match has_departed {
            // It is no instance any more.
            true => self.registry.register_departed(claim),
            false => self.registry.register(claim, known_max),
        };
        let done = done.map_err(|taken| refuse_taken(&name, taken))?;
        if let Some(session) = self.sessions.get_mut(key) {
            let (outbound, holdings) = (&mut session.outbound, &mut session.holdings);
            outbound.wants_sender = body.credentials.unwrap_or(outbound.wants_sender);
            holdings.never_waits =
                body.overflow.map_or(holdings.never_waits, |overflow| overflow == Overflow::Fail);
            if done.joined {
                holdings.names.push(done.node);
            }
        }
        self.readdress(key);
        self.oust(&name, &done);
        let asked = AskedBy { from: &name, ..parcel.asked() };
        self.say_reply(key, asked, |reply| {
            reply.string("node_id", &name).string("unique_id", &format!(":{number}"));
        });
        if done.joined {
            // The others were looked at.
            let instances = self.registry.get(done.node).map_or(0, |node| node.instances.len());
            self.desk.works(JOIN_EFFORT + instances / 8);
            if !has_departed {
                self.tell_up(&name, number);
                self.call_waiters_of(done.node);
                let (about, text) = (self.sessions.subject(key), self.text_of_arrival(key, &name, instances));
                self.desk.orders.note(Level::Info, Event::Registered, about, text, |fields| {
                    fields.string("node_id", &name);
                });
            }
            self.happened(key, || Happening::Registered { node_id: name.clone() });
        }
        Ok(())
    }

    /// Of a connection that holds a node ID now, for people.
    fn text_of_arrival(&self, key: SessionKey, name: &str, instances: usize) -> String {
        let identity = self.sessions.get(key).map(|session| &session.caller.peer.identity);
        let mut text = format!("is {name}");
        match identity {
            Some(Identity::Kernel { uid: Some(uid), pid, .. }) => text += &format!(" (uid {uid}, pid {pid})"),
            Some(Identity::Kernel { uid: None, pid, .. }) => text += &format!(" (pid {pid})"),
            Some(Identity::Anonymous) | None => {}
        }
        if instances > 1 {
            text += &format!(", one of {instances} instances now");
        }
        text
    }

    /// Whether a connection may hold one more node ID, or have more kept of one that it holds.
    fn check_room_for(&self, key: SessionKey, claim: &Claim<'_>) -> Result<(), Refusal> {
        let names = self.sessions.get(key).map_or(0, |session| session.holdings.names.len());
        let joins = !self.holds(key, claim.name);
        if joins && names >= self.desk.limits.max_names {
            let error = format!("this connection holds {names} node IDs, which is max_names");
            return Err(Refusal::new(Code::TooManyNames, error));
        }
        match (joins || self.registry.grows_by(claim) > 0) && self.is_overloaded() {
            true => Err(self.out_of_memory()),
            false => Ok(()),
        }
    }

    /// Takes the node ID from those that held it before.
    fn oust(&mut self, name: &Arc<str>, done: &Registered) {
        for ousted in &done.ousted {
            if let Some(session) = self.sessions.get_mut(ousted.session) {
                session.holdings.names.retain(|&node| node != done.node);
            }
            self.readdress(ousted.session);
            self.tell_down(name, ousted.number, Reason::Replaced);
            self.happened(ousted.session, || Happening::Unregistered {
                node_id: name.clone(),
                reason: Reason::Replaced,
            });
            self.rows.call_waiters(&mut self.sessions, &mut self.desk, ousted.session);
            self.desk.works(2);
        }
    }

    /// A node that shares its messages out has one more instance, with room.
    fn call_waiters_of(&mut self, node: NodeKey) {
        if self.rows.are_empty() {
            return;
        }
        let node = self.registry.get(node).filter(|node| node.delivery == Delivery::One);
        let instances: Vec<_> = node.into_iter().flat_map(|node| &node.instances).cloned().collect();
        for instance in instances {
            self.rows.call_waiters(&mut self.sessions, &mut self.desk, instance.session);
        }
    }

    /// The first of a connection's node IDs may be another now.
    fn readdress(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let first = session.holdings.names.first().and_then(|&node| self.registry.get(node));
        session.caller.address = first.map_or(&session.caller.unique_id, |node| &node.name).clone();
    }

    /// Whether a connection may call itself this: its unique id, a node ID that it holds, or a port of one of
    /// them.
    pub(super) fn holds(&self, key: SessionKey, address: &str) -> bool {
        let Some(session) = self.sessions.get(key) else { return false };
        // One of few names is found faster than by its hash.
        const FEW: usize = 8;
        let names = &session.holdings.names;
        let is_own = |node_id: &str| {
            *session.caller.address == *node_id
                || *session.caller.unique_id == *node_id
                || match names.len() {
                    ..=FEW => names
                        .iter()
                        .filter_map(|&node| self.registry.get(node))
                        .any(|node| *node.name == *node_id),
                    _ => self.registry.find(node_id).and_then(|node| self.registry.get(node)).is_some_and(
                        |node| {
                            node.instances.iter().any(|instance| instance.session == key)
                                || node.has_departed(key)
                        },
                    ),
                }
        };
        // Most are without a port, and need no search for one.
        is_own(address) || (address.contains('#') && is_own(node_of(address)))
    }

    /// The node ID as it was asked for, and the field it came from: `from` if that is new to the sender, else
    /// the body's, else `from` again.
    fn node_id_asked_for<'a>(
        &self,
        parcel: &'a Parcel<'_>,
        body: &'a Register<'_>,
    ) -> Result<(&'a str, &'static str), Refusal> {
        let given = parcel.message.from.as_deref();
        match (given, body.node_id.as_deref()) {
            (Some(from), Some(node_id)) if !self.holds(parcel.sender, from) && from != node_id => {
                let error = format!(
                    "\"from\" is \"{}\" and \"body.node_id\" is \"{}\"; a register names one node ID",
                    excerpt(from),
                    excerpt(node_id)
                );
                Err(Refusal::new(Code::BadField, error))
            }
            (_, Some(node_id)) => Ok((node_id, "body.node_id")),
            (Some(from), None) => Ok((from, "from")),
            (None, None) => {
                Err(Refusal::missing_field("from", "the node ID to register, or \"body.node_id\""))
            }
        }
    }

    fn expand_node_id(&mut self, key: SessionKey, pattern: &str, field: &str) -> Result<Arc<str>, Refusal> {
        let bad = |why| {
            Refusal::new(Code::BadField, format!("\"{field}\" is \"{}\", which {why}", excerpt(pattern)))
        };
        let has_unique = expand(pattern, "", "").map_err(bad)? != expand(pattern, "", "u").map_err(bad)?;
        let name = loop {
            let name = expand(pattern, &self.about.host, &self.unique_part(key)).map_err(bad)?;
            let is_free = self.registry.find(&name).is_none();
            // The number is unique among connections, but it may have been taken for a name. What was taken
            // once is not tried again, so that this can be made long once only.
            match self.sessions.get_mut(key) {
                Some(session) if has_unique && !is_free => session.holdings.taken_parts += 1,
                _ => break name,
            }
            self.desk.works(1);
        };
        check_node_id(&name).map_err(bad)?;
        if is_reserved(&name) {
            let error = format!(
                "\"{field}\" is \"{}\": node IDs that begin with \"telex.\" are the daemon's",
                excerpt(&name)
            );
            return Err(Refusal::new(Code::Denied, error));
        }
        Ok(Arc::from(name))
    }

    /// What `%u` becomes next: the connection's number, and behind it how often that was taken.
    fn unique_part(&self, key: SessionKey) -> String {
        let Some(session) = self.sessions.get(key) else { return String::new() };
        match session.holdings.taken_parts {
            0 => session.caller.number.to_string(),
            taken => format!("{}-{}", session.caller.number, taken + 1),
        }
    }

    /// Answers `unregister`.
    pub(super) fn unregister(&mut self, parcel: &Parcel<'_>, node_id: &str) -> Result<(), Refusal> {
        let key = parcel.sender;
        self.check_answer(key, 0)?;
        let node = self.registry.find(node_id);
        let name = node.and_then(|node| self.registry.get(node)).map(|node| node.name.clone());
        let now = self.desk.now.wall;
        let has_departed = self.sessions.has_departed(key);
        let given_up = node.filter(|&node| match has_departed {
            true => self.registry.release(node, key),
            false => self.registry.unregister(node, key, Status::Down, now),
        });
        let (Some(node), Some(name)) = (given_up, name) else {
            let error =
                format!("\"body.node_id\" is \"{}\", which this connection does not hold", excerpt(node_id));
            return Err(Refusal::new(Code::NotYours, error));
        };
        let number = self.sessions.number_of(key).unwrap_or_default();
        if let Some(session) = self.sessions.get_mut(key) {
            session.holdings.names.retain(|&name| name != node);
        }
        self.readdress(key);
        self.say_reply(key, parcel.asked(), |_| {});
        if !has_departed {
            self.tell_down(&name, number, Reason::Unregistered);
            self.rows.call_waiters(&mut self.sessions, &mut self.desk, key);
            let (about, text) = (self.sessions.subject(key), format!("is {node_id} no more"));
            self.desk.orders.note(Level::Info, Event::Unregistered, about, text, |fields| {
                fields.string("node_id", node_id);
            });
        }
        let reason = Reason::Unregistered;
        self.happened(key, || Happening::Unregistered { node_id: name, reason });
        Ok(())
    }
}

fn refuse_taken(name: &str, taken: Taken) -> Refusal {
    let name = excerpt(name);
    match taken {
        Taken::ByOthers => Refusal::new(Code::NameTaken, format!("\"{name}\" is held by another user")),
        Taken::ByDeparted => Refusal::new(
            Code::NameTaken,
            format!(
                "\"{name}\" was held by another user, whose last messages still wait for a slow receiver"
            ),
        ),
        Taken::Exclusively => {
            Refusal::new(Code::NameTaken, format!("\"{name}\" is held exclusively by another connection"))
        }
        Taken::Shared => Refusal::new(
            Code::NameTaken,
            format!(
                "\"{name}\" has other instances, so it cannot be had exclusively; \"replace\":true takes it over"
            ),
        ),
        Taken::Delivery(delivery) => Refusal::new(
            Code::DeliveryMismatch,
            format!(
                "\"{name}\" has instances with \"delivery\":\"{}\"; all instances of a node share one way",
                delivery.word()
            ),
        ),
    }
}
