//! Knows who gets a message, or why nobody does (PROTOCOL.md sections 4 to 6).
//! Never: how a message gets into a queue, or what it says.

use std::time::Duration;

use crate::core::delivery::AskedBy;
use crate::core::outbox::Class;
use crate::core::registry::NodeKey;
use crate::core::requests::{Asked, LegKey, RequestKey};
use crate::core::session::{Held, LastTo};
use crate::core::share::Reach;
use crate::core::timers::Timer;
use crate::core::{Core, Gate, SessionKey};
use crate::name::NodeAddress;
use crate::wire::code::Code;
use crate::wire::envelope::Outgoing;
use crate::wire::message::{Id, Kind, Message, Refusal, Target, excerpt};

/// A message that has been let in, on its way.
#[derive(Clone, Debug)]
pub(super) struct Parcel<'a> {
    pub(super) sender: SessionKey,
    pub(super) message: &'a Message<'a>,
    /// As stamped.
    pub(super) from: &'a str,
    /// As given, or assigned.
    pub(super) id: &'a Id<'a>,
    /// The line as it leaves.
    pub(super) line: Outgoing<'a>,
    /// Of a request: when it is over.
    pub(super) deadline: Duration,
    /// Its place in the row, where it has waited.
    pub(super) ticket: Option<u64>,
    /// The receiver that called its sender, which had waited for it.
    pub(super) favoured: Option<SessionKey>,
}

impl<'a> Parcel<'a> {
    fn is_request(&self) -> bool {
        self.message.kind == Kind::Request
    }

    pub(super) fn asked(&'a self) -> AskedBy<'a> {
        AskedBy { from: self.from, id: Some(self.id), message_type: &self.message.message_type }
    }
}

/// What became of a message to its receivers.
enum Outcome {
    Delivered,
    Refused(Refusal),
    /// A request of this id is open already.
    Doubled,
    /// It can go on when one of these has room.
    WaitsFor(Box<[SessionKey]>),
}

impl Core {
    /// Sends a message where it is to go.
    pub(super) fn route(&mut self, parcel: &Parcel<'_>, gate: &dyn Gate) {
        match (&parcel.message.kind, &parcel.message.target) {
            (Kind::Reply(answered), target) => self.route_reply(parcel, answered, target),
            (Kind::Signal, Target::Daemon) => {}
            (Kind::Request, Target::Daemon) => self.control(parcel, gate),
            (_, Target::Address(to)) => self.route_to_address(parcel, to),
            (_, Target::Topic(topic)) => self.route_to_topic(parcel, topic),
        }
    }

    fn route_to_address(&mut self, parcel: &Parcel<'_>, to: &str) {
        let mut receivers = std::mem::take(&mut self.receivers);
        receivers.clear();
        let outcome = match self.find_receivers(parcel, to, &mut receivers) {
            Err(refusal) => Outcome::Refused(refusal),
            Ok(reach) => self.hand_over(parcel, &receivers, reach),
        };
        self.receivers = receivers;
        self.conclude(parcel, outcome);
    }

    fn find_receivers(
        &mut self,
        parcel: &Parcel<'_>,
        to: &str,
        receivers: &mut Vec<SessionKey>,
    ) -> Result<Reach, Refusal> {
        let last = self.sessions.get(parcel.sender).and_then(|session| session.last_to.as_ref());
        let node = match last {
            Some(last) if *last.to == *to && self.registry.get(last.node).is_some() => Some(last.node),
            _ => match NodeAddress::parse(to).map_err(|why| bad_address(to, why))? {
                NodeAddress::Node(name) => {
                    let node = self.registry.find(name);
                    self.remember(parcel.sender, to, node);
                    node
                }
                NodeAddress::Unique(number) => {
                    receivers.extend(self.find_number(number));
                    None
                }
            },
        };
        let has_room = |core: &Core, receiver| core.has_room_for(receiver, parcel);
        let key = parcel.message.key.as_deref();
        let reach = node.map_or(Reach::Each, |node| self.pick_instances(node, key, has_room, receivers));
        match (receivers.is_empty(), parcel.ticket) {
            (false, _) => Ok(reach),
            (true, None) => {
                Err(Refusal::new(Code::NoSuchNode, format!("nobody is there as \"{}\"", excerpt(to))))
            }
            (true, Some(_)) => Err(Refusal::new(
                Code::NodeGone,
                format!("\"{}\" has left while the message waited for room in its queue", excerpt(to)),
            )),
        }
    }

