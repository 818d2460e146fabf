//! Knows what can happen to clients, and draws it.
//! Never: what is right.

use std::sync::Arc;
use std::time::Duration;

use telex::client::{Handle, Register, To};

use crate::clients::World;
use crate::clients::client::{Ask, Call, Client, Gathering, next};
use crate::model::Checked;

const TOPICS: [&str; 3] = ["t.a", "t.b", "u"];
const PATTERNS: [&str; 4] = ["t.a", "t.*", ">", "u"];
const SHARED: [&str; 2] = ["w0", "w1"];
const ALONE: [&str; 2] = ["x0", "x1"];
const WATCHED: [&str; 4] = ["*", "c*", "w*", "x0"];

impl World {
    /// One thing happens, and then some bytes go some way.
    pub(crate) fn act(&mut self) -> Checked {
        let at = self.random.below(self.clients.len());
        match self.random.below(40) {
            0..=7 => self.call(at),
            8..=11 => self.signal(at),
            12..=15 => self.publish(at),
            16 => self.register(at),
            17 => self.unregister(at),
            18 | 19 => self.subscribe(at),
            20 => self.end_subscription(at),
            21 => self.monitor(at),
            22 => self.end_monitor(at),
            23 => self.gather(at),
            24 => self.forget(at),
            25 | 26 => self.answer_late(at),
            27 => self.break_off(at),
            28 if self.random.one_in(6) => self.restart(),
            29..=31 => {
                let most = self.random.pick(&[50, 500, 3000]);
                let span = Duration::from_millis(self.random.between(1, most) as u64);
                self.note(format!("{span:?} pass"));
                self.pass_time(span)?;
            }
            _ => {}
        }
        for _ in 0..self.random.below(4) {
            let at = self.random.below(self.clients.len());
            let most = self.random.pick(&[1, 30, 400, 100_000]);
            self.carry(at, most)?;
        }
        // What a connection that its client has lost still holds reaches the daemon some time.
        if self.random.one_in(4) {
            let numbers: Vec<u64> = self.daemon.links.keys().copied().collect();
            if !numbers.is_empty() {
                let number = self.random.pick(&numbers);
                self.read(number, 400);
            }
        }
        if self.random.one_in(3) {
            self.connect(at);
        }
        self.look()
    }

    pub(crate) fn connect(&mut self, at: usize) {
        if self.clients[at].link.is_some() {
            return;
        }
        // Only over one connection there is an order.
        let last = self.clients[at].last_link.and_then(|last| self.daemon.links.get_mut(&last));
        last.into_iter().for_each(|last| last.up.clear());
        let room = self.random.pick(&[200, 2000, 1 << 20]);
        if let Some(number) = self.daemon.connect(room) {
            self.clients[at].link = Some(number);
            self.clients[at].last_link = Some(number);
            self.clients[at].driven.opened();
            self.note(format!("c{at} connects as :{number}"));
            self.name(at);
        }
    }

    /// Each has a name of its own, from the beginning.
    fn name(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let name = format!("c{at}");
        let is_asked = client.asks.iter().any(|ask| matches!(ask, Ask::Register(of, _) if *of == name));
        if !client.names.contains(&name) && !is_asked {
            let options = Register {
                node_id: Some(name.clone().into()),
                exclusive: Some(self.is_plain),
                ..Register::default()
            };
            let answer = client.driven.handle().register_with(&options);
            client.asks.push(Ask::Register(name, answer));
        }
    }

    fn handle(&self, at: usize) -> &Handle {
        self.clients[at].driven.handle()
    }

    fn address(&mut self) -> String {
        let own = format!("c{}", self.random.below(self.clients.len()));
        self.random.pick(&[
            own.clone(),
            own.clone(),
            own,
            SHARED[0].to_owned(),
            ALONE[0].to_owned(),
            "no".to_owned(),
        ])
    }

