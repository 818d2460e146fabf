//! Knows who is told of the coming and going of nodes, and of tapped messages (PROTOCOL.md section 7).
//! Never: changes what it tells of.

use std::rc::Rc;

use crate::core::delivery::AskedBy;
use crate::core::intake::EFFORT_MAX;
use crate::core::registry::Node;
use crate::core::session::RollCall;
use crate::core::watch::Tapped;
use crate::core::{Core, Effect, Reason, SessionKey};
use crate::wire::envelope::Outgoing;
use crate::wire::message::Id;

/// A roll call goes on while less than this part of the second count is used.
const ROLL_CALL_PART: usize = 4;

/// An instance came, or went for this reason.
#[derive(Debug)]
pub(super) struct News {
    node_id: Rc<str>,
    number: u64,
    reason: Option<Reason>,
}

impl Core {
    /// Tells the monitors of `node_id` that an instance came.
    pub(super) fn tell_up(&mut self, node_id: &Rc<str>, number: u64) {
        self.tell(News { node_id: node_id.clone(), number, reason: None });
    }

    /// Tells the monitors of `node_id` that an instance went. Behind `shutdown` nothing more is said.
    pub(super) fn tell_down(&mut self, node_id: &Rc<str>, number: u64, reason: Reason) {
        if !self.stopping || reason == Reason::Shutdown {
            self.tell(News { node_id: node_id.clone(), number, reason: Some(reason) });
        }
    }

    fn tell(&mut self, news: News) {
        self.news.push_back(news);
        self.spread_news();
    }

    /// Tells what monitors have not been told yet, in its order. One line may lead to many news, each for
    /// many monitors: what is too much work for now is left to the next call.
    pub(super) fn spread_news(&mut self) {
        while (self.stopping || self.effort <= EFFORT_MAX)
            && let Some(News { node_id, number, reason }) = self.news.pop_front()
        {
            let event = if reason.is_none() { "node_up" } else { "node_down" };
            for monitor in self.monitors_of(&node_id, number) {
                self.say_news(monitor, event, &node_id, number, reason);
            }
        }
        if self.news.is_empty() {
            self.effects.extend(self.behind_news.drain(..).map(Effect::Resume));
        }
    }

    /// Tells one monitor. While memory is short, one that does not read them is ended before its
    /// time, and goes without the rest at the end of the daemon: `shutdown` says that all are gone.
    fn say_news(
        &mut self,
        monitor: SessionKey,
        event: &str,
        node_id: &str,
        number: u64,
        reason: Option<Reason>,
    ) {
        let queued = self.sessions.get(monitor).map_or(0, |session| session.outbox.answer_bytes());
        if queued >= self.news_bytes_max() && self.is_overloaded() {
            if !self.stopping {
                self.end_for_answers(monitor);
            }
            return;
        }
        self.say_signal(monitor, event, |body| {
            body.string("node_id", node_id).string("unique_id", &format!(":{number}"));
            if let Some(reason) = reason {
                body.string("reason", reason.word());
            }
        });
    }

    /// The monitors that have to be told of this instance: not those whose roll call has yet to come
    /// to it, unless another monitor of theirs wants it.
    fn monitors_of(&mut self, node_id: &str, number: u64) -> Vec<SessionKey> {
        let mut monitors = self.watch.monitors_of(node_id);
        self.effort += 1 + self.watch.pattern_count() + monitors.len();
        monitors.retain(|&monitor| {
            let Some(session) = self.sessions.get(monitor) else { return false };
            let Some(roll_call) = &session.roll_call else { return true };
            if roll_call.is_repeated {
                return true;
            }
            let told =
                roll_call.after.as_ref().is_some_and(|(name, last)| (node_id, number) <= (&**name, *last));
            told || self.watch.monitors_beside(session.number, node_id, &roll_call.pattern)
        });
        monitors
    }

    /// Begins to tell a new monitor which nodes are there; the reply comes behind.
    pub(super) fn begin_roll_call(
        &mut self,
        session: SessionKey,
        pattern: &str,
        is_new: bool,
        asked: AskedBy<'_>,
    ) {
        let Some(id) = asked.id else { return };
        let roll_call = RollCall {
            pattern: pattern.into(),
            is_repeated: !is_new,
            after: None,
            id: Id::into_owned(id.clone()),
            from: asked.from.into(),
        };
        if let Some(session) = self.sessions.get_mut(session) {
            session.roll_call = Some(Box::new(roll_call));
        }
        self.go_on_with_roll_call(session);
    }

    /// Tells of as many instances as there is room for. Where not all have been told, the session
    /// stays blocked, and goes on when its queue has drained.
    pub(super) fn go_on_with_roll_call(&mut self, key: SessionKey) {
        let Some(mut roll_call) = self.sessions.get_mut(key).and_then(|session| session.roll_call.take())
        else {
            return;
        };
        // What it tells is how things are now, and news of before must not come behind that.
        if !self.news.is_empty() {
            self.behind_news.push(key);
            return self.suspend_roll_call(key, roll_call);
        }
        let room = self.roll_call_room();
        while let Some((name, numbers)) = self.next_of_roll_call(&roll_call) {
            for number in numbers {
                let queued = self.sessions.get(key).map_or(0, |session| session.outbox.answer_bytes());
                if queued >= room {
                    return self.suspend_roll_call(key, roll_call);
                }
                self.say_news(key, "node_up", &name, number, None);
                roll_call.after = Some((name.clone(), number));
            }
        }
        let asked = AskedBy { from: &roll_call.from, id: Some(&roll_call.id), message_type: "monitor" };
        self.say_reply(key, asked, |_| {});
    }

