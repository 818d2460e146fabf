//! Knows who is told of the coming and going of nodes, and of tapped messages (PROTOCOL.md section 7).
//! Never: changes what it tells of.

use std::rc::Rc;

use crate::core::delivery::AskedBy;
use crate::core::registry::Node;
use crate::core::session::RollCall;
use crate::core::watch::Tapped;
use crate::core::{Core, Reason, SessionKey};
use crate::wire::envelope::Outgoing;
use crate::wire::message::Id;

/// A roll call goes on while less than this part of the second count is used.
const ROLL_CALL_PART: usize = 4;

impl Core {
    /// Tells the monitors of `node_id` that an instance came.
    pub(super) fn tell_up(&mut self, node_id: &str, number: u64) {
        for monitor in self.monitors_of(node_id, number) {
            self.say_news(monitor, "node_up", node_id, number, None);
        }
    }

    /// Tells the monitors of `node_id` that an instance went.
    pub(super) fn tell_down(&mut self, node_id: &str, number: u64, reason: Reason) {
        for monitor in self.monitors_of(node_id, number) {
            self.say_news(monitor, "node_down", node_id, number, Some(reason));
        }
    }

    /// Tells one monitor. At the end of the daemon, who has not read so many news goes without the
    /// rest: that all are gone is what `shutdown` says.
    fn say_news(
        &mut self,
        monitor: SessionKey,
        event: &str,
        node_id: &str,
        number: u64,
        reason: Option<Reason>,
    ) {
        let queued = self.sessions.get(monitor).map_or(0, |session| session.outbox.answer_bytes());
        if queued >= self.news_bytes_max() {
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
