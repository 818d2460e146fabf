//! Knows where PROTOCOL.md sends a message (sections 4 to 6), who waits for room and when he goes on.
//! Never: what the daemon itself answers.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::lines;
use crate::model::{About, Checked, Class, Expect, Held, Kind, Msg, Pass, Request, Row, Target};

/// The place in the row and the deadline of a message that has waited already.
type Waited = Option<(u64, Duration)>;

impl Pass<'_> {
    pub(crate) fn route(&mut self, message: Rc<Msg>, waited: Waited) -> Checked {
        let is_published = matches!(message.target, Target::Topic(_)) && message.kind != Kind::Reply;
        if !is_published && self.is_overloaded(&message) {
            return self.refuse(&message, &["overloaded"]);
        }
        match (message.kind, &message.target) {
            (Kind::Reply, _) => self.reply(&message),
            (Kind::Signal, Target::Daemon) => Ok(()),
            (Kind::Request, Target::Daemon) => self.control(&message),
            (_, Target::Address(to)) => self.direct(&message, &to.clone(), waited),
            (_, Target::Topic(topic)) => self.publish(&message, &topic.clone()),
        }
    }

    /// Whether a request or signal may enter this queue now. Newcomers go behind those who wait; one
    /// who came before all of them, and waited elsewhere, does not.
    fn has_room(&self, receiver: u64) -> bool {
        self.conn(receiver).is_some_and(|conn| {
            let may_enter = conn.row.as_ref().is_none_or(|row| {
                let first = row.waiters.keys().next();
                self.ticket.is_some_and(|ticket| first.is_none_or(|first| ticket < *first))
                    && (row.drained || self.favoured.is_some())
            });
            conn.first < self.m.limits.max_queue_bytes && (may_enter || self.favoured == Some(receiver))
        })
    }

    fn has_topic_room(&self, receiver: u64) -> bool {
        self.conn(receiver).is_some_and(|conn| conn.first < self.m.limits.max_queue_bytes / 2)
    }

    /// Whether the sender's next line says that this message was refused so, and it was not the
    /// fate of a later one: a message without an id is hard to tell from another.
    pub(crate) fn is_refused_next(&self, message: &Rc<Msg>, code: &'static str) -> bool {
        if self.m.conns.keys().any(|&one| one != message.sender && self.comes_next(one, message)) {
            return false;
        }
        let about = About::Message(message.clone());
        let expect = match message.kind {
            Kind::Request => Expect::Refusal { of: message.message_type.clone(), codes: vec![code], about },
            _ => Expect::Error { codes: vec![code], about, count: None },
        };
        self.next_fits(message.sender, &expect)
    }

    /// Memory is short: when exactly is the daemon's own affair, so it is what was seen.
    pub(crate) fn is_overloaded(&self, message: &Rc<Msg>) -> bool {
        self.m.tight && self.is_refused_next(message, "overloaded")
    }

    fn direct(&mut self, message: &Rc<Msg>, to: &str, waited: Waited) -> Checked {
        let mut receivers = self.m.instances(to);
        if receivers.is_empty() {
            let left = waited.is_some();
            return if left {
                self.refuse_held(message, "node_gone")
            } else {
                self.refuse(message, &["no_such_node"])
            };
        }
        let node = to.split('#').next().unwrap_or_default();
        // Where nobody who shares has room, it goes to whoever has it first.
        let mut waits_for = Vec::new();
        if self.m.nodes.get(node).is_some_and(|node| node.shares) {
            match self.share(message, node, &receivers)? {
                Some(one) => receivers = vec![one],
                None => waits_for = std::mem::take(&mut receivers),
            }
        }
        if message.kind == Kind::Request && self.is_doubled(message, &receivers) {
            return self.refuse_double(message);
        }
        if message.kind == Kind::Request
            && self.m.asked_by(message.sender) + receivers.len().max(1) > self.m.limits.max_requests
        {
            return self.refuse(message, &["too_many_requests"]);
        }
        waits_for.extend(receivers.iter().copied().filter(|&receiver| !self.has_room(receiver)));
        if !waits_for.is_empty() {
            if self.conn(message.sender).is_some_and(|conn| conn.fails) {
                return self.refuse(message, &["overloaded"]);
            }
            return self.hold(message, waits_for, waited);
        }
        let mut got = Vec::new();
        for receiver in receivers {
            self.push(receiver, Class::Direct, Expect::Message(message.clone()))?;
            got.push(receiver);
        }
        self.give_up_broken(&got)?;
        if message.kind == Kind::Request {
            let deadline = waited.map_or_else(|| self.deadline(message), |(_, deadline)| deadline);
            self.open_request(message, got, deadline)?;
        }
        Ok(())
    }

    pub(crate) fn open_request(&mut self, message: &Rc<Msg>, got: Vec<u64>, deadline: Duration) -> Checked {
        let set = self.m.next_set();
        self.m.requests.push(Request {
            set,
            message: message.clone(),
            asker: message.sender,
            handed: got.len(),
            waiting: got,
            replied: false,
            deadline,
        });
        Ok(())
    }

    /// Whether another connection of the same `from` has a request of this id open at one of them.
    fn is_doubled(&self, message: &Rc<Msg>, receivers: &[u64]) -> bool {
        message.id.is_some()
            && self.m.requests.iter().any(|request| {
                request.message.from == message.from
                    && self.m.id_of(&request.message) == message.id
                    && request.waiting.iter().any(|waiting| receivers.contains(waiting))
            })
    }

    fn refuse_double(&mut self, message: &Rc<Msg>) -> Checked {
        let about = About::Message(message.clone());
        let expect = Expect::Error { codes: vec!["duplicate_id"], about, count: None };
        self.push(message.sender, Class::Answer, expect).map(|_| ())
    }

    /// Delivery `one`: the instance that gets the message; none where none has room.
    fn share(&mut self, message: &Rc<Msg>, node: &str, all: &[u64]) -> Checked<Option<u64>> {
        if let Some(key) = &message.key {
            return self.share_by_key(message, node, key, all).map(Some);
        }
        let mut among: Vec<u64> = all.iter().copied().filter(|&one| self.has_room(one)).collect();
        if among.is_empty() {
            return Ok(None);
        }
        let fewest = among.iter().map(|&one| self.m.open_at(one)).min().unwrap_or(0);
        among.retain(|&one| self.m.open_at(one) == fewest);
        let seen: Vec<u64> = among.iter().copied().filter(|&one| self.comes_next(one, message)).collect();
        let chosen = match (seen.len(), among.len()) {
            (1, _) => seen[0],
            (_, 1) => among[0],
            (0, many) => among[self.choose(many)],
            (several, _) => seen[self.choose(several)],
        };
        if seen.len() == 1 && among.len() == all.len() {
            let node = self.m.nodes.get_mut(node).expect("it has instances");
            Rc::make_mut(node).turns.check(chosen, &among)?;
        } else {
            let node = self.m.nodes.get_mut(node).expect("it has instances");
            Rc::make_mut(node).turns = Default::default();
        }
        Ok(Some(chosen))
    }

    /// Which instance a key goes to first is not promised, but that it stays there while the set of
    /// instances is unchanged, and that only the keys of one who leaves, and those that a new one
    /// takes, move.
    fn share_by_key(&mut self, message: &Rc<Msg>, node: &str, key: &str, all: &[u64]) -> Checked<u64> {
        let before = self.m.nodes.get(node).and_then(|node| node.keys.get(key)).cloned();
        let mut among = all.to_vec();
        if let Some((place, set)) = before
            && all.contains(&place)
        {
            among.retain(|one| *one == place || !set.contains(one));
        }
        let seen: Vec<u64> = all.iter().copied().filter(|&one| self.comes_next(one, message)).collect();
        let chosen = match (seen.len(), among.len()) {
            (1, _) if among.contains(&seen[0]) => seen[0],
            (1, _) => return Err(format!("the key {key:?} moved to :{}, and may go to {among:?}", seen[0])),
            (_, 1) => among[0],
            (_, many) => among[self.choose(many)],
        };
        let node = Rc::make_mut(self.m.nodes.get_mut(node).expect("it has instances"));
        node.keys.insert(key.to_owned(), (chosen, all.to_vec()));
        // Whether a message with a key takes a turn is not promised.
        node.turns = Default::default();
        Ok(chosen)
    }

    fn hold(&mut self, message: &Rc<Msg>, receivers: Vec<u64>, waited: Waited) -> Checked {
        let (ticket, deadline) = waited.unwrap_or_else(|| {
            self.m.tickets += 1;
            (self.m.tickets, self.deadline(message))
        });
        let deadline = Some(deadline).filter(|_| message.kind == Kind::Request);
        let set = self.m.next_set();
        let full_at = self.m.limits.max_queue_bytes;
        for &receiver in &receivers {
            let conn = self.change(receiver);
            let row = conn.row.get_or_insert_with(|| Row { waiters: BTreeMap::new(), drained: false });
            row.waiters.insert(ticket, message.sender);
            if conn.first >= full_at {
                row.drained = false;
            }
            self.watch(receiver);
        }
        self.change(message.sender).held =
            Some(Held { message: message.clone(), ticket, receivers, called: None, deadline, set });
        self.depart_if_due(message.sender)
    }

    /// Takes a held line out of its rows.
    fn unhold(&mut self, sender: u64) -> Option<Held> {
        let held = self.change(sender).held.take()?;
        for &receiver in &held.receivers {
            if self.m.conns.contains_key(&receiver)
                && let Some(row) = &mut self.change(receiver).row
            {
                row.waiters.remove(&held.ticket);
            }
        }
        Some(held)
    }

    fn call(&mut self, sender: u64, by: Option<u64>) {
        if let Some(held) = &mut self.change(sender).held {
            held.called.get_or_insert(by);
        }
    }

    /// The first of those who wait goes on, where the queue has come to half since it was full. A
    /// row that nobody stands in any more ends.
    pub(crate) fn call_first(&mut self, receiver: u64) {
        let Some(row) = self.conn(receiver).and_then(|conn| conn.row.as_ref()) else { return };
        match row.waiters.values().next().copied() {
            None => {
                self.change(receiver).row = None;
                self.unwatch(receiver);
            }
            Some(first) if row.drained => self.call(first, Some(receiver)),
            Some(_) => {}
        }
    }

    fn call_first_of_all(&mut self, receivers: &[u64]) {
        for &receiver in receivers {
            self.call_first(receiver);
        }
    }

    /// Whoever waits for this connection looks again where its line goes.
    pub(crate) fn call_all(&mut self, receiver: u64) {
        let Some(row) = self.conn(receiver).and_then(|conn| conn.row.as_ref()) else { return };
        for waiter in row.waiters.values().copied().collect::<Vec<_>>() {
            self.call(waiter, None);
        }
    }

    /// A connection's turn after a `Resume`. Its held line goes on where it was called.
    pub(crate) fn resumed(&mut self, number: u64) -> Checked {
        let Some(conn) = self.conn(number) else { return Ok(()) };
        if let Some(held) = &conn.held {
            if held.called.is_none() {
                return Ok(());
            }
            let Some(held) = self.unhold(number) else { return Ok(()) };
            let waited = Some((held.ticket, held.deadline.unwrap_or_default()));
            // It is its sender's turn, not the line's alone: what it sent behind goes on too, as far as
            // there is room, before the next one's turn.
            self.favoured = held.called.flatten();
            self.waited_for = held.receivers;
            self.ticket = Some(held.ticket);
            match held.deadline.is_some_and(|deadline| deadline <= self.m.now) {
                true => self.refuse_held(&held.message, "timeout")?,
                false => self.route(held.message, waited)?,
            }
            self.ticket = None;
            self.settle()?;
            self.tire();
            self.work(number)?;
            self.end_favour();
            return Ok(());
        }
        if self.conn(number).is_some_and(|conn| conn.roll_call.is_some() && conn.held.is_none()) {
            self.call_roll(number)?;
        }
        self.work(number)
    }

    /// One whose work is done in parts is favoured for the first of them alone; which that was is not seen.
    pub(crate) fn tire(&mut self) {
        if self.is_spread && !self.waited_for.is_empty() && self.choose(2) == 1 {
            self.end_favour();
        }
    }

    fn end_favour(&mut self) {
        self.favoured = None;
        let receivers = std::mem::take(&mut self.waited_for);
        self.call_first_of_all(&receivers);
    }

    fn reply(&mut self, message: &Rc<Msg>) -> Checked {
        let to = match &message.target {
            Target::Address(to) => to.clone(),
            _ => return self.refuse(message, &["no_such_request"]),
        };
        let asked = self.m.requests.iter().position(|request| {
            request.waiting.contains(&message.sender)
                && self.m.id_of(&request.message) == message.in_reply_to
                && (request.message.from == to || format!(":{}", request.asker) == to)
        });
        let Some(asked) = asked else { return self.refuse(message, &["no_such_request"]) };
        let request = &mut self.m.requests[asked];
        request.waiting.retain(|waiting| *waiting != message.sender);
        request.replied = true;
        let (asker, is_over) = (request.asker, request.waiting.is_empty());
        if is_over {
            self.m.requests.remove(asked);
        }
        self.push(asker, Class::Answer, Expect::Message(message.clone()))?;
        self.give_up_broken(&[asker])?;
        self.close_if_settled(asker)
    }

    /// Whether the next line in a queue is this one, behind a `lagged` where one is due.
    pub(crate) fn next_fits(&self, number: u64, expect: &Expect) -> bool {
        let ahead = usize::from(self.is_lagged_next(number));
        self.peek(number, ahead).is_some_and(|line| self.fits(number, expect, line).is_ok())
    }

    pub(crate) fn is_lagged_next(&self, number: u64) -> bool {
        let is_lagged =
            |line: &lines::Seen| line.is_own() && line.body_text("event").as_deref() == Some("lagged");
        let missed = self.conn(number).is_some_and(|conn| conn.missed > 0);
        missed && self.peek(number, 0).is_some_and(is_lagged)
    }

    pub(crate) fn comes_next(&self, number: u64, message: &Rc<Msg>) -> bool {
        self.next_fits(number, &Expect::Message(message.clone()))
    }

    /// Puts a topic message or a tap's copy into a queue, or counts that it was missed.
    pub(crate) fn push_topic(&mut self, number: u64, expect: Expect) -> Checked<bool> {
        // Of lines that were never to be seen the lengths are guessed.
        const WRONG_BY: usize = 80;
        let half = self.m.limits.max_queue_bytes / 2;
        let is_near = self
            .conn(number)
            .is_some_and(|conn| !conn.broke && conn.first.abs_diff(half) <= conn.queue.len() * WRONG_BY);
        let room = match self.seen.closed.contains(&number) && self.is_blind(number) && is_near {
            true => self.choose(2) == usize::from(!self.has_topic_room(number)),
            false => self.has_topic_room(number) && (!self.m.tight || self.next_fits(number, &expect)),
        };
        if room {
            return self.push(number, Class::Topic, expect);
        }
        self.change(number).missed += 1;
        self.m.missed += 1;
        Ok(false)
    }

    fn publish(&mut self, message: &Rc<Msg>, topic: &str) -> Checked {
        let (mut plain, mut groups) = (Vec::new(), BTreeMap::<String, Vec<u64>>::new());
        for conn in self.m.conns.values().filter(|conn| !conn.leaving) {
            let number = conn.number;
            for subscription in conn.subscriptions.iter().filter(|one| covers(&one.topic, topic)) {
                match &subscription.group {
                    None if plain.contains(&number) => {}
                    None => plain.push(number),
                    Some(group) => {
                        let members = groups.entry(group.clone()).or_default();
                        if !members.contains(&number) {
                            members.push(number);
                        }
                    }
                }
            }
        }
        let is_request = message.kind == Kind::Request;
        // A search for subscribers that takes several turns is not begun while memory is short.
        if is_request && self.is_overloaded(message) && self.choose(2) == 1 {
            return self.refuse(message, &["overloaded"]);
        }
        if plain.is_empty() && groups.is_empty() {
            return if is_request { self.refuse(message, &["no_subscribers"]) } else { Ok(()) };
        }
        // One who gets it as a plain subscriber counts as his group's; one who misses it only where
        // nobody else of the group could get it.
        groups.retain(|_, members| !self.is_covered(members, &plain));
        if is_request {
            // One line of several groups' members may count for all of them: at most so many.
            let most = plain.iter().filter(|&&one| self.has_topic_room(one)).count()
                + groups
                    .values()
                    .filter(|members| members.iter().any(|&one| self.has_topic_room(one)))
                    .count();
            let may_be_refused = self.m.asked_by(message.sender) + most > self.m.limits.max_requests;
            let is_refused = match self.is_blind(message.sender) {
                true => may_be_refused && self.choose(2) == 1,
                false => self.is_refused_next(message, "too_many_requests"),
            };
            if is_refused && !may_be_refused {
                return Err("a request was refused that is not one too many".to_owned());
            }
            if is_refused {
                // Whether a message that is refused takes a turn is not promised.
                self.m.groups.clear();
                return self.refuse(message, &["too_many_requests"]);
            }
        }
        let mut chosen = plain;
        // One who gets it as the member of one group counts for the others, so that turns are not to
        // be told from each other.
        let is_one_group = groups.len() == 1;
        for (group, members) in groups {
            if !members.iter().any(|&one| self.has_topic_room(one)) && self.is_covered(&members, &chosen) {
                continue;
            }
            let one = self.take_turn(message, &group, &members, is_one_group)?;
            if !chosen.contains(&one) {
                chosen.push(one);
            }
        }
        if is_request && self.is_doubled(message, &chosen) {
            self.m.groups.clear();
            return self.refuse_double(message);
        }
        let mut got = Vec::new();
        for number in chosen {
            if self.push_topic(number, Expect::Message(message.clone()))? {
                got.push(number);
            }
        }
        self.give_up_broken(&got)?;
        if is_request && got.is_empty() {
            return self.refuse(message, &["overloaded"]);
        }
        if is_request {
            if self.m.asked_by(message.sender) + got.len() > self.m.limits.max_requests {
                return Err("a request to a topic went beyond max_requests".to_owned());
            }
            self.open_request(message, got, self.deadline(message))?;
        }
        Ok(())
    }

    fn is_covered(&self, members: &[u64], chosen: &[u64]) -> bool {
        let has_room = |one: &u64| self.has_topic_room(*one);
        let mut covering = members.iter().filter(|member| chosen.contains(member)).peekable();
        covering.peek().is_some() && (covering.any(has_room) || !members.iter().any(has_room))
    }

    /// The member of a group that gets a message, or misses it.
    fn take_turn(&mut self, message: &Rc<Msg>, group: &str, members: &[u64], counts: bool) -> Checked<u64> {
        let roomy: Vec<u64> = members.iter().copied().filter(|&one| self.has_topic_room(one)).collect();
        let seen: Vec<u64> = roomy.iter().copied().filter(|&one| self.comes_next(one, message)).collect();
        let blind: Vec<u64> = roomy.iter().copied().filter(|&one| self.is_blind(one)).collect();
        let among = match (seen.is_empty(), blind.is_empty(), roomy.is_empty()) {
            (false, ..) => seen,
            (_, false, _) => blind,
            (.., true) => members.to_vec(),
            _ => roomy.clone(),
        };
        let one = match among.len() {
            1 => among[0],
            several => among[self.choose(several)],
        };
        let turns = self.m.groups.entry(group.to_owned()).or_default();
        match roomy.len() == members.len() && counts && !self.m.tight {
            true => turns.check(one, members).map_err(|fault| format!("in the group {group:?}: {fault}"))?,
            false => *turns = Default::default(),
        }
        Ok(one)
    }

    pub(crate) fn wrote(&mut self, number: u64, count: usize) -> Checked {
        let full_at = self.m.limits.max_queue_bytes;
        let half = full_at / 2;
        let conn = self.change(number);
        conn.taken += count;
        let mut left = count;
        while left > 0 {
            let front = conn.queue.front().ok_or("more was written than was queued")?;
            let step = left.min(front.len - conn.front_written);
            match front.class {
                Class::Answer => conn.second -= step,
                _ => conn.first -= step,
            }
            left -= step;
            conn.front_written += step;
            if conn.front_written == front.len {
                conn.queue.pop_front();
                conn.front_written = 0;
            }
        }
        let (first, second) = (conn.first, conn.second);
        if let Some(row) = &mut conn.row
            && first <= half
            && !row.drained
        {
            row.drained = true;
            self.call_first(number);
        }
        if first < half && second < full_at && (!self.m.tight || self.is_lagged_next(number)) {
            // It is said at once, and not with the next line; but nobody is ended for reading.
            self.say_lagged(number)?;
        }
        self.unwatch(number);
        self.go_on_with_kills()?;
        self.close_if_settled(number)
    }

    /// A held request whose time is over.
    pub(crate) fn held_expired(&mut self, sender: u64) -> Checked {
        let Some(held) = self.unhold(sender) else { return Ok(()) };
        self.call_first_of_all(&held.receivers);
        self.refuse_held(&held.message, "timeout")
    }

    /// The held line of one who is gone, or of all at the end.
    pub(crate) fn drop_held(&mut self, sender: u64) -> Option<Held> {
        let held = self.unhold(sender)?;
        self.call_first_of_all(&held.receivers);
        Some(held)
    }
}

/// Whether a subscription's pattern matches a topic.
pub(crate) fn covers(pattern: &str, topic: &str) -> bool {
    let (mut pattern, mut topic) = (pattern.split('.'), topic.split('.'));
    loop {
        match (pattern.next(), topic.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) => return true,
            (Some(token), Some(other)) if token == "*" || token == other => {}
            _ => return false,
        }
    }
}