    /// Up to how many bytes of answers a roll call fills a queue.
    pub(super) fn roll_call_room(&self) -> usize {
        self.news_bytes_max() / ROLL_CALL_PART
    }

    fn suspend_roll_call(&mut self, key: SessionKey, roll_call: Box<RollCall>) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.roll_call = Some(roll_call);
        }
    }

    /// The node that is to be told of next, and its instances that have not been.
    fn next_of_roll_call(&mut self, roll_call: &RollCall) -> Option<(Rc<str>, Vec<u64>)> {
        if let Some((name, last)) = &roll_call.after
            && let Some(node) = self.registry.find(name).and_then(|node| self.registry.get(node))
        {
            let rest = numbers_behind(node, *last);
            self.effort += node.instances.len();
            if !rest.is_empty() {
                return Some((name.clone(), rest));
            }
        }
        let prefix = crate::name::literal_prefix(&roll_call.pattern);
        let mut looked_at = 0;
        let found = self
            .registry
            .nodes_after(roll_call.after.as_ref().map(|(name, _)| &**name), prefix)
            .inspect(|_| looked_at += 1)
            .find(|(_, node)| {
                !node.instances.is_empty() && crate::name::matches(&roll_call.pattern, &node.name)
            })
            .map(|(_, node)| (node.name.clone(), numbers_behind(node, 0)));
        self.effort += looked_at;
        found
    }

    /// Copies a message to those who tap it. `line` is as it leaves.
    pub(super) fn tap(
        &mut self,
        sender: SessionKey,
        message: Tapped<'_>,
        line: &Outgoing<'_>,
        verdict: &'static str,
    ) {
        let taps = self.watch.taps_of(sender, message);
        if taps.is_empty() {
            return;
        }
        let mut bytes = Vec::new();
        line.write_to(&mut bytes);
        bytes.pop();
        let text = String::from_utf8_lossy(&bytes);
        for tap in taps {
            if self.has_topic_room(tap) {
                self.say_topic_signal(tap, "tap", |body| {
                    body.string("verdict", verdict).string("line", &text);
                });
            } else {
                self.miss(tap);
            }
        }
    }

    /// Whether anybody taps at all.
    pub(super) fn has_taps(&self) -> bool {
        self.watch.has_taps()
    }
}

/// The numbers of a node's instances that are higher than `last`, in order.
fn numbers_behind(node: &Node, last: u64) -> Vec<u64> {
    let numbers = node.instances.iter().map(|instance| instance.number);
    let mut numbers: Vec<_> = numbers.filter(|number| *number > last).collect();
    numbers.sort_unstable();
    numbers
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::time::Duration;

    use crate::clock::Now;
    use crate::core::{About, Core, Identity, Input, OpenGate, Peer, SessionKey, Transport};
    use crate::limits::Limits;

    const NOW: Now = Now { mono: Duration::from_secs(1), wall: Duration::from_secs(1) };

    fn says(core: &mut Core, session: SessionKey, line: &str) {
        let bytes = format!("{line}\n");
        core.handle(Input::Received { session, bytes: bytes.as_bytes() }, NOW, &mut OpenGate);
    }

    /// Everybody reads; counts the lines that have `part` in them.
    fn read(core: &mut Core, part: &str) -> usize {
        let mut count = 0;
        while let Some(session) = core.next_dirty() {
            loop {
                let mut slices = [IoSlice::new(b""); 8];
                let filled = core.transmit(session, &mut slices);
                let text: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
                if text.is_empty() {
                    break;
                }
                count += String::from_utf8_lossy(&text).matches(part).count();
                core.wrote(session, text.len(), NOW);
            }
        }
        while let Some(effect) = core.next_effect() {
            if let crate::core::Effect::Resume(session) = effect {
                core.handle(Input::Resumed { session }, NOW, &mut OpenGate);
            }
        }
        count
    }

    #[test]
    fn one_line_that_leads_to_very_many_news_is_no_endless_step() {
        const MANY: u64 = 400;
        let about = About { version: "0", host: "h".to_owned(), drain_timeout: Duration::ZERO };
        let mut core = Core::new(about, Limits::default(), NOW);
        let peer = Peer {
            transport: Transport::Unix,
            identity: Identity::Kernel { uid: 1, gid: 1, pid: 1 },
            administrator: false,
        };
        let mut open = |number| core.open(number, peer.clone(), NOW).expect("room");
        let sessions: Vec<_> = (1..=MANY).map(&mut open).collect();
        let one = open(MANY + 1);
        let late = open(MANY + 2);
        for &session in &sessions {
            says(&mut core, session, r#"{"message_type":"register","from":"n"}"#);
        }
        for &session in &sessions {
            says(&mut core, session, r#"{"message_type":"monitor","body":{"node_id":"n"}}"#);
            read(&mut core, "");
        }
        says(&mut core, one, r#"{"message_type":"register","from":"n","body":{"replace":true}}"#);
        let work = core.effort_bytes();
        assert!(work < 2_000_000, "{work}");
        assert_eq!(core.next_deadline(), Some(Duration::ZERO), "it goes on at once");
        // Who comes to monitor meanwhile hears how it is when all that was is told.
        says(&mut core, late, r#"{"message_type":"monitor","body":{"node_id":"n"}}"#);
        let mut downs = 0;
        while core.next_deadline() == Some(Duration::ZERO) {
            core.handle(Input::TimePassed, NOW, &mut OpenGate);
            downs += read(&mut core, "node_down");
        }
        downs += read(&mut core, "node_down");
        assert_eq!(downs as u64, MANY * MANY);
        says(&mut core, late, r#"{"message_type":"unmonitor","body":{"node_id":"n"}}"#);
        assert_eq!(read(&mut core, "unmonitor_reply"), 1, "its roll call is over");
    }
}