    /// The connection of this number, where it can be addressed.
    pub(super) fn find_number(&self, number: u64) -> Option<SessionKey> {
        let is_here = |key: &SessionKey| self.sessions.get(*key).is_some_and(|session| session.is_here());
        self.by_number.get(&number).copied().filter(is_here)
    }

    /// Remembers where the message goes: the next one is likely to go there too. The key of a node
    /// dies with it, so what is remembered can be stale, but never wrong.
    fn remember(&mut self, sender: SessionKey, to: &str, node: Option<NodeKey>) {
        if let (Some(session), Some(node)) = (self.sessions.get_mut(sender), node) {
            session.last_to = Some(LastTo { to: to.into(), node });
        }
    }

    fn has_room_for(&self, receiver: SessionKey, parcel: &Parcel<'_>) -> bool {
        self.has_room(receiver, parcel.favoured, parcel.ticket)
    }

    /// Hands a request or signal to those whom it reaches, or to none.
    fn hand_over(&mut self, parcel: &Parcel<'_>, receivers: &[SessionKey], reach: Reach) -> Outcome {
        let full = match reach {
            Reach::AnyOf => receivers,
            Reach::Each => {
                let full = receivers.iter().find(|&&receiver| !self.has_room_for(receiver, parcel));
                full.map_or(&[][..], std::slice::from_ref)
            }
        };
        if parcel.is_request() {
            let is_owed = |&receiver: &SessionKey| self.requests.is_owed(receiver, parcel.from, parcel.id);
            if reach == Reach::Each && receivers.iter().any(is_owed) {
                return Outcome::Doubled;
            }
            let more = if reach == Reach::Each { receivers.len() } else { 1 };
            if let Err(refusal) = self.check_request_count(parcel.sender, more) {
                return Outcome::Refused(refusal);
            }
        }
        if self.is_overloaded() {
            return Outcome::Refused(self.out_of_memory());
        }
        if !full.is_empty() {
            let never_waits = self.sessions.get(parcel.sender).is_some_and(|session| session.never_waits);
            return match never_waits {
                false => Outcome::WaitsFor(full.into()),
                true => Outcome::Refused(Refusal::new(
                    Code::Overloaded,
                    "the queue of a receiver is full, and this connection registered with \"overflow\":\"fail\"",
                )),
            };
        }
        if parcel.is_request() {
            self.open_request(parcel, receivers);
        }
        self.deliver(parcel.sender, Class::Direct, receivers, &parcel.line);
        Outcome::Delivered
    }

    fn check_request_count(&self, asker: SessionKey, more: usize) -> Result<(), Refusal> {
        let (open, most) = (self.requests.asked_by(asker), self.limits.max_requests);
        if open + more <= most {
            return Ok(());
        }
        let error = format!("{open} requests are open, {more} more would pass max_requests, which is {most}");
        Err(Refusal::new(Code::TooManyRequests, error))
    }

    pub(super) fn out_of_memory(&self) -> Refusal {
        let error = format!(
            "the daemon is short of memory: what it keeps for all its peers has passed max_memory_bytes, which is {}",
            self.limits.max_memory_bytes
        );
        Refusal::new(Code::Overloaded, error)
    }

    fn open_request(&mut self, parcel: &Parcel<'_>, receivers: &[SessionKey]) -> RequestKey {
        let what = Asked {
            asker: parcel.sender,
            from: parcel.from.into(),
            id: parcel.id.clone().into_owned(),
            message_type: (*parcel.message.message_type).into(),
        };
        let key = self.requests.open(what, receivers);
        self.timers.set(parcel.deadline, Timer::Request(key));
        key
    }

    /// Opens a request that no peer has heard of, and that none can answer.
    pub(super) fn open_unheard(&mut self, parcel: &Parcel<'_>) -> Result<RequestKey, Refusal> {
        self.check_request_count(parcel.sender, 1)?;
        Ok(self.open_request(parcel, &[]))
    }

