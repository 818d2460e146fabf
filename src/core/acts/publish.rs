//! Knows how messages come to the subscribers of their topics, and copies to taps (PROTOCOL.md
//! sections 4, 6 and 7).
//! Never: the publisher, but to tell it what came of a request.

use std::time::Duration;

use crate::core::acts::answer::asked;
use crate::core::acts::held::with_line;
use crate::core::acts::share::Reach;
use crate::core::after::{After, Publication, Reached};
use crate::core::emission::Emission;
use crate::core::outbox::{Class, Origin};
use crate::core::parcel::Parcel;
use crate::core::post::Dispatch;
use crate::core::refusals::{all_miss, no_subscribers, reserved_topic};
use crate::core::rows::Standing;
use crate::core::table::requests::Asked;
use crate::core::table::search::Search;
use crate::core::table::watchers::Tapped;
use crate::core::{Core, SessionKey};
use crate::name::NodeAddress;
use crate::topic::is_reserved;
use crate::wire::envelope::{Envelope, Outgoing};
use crate::wire::json::Object;
use crate::wire::message::{Refusal, Target, beginning};

/// Branches and subscriptions that a message may meet without counting for more than its bytes.
const FEW_BRANCHES: usize = 16;

/// What a receiver of a spread publication costs in a turn: its line, and the write that this leads to.
const RECEIVER_EFFORT: usize = 8;

impl Core {
    /// Puts one line into the outbox of each of `receivers`, which are there and have room.
    pub(super) fn deliver(
        &mut self,
        origin: Origin,
        class: Class,
        receivers: &[SessionKey],
        line: &Outgoing<'_>,
    ) {
        let what = Dispatch { origin, class, line, choked_at: self.choked_by(class) };
        if self.post.deliver(&mut self.sessions, &mut self.desk, receivers, what) {
            self.give_up_broken(receivers);
        }
    }

    /// With more bytes of answers than this a receiver is not read. What is in the first count adds none but
    /// `lagged`, and each line of the receiver's own is preceded by an exact look.
    fn choked_by(&self, class: Class) -> usize {
        if class.is_answer() { self.choked_at() } else { self.desk.limits.half_queue() }
    }

    /// What was queued for connections that nothing can be written to meets its fate at once.
    #[cold]
    fn give_up_broken(&mut self, receivers: &[SessionKey]) {
        for &receiver in receivers {
            if self.sessions.get(receiver).is_some_and(|session| session.outbound.broken) {
                self.give_up(receiver);
            }
        }
    }

    /// Sends a peer's message to a topic. A request is refused if none gets it.
    pub(super) fn publish(&mut self, parcel: &Parcel<'_>, topic: &str) -> Result<(), Refusal> {
        if is_reserved(topic) {
            return Err(reserved_topic(topic));
        }
        let mut search = std::mem::take(&mut self.search);
        self.topics.begin(&mut search);
        let published = match parcel.is_request() {
            true => self.publish_request(parcel, topic, &mut search),
            false => {
                let receipt = parcel.wants_receipt().then(|| Box::new(asked(parcel)));
                self.publish_signal(Origin::Peer(parcel.sender), (topic, &parcel.line), receipt, &mut search);
                Ok(())
            }
        };
        self.search = search;
        published
    }

