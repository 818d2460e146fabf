//! Knows what the daemon itself answers (PROTOCOL.md sections 3, 6 and 7).
//! Never: where messages between peers go.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::Value;

use crate::handling::matches;
use crate::lines;
use crate::model::{Checked, Class, Conn, Expect, Msg, Node, Pass, RollCall, Subscription};
use crate::routing::covers;

/// What `%n` becomes in the simulation.
pub(crate) const HOST: &str = "switch";

impl Pass<'_> {
    pub(crate) fn control(&mut self, message: &Rc<Msg>) -> Checked {
        let body: BTreeMap<String, Value> = message
            .body()
            .into_iter()
            .map(|(key, raw)| (key, serde_json::from_str(&raw).unwrap_or_default()))
            .collect();
        match message.message_type.as_str() {
            "ping" => {
                let told = body_of(message);
                self.answer(message, vec![("body", told)])
            }
            "whoami" => self.whoami(message),
            "register" => self.register(message, &body),
            "unregister" => self.unregister(message, &body),
            // It would end at once.
            "subscribe" | "monitor" | "tap"
                if self.conn(message.sender).is_some_and(|conn| conn.departed) =>
            {
                Ok(())
            }
            "subscribe" | "unsubscribe" => self.subscribe(message, &body),
            "monitor" => self.monitor(message, &body),
            "unmonitor" => self.unmonitor(message, &body),
            "resolve" => self.resolve(message, &body),
            "list" => self.list(message, &body),
            "subscribers" => self.subscribers(message, &body),
            "stats" => self.stats(message),
            "kill" => self.kill_them(message, &body),
            "tap" | "untap" => self.tap_or_untap(message, &body),
            _ => self.refuse(message, &["unknown_type"]),
        }
    }

    fn answer(&mut self, message: &Rc<Msg>, body: Vec<(&'static str, Value)>) -> Checked {
        let expect = Expect::Answer { to: message.clone(), address: message.from.clone(), body };
        self.push(message.sender, Class::Answer, expect).map(|_| ())
    }

    fn whoami(&mut self, message: &Rc<Msg>) -> Checked {
        let Some(conn) = self.conn(message.sender) else { return Ok(()) };
        let body = vec![
            ("unique_id", conn.unique_id().into()),
            ("node_ids", conn.names.clone().into()),
            ("administrator", conn.administrator.into()),
            ("transport", if conn.user.is_some() { "unix" } else { "tcp" }.into()),
        ];
        self.answer(message, body)
    }

    fn register(&mut self, message: &Rc<Msg>, body: &BTreeMap<String, Value>) -> Checked {
        let number = message.sender;
        let Some(conn) = self.conn(number) else { return Ok(()) };
        let mut codes: Vec<&'static str> = Vec::new();
        let node_id = string(body, "node_id", 255, &mut codes);
        let delivery = word(body, "delivery", &["all", "one"], &mut codes).map(|word| word == "one");
        let overflow = word(body, "overflow", &["wait", "fail"], &mut codes).map(|word| word == "fail");
        let exclusive = flag(body, "exclusive", &mut codes);
        let replace = flag(body, "replace", &mut codes);
        let credentials = flag(body, "credentials", &mut codes);

        let given = lines::text(&message.fields, "from");
        let wanted = match (given, node_id) {
            (Some(from), node_id) if !conn.owns(&from) => {
                if node_id.is_some_and(|node_id| node_id != from) {
                    codes.push("bad_field");
                }
                Some(from)
            }
            (_, Some(node_id)) => Some(node_id),
            (given, None) => given,
        };
        let Some(wanted) = wanted else {
            codes.push("missing_field");
            return self.refuse(message, &codes);
        };
        let Some((name, unique)) = expand(&wanted) else {
            codes.push("bad_field");
            return self.refuse(message, &codes);
        };
        let has_control = name.chars().any(|one| (one as u32) < 0x20 || one == '\u{7f}');
        if has_control || name.contains('#') || name.starts_with(':') || name.is_empty() || name.len() > 255 {
            codes.push("bad_field");
        }
        if name.starts_with("telex.") {
            codes.push("denied");
        }
        if !codes.is_empty() {
            return self.refuse(message, &codes);
        }
        let name = match unique {
            false => name,
            true => match self.unique_name(message, &name)? {
                Some(name) => name,
                None => return self.refuse(message, &["too_many_names"]),
            },
        };
        let Some(conn) = self.conn(number) else { return Ok(()) };
        let holds = conn.names.contains(&name);
        if !holds && conn.names.len() >= self.m.limits.max_names {
            codes.push("too_many_names");
        }
        let node = self.m.nodes.get(&name).cloned();
        let others: Vec<u64> = node
            .iter()
            .flat_map(|node| node.instances.iter().copied())
            .filter(|one| *one != number)
            .collect();
        let (user, departed) = (conn.user, conn.departed);
        let may_still_send = |conn: &Conn| conn.departed && conn.names.contains(&name);
        let foreign = others.iter().any(|&other| self.conn(other).is_some_and(|conn| conn.user != user))
            || self.m.conns.values().any(|conn| may_still_send(conn) && conn.user != user);
        let replaces = replace == Some(true) && !others.is_empty();
        if foreign {
            codes.push("name_taken");
        }
        if !others.is_empty() && !replaces && !departed {
            if exclusive == Some(true) || (node.as_ref().is_some_and(|node| node.exclusive) && !holds) {
                codes.push("name_taken");
            }
            if delivery.is_some_and(|shares| node.as_ref().is_some_and(|node| node.shares != shares)) {
                codes.push("delivery_mismatch");
            }
        }
        if !codes.is_empty() {
            return self.refuse(message, &codes);
        }
        if departed {
            // It may send from there, and is no instance.
            let conn = self.change(number);
            if !holds {
                conn.names.push(name);
            }
            conn.credentials = credentials.unwrap_or(conn.credentials);
            conn.fails = overflow.unwrap_or(conn.fails);
            return Ok(());
        }
        let reply = vec![("node_id", name.clone().into()), ("unique_id", format!(":{number}").into())];
        // Whether one who monitors itself hears of it before or behind the reply is not promised.
        self.float(number, Expect::Answer { to: message.clone(), address: name.clone(), body: reply });
        if replaces {
            for other in others {
                let conn = self.change(other);
                conn.names.retain(|held| *held != name);
                self.give_up_name(other, &name, "replaced")?;
                self.call_all(other);
            }
        }
        let node = self.m.nodes.entry(name.clone()).or_insert_with(|| {
            Rc::new(Node {
                instances: Vec::new(),
                // One that takes a node over takes its way of delivery too, where it names none.
                shares: node.is_some_and(|node| node.shares),
                exclusive: false,
                turns: Default::default(),
                keys: BTreeMap::new(),
            })
        });
        let node = Rc::make_mut(node);
        if let Some(shares) = delivery {
            node.shares = shares;
        }
        if let Some(exclusive) = exclusive {
            node.exclusive = exclusive;
        }
        if !holds {
            node.instances.push(number);
            node.turns = Default::default();
        }
        let may_take_over = if !holds && node.shares { node.instances.clone() } else { Vec::new() };
        for instance in may_take_over {
            self.call_all(instance);
        }
        let conn = self.change(number);
        if !holds {
            conn.names.push(name.clone());
        }
        conn.credentials = credentials.unwrap_or(conn.credentials);
        conn.fails = overflow.unwrap_or(conn.fails);
        if !holds {
            self.news(&name, number, "node_up", None)?;
        }
        self.land()
    }

    /// What `%u` became: the reply says it.
    fn unique_name(&mut self, message: &Rc<Msg>, wanted: &str) -> Checked<Option<String>> {
        let (head, tail) = wanted.split_once("%u").unwrap_or((wanted, ""));
        let about = Expect::AnyAnswer { to: message.clone() };
        let mut ahead = 0;
        while let Some(line) = self.peek(message.sender, ahead) {
            ahead += 1;
            if self.fits(message.sender, &about, line).is_err() {
                continue;
            }
            let Some(name) = line.body_text("node_id") else { return Ok(None) };
            if !(name.starts_with(head) && name.ends_with(tail) && name.len() > head.len() + tail.len()) {
                return Err(format!("{wanted:?} became {name:?}"));
            }
            if self.m.nodes.contains_key(&name) {
                return Err(format!("{name:?} should be unique"));
            }
            return Ok(Some(name));
        }
        // Never to be seen: the connection is broken, or ended in this call.
        self.m.is_lost = true;
        Ok(None)
    }

    fn unregister(&mut self, message: &Rc<Msg>, body: &BTreeMap<String, Value>) -> Checked {
        let mut codes = Vec::new();
        let name = string(body, "node_id", 255, &mut codes);
        let Some(name) = name else {
            codes.push("missing_field");
            return self.refuse(message, &codes);
        };
        let number = message.sender;
        let Some(conn) = self.conn(number) else { return Ok(()) };
        if !conn.names.contains(&name) {
            return self.refuse(message, &["not_yours", "bad_field"]);
        }
        self.change(number).names.retain(|held| *held != name);
        if self.conn(number).is_some_and(|conn| conn.departed) {
            return Ok(());
        }
        self.float(
            number,
            Expect::Answer { to: message.clone(), address: message.from.clone(), body: Vec::new() },
        );
        self.give_up_name(number, &name, "unregistered")?;
        self.call_all(number);
        self.land()
    }

    fn has_no_more_subscriptions(&self, number: u64) -> bool {
        self.conn(number).is_some_and(|conn| {
            conn.subscriptions.len() + conn.monitors.len() + conn.taps.len()
                >= self.m.limits.max_subscriptions
        })
    }

    fn subscribe(&mut self, message: &Rc<Msg>, body: &BTreeMap<String, Value>) -> Checked {
        let mut codes = Vec::new();
        let topic = string(body, "topic", 255, &mut codes);
        let group = string(body, "group", 255, &mut codes);
        match &topic {
            None => codes.push("missing_field"),
            Some(topic) => {
                let tokens: Vec<&str> = topic.split('.').collect();
                let last = tokens.len() - 1;
                if tokens
                    .iter()
                    .enumerate()
                    .any(|(at, token)| token.is_empty() || (*token == ">" && at < last))
                {
                    codes.push("bad_field");
                }
            }
        }
        let (Some(topic), true) = (topic, codes.is_empty()) else { return self.refuse(message, &codes) };
        let number = message.sender;
        let Some(conn) = self.conn(number) else { return Ok(()) };
        let held = conn.subscriptions.iter().position(|one| one.topic == topic && one.group == group);
        match (message.message_type.as_str(), held) {
            ("subscribe", None) if self.has_no_more_subscriptions(number) => {
                self.refuse(message, &["too_many_subscriptions"])
            }
            ("subscribe", None) => {
                self.change(number).subscriptions.push(Subscription { topic, group });
                // The turns of a group begin anew where its members change.
                self.m.groups.clear();
                self.answer(message, Vec::new())
            }
            ("unsubscribe", Some(at)) => {
                self.change(number).subscriptions.remove(at);
                self.m.groups.clear();
                self.answer(message, Vec::new())
            }
            ("unsubscribe", None) => self.any_answer(message),
            _ => self.answer(message, Vec::new()),
        }
    }

    /// The protocol does not say whether this is a fault.
    fn any_answer(&mut self, message: &Rc<Msg>) -> Checked {
        self.push(message.sender, Class::Answer, Expect::AnyAnswer { to: message.clone() }).map(|_| ())
    }

    fn monitor(&mut self, message: &Rc<Msg>, body: &BTreeMap<String, Value>) -> Checked {
        let mut codes = Vec::new();
        let Some(pattern) = string(body, "node_id", 255, &mut codes) else {
            codes.push("missing_field");
            return self.refuse(message, &codes);
        };
        let number = message.sender;
        let Some(conn) = self.conn(number) else { return Ok(()) };
        if !conn.monitors.contains(&pattern) && self.has_no_more_subscriptions(number) {
            return self.refuse(message, &["too_many_subscriptions"]);
        }
        let conn = self.change(number);
        if !conn.monitors.contains(&pattern) {
            conn.monitors.push(pattern.clone());
        }
        conn.roll_call = Some(RollCall {
            request: message.clone(),
            pattern,
            called: BTreeSet::new(),
            heard_of: BTreeSet::new(),
        });
        self.call_roll(number)
    }

    /// Goes on with the nodes that a new monitor is told of, in any order; the reply comes when all
    /// that match have been told.
    pub(crate) fn call_roll(&mut self, number: u64) -> Checked {
        loop {
            let Some(conn) = self.conn(number) else { return Ok(()) };
            let Some(call) = &conn.roll_call else { return Ok(()) };
            if conn.broke {
                self.change(number).roll_call = None;
                return Ok(());
            }
            let due: BTreeSet<(String, u64)> = self
                .m
                .nodes
                .iter()
                .filter(|(name, _)| matches(&call.pattern, name))
                .flat_map(|(name, node)| node.instances.iter().map(|one| (name.clone(), *one)))
                .filter(|key| !call.called.contains(key))
                .collect();
            let up = |(name, one): &(String, u64)| Expect::Signal {
                event: "node_up",
                body: vec![("node_id", name.clone().into()), ("unique_id", format!(":{one}").into())],
            };
            let is_over = due.iter().all(|key| call.heard_of.contains(key));
            let request = call.request.clone();
            if is_over {
                let expect =
                    Expect::Answer { to: request.clone(), address: request.from.clone(), body: Vec::new() };
                let is_called_again = due.iter().any(|key| self.next_fits(number, &up(key)));
                if self.next_fits(number, &expect)
                    || (conn.second == 0 && !is_called_again)
                    || self.is_blind(number)
                {
                    self.change(number).roll_call = None;
                    return self.answer(&request, Vec::new());
                }
            }
            // Where it was never to be seen, as if it had gone on to the end.
            let next = due
                .iter()
                .find(|key| self.next_fits(number, &up(key)))
                .or(due.first().filter(|_| self.is_blind(number)));
            match next {
                Some(key) => {
                    self.push(number, Class::Answer, up(key))?;
                    if let Some(call) = &mut self.change(number).roll_call {
                        call.called.insert(key.clone());
                    }
                }
                // It goes on when there is room: a monitor that reads is never left waiting.
                None if conn.second > 0 => return Ok(()),
                None => return Err(format!(":{number} monitors, and was not told of {due:?}")),
            }
        }
    }

    fn unmonitor(&mut self, message: &Rc<Msg>, body: &BTreeMap<String, Value>) -> Checked {
        let mut codes = Vec::new();
        let Some(pattern) = string(body, "node_id", 255, &mut codes) else {
            codes.push("missing_field");
            return self.refuse(message, &codes);
        };
        let conn = self.change(message.sender);
        let Some(at) = conn.monitors.iter().position(|held| *held == pattern) else {
            return self.any_answer(message);
        };
        conn.monitors.remove(at);
        self.answer(message, Vec::new())
    }

    fn resolve(&mut self, message: &Rc<Msg>, body: &BTreeMap<String, Value>) -> Checked {
        let mut codes = Vec::new();
        let Some(name) = string(body, "node_id", 255, &mut codes) else {
            codes.push("missing_field");
            return self.refuse(message, &codes);
        };
        let Some(node) = self.m.nodes.get(&name).cloned() else {
            return self.refuse(message, &["no_such_node"]);
        };
        let line = self.own_line(message);
        let told = line.and_then(|line| line.body_value("instances"));
        if let Some(Value::Array(told)) = told {
            let mut due = node.instances.clone();
            for told in &told {
                let number =
                    told["unique_id"].as_str().and_then(|id| id.strip_prefix(':')?.parse::<u64>().ok());
                let Some(at) = due.iter().position(|one| Some(*one) == number) else {
                    return Err(format!("{name:?} has no instance {told}"));
                };
                let number = due.remove(at);
                let Some(conn) = self.conn(number) else { continue };
                let (open, queued) = (self.m.open_at(number), conn.first + conn.second);
                if told["open_requests"] != open || (told["queue_bytes"] != queued && !self.is_blind(number))
                {
                    return Err(format!(
                        ":{number} has {open} open requests and {queued} bytes queued, and not {told}"
                    ));
                }
            }
            // Of many it may name only as many as fit into a queue, and says so.
            let more = line.and_then(|line| line.body_value("more")) == Some(Value::Bool(true));
            if !due.is_empty() && !more {
                return Err(format!("{name:?} has the instances {due:?} too"));
            }
        }
        let delivery = if node.shares { "one" } else { "all" };
        let body = vec![("node_id", name.into()), ("status", "up".into()), ("delivery", delivery.into())];
        self.answer(message, body)
    }

    /// The answer to a request, as it was seen.
    fn own_line(&self, message: &Rc<Msg>) -> Option<&lines::Seen> {
        let expect = Expect::AnyAnswer { to: message.clone() };
        (0..2)
            .filter_map(|ahead| self.peek(message.sender, ahead))
            .find(|line| self.fits(message.sender, &expect, line).is_ok())
    }

    fn list(&mut self, message: &Rc<Msg>, body: &BTreeMap<String, Value>) -> Checked {
        let mut codes = Vec::new();
        let pattern = string(body, "match", 255, &mut codes);
        let after = string(body, "after", 255, &mut codes);
        let limit = limit(body, &mut codes);
        if !codes.is_empty() {
            return self.refuse(message, &codes);
        }
        let mut nodes: Vec<Value> = self
            .m
            .nodes
            .iter()
            .filter(|(name, _)| after.as_ref().is_none_or(|after| *name > after))
            .filter(|(name, _)| pattern.as_ref().is_none_or(|pattern| matches(pattern, name)))
            .map(|(name, node)| {
                let instances: Vec<String> = node.instances.iter().map(|one| format!(":{one}")).collect();
                serde_json::json!({
                    "node_id": name,
                    "status": "up",
                    "delivery": if node.shares { "one" } else { "all" },
                    "instances": instances,
                })
            })
            .collect();
        let matching = nodes.len();
        nodes.truncate(limit);
        // A page may be shorter than asked for, where it would not fit into a queue; but it is never
        // empty while there are more, so that asking on comes to an end.
        let told = self.own_line(message).and_then(|line| line.body_value("nodes"));
        if let Some(Value::Array(told)) = told
            && !told.is_empty()
        {
            nodes.truncate(told.len());
        }
        let more = nodes.len() < matching;
        self.answer(message, vec![("nodes", nodes.into()), ("more", more.into())])
    }

    fn subscribers(&mut self, message: &Rc<Msg>, body: &BTreeMap<String, Value>) -> Checked {
        let mut codes = Vec::new();
        let Some(topic) = string(body, "topic", 255, &mut codes) else {
            codes.push("missing_field");
            return self.refuse(message, &codes);
        };
        limit(body, &mut codes);
        if topic.split('.').any(|token| token.is_empty() || token == "*" || token == ">") {
            codes.push("bad_field");
        }
        if !codes.is_empty() {
            return self.refuse(message, &codes);
        }
        let mut due: BTreeSet<(u64, Option<String>)> = BTreeSet::new();
        for conn in self.m.conns.values() {
            for one in conn.subscriptions.iter().filter(|one| covers(&one.topic, &topic)) {
                due.insert((conn.number, one.group.clone()));
            }
        }
        // How one is listed whose subscriptions overlap is not promised: each is listed at least once,
        // and as nothing that it is not.
        if let Some(Value::Array(told)) =
            self.own_line(message).and_then(|line| line.body_value("subscribers"))
        {
            let mut listed = BTreeSet::new();
            for told in &told {
                let number =
                    told["unique_id"].as_str().and_then(|id| id.strip_prefix(':')?.parse::<u64>().ok());
                let group = told["group"].as_str().map(str::to_owned);
                let number = number.ok_or("a subscriber without unique_id")?;
                if !due.contains(&(number, group)) {
                    return Err(format!("{told} does not subscribe to {topic}"));
                }
                let names = self.conn(number).map(|conn| conn.names.clone()).unwrap_or_default();
                if told["node_ids"] != Value::from(names) {
                    return Err(format!("the node IDs of {told} are others"));
                }
                listed.insert(number);
            }
            let numbers: BTreeSet<u64> = due.iter().map(|(number, _)| *number).collect();
            let more = self.own_line(message).and_then(|line| line.body_value("more"));
            if numbers != listed && more != Some(Value::Bool(true)) {
                return Err(format!("{numbers:?} subscribe to {topic}, and {listed:?} are listed"));
            }
        }
        self.answer(message, Vec::new())
    }

    fn stats(&mut self, message: &Rc<Msg>) -> Checked {
        let paused = self.m.conns.values().filter(|conn| conn.held.is_some()).count();
        let queued: usize = self.m.conns.values().map(|conn| conn.first + conn.second).sum();
        let mut body: Vec<(&'static str, Value)> = vec![
            ("nodes", self.m.nodes.len().into()),
            ("untold", self.m.untold.into()),
            ("missed", self.m.missed.into()),
            ("paused", paused.into()),
            ("delivered", self.m.delivered.into()),
        ];
        if self.seen.blind.is_empty() {
            body.push(("queue_bytes", queued.into()));
        }
        if let Some(told) = self.own_line(message).and_then(|line| line.body_value("connections"))
            && told["now"] != self.m.conns.values().filter(|conn| !conn.departed).count()
        {
            return Err(format!("there are other connections than {told}: {:?}", self.m.conns));
        }
        self.answer(message, body)
    }

    fn kill_them(&mut self, message: &Rc<Msg>, body: &BTreeMap<String, Value>) -> Checked {
        if !self.conn(message.sender).is_some_and(|conn| conn.administrator) {
            return self.refuse(message, &["denied"]);
        }
        let mut codes = Vec::new();
        let node = string(body, "node_id", 255, &mut codes);
        let unique = string(body, "unique_id", 255, &mut codes);
        if node.is_none() && unique.is_none() {
            codes.push("missing_field");
        }
        if !codes.is_empty() {
            return self.refuse(message, &codes);
        }
        let numbers: Vec<u64> = match (node, unique) {
            (Some(node), _) => self.m.nodes.get(&node).map(|node| node.instances.clone()).unwrap_or_default(),
            (None, unique) => {
                let number = unique.as_deref().and_then(|id| id.strip_prefix(':')?.parse().ok());
                number.filter(|number| self.conn(*number).is_some_and(Conn::is_here)).into_iter().collect()
            }
        };
        if numbers.is_empty() {
            return self.refuse(message, &["no_such_node"]);
        }
        // Whose own end it is too is answered first.
        let (own, others): (Vec<u64>, Vec<u64>) =
            numbers.iter().partition(|number| **number == message.sender);
        // What the others' ends lead to may come behind the answer.
        let body = vec![("killed", numbers.len().into())];
        let expect = Expect::Answer { to: message.clone(), address: message.from.clone(), body };
        self.float(message.sender, expect);
        for number in others {
            self.kill(number)?;
        }
        self.land()?;
        for number in own {
            self.kill(number)?;
        }
        Ok(())
    }

    fn tap_or_untap(&mut self, message: &Rc<Msg>, body: &BTreeMap<String, Value>) -> Checked {
        let number = message.sender;
        if !self.conn(number).is_some_and(|conn| conn.administrator) {
            // Of `untap` the protocol says nothing; who may not tap has none to end.
            return match message.message_type.as_str() {
                "tap" => self.refuse(message, &["denied"]),
                _ => self.any_answer(message),
            };
        }
        let mut codes = Vec::new();
        let mut patterns = BTreeMap::new();
        for name in ["from", "to", "topic", "message_type"] {
            if let Some(pattern) = string(body, name, 511, &mut codes) {
                patterns.insert(name.to_owned(), pattern);
            }
        }
        if !codes.is_empty() {
            return self.refuse(message, &codes);
        }
        if message.message_type == "untap" {
            let conn = self.change(number);
            let before = conn.taps.len();
            match patterns.is_empty() {
                true => conn.taps.clear(),
                false => {
                    if let Some(at) = conn.taps.iter().position(|tap| *tap == patterns) {
                        conn.taps.remove(at);
                    }
                }
            }
            return match before == self.conn(number).map_or(0, |conn| conn.taps.len()) {
                true => self.any_answer(message),
                false => self.answer(message, Vec::new()),
            };
        }
        if self.conn(number).is_some_and(|conn| conn.taps.contains(&patterns)) {
            return self.answer(message, Vec::new());
        }
        if self.has_no_more_subscriptions(number) {
            return self.refuse(message, &["too_many_subscriptions"]);
        }
        self.change(number).taps.push(patterns);
        self.answer(message, Vec::new())
    }
}

