//! Knows who gets a message, or why none does (PROTOCOL.md sections 4 to 6).
//! Never: how a message gets into a queue, or what it says.

use crate::core::acts::answer::timed_out;
use crate::core::acts::held::with_held;
use crate::core::acts::share::Reach;
use crate::core::gate::Gate;
use crate::core::outbox::{Class, Origin};
use crate::core::parcel::Parcel;
use crate::core::refusals::{bad_address, no_node, no_request, no_room};
use crate::core::session::{Held, LastTo};
use crate::core::table::registry::NodeKey;
use crate::core::{Core, SessionKey};
use crate::name::NodeAddress;
use crate::wire::code::Code;
use crate::wire::message::{Id, Kind, Refusal, Target, excerpt};

/// What became of a message to its receivers.
enum Routed {
    Delivered,
    Refused(Refusal),
    /// A request of this id is open already.
    Doubled,
    /// It can go on when one of these has room.
    WaitsFor(Box<[SessionKey]>),
}

impl Core {
    /// Sends a message where it is to go.
    pub(super) fn route(&mut self, parcel: &Parcel<'_>, gate: &mut dyn Gate) {
        match (&parcel.message.kind, &parcel.message.target) {
            (Kind::Reply(answered), target) => self.route_reply(parcel, answered, target),
            (Kind::Signal, Target::Daemon) => {}
            (Kind::Request, Target::Daemon) => self.control(parcel, gate),
            (_, Target::Address(to)) => self.route_to_address(parcel, to),
            (_, Target::Topic(topic)) => {
                if let Err(refusal) = self.publish(parcel, topic) {
                    self.refuse(parcel, &refusal);
                }
            }
        }
    }

    /// Sends a line that has waited on its way again. Its timer stays if it waits on.
    pub(super) fn route_held(&mut self, key: SessionKey, held: &Held, gate: &mut dyn Gate) {
        let now = self.desk.mono();
        with_held(key, held, now, |parcel| match held.deadline {
            // Its time is over, though that may not have been told yet.
            Some(deadline) if deadline <= now => {
                self.refuse(parcel, &timed_out(&parcel.message.message_type))
            }
            _ => self.route(parcel, gate),
        });
        let waits_on = self.sessions.get(key).is_some_and(|session| {
            session.inbound.held.as_ref().is_some_and(|waiting| waiting.ticket == held.ticket)
        });
        if !waits_on && held.deadline.is_some() {
            self.desk.timers.gone_stale();
        }
    }

    /// A request that waited for room has waited long enough.
    pub(super) fn held_expired(&mut self, sender: SessionKey, ticket: u64) {
        let held = self.sessions.get(sender).and_then(|session| session.inbound.held.as_ref());
        if held.is_none_or(|held| held.ticket != ticket) {
            return;
        }
        if let Some(held) = self.rows.drop_held(&mut self.sessions, &mut self.desk, sender) {
            with_held(sender, &held, self.desk.mono(), |parcel| {
                self.refuse(parcel, &timed_out(&parcel.message.message_type));
            });
            self.pass_on_all(&held.receivers);
            self.sessions.account(sender);
            self.desk.orders.resume(sender);
        }
    }

    /// A line waits no more, or has gone on: in all rows that it stood in the next one is called if there is
    /// room.
    pub(super) fn pass_on_all(&mut self, receivers: &[SessionKey]) {
        let is_short = self.is_overloaded();
        for &receiver in receivers {
            self.rows.pass_on(&mut self.sessions, &mut self.desk, receiver, is_short);
        }
    }

    fn route_to_address(&mut self, parcel: &Parcel<'_>, to: &str) {
        let mut receivers = std::mem::take(&mut self.receivers);
        receivers.clear();
        let routed = match self.find_receivers(parcel, to, &mut receivers) {
            Err(refusal) => Routed::Refused(refusal),
            Ok(reach) => self.hand_over(parcel, &receivers, reach),
        };
        self.receivers = receivers;
        // Most are delivered, and need no more than this look.
        if !matches!(routed, Routed::Delivered) {
            self.conclude_undelivered(parcel, routed);
        }
    }

    fn find_receivers(
        &mut self,
        parcel: &Parcel<'_>,
        to: &str,
        receivers: &mut Vec<SessionKey>,
    ) -> Result<Reach, Refusal> {
        let last = self.sessions.get(parcel.sender).and_then(|session| session.inbound.last_to.as_deref());
        let node = match last {
            Some(last) if *last.to == *to && self.registry.get(last.node).is_some() => Some(last.node),
            _ => match NodeAddress::parse(to).map_err(|why| bad_address(to, why))? {
                NodeAddress::Node(name) => {
                    let node = self.registry.find(name);
                    self.remember(parcel.sender, to, node);
                    node
                }
                NodeAddress::Unique(number) => {
                    receivers.extend(self.sessions.here(number));
                    None
                }
            },
        };
        let has_room = |core: &Core, receiver| core.has_room_for(receiver, parcel);
        let key = parcel.message.key.as_deref();
        let reach = node.map_or(Reach::Each, |node| self.pick_instances(node, key, has_room, receivers));
        match (receivers.is_empty(), parcel.standing.ticket) {
            (false, _) => Ok(reach),
            (true, None) => {
                let meant = parcel.form_meant(to);
                Err(no_node(to, &meant))
            }
            (true, Some(_)) => Err(Refusal::new(
                Code::NodeGone,
                format!("\"{}\" has left while the message waited for room in its queue", excerpt(to)),
            )),
        }
    }