    /// Brings a signal to all subscribers: those without room miss it. If they are very many, to the rest
    /// of them in other turns.
    fn publish_signal(
        &mut self,
        origin: Origin,
        (topic, line): (&str, &Outgoing<'_>),
        receipt: Option<Box<Asked>>,
        search: &mut Search,
    ) {
        let step = self.desk.tuning.publish_step;
        let mut receivers = std::mem::take(&mut self.receivers);
        receivers.clear();
        // While memory is short all miss it, and neither it nor who they are is kept until they do.
        let is_short = self.is_overloaded();
        let is_over = !is_short && self.search_some(topic, search);
        if is_over {
            self.pick_subscribers(search, &mut receivers);
        }
        let is_in_turn = origin != Origin::Daemon || !self.desk.after.has_own_publications();
        if is_over && receivers.len() <= step && is_in_turn {
            let reached = self.serve(origin, &mut receivers, line);
            self.has_published(origin, (topic, line.len()), reached, receipt.as_deref());
        } else {
            let mut copy = Vec::new();
            if !is_short {
                line.write_to(&mut copy);
                copy.pop();
            }
            let receivers = is_over.then(|| std::mem::take(&mut receivers));
            let search = match (is_short, is_over) {
                (true, _) => self.topics.new_search(),
                (false, true) => search.take_groups(),
                (false, false) => std::mem::take(search),
            };
            let (topic, line, ended) = (topic.into(), copy, self.topics.ended());
            let publication = Publication {
                origin,
                topic,
                line,
                search,
                receivers,
                served: 0,
                ended,
                deadline: None,
                reached: Reached::default(),
                receipt,
            };
            self.desk.after.push(After::Publication(Box::new(publication)));
        }
        self.receivers = receivers;
    }

    /// Goes on with a publication to very many; gives what is left of it when the time is up.
    pub(super) fn go_on_publishing(&mut self, mut of: Box<Publication>) -> Option<Box<Publication>> {
        while self.desk.left() > 0 {
            if of.receivers.is_none() {
                let before = self.desk.effort.call;
                let is_over = self.search_some(&of.topic, &mut of.search);
                if is_over && let (Some(deadline), Some(sender)) = (of.deadline, of.origin.peer()) {
                    self.leave_out_ended(&mut of);
                    self.hand_over_late(sender, deadline, &of);
                    return None;
                }
                if is_over {
                    let mut receivers = Vec::new();
                    self.pick_subscribers(&of.search, &mut receivers);
                    (of.receivers, of.search) = (Some(receivers), of.search.take_groups());
                }
                let effort = self.desk.effort.call - before;
                self.desk.effort.call = before;
                self.desk.settles(effort);
                continue;
            }
            let mut some = self.next_receivers(&mut of);
            let reached = match Envelope::scan(&of.line) {
                Ok(envelope) => self.serve(of.origin, &mut some, &envelope.outgoing()),
                Err(_) => {
                    some.iter().for_each(|&receiver| self.miss(receiver));
                    Reached { receivers: 0, missed: some.len() }
                }
            };
            of.reached.add(reached);
            if of.receivers.as_ref().is_none_or(|all| of.served == all.len()) {
                let what = (&*of.topic, of.line.len());
                self.has_published(of.origin, what, of.reached, of.receipt.as_deref());
                return None;
            }
        }
        Some(of)
    }

    /// The next receivers of a publication, as many as there is time for. One that has left or unsubscribed since it
    /// was picked gets it no more; in the groups that it stood for others do.
    fn next_receivers(&mut self, of: &mut Publication) -> Vec<SessionKey> {
        let mut some = Vec::new();
        while let Some(&receiver) = of.receivers.as_ref().and_then(|all| all.get(of.served))
            && some.len() < self.desk.tuning.publish_step
            && self.desk.left() > 0
        {
            self.desk.settles(RECEIVER_EFFORT);
            of.served += 1;
            if self.still_gets(receiver, of) {
                some.push(receiver);
            } else if of.search.len() > 0 {
                self.pick_instead(receiver, of);
            }
        }
        some
    }

    /// Leaves out of what was found for a request those that have left or unsubscribed since.
    fn leave_out_ended(&mut self, of: &mut Publication) {
        let mut search = std::mem::take(&mut of.search);
        search.retain(|key| self.still_gets(key, of));
        of.search = search;
    }

    fn still_gets(&mut self, receiver: SessionKey, of: &Publication) -> bool {
        if self.topics.ended() == of.ended {
            return true;
        }
        // Most differ at their first byte.
        self.desk.settles(self.topics.of_session(receiver).count() / 16);
        self.topics.subscribed_to(receiver, &of.topic).next().is_some()
    }

    fn pick_instead(&mut self, lost: SessionKey, of: &mut Publication) {
        self.desk.settles((of.search.len() + of.receivers.as_ref().map_or(0, Vec::len)) / 8);
        let Some(receivers) = &mut of.receivers else { return };
        let (sessions, limits) = (&self.sessions, &self.desk.limits);
        let has_room = |key| sessions.get(key).is_some_and(|session| session.has_topic_room(limits));
        let picked = self.topics.pick_instead(lost, (&of.topic, &of.search), receivers, has_room);
        receivers.extend(picked);
    }

    /// Looks for subscribers for a while, and says whether that is done.
    fn search_some(&mut self, topic: &str, search: &mut Search) -> bool {
        let (effort, is_over) = self.topics.search(search, topic, self.desk.tuning.publish_step);
        // The few branches on the way of a plain topic are no effort.
        self.desk.works(effort.saturating_sub(FEW_BRANCHES));
        is_over
    }

    fn pick_subscribers(&mut self, search: &Search, receivers: &mut Vec<SessionKey>) {
        let (sessions, limits) = (&self.sessions, &self.desk.limits);
        let has_room = |key| sessions.get(key).is_some_and(|session| session.has_topic_room(limits));
        self.topics.pick(search, has_room, receivers);
        // Each is a short copy; a member of a group is put into a list.
        let members = search.len().saturating_sub(receivers.len());
        self.desk.works(receivers.len() / 16 + members / 4);
    }

    fn serve(&mut self, origin: Origin, receivers: &mut Vec<SessionKey>, line: &Outgoing<'_>) -> Reached {
        let reached = self.leave_to_those_with_room(receivers);
        self.deliver(origin, Class::Topic, receivers, line);
        reached
    }

    /// A message to a topic has been put into the queues of all that get it.
    #[inline]
    fn has_published(
        &mut self,
        origin: Origin,
        (topic, bytes): (&str, usize),
        reached: Reached,
        receipt: Option<&Asked>,
    ) {
        if let Some(traffic) = &mut self.traffic
            && origin != Origin::Daemon
        {
            traffic.count(topic, bytes, reached, self.desk.now.mono);
        }
        if let Some(asked) = receipt {
            self.say_receipt(asked, reached);
        }
    }

    /// Answers a signal whose publisher wants to know how many got it.
    pub(super) fn say_receipt(&mut self, asked: &Asked, reached: Reached) {
        self.say_reply(asked.asker, asked.borrowed(), |body| {
            body.number("receivers", reached.receivers).number("missed", reached.missed);
        });
    }

    /// Those without room miss the message.
    fn leave_to_those_with_room(&mut self, receivers: &mut Vec<SessionKey>) -> Reached {
        let all = receivers.len();
        receivers.retain(|&receiver| {
            let has_room = self.has_topic_room(receiver);
            if !has_room {
                self.miss(receiver);
            }
            has_room
        });
        Reached { receivers: receivers.len(), missed: all - receivers.len() }
    }

    /// Hands a request to all subscribers that have room, in one step: it is open with all of them or not at
    /// all. They may have to be looked for in other turns.
    fn publish_request(
        &mut self,
        parcel: &Parcel<'_>,
        topic: &str,
        search: &mut Search,
    ) -> Result<(), Refusal> {
        if self.search_some(topic, search) {
            return self.hand_to_found(parcel, topic, search);
        }
        if self.is_overloaded() {
            return Err(self.out_of_memory());
        }
        let mut line = Vec::new();
        parcel.line.write_to(&mut line);
        line.pop();
        let (origin, deadline) = (Origin::Peer(parcel.sender), Some(parcel.deadline));
        let (topic, search, ended) = (topic.into(), std::mem::take(search), self.topics.ended());
        let publication = Publication {
            origin,
            topic,
            line,
            search,
            receivers: None,
            served: 0,
            ended,
            deadline,
            reached: Reached::default(),
            receipt: None,
        };
        self.desk.after.push(After::Publication(Box::new(publication)));
        Ok(())
    }

    /// Hands a request to those that were found in other turns.
    fn hand_over_late(&mut self, sender: SessionKey, deadline: Duration, of: &Publication) {
        with_line(sender, &of.line, deadline, Standing::default(), |parcel| {
            if let Err(refusal) = self.hand_to_found(parcel, &of.topic, &of.search) {
                self.refuse(parcel, &refusal);
            }
        });
    }

    fn hand_to_found(&mut self, parcel: &Parcel<'_>, topic: &str, search: &Search) -> Result<(), Refusal> {
        let mut receivers = std::mem::take(&mut self.receivers);
        receivers.clear();
        self.pick_subscribers(search, &mut receivers);
        let done = self.hand_to_subscribers(parcel, topic, &mut receivers);
        self.receivers = receivers;
        done
    }

    fn hand_to_subscribers(
        &mut self,
        parcel: &Parcel<'_>,
        topic: &str,
        receivers: &mut Vec<SessionKey>,
    ) -> Result<(), Refusal> {
        if receivers.is_empty() {
            let meant = parcel.form_meant(topic);
            return Err(no_subscribers(topic, &meant));
        }
        if receivers.iter().any(|&receiver| self.owes(receiver, parcel.from, parcel.id)) {
            self.refuse_double(parcel.sender, parcel.from, parcel.id);
            return Ok(());
        }
        let with_room = receivers.iter().filter(|&&receiver| self.has_topic_room(receiver)).count();
        self.check_request_count(parcel.sender, with_room)?;
        let reached = self.leave_to_those_with_room(receivers);
        let origin = Origin::Peer(parcel.sender);
        self.has_published(origin, (topic, parcel.line.len()), reached, None);
        if receivers.is_empty() && self.is_overloaded() {
            return Err(self.out_of_memory());
        }
        if receivers.is_empty() {
            return Err(all_miss(topic));
        }
        self.open_request(parcel, receivers);
        self.deliver(origin, Class::Topic, receivers, &parcel.line);
        Ok(())
    }

    /// Sends a signal of the daemon's own. None waits for it and none is told where it went: a receiver without
    /// room misses it.
    pub(in crate::core) fn emit(&mut self, emission: &Emission) {
        let line = emission.line(self.post.next_id());
        if let Some(to) = &emission.to {
            let mut receivers = std::mem::take(&mut self.receivers);
            receivers.clear();
            self.find_emitted_to(to, &mut receivers);
            for &receiver in &receivers {
                self.say_topic_line(receiver, &line);
            }
            self.receivers = receivers;
        } else if let (Some(topic), Ok(envelope)) = (&emission.topic, Envelope::scan(&line)) {
            let mut search = std::mem::take(&mut self.search);
            self.topics.begin(&mut search);
            self.publish_signal(Origin::Daemon, (topic, &envelope.outgoing()), None, &mut search);
            self.search = search;
        }
        // A subscriber that misses it for want of memory is told when there is some.
        self.watch_pressure();
    }

    fn find_emitted_to(&mut self, to: &str, receivers: &mut Vec<SessionKey>) {
        match NodeAddress::parse(to) {
            Ok(NodeAddress::Node(name)) => {
                let Some(node) = self.registry.find(name) else { return };
                // If no instance has room, one of them misses it.
                if self.pick_instances(node, None, Core::has_topic_room, receivers) == Reach::AnyOf {
                    receivers.truncate(1);
                }
            }
            Ok(NodeAddress::Unique(number)) => receivers.extend(self.sessions.here(number)),
            Err(_) => {}
        }
    }

    /// Copies a message to its taps.
    pub(super) fn tap(&mut self, parcel: &Parcel<'_>, verdict: &'static str) {
        if !self.watchers.has_taps() {
            return;
        }
        let (to, topic) = match &parcel.message.target {
            Target::Daemon => ("", ""),
            Target::Address(to) => (&**to, ""),
            Target::Topic(topic) => ("", &**topic),
        };
        let Some(session) = self.sessions.get(parcel.sender) else { return };
        let caller = &session.caller;
        let message = Tapped {
            from: parcel.from,
            to,
            topic,
            message_type: &parcel.message.message_type,
            unique_id: &caller.unique_id,
            uid: caller.peer.uid(),
        };
        let taps = self.watchers.taps_of(parcel.sender, message);
        if taps.is_empty() {
            return;
        }
        let mut sender = Vec::new();
        let mut object = Object::begin(&mut sender);
        caller.write_identity(&mut object);
        object.end();
        let goes_on = matches!(verdict, "pass" | "replace");
        let receivers = if goes_on { self.count_subscribers(&parcel.message.target) } else { None };
        let time = self.desk.now.wall;
        let mut bytes = Vec::new();
        parcel.line.write_to(&mut bytes);
        bytes.pop();
        let text = String::from_utf8_lossy(&bytes);
        for tap in taps {
            self.say_topic_signal(tap.to, "tap", |body| {
                body.string("verdict", verdict).raw("sender", &sender).seconds("time", time);
                if let Some(receivers) = receivers {
                    body.number("receivers", receivers);
                }
                let part = beginning(&text, tap.snap_bytes);
                body.string("line", part);
                if part.len() < text.len() {
                    body.number("line_bytes", text.len());
                }
            });
        }
    }

    /// How many get a publication, a group counting as one; none if it is no publication, or if they are too many
    /// to be counted at once.
    fn count_subscribers(&mut self, target: &Target<'_>) -> Option<usize> {
        let Target::Topic(topic) = target else { return None };
        let mut search = std::mem::take(&mut self.search);
        self.topics.begin(&mut search);
        let is_over = self.search_some(topic, &mut search);
        let count = is_over.then(|| self.topics.count(&search));
        self.search = search;
        count
    }
}