    fn call(&mut self, at: usize) {
        let id = self.ledger.number();
        let to = self.address();
        let kind = if self.random.one_in(4) { "late" } else { "ask" };
        let timeout = Duration::from_millis(self.random.between(1, 20_000) as u64);
        let padding = "x".repeat(self.random.pick(&[0, 0, 0, 900]));
        let body = format!("{{\"call\":{id},\"padding\":\"{padding}\"}}");
        let target = if self.random.one_in(8) && !self.is_plain { To::Topic("t.a") } else { To::Node(&to) };
        let target = if kind == "late" { To::Node(&to) } else { target };
        self.note(format!("c{at} calls {target:?} {kind} {id} for {timeout:?}"));
        let answer = self.handle(at).call(target, kind, &body, timeout);
        let is_called_back = self.random.one_in(3);
        let client = &mut self.clients[at];
        let answer = if is_called_back {
            let heard = Arc::clone(&client.heard);
            answer.then(move |outcome| heard.lock().expect("a note").called_back.push((id, outcome)));
            None
        } else {
            Some(answer)
        };
        client.calls.push(Call { id, answer, timeout, at: self.daemon.now, losses: client.lost[0] });
    }

    fn signal(&mut self, at: usize) {
        let to = self.random.below(self.clients.len());
        let number = self.ledger.number();
        if self.clients[at].driven.has_room() {
            let body =
                format!("{{\"s\":[{at},{number}],\"p\":\"{}\"}}", "x".repeat(self.random.pick(&[0, 200])));
            if let Ok(ticket) = self.handle(at).send(&format!("c{to}"), &body) {
                self.note(format!("c{at} sends signal {number} to c{to}"));
                self.ledger.sent(&self.clients, at as u64, number, ticket, Ok(to as u64));
            }
        }
    }

    fn publish(&mut self, at: usize) {
        let topic = self.random.pick(&TOPICS);
        let number = self.ledger.number();
        if self.clients[at].driven.has_room() {
            let body =
                format!("{{\"s\":[{at},{number}],\"p\":\"{}\"}}", "x".repeat(self.random.pick(&[0, 0, 700])));
            if let Ok(ticket) = self.handle(at).publish(topic, &body) {
                self.note(format!("c{at} publishes {number} to {topic}"));
                self.ledger.sent(&self.clients, at as u64, number, ticket, Err(topic.to_owned()));
            }
        }
    }

    /// Of two requests about one name that are on their way none knows what comes out.
    fn doubt(&mut self, at: usize, name: &str) {
        let is_about = |ask: &Ask| match ask {
            Ask::Register(of, _) | Ask::Unregister(of, _) => of == name,
            _ => false,
        };
        if self.clients[at].asks.iter().any(is_about) {
            self.clients[at].vague.insert(name.to_owned());
        }
    }

    fn register(&mut self, at: usize) {
        let is_alone = self.is_plain || self.random.one_in(2);
        let name = self.random.pick(if is_alone { &ALONE } else { &SHARED });
        self.doubt(at, name);
        let options =
            Register { node_id: Some(name.into()), exclusive: Some(is_alone), ..Register::default() };
        let answer = self.handle(at).register_with(&options);
        self.note(format!("c{at} registers {name}"));
        self.clients[at].asks.push(Ask::Register(name.to_owned(), answer));
    }

    fn unregister(&mut self, at: usize) {
        let name = self.random.pick(&[SHARED, ALONE].concat());
        self.doubt(at, name);
        let answer = self.handle(at).unregister(name);
        self.note(format!("c{at} unregisters {name}"));
        let client = &mut self.clients[at];
        if client.lost_names.remove(name) {
            client.names.remove(name);
        }
        client.asks.push(Ask::Unregister(name.to_owned(), answer));
    }

    fn subscribe(&mut self, at: usize) {
        let pattern = self.random.pick(&PATTERNS);
        let group = self.random.pick(&[None, None, Some("g")]);
        self.note(format!("c{at} subscribes to {pattern} {group:?}"));
        let answer = self.handle(at).subscribe(pattern, group);
        self.clients[at].asks.push(Ask::Subscribe(pattern.to_owned(), group, answer));
    }

