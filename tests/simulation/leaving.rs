//! Knows how connections end, what becomes of what they were owed and of those who waited for them,
//! and what time alone brings about.
//! Never: what is in a line.

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use crate::handling::matches;
use crate::model::{About, Checked, Class, Conn, Expect, Model, Msg, Pass};

enum Due {
    Request(u64),
    Held(u64),
}

impl Pass<'_> {
    /// Ends those whose end the line in hand has led to.
    pub(crate) fn settle(&mut self) -> Checked {
        while !self.doomed.is_empty() {
            let at = match self.doomed.len() {
                1 => 0,
                several => self.choose(several),
            };
            let (number, reason) = self.doomed.remove(at);
            if self.conn(number).is_some_and(Conn::is_here) {
                // What it has not taken is given up before anybody hears of its end.
                self.change(number).broke = true;
                self.give_up(number)?;
                self.take_away(number, reason)?;
                self.close(number)?;
            }
        }
        Ok(())
    }

    /// The peer has ended it: what it is still owed is delivered.
    pub(crate) fn leave(&mut self, number: u64, reason: &'static str) -> Checked {
        // It may have missed something for want of memory.
        self.say_lagged(number)?;
        let Some(conn) = self.conn(number) else { return Ok(()) };
        let (broke, is_owed) = (conn.broke, !conn.queue.is_empty());
        self.change(number).leaving = true;
        if is_owed {
            self.watch(number);
        }
        self.take_away(number, reason)?;
        if broke { self.close(number) } else { self.close_if_settled(number) }
    }

    pub(crate) fn broke(&mut self, number: u64) -> Checked {
        let Some(conn) = self.conn(number) else { return Ok(()) };
        let leaving = conn.leaving;
        let conn = self.change(number);
        conn.broke = true;
        conn.roll_call = None;
        // Nobody waits for a queue that nothing stays in.
        if let Some(row) = &mut conn.row {
            row.drained = true;
        }
        self.call_first(number);
        self.give_up(number)?;
        if leaving { self.close(number) } else { self.depart_if_due(number) }
    }

    /// A connection that has ended on both sides, and of which a line waits, is gone for everybody else. Its lines are
    /// still handled, and come from the names that it had.
    pub(crate) fn depart_if_due(&mut self, number: u64) -> Checked {
        let Some(conn) = self.conn(number) else { return Ok(()) };
        if !conn.broke || conn.held.is_none() || !conn.is_here() {
            return Ok(());
        }
        let names = conn.names.clone();
        self.change(number).departed = true;
        names.iter().for_each(|name| self.remove_instance(number, name));
        self.withdraw(number);
        names.iter().try_for_each(|name| self.news(name, number, "node_down", Some("lost")))
    }

    fn withdraw(&mut self, number: u64) {
        self.call_all(number);
        let conn = self.change(number);
        conn.row = None;
        conn.subscriptions.clear();
        conn.monitors.clear();
        conn.taps.clear();
        conn.roll_call = None;
    }

    /// Takes a connection away from everybody else; gives the names that it had for them.
    fn begin_end(&mut self, number: u64) -> Vec<String> {
        if self.drop_held(number).is_some() {
            self.m.untold += 1;
        }
        self.withdraw(number);
        let conn = self.change(number);
        conn.backlog.clear();
        let names = std::mem::take(&mut conn.names);
        if conn.departed {
            return Vec::new();
        }
        names.iter().for_each(|name| self.remove_instance(number, name));
        names
    }

    /// The same, and tells of it.
    fn take_away(&mut self, number: u64, reason: &'static str) -> Checked {
        let names = self.begin_end(number);
        self.tell_end(number, names, reason)
    }

    fn tell_end(&mut self, number: u64, names: Vec<String>, reason: &'static str) -> Checked {
        let mut told = Vec::new();
        let mut askers = Vec::new();
        self.m.requests.retain_mut(|request| {
            let had = request.waiting.contains(&number);
            request.waiting.retain(|waiting| *waiting != number);
            let is_over = had && request.waiting.is_empty();
            if is_over {
                askers.push(request.asker);
                if !request.replied {
                    told.push(request.message.clone());
                }
            }
            !is_over
        });
        self.tell_node_gone(told)?;
        for name in names {
            self.news(&name, number, "node_down", Some(reason))?;
        }
        for asker in askers {
            self.close_if_settled(asker)?;
        }
        Ok(())
    }

    /// Takes an instance out of its node, and tells of it.
    pub(crate) fn give_up_name(&mut self, number: u64, name: &str, reason: &'static str) -> Checked {
        self.remove_instance(number, name);
        self.news(name, number, "node_down", Some(reason))
    }

    fn remove_instance(&mut self, number: u64, name: &str) {
        if let Some(node) = self.m.nodes.get_mut(name) {
            let node = Rc::make_mut(node);
            node.instances.retain(|instance| *instance != number);
            node.turns = Default::default();
            if node.instances.is_empty() {
                self.m.nodes.remove(name);
            }
        }
    }

    /// Tells the monitors.
    pub(crate) fn news(
        &mut self,
        name: &str,
        number: u64,
        event: &'static str,
        reason: Option<&'static str>,
    ) -> Checked {
        let monitors: Vec<u64> = self
            .m
            .conns
            .values()
            .filter(|conn| !conn.leaving)
            .filter(|conn| {
                conn.monitors.iter().any(|pattern| matches(pattern, name))
                    || conn.roll_call.as_ref().is_some_and(|call| matches(&call.pattern, name))
            })
            .map(|conn| conn.number)
            .collect();
        let mut body: Vec<(&'static str, Value)> =
            vec![("node_id", name.into()), ("unique_id", format!(":{number}").into())];
        body.extend(reason.map(|reason| ("reason", reason.into())));
        for monitor in monitors {
            let expect = Expect::Signal { event, body: body.clone() };
            let mut is_due = true;
            let fits = self.next_fits(monitor, &expect);
            if self.m.stopped && self.m.tight && !fits {
                // One that does not read may go without: that all are gone is said by `shutdown`.
                continue;
            }
            let conn = self.change(monitor);
            // Another monitor of its, whose call is over, has no gap.
            let is_called = conn.roll_call.as_ref().map(|call| call.pattern.clone());
            let has_another =
                conn.monitors.iter().any(|other| Some(other) != is_called.as_ref() && matches(other, name));
            if let Some(call) = &mut conn.roll_call {
                // Whether a node that has not been called yet is spoken of now or when its turn
                // comes is not promised; but who has been told that it is up has to be told.
                let key = (name.to_owned(), number);
                let was_told = call.called.contains(&key) || call.heard_of.contains(&key);
                match (event, fits) {
                    ("node_up", true) => {
                        call.heard_of.insert(key);
                    }
                    ("node_up", false) => is_due = has_another,
                    (_, fits) => {
                        is_due = fits || was_told || has_another;
                        call.called.remove(&key);
                        call.heard_of.remove(&key);
                    }
                }
            }
            if is_due && self.m.tight && self.seen.stalled.contains(&monitor) && !fits {
                // While memory is short it is ended before its time.
                self.doom(monitor, "stalled");
            } else if is_due {
                self.push(monitor, Class::Answer, expect)?;
            }
        }
        Ok(())
    }

    pub(crate) fn close_if_settled(&mut self, number: u64) -> Checked {
        let Some(conn) = self.conn(number) else { return Ok(()) };
        // None is closed ahead of what waits for the end of those that were killed.
        if self.m.dying.is_empty()
            && conn.leaving
            && conn.queue.is_empty()
            && !self.m.requests.iter().any(|request| request.asker == number)
        {
            return self.close(number);
        }
        Ok(())
    }

    pub(crate) fn close(&mut self, number: u64) -> Checked {
        if !self.m.conns.contains_key(&number) {
            return Ok(());
        }
        self.change(number).broke = true;
        self.give_up(number)?;
        self.m.requests.retain(|request| request.asker != number);
        self.m.conns.remove(&number);
        self.closed.insert(number);
        Ok(())
    }

    /// An administrator has closed it. It is tried once to tell it why, behind what is queued for it
    /// already; what it does not take then is given up.
    pub(crate) fn kill(&mut self, number: u64) -> Checked {
        let expect = Expect::Error { codes: vec!["denied"], about: About::Any, count: None };
        self.push(number, Class::Answer, expect)?;
        self.change(number).leaving = true;
        let names = self.begin_end(number);
        self.m.dying.push((number, names));
        self.go_on_with_kills()
    }

    pub(crate) fn reaped(&mut self) -> Checked {
        for (number, _) in self.m.dying.clone() {
            self.change(number).broke = true;
        }
        self.go_on_with_kills()
    }

    /// Tells of those that were killed, in their order, up to one that may still take something.
    pub(crate) fn go_on_with_kills(&mut self) -> Checked {
        if self.m.dying.is_empty() {
            return Ok(());
        }
        while let Some((number, names)) = self.m.dying.first().cloned()
            && self.conn(number).is_some_and(|conn| conn.broke || conn.queue.is_empty())
        {
            self.change(number).broke = true;
            self.give_up(number)?;
            self.tell_end(number, names, "killed")?;
            self.m.dying.remove(0);
        }
        let leaving = |conn: &&Rc<Conn>| conn.leaving && self.m.dying.is_empty();
        let leaving: Vec<u64> = self.m.conns.values().filter(leaving).map(|conn| conn.number).collect();
        for number in leaving {
            match self.conn(number).is_some_and(|conn| conn.broke) {
                true => self.close(number)?,
                false => self.close_if_settled(number)?,
            }
        }
        Ok(())
    }

    pub(crate) fn time_passed(&mut self) -> Checked {
        let (now, patience) = (self.m.now, self.m.limits.stall_timeout);
        while let Some(due) = self.next_due() {
            match due {
                Due::Request(serial) => self.request_expired(serial)?,
                Due::Held(sender) => self.held_expired(sender)?,
            }
            self.settle()?;
        }
        self.say_lagged_at_last()?;
        for conn in self.m.conns.values_mut() {
            if let Some(watch) = &mut Rc::make_mut(conn).watch {
                watch.is_due |= now >= watch.since + patience;
            }
        }
        // While memory is short a half line that does not grow costs its connection; which, is not followed.
        if self.m.tight {
            for number in self.seen.stalled.clone() {
                if self.conn(number).is_some_and(|conn| !conn.leaving && !conn.backlog.is_empty()) {
                    self.doom(number, "stalled");
                }
            }
            self.settle()?;
        }
        Ok(())
    }

    /// There may be memory again: some may be told now what they missed for want of it.
    fn say_lagged_at_last(&mut self) -> Checked {
        let numbers: Vec<u64> = self.m.conns.keys().copied().filter(|_| self.m.tight).collect();
        for number in numbers {
            if self.is_lagged_next(number) {
                self.say_lagged(number)?;
            }
        }
        Ok(())
    }

    /// How far somebody has read is known now: all that he has taken.
    pub(crate) fn measured(&mut self, number: u64) -> Checked {
        if self.m.tight && self.seen.stalled.contains(&number) {
            // Everybody has to read while memory is short.
            self.doom(number, "stalled");
            return Ok(());
        }
        if self.m.tight
            && self.seen.closed.contains(&number)
            && self.conn(number).is_some_and(|conn| conn.leaving)
        {
            return self.close(number);
        }
        let Some(mut watch) = self.conn(number).and_then(|conn| conn.watch).filter(|watch| watch.is_due)
        else {
            return Ok(());
        };
        let (now, taken) = (self.m.now, self.conn(number).map_or(0, |conn| conn.taken));
        let read = taken - watch.taken;
        (watch.since, watch.taken, watch.is_due) = (now, taken, false);
        self.change(number).watch = Some(watch);
        match self.has_to_read(number) {
            None => self.end_watch(number),
            // It has been watched for longer than that perhaps, and what was seen has decided.
            Some(_) if self.m.tight => {}
            Some(least) if read < least && self.conn(number).is_some_and(|conn| conn.leaving) => {
                self.close(number)?;
            }
            Some(least) if read < least => self.doom(number, "stalled"),
            Some(_) => {}
        }
        Ok(())
    }

    /// What is due first, in the order of its time, and of what is due at the same time in the order
    /// in which it was set.
    fn next_due(&mut self) -> Option<Due> {
        let requests = self
            .m
            .requests
            .iter()
            .map(|request| (request.deadline, request.set, Due::Request(request.message.serial)));
        let held = self.m.conns.values().filter_map(|conn| {
            let held = conn.held.as_ref()?;
            Some((held.deadline?, held.set, Due::Held(conn.number)))
        });
        let due = requests.chain(held).filter(|(at, ..)| *at <= self.m.now);
        due.min_by_key(|(at, set, _)| (*at, *set)).map(|(.., due)| due)
    }

    /// When the core has to be called at the latest for something that was promised.
    pub(crate) fn first_deadline(model: &Model) -> Option<Duration> {
        let requests = model.requests.iter().map(|request| request.deadline);
        let held = model.conns.values().filter_map(|conn| conn.held.as_ref()?.deadline);
        let patience = model.limits.stall_timeout;
        let watches = model.conns.values().filter_map(|conn| Some(conn.watch?.since + patience));
        requests.chain(held).chain(watches).min()
    }

    fn request_expired(&mut self, serial: u64) -> Checked {
        let Some(at) = self.m.requests.iter().position(|request| request.message.serial == serial) else {
            return Ok(());
        };
        let request = self.m.requests.remove(at);
        if !request.replied {
            let about = About::Message(request.message.clone());
            let of = request.message.message_type.clone();
            let expect = Expect::Refusal { of, codes: vec!["timeout"], about };
            self.push(request.asker, Class::Answer, expect)?;
        }
        self.close_if_settled(request.asker)
    }

    pub(crate) fn stop(&mut self) -> Checked {
        self.m.stopped = true;
        let all: Vec<u64> = self.m.conns.keys().copied().collect();
        for &number in &all {
            if let Some(held) = self.drop_held(number) {
                self.refuse_held(&held.message, "node_gone")?;
            }
        }
        let open = std::mem::take(&mut self.m.requests);
        self.tell_node_gone(open.into_iter().filter(|one| !one.replied).map(|one| one.message).collect())?;
        let nodes: Vec<_> =
            self.m.nodes.iter().map(|(name, node)| (name.clone(), node.instances.clone())).collect();
        for (name, instances) in nodes {
            for instance in instances {
                self.news(&name, instance, "node_down", Some("shutdown"))?;
            }
        }
        for number in all {
            if let Some(call) = self.change(number).roll_call.take() {
                self.refuse(&call.request, &["node_gone"])?;
            }
            // One that has left, and has got its last answer by that, may be closed before it hears more.
            if self.seen.closed.contains(&number) {
                self.close_if_settled(number)?;
            }
            self.push(number, Class::Answer, Expect::Signal { event: "shutdown", body: Vec::new() })?;
        }
        Ok(())
    }

    /// Tells askers that all who could have answered have left; the order among them is not promised.
    fn tell_node_gone(&mut self, mut told: Vec<Rc<Msg>>) -> Checked {
        // Those whose ids are known first: the others could be taken for any of them.
        told.sort_by_key(|message| self.m.id_of(message).is_none());
        while !told.is_empty() {
            let refusal = |message: &Rc<Msg>| Expect::Refusal {
                of: message.message_type.clone(),
                codes: vec!["node_gone"],
                about: About::Message(message.clone()),
            };
            let at = told.iter().position(|message| self.next_fits(message.sender, &refusal(message)));
            let message = told.remove(at.unwrap_or(0));
            self.push(message.sender, Class::Answer, refusal(&message))?;
        }
        Ok(())
    }
}