fn body_of(message: &Msg) -> Value {
    let raw = lines::field(&message.fields, "body");
    raw.and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default()
}

fn string(
    body: &BTreeMap<String, Value>,
    name: &str,
    max: usize,
    codes: &mut Vec<&'static str>,
) -> Option<String> {
    match body.get(name) {
        None => None,
        Some(Value::String(text)) if (1..=max).contains(&text.len()) => Some(text.clone()),
        Some(_) => {
            codes.push("bad_field");
            None
        }
    }
}

fn word(
    body: &BTreeMap<String, Value>,
    name: &str,
    words: &[&str],
    codes: &mut Vec<&'static str>,
) -> Option<String> {
    let word = string(body, name, 255, codes)?;
    if !words.contains(&word.as_str()) {
        codes.push("bad_field");
    }
    Some(word)
}

fn flag(body: &BTreeMap<String, Value>, name: &str, codes: &mut Vec<&'static str>) -> Option<bool> {
    match body.get(name) {
        None => None,
        Some(Value::Bool(flag)) => Some(*flag),
        Some(_) => {
            codes.push("bad_field");
            None
        }
    }
}

fn limit(body: &BTreeMap<String, Value>, codes: &mut Vec<&'static str>) -> usize {
    match body.get("limit") {
        None => 1000,
        Some(limit) => match limit.as_u64() {
            Some(limit) if limit >= 1 => (limit as usize).min(1000),
            _ => {
                codes.push("bad_field");
                0
            }
        },
    }
}

/// `%n` and `%%` expanded; `%u` stays, and whether it is there.
fn expand(wanted: &str) -> Option<(String, bool)> {
    let (mut name, mut unique, mut rest) = (String::new(), false, wanted);
    while let Some((head, tail)) = rest.split_once('%') {
        name.push_str(head);
        match tail.as_bytes().first() {
            Some(b'n') => name.push_str(HOST),
            Some(b'%') => name.push('%'),
            Some(b'u') => {
                name.push_str("%u");
                unique = true;
            }
            _ => return None,
        }
        rest = &tail[1..];
    }
    name.push_str(rest);
    Some((name, unique))
}