    fn end_subscription(&mut self, at: usize) {
        // Also one that is only asked for, while an older one of the same pattern may be ending.
        let client = &self.clients[at];
        let granted = client.subscriptions.iter().map(|one| (one.pattern.clone(), one.group));
        let asked = client.asks.iter().filter_map(|ask| match ask {
            Ask::Subscribe(pattern, group, _) => Some((pattern.clone(), *group)),
            _ => None,
        });
        let held: Vec<_> = granted.chain(asked).collect();
        if held.is_empty() {
            return;
        }
        let which = self.random.below(held.len());
        let (pattern, group) = held[which].clone();
        if which < client.subscriptions.len() && self.random.one_in(2) {
            drop(self.clients[at].subscriptions.swap_remove(which));
            return self.note(format!("c{at} drops {pattern} {group:?}"));
        }
        self.note(format!("c{at} unsubscribes from {pattern} {group:?}"));
        let answer = self.handle(at).unsubscribe(&pattern, group);
        let client = &mut self.clients[at];
        client.asks.push(Ask::End(answer));
        let is_it = |of: &str, in_group| of == pattern && in_group == group;
        let ended = client.subscriptions.extract_if(.., |one| is_it(&one.pattern, one.group));
        for mut one in ended {
            while next(&mut one.stream).is_some() {}
            assert!(one.stream.is_ended(), "{pattern} was unsubscribed from, and goes on");
        }
        // What was asked for and not granted has ended likewise.
        client.asks.retain(|ask| !matches!(ask, Ask::Subscribe(of, of_group, _) if is_it(of, *of_group)));
    }

    fn monitor(&mut self, at: usize) {
        let pattern = self.random.pick(&WATCHED);
        self.note(format!("c{at} monitors {pattern}"));
        let answer = self.handle(at).monitor(pattern);
        self.clients[at].asks.push(Ask::Monitor(pattern.to_owned(), answer));
    }

    fn end_monitor(&mut self, at: usize) {
        let Some(one) = self.clients[at].monitors.pop() else { return };
        self.note(format!("c{at} ends the monitor {}", one.pattern));
        if self.random.one_in(2) {
            return;
        }
        let answer = self.handle(at).unmonitor(&one.pattern);
        let client = &mut self.clients[at];
        client.asks.push(Ask::End(answer));
        client.monitors.retain(|other| other.pattern != one.pattern);
        client.asks.retain(|ask| !matches!(ask, Ask::Monitor(pattern, _) if *pattern == one.pattern));
    }

    fn gather(&mut self, at: usize) {
        let id = self.ledger.number();
        let to = self.address();
        let timeout = Duration::from_millis(self.random.between(1, 5000) as u64);
        self.note(format!("c{at} gathers {id} from {to}"));
        let stream = self.handle(at).gather(&to, "poll", &format!("{{\"call\":{id}}}"), timeout);
        let client = &mut self.clients[at];
        client.gave_up = true;
        let until = self.daemon.now + timeout;
        client.gatherings.push(Gathering { id, stream, until, from: Vec::new() });
    }

    /// A call is wanted no more.
    fn forget(&mut self, at: usize) {
        let calls = &mut self.clients[at].calls;
        if let Some(which) = calls.iter().position(|call| call.answer.is_some()) {
            let call = calls.remove(which);
            self.note(format!("c{at} forgets call {}", call.id));
        }
    }

    fn answer_late(&mut self, at: usize) {
        if self.clients[at].owed.is_empty() || !self.clients[at].driven.has_room() {
            return;
        }
        let which = self.random.below(self.clients[at].owed.len());
        let request = self.clients[at].owed.swap_remove(which);
        let id = request.body_value()["call"].clone();
        self.note(format!("c{at} answers {id}"));
        // Without a connection there is nothing to answer.
        let _ = self.handle(at).reply(&request, &format!("{{\"call\":{id}}}"));
    }

    fn break_off(&mut self, at: usize) {
        if let Some(number) = self.clients[at].link {
            self.note(format!("the connection of c{at} breaks"));
            self.daemon.cut(number, &mut self.random);
        }
    }

    fn restart(&mut self) {
        self.note("the daemon is restarted".to_owned());
        self.daemon.restart(&mut self.random);
        self.clients.iter_mut().for_each(|client| client.ends += 1);
    }
}

/// What is gathered comes once from each, and ends in time.
pub(crate) fn look_at_gatherings(client: &mut Client, now: Duration) -> Checked {
    let mut gatherings = std::mem::take(&mut client.gatherings);
    for one in &mut gatherings {
        while let Some(reply) = next(&mut one.stream) {
            let Ok(reply) = reply else { continue };
            let from = reply.line().to_owned();
            if reply.body_value()["call"] != one.id || one.from.contains(&from) {
                return Err(format!("{} was gathered from {:?} before: {from}", one.id, one.from));
            }
            one.from.push(from);
        }
        if now >= one.until && !one.stream.is_ended() {
            return Err(format!("what {} gathers never ends", one.id));
        }
    }
    gatherings.retain(|one| !one.stream.is_ended());
    client.gatherings = gatherings;
    Ok(())
}