    /// Remembers where the message goes: the next one is likely to go there too. The key of a node dies with
    /// it, so what is remembered can be stale, but never wrong.
    fn remember(&mut self, sender: SessionKey, to: &str, node: Option<NodeKey>) {
        if let (Some(session), Some(node)) = (self.sessions.get_mut(sender), node) {
            let last = LastTo { to: to.into(), node };
            match &mut session.inbound.last_to {
                Some(place) => **place = last,
                place => *place = Some(Box::new(last)),
            }
        }
    }

    fn has_room_for(&self, receiver: SessionKey, parcel: &Parcel<'_>) -> bool {
        let most = self.desk.limits.max_queue_bytes;
        self.sessions.get(receiver).is_some_and(|session| session.has_room(receiver, most, parcel.standing))
    }

    /// Hands a request or signal to those it reaches, or to none.
    fn hand_over(&mut self, parcel: &Parcel<'_>, receivers: &[SessionKey], reach: Reach) -> Routed {
        // All of them, so that the time of those that read too little runs for all at once.
        let full: Box<[SessionKey]> = match reach {
            Reach::AnyOf => receivers.into(),
            Reach::Each => receivers.iter().copied().filter(|&one| !self.has_room_for(one, parcel)).collect(),
        };
        if parcel.is_request() {
            let is_each = reach == Reach::Each;
            if is_each && receivers.iter().any(|&one| self.owes(one, parcel.from, parcel.id)) {
                return Routed::Doubled;
            }
            let more = if is_each { receivers.len() } else { 1 };
            if let Err(refusal) = self.check_request_count(parcel.sender, more) {
                return Routed::Refused(refusal);
            }
        }
        if self.is_overloaded() {
            return Routed::Refused(self.out_of_memory());
        }
        if !full.is_empty() {
            let sender = self.sessions.get(parcel.sender);
            return match sender.is_some_and(|session| session.holdings.never_waits) {
                false => Routed::WaitsFor(full),
                true => Routed::Refused(no_room()),
            };
        }
        if parcel.is_request() {
            self.open_request(parcel, receivers);
        }
        self.deliver(Origin::Peer(parcel.sender), Class::Direct, receivers, &parcel.line);
        Routed::Delivered
    }

    /// Tells the sender what it has to be told, or makes it wait.
    fn conclude_undelivered(&mut self, parcel: &Parcel<'_>, routed: Routed) {
        match routed {
            Routed::Delivered => {}
            Routed::Refused(refusal) => self.refuse(parcel, &refusal),
            Routed::Doubled => self.refuse_double(parcel.sender, parcel.from, parcel.id),
            Routed::WaitsFor(receivers) => {
                let mut line = Vec::new();
                parcel.line.write_to(&mut line);
                line.pop();
                let deadline = parcel.is_request().then_some(parcel.deadline);
                let is_new = parcel.standing.ticket.is_none();
                let ticket = parcel.standing.ticket.unwrap_or_else(|| self.rows.next_ticket());
                let held = Held { line, ticket, receivers, called: None, deadline };
                self.rows.hold(&mut self.sessions, &mut self.desk, parcel.sender, held, is_new);
                self.depart_if_due(parcel.sender);
            }
        }
    }

    fn route_reply(&mut self, parcel: &Parcel<'_>, id: &Id<'_>, target: &Target<'_>) {
        let owed = self.find_owed(parcel.sender, id, target);
        if owed.is_some() && self.is_overloaded() {
            // The request stays open: its answer may be sent again.
            let refusal = self.out_of_memory();
            return self.refuse(parcel, &refusal);
        }
        let Some(answered) = owed.and_then(|owed| self.requests.answer(owed)) else {
            return self.refuse(parcel, &no_request(id));
        };
        if answered.closed {
            self.request_closed(answered.asker);
        }
        // What it missed is told first, and counts.
        self.tell_missed_now(answered.asker);
        let is_full = self.answers_are_full(answered.asker);
        self.deliver(Origin::Peer(parcel.sender), Class::Reply, &[answered.asker], &parcel.line);
        if is_full {
            // With the reply in its queue, so that this sender too is told that it came to nothing.
            self.end_for_answers(answered.asker);
        }
    }
}
