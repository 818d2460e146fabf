//! Knows what the daemon answers to those who ask it (PROTOCOL.md sections 3 and 7).
//! Never: how an answer is spelled where it is long; see `report`.

use std::borrow::Cow;
use std::rc::Rc;

use crate::core::registry::{Claim, Instance, Status, Taken};
use crate::core::route::Parcel;
use crate::core::{Core, Event, Gate, Happening, Level, Reason, SessionKey};
use crate::limits::{DEPTH_MAX, SharedNames};
use crate::name::{NodeAddress, check_node_id, expand, is_reserved};
use crate::wire::code::Code;
use crate::wire::control::{Ask, Overflow, Patterns, Register, Subscription, Victim};
use crate::wire::envelope::{Field, nests_within};
use crate::wire::message::{Refusal, excerpt};

/// What an entry of a session's takes beside its texts, about.
const HOLDING_BYTES: usize = 256;

impl Core {
    /// Answers a request to the daemon.
    pub(super) fn control(&mut self, parcel: &Parcel<'_>, gate: &dyn Gate) {
        let body = parcel.message.envelope.raw(Field::Body);
        let done = match Ask::read(&parcel.message.message_type, body) {
            Ok(ask) => self.answer(parcel, ask, body, gate),
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = done {
            self.refuse(parcel, &refusal);
        }
    }

    fn answer(
        &mut self,
        parcel: &Parcel<'_>,
        ask: Ask<'_>,
        body: Option<&str>,
        gate: &dyn Gate,
    ) -> Result<(), Refusal> {
        let (key, asked) = (parcel.sender, parcel.asked());
        match ask {
            Ask::Register(register) => return self.register(parcel, *register),
            Ask::Unregister { node_id } => return self.unregister(parcel, &node_id),
            Ask::Monitor { pattern } => return self.monitor(parcel, &pattern),
            Ask::Kill { target, reason } => return self.kill(parcel, &target, reason),
            Ask::Reload => return self.reload(parcel),
            Ask::Subscribe(subscription) => self.subscribe(key, &subscription)?,
            Ask::Unsubscribe(Subscription { pattern, group }) => {
                if let Some(number) = self.number_of(key)
                    && self.topics.unsubscribe(key, number, &pattern, group.as_deref())
                {
                    self.release_subscriptions(key, 1, pattern.len());
                    self.happened(key, || Happening::Unsubscribed {
                        topic: pattern.into(),
                        group: group.map(Box::from),
                    });
                }
            }
            Ask::Unmonitor { pattern } => {
                if let Some(number) = self.number_of(key)
                    && self.watch.unmonitor(number, &pattern)
                {
                    self.release_subscriptions(key, 1, pattern.len());
                }
            }
            Ask::Tap(patterns) => self.begin_tap(key, *patterns)?,
            Ask::Untap(patterns) => {
                let ended = self.watch.untap(key, &patterns);
                self.release_subscriptions(key, ended, 0);
            }
            Ask::Resolve { node_id } => return self.report_node(parcel, &node_id),
            Ask::List { pattern, all, after, limit } => {
                self.report_nodes(parcel, pattern.as_deref().unwrap_or("*"), all, after.as_deref(), limit);
                return Ok(());
            }
            Ask::Subscribers { topic, limit } => {
                self.report_subscribers(parcel, &topic, limit);
                return Ok(());
            }
            Ask::Whoami => {
                self.report_whoami(parcel);
                return Ok(());
            }
            Ask::Stats => {
                self.report_stats(parcel, &gate.counters());
                return Ok(());
            }
            Ask::Ping => {
                if self.is_overloaded() {
                    return Err(self.out_of_memory());
                }
                return self.ping(parcel, body.unwrap_or("null"));
            }
        }
        self.say_reply(key, asked, |_| {});
        Ok(())
    }

    /// Gives the body back, one level deeper than it came.
    fn ping(&mut self, parcel: &Parcel<'_>, body: &str) -> Result<(), Refusal> {
        if !nests_within(body, DEPTH_MAX - 2) {
            let error = format!("\"body\" nests so deeply that the reply would pass {DEPTH_MAX} levels");
            return Err(Refusal::new(Code::BadField, error));
        }
        let now = self.now.wall;
        self.say_reply(parcel.sender, parcel.asked(), |reply| {
            reply.raw("body", body.as_bytes()).seconds("time", now);
        });
        Ok(())
    }

    fn number_of(&self, key: SessionKey) -> Option<u64> {
        self.sessions.get(key).map(|session| session.number)
    }

    fn register(&mut self, parcel: &Parcel<'_>, body: Register<'_>) -> Result<(), Refusal> {
        let key = parcel.sender;
        let (pattern, field) = self.node_id_asked_for(parcel, &body)?;
        let name = self.expand_node_id(key, pattern, field)?;
        let Some(session) = self.sessions.get(key) else { return Ok(()) };
        let (number, user) = (session.number, session.peer.user());
        if !self.holds(key, &name) {
            if session.names.len() >= self.limits.max_names {
                let error =
                    format!("this connection holds {} node IDs, which is max_names", session.names.len());
                return Err(Refusal::new(Code::TooManyNames, error));
            }
            if self.is_overloaded() {
                return Err(self.out_of_memory());
            }
        }
        let claim = Claim {
            name: &name,
            instance: Instance { session: key, number, user, since: self.now.wall },
            delivery: body.delivery,
            exclusive: body.exclusive,
            replace: body.replace,
            shared_by_any: self.limits.shared_names == SharedNames::Any,
            endpoints: body.endpoints.map(|list| list.into_iter().map(Box::from).collect()),
            meta: body.meta.map(|meta| Some(meta).filter(|meta| *meta != "null").map(Box::from)),
        };
        let done = self
            .registry
            .register(claim, self.limits.max_known_nodes)
            .map_err(|taken| refuse_taken(&name, taken))?;
        if let Some(session) = self.sessions.get_mut(key) {
            session.wants_sender = body.credentials.unwrap_or(session.wants_sender);
            session.never_waits =
                body.overflow.map_or(session.never_waits, |overflow| overflow == Overflow::Fail);
            if done.joined {
                session.names.push(done.node);
            }
        }
        for ousted in &done.ousted {
            if let Some(session) = self.sessions.get_mut(ousted.session) {
                session.names.retain(|&node| node != done.node);
            }
            self.tell_down(&name, ousted.number, Reason::Replaced);
            self.happened(ousted.session, || Happening::Unregistered {
                node_id: name.clone(),
                reason: Reason::Replaced,
            });
            self.call_waiters(ousted.session);
        }
        let asked = super::delivery::AskedBy { from: &name, ..parcel.asked() };
        self.say_reply(key, asked, |reply| {
            reply.string("node_id", &name).string("unique_id", &format!(":{number}"));
        });
        if done.joined {
            self.tell_up(&name, number);
            self.call_waiters_of(done.node);
            let text = format!("is {name}");
            self.note(Level::Info, Event::Registered, self.subject(key), text, |fields| {
                fields.string("node_id", &name);
            });
            self.happened(key, || Happening::Registered { node_id: name.clone() });
        }
        Ok(())
    }

    /// The node ID as it was asked for, and the field it came from: `from` where that is new to the
    /// sender, else the body's, else `from` again.
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

    fn expand_node_id(&mut self, key: SessionKey, pattern: &str, field: &str) -> Result<Rc<str>, Refusal> {
        let bad = |why| {
            Refusal::new(Code::BadField, format!("\"{field}\" is \"{}\", which {why}", excerpt(pattern)))
        };
        let has_unique = expand(pattern, "", "").map_err(bad)? != expand(pattern, "", "u").map_err(bad)?;
        let name = loop {
            let name = expand(pattern, &self.about.host, &self.unique_part(key)).map_err(bad)?;
            let is_free = self.registry.find(&name).is_none();
            // The number is unique among connections, but somebody may have taken it for a name.
            // What was taken once is not tried again, so that nobody can make this long twice.
            match self.sessions.get_mut(key) {
                Some(session) if has_unique && !is_free => session.taken_parts += 1,
                _ => break name,
            }
            self.effort += 1;
        };
        check_node_id(&name).map_err(bad)?;
        if is_reserved(&name) {
            let error = format!(
                "\"{field}\" is \"{}\": node IDs that begin with \"telex.\" are the daemon's",
                excerpt(&name)
            );
            return Err(Refusal::new(Code::Denied, error));
        }
        Ok(Rc::from(name))
    }

    /// What `%u` becomes next: the connection's number, and behind it how often that was taken.
    fn unique_part(&self, key: SessionKey) -> String {
        match self.sessions.get(key) {
            Some(session) if session.taken_parts > 0 => {
                format!("{}-{}", session.number, session.taken_parts + 1)
            }
            Some(session) => session.number.to_string(),
            None => String::new(),
        }
    }

    fn unregister(&mut self, parcel: &Parcel<'_>, node_id: &str) -> Result<(), Refusal> {
        let key = parcel.sender;
        let node = self.registry.find(node_id);
        let is_mine =
            |core: &mut Core, node| core.registry.unregister(node, key, Status::Down, core.now.wall);
        let name: Option<Rc<str>> =
            node.and_then(|node| self.registry.get(node)).map(|node| node.name.clone());
        let (Some(node), Some(name)) = (node.filter(|&node| is_mine(self, node)), name) else {
            let error =
                format!("\"body.node_id\" is \"{}\", which this connection does not hold", excerpt(node_id));
            return Err(Refusal::new(Code::NotYours, error));
        };
        let number = self.number_of(key).unwrap_or_default();
        if let Some(session) = self.sessions.get_mut(key) {
            session.names.retain(|&name| name != node);
        }
        self.say_reply(key, parcel.asked(), |_| {});
        self.tell_down(&name, number, Reason::Unregistered);
        self.call_waiters(key);
        let text = format!("is {node_id} no more");
        self.note(Level::Info, Event::Unregistered, self.subject(key), text, |fields| {
            fields.string("node_id", node_id);
        });
        self.happened(key, || Happening::Unregistered {
            node_id: node_id.into(),
            reason: Reason::Unregistered,
        });
        Ok(())
    }

    fn subscribe(&mut self, key: SessionKey, subscription: &Subscription<'_>) -> Result<(), Refusal> {
        let Subscription { pattern, group } = subscription;
        let Some(number) = self.number_of(key) else { return Ok(()) };
        if !self.topics.subscribe(key, number, pattern, group.as_deref()) {
            return Ok(());
        }
        self.take_subscription(key, pattern.len()).inspect_err(|_| {
            self.topics.unsubscribe(key, number, pattern, group.as_deref());
        })?;
        self.happened(key, || Happening::Subscribed {
            topic: (**pattern).into(),
            group: group.as_deref().map(Box::from),
        });
        Ok(())
    }

    fn monitor(&mut self, parcel: &Parcel<'_>, pattern: &str) -> Result<(), Refusal> {
        let key = parcel.sender;
        let Some(number) = self.number_of(key) else { return Ok(()) };
        let is_new = self.watch.monitor(key, number, pattern);
        if is_new {
            self.take_subscription(key, pattern.len()).inspect_err(|_| {
                self.watch.unmonitor(number, pattern);
            })?;
        }
        self.begin_roll_call(key, pattern, is_new, parcel.asked());
        Ok(())
    }

    fn begin_tap(&mut self, key: SessionKey, patterns: Patterns<'_>) -> Result<(), Refusal> {
        self.check_administrator(key, "tap")?;
        let Some(number) = self.number_of(key) else { return Ok(()) };
        if !self.watch.is_tapping(key, &patterns) {
            // Not to be taken back by untap: without patterns that would end all.
            self.take_subscription(key, 0)?;
            self.watch.tap(key, number, patterns.into_owned());
        }
        Ok(())
    }

    /// Counts a subscription, monitor or tap; where that is one too many and it has been made already,
    /// it has to be taken back.
    fn take_subscription(&mut self, key: SessionKey, text_bytes: usize) -> Result<(), Refusal> {
        let most = self.limits.max_subscriptions;
        if self.is_overloaded() {
            return Err(self.out_of_memory());
        }
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        if session.subscriptions >= most {
            let error = format!(
                "this connection has {most} subscriptions, monitors and taps, which is max_subscriptions"
            );
            return Err(Refusal::new(Code::TooManySubscriptions, error));
        }
        session.subscriptions += 1;
        session.holdings += HOLDING_BYTES + 4 * text_bytes;
        Ok(())
    }

    fn release_subscriptions(&mut self, key: SessionKey, count: usize, text_bytes: usize) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.subscriptions -= count;
            session.holdings -= count * (HOLDING_BYTES + 4 * text_bytes);
        }
    }

    fn kill(
        &mut self,
        parcel: &Parcel<'_>,
        target: &Victim<'_>,
        reason: Option<Cow<'_, str>>,
    ) -> Result<(), Refusal> {
        let key = parcel.sender;
        self.check_administrator(key, "kill")?;
        let (victims, whom) = match target {
            Victim::Node(node_id) => {
                let node = self.registry.find(node_id).and_then(|node| self.registry.get(node));
                let instances =
                    node.map(|node| node.instances.iter().map(|instance| instance.session).collect());
                (instances.unwrap_or_default(), node_id)
            }
            Victim::Unique(unique_id) => {
                (self.find_unique(unique_id).into_iter().collect::<Vec<_>>(), unique_id)
            }
        };
        if victims.is_empty() {
            return Err(Refusal::new(Code::NoSuchNode, format!("nobody is there as \"{}\"", excerpt(whom))));
        }
        let reason = reason.unwrap_or(Cow::Borrowed("an administrator has closed this connection"));
        let refusal = Refusal::new(Code::Denied, reason);
        let mut others = victims.clone();
        others.retain(|&victim| victim != key);
        for &victim in &others {
            self.end_killed(victim, &refusal);
        }
        // Its own end comes last, behind the answer.
        self.say_reply(key, parcel.asked(), |reply| {
            reply.number("killed", victims.len());
        });
        if others.len() < victims.len() {
            self.end_killed(key, &refusal);
        }
        Ok(())
    }

    fn end_killed(&mut self, victim: SessionKey, refusal: &Refusal) {
        self.say_error(victim, None, refusal, None, |_| {});
        self.leave(victim, Reason::Killed);
    }

    fn find_unique(&self, unique_id: &str) -> Option<SessionKey> {
        let Ok(NodeAddress::Unique(number)) = NodeAddress::parse(unique_id) else { return None };
        let key = self.find_number(number)?;
        self.sessions.get(key).filter(|session| *session.unique_id == *unique_id).map(|_| key)
    }

    pub(super) fn check_administrator(&self, key: SessionKey, what: &str) -> Result<(), Refusal> {
        match self.sessions.get(key).is_some_and(|session| session.peer.administrator) {
            true => Ok(()),
            false => Err(Refusal::new(
                Code::Denied,
                format!(
                    "\"{what}\" is for administrators: over the Unix socket root and the daemon's own user"
                ),
            )),
        }
    }
}

fn refuse_taken(name: &str, taken: Taken) -> Refusal {
    let name = excerpt(name);
    match taken {
        Taken::ByOthers => Refusal::new(Code::NameTaken, format!("\"{name}\" is held by another user")),
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