    /// Tells the sender what it has to be told, or makes it wait.
    #[inline(always)]
    fn conclude(&mut self, parcel: &Parcel<'_>, outcome: Outcome) {
        // Most are, and need no more than this look.
        if !matches!(outcome, Outcome::Delivered) {
            self.conclude_undelivered(parcel, outcome);
        }
    }

    fn conclude_undelivered(&mut self, parcel: &Parcel<'_>, outcome: Outcome) {
        match outcome {
            Outcome::Delivered => {}
            Outcome::Refused(refusal) => self.refuse(parcel, &refusal),
            Outcome::Doubled => self.refuse_double(parcel.sender, parcel.from, parcel.id),
            Outcome::WaitsFor(receivers) => {
                let mut line = Vec::new();
                parcel.line.write_to(&mut line);
                line.pop();
                let ticket = parcel.ticket.unwrap_or_else(|| self.next_ticket());
                let deadline = parcel.is_request().then_some(parcel.deadline);
                let is_new = parcel.ticket.is_none();
                let held = Held { line, ticket, receivers, called: None, deadline };
                self.hold(parcel.sender, held, is_new);
            }
        }
    }

    /// Tells the sender that its message goes nowhere: a request by its reply, all else by an error.
    pub(super) fn refuse(&mut self, parcel: &Parcel<'_>, refusal: &Refusal) {
        let told = match parcel.is_request() {
            true => self.say_error_reply(parcel.sender, parcel.asked(), refusal),
            false => self.say_error(parcel.sender, Some(parcel.from), refusal, Some(parcel.id), |_| {}),
        };
        // One that has waited had been let in: that is a fate.
        if !told && parcel.ticket.is_some() {
            self.stats.untold += 1;
        }
    }

    /// Tells the sender of a doubled id; never by a reply, which would be taken for the answer to
    /// the request that is open.
    pub(super) fn refuse_double(&mut self, sender: SessionKey, from: &str, id: &Id<'_>) {
        let error = format!(
            "\"message_id\" is \"{}\", which is the id of a request that is still open",
            excerpt(&id.text)
        );
        self.say_error(sender, Some(from), &Refusal::new(Code::DuplicateId, error), Some(id), |_| {});
    }

    fn route_to_topic(&mut self, parcel: &Parcel<'_>, topic: &str) {
        let mut receivers = std::mem::take(&mut self.receivers);
        receivers.clear();
        self.pick_subscribers(topic, &mut receivers);
        let outcome = self.publish(parcel, topic, &mut receivers);
        self.receivers = receivers;
        self.conclude(parcel, outcome);
    }

    /// Finds those who get a message to `topic`, where they have room.
    pub(super) fn pick_subscribers(&mut self, topic: &str, receivers: &mut Vec<SessionKey>) {
        let (sessions, half) = (&self.sessions, self.limits.max_queue_bytes / 2);
        let has_room = |key| {
            sessions.get(key).is_some_and(|session: &super::Session| session.outbox.direct_bytes() < half)
        };
        let looked_at = self.topics.pick(topic, has_room, receivers);
        // Each is a short copy and no search. The few branches on the way of a plain topic are no effort.
        self.effort += (receivers.len() + looked_at) / 16;
    }

    fn publish(&mut self, parcel: &Parcel<'_>, topic: &str, receivers: &mut Vec<SessionKey>) -> Outcome {
        if receivers.is_empty() {
            return match parcel.is_request() {
                false => Outcome::Delivered,
                true => Outcome::Refused(Refusal::new(
                    Code::NoSubscribers,
                    format!("nobody subscribes to \"{}\"", excerpt(topic)),
                )),
            };
        }
        if parcel.is_request() {
            if receivers.iter().any(|&receiver| self.requests.is_owed(receiver, parcel.from, parcel.id)) {
                return Outcome::Doubled;
            }
            let with_room = receivers.iter().filter(|&&receiver| self.has_topic_room(receiver)).count();
            if let Err(refusal) = self.check_request_count(parcel.sender, with_room) {
                return Outcome::Refused(refusal);
            }
        }
        receivers.retain(|&receiver| {
            let has_room = self.has_topic_room(receiver);
            if !has_room {
                self.miss(receiver);
            }
            has_room
        });
        if parcel.is_request() {
            if receivers.is_empty() {
                let error = format!("every subscriber of \"{}\" reads too slowly to get it", excerpt(topic));
                return Outcome::Refused(Refusal::new(Code::Overloaded, error));
            }
            self.open_request(parcel, receivers);
        }
        self.deliver(parcel.sender, Class::Topic, receivers, &parcel.line);
        Outcome::Delivered
    }

    fn route_reply(&mut self, parcel: &Parcel<'_>, id: &Id<'_>, target: &Target<'_>) {
        let owed = self.find_owed(parcel.sender, id, target);
        if owed.is_some() && self.is_overloaded() {
            // The request stays open: its answer may be sent again.
            let refusal = self.out_of_memory();
            return self.refuse(parcel, &refusal);
        }
        let Some(answered) = owed.and_then(|owed| self.requests.answer(owed)) else {
            let error = format!(
                "\"body.in_reply_to\" is \"{}\": no such request is open here from \"to\" (it may be answered already, over, or another's to answer)",
                excerpt(&id.text)
            );
            return self.refuse(parcel, &Refusal::new(Code::NoSuchRequest, error));
        };
        if answered.closed {
            self.request_closed(answered.asker);
        }
        // What it missed is told first, and counts.
        if self.sessions.get(answered.asker).is_some_and(|session| session.missed > 0) {
            self.say_lagged(answered.asker);
        }
        let is_full = self.answers_are_full(answered.asker);
        self.deliver(parcel.sender, Class::Reply, &[answered.asker], &parcel.line);
        if is_full {
            // With the reply in its queue, so that this sender too is told that it came to nothing.
            self.end_for_answers(answered.asker);
        }
    }

    /// Finds what a reply of `receiver`'s answers: by the address that the request was sent from, or by the
    /// asker's unique id.
    fn find_owed(&self, receiver: SessionKey, id: &Id<'_>, target: &Target<'_>) -> Option<LegKey> {
        let Target::Address(to) = target else { return None };
        self.requests.find_leg(receiver, to, id).or_else(|| {
            let NodeAddress::Unique(number) = NodeAddress::parse(to).ok()? else { return None };
            let asker = *self.by_number.get(&number).filter(|_| !to.contains('#'))?;
            self.requests.find_leg_to(receiver, asker, id)
        })
    }

    /// Takes note that a request is over.
    pub(super) fn request_closed(&mut self, asker: SessionKey) {
        self.timer_gone_stale();
        if self.sessions.get(asker).is_some_and(|session| session.leaving) {
            self.leaving.push(asker);
        }
    }

    /// Ends a request that nobody can answer any more, or that nobody answered in time.
    pub(super) fn end_request(&mut self, what: &Asked, replied: bool, refusal: &Refusal) {
        if !replied {
            let asked = AskedBy { from: &what.from, id: Some(&what.id), message_type: &what.message_type };
            self.say_error_reply(what.asker, asked, refusal);
        }
        self.request_closed(what.asker);
    }

    pub(super) fn request_expired(&mut self, key: RequestKey) {
        if let Some((what, replied)) = self.requests.expire(key) {
            self.end_request(&what, replied, &timed_out());
        }
    }

    /// A request that waited for room has waited long enough.
    pub(super) fn held_expired(&mut self, sender: SessionKey, ticket: u64) {
        let held = self.sessions.get(sender).and_then(|session| session.held.as_ref());
        if held.is_none_or(|held| held.ticket != ticket) {
            return;
        }
        if let Some(held) = self.drop_held(sender) {
            self.refuse_held(sender, &held, &timed_out());
            self.pass_on_all(&held.receivers);
            self.account(sender);
            self.effects.push_back(super::Effect::Resume(sender));
        }
    }
}

fn timed_out() -> Refusal {
    Refusal::new(Code::Timeout, "nobody answered in time")
}

fn bad_address(to: &str, why: crate::name::BadName) -> Refusal {
    Refusal::new(
        Code::BadField,
        format!("\"to\" is \"{}\", which {why}; right are NODE, NODE#PORT, :N", excerpt(to)),
    )
}
