//! Knows which monitors are told of the coming and going of instances, and what a new monitor is told first
//! (PROTOCOL.md section 7).
//! Never: changes what it tells of.

use std::sync::Arc;

use crate::core::after::{After, News};
use crate::core::desk::LINE_EFFORT;
use crate::core::order::Reason;
use crate::core::phase::Pause;
use crate::core::session::{RollCall, Through, Walk};
use crate::core::table::node::Node;
use crate::core::table::requests::Asked;
use crate::core::{Core, SessionKey};
use crate::name::{literal_prefix, matches};

/// What a line costs that goes to a connection of its own, in lines of one that gets many: the turn ends with a write to
/// each.
const WRITTEN_LINES: usize = 3;

impl Core {
    /// Tells the monitors of `node_id` that an instance came.
    pub(super) fn tell_up(&mut self, node_id: &Arc<str>, number: u64) {
        self.tell(News { node_id: node_id.clone(), number, reason: None, told: 0 });
    }

    /// Tells the monitors of `node_id` that an instance went.
    pub(super) fn tell_down(&mut self, node_id: &Arc<str>, number: u64, reason: Reason) {
        self.tell(News { node_id: node_id.clone(), number, reason: Some(reason), told: 0 });
    }

    fn tell(&mut self, news: News) {
        let rest = if self.desk.is_free() { self.spread(news) } else { Some(news) };
        if let Some(rest) = rest {
            self.desk.after.push(After::News(rest));
        }
    }

    /// Tells monitors, in the order of their numbers; gives what is left of that when the time is up. Behind
    /// `shutdown` nothing more is said.
    pub(super) fn spread(&mut self, mut news: News) -> Option<News> {
        if self.desk.said_shutdown {
            return None;
        }
        loop {
            let most = (self.desk.left() / LINE_EFFORT).div_ceil(WRITTEN_LINES);
            if most == 0 {
                return Some(news);
            }
            let (monitors, stop, looked_at) = self.watchers.monitors_of(&news.node_id, news.told, most);
            self.desk.settles(1 + looked_at + WRITTEN_LINES * LINE_EFFORT * monitors.len());
            for (_, monitor) in monitors {
                if self.has_to_hear(monitor, &news) {
                    self.say_news(monitor, &news.node_id, news.number, news.reason);
                }
            }
            news.told = stop?;
        }
    }

    /// Tells one monitor. While memory is short, one that does not read is ended before its time, and goes
    /// without the rest at the end of the daemon: `shutdown` says that all are gone.
    fn say_news(&mut self, monitor: SessionKey, node_id: &str, number: u64, reason: Option<Reason>) {
        if self.is_overloaded() && self.answer_bytes(monitor) >= self.news_bytes_max() {
            if !self.desk.stopping {
                self.end_for_answers(monitor);
            }
            return;
        }
        let event = if reason.is_none() { "node_up" } else { "node_down" };
        self.say_signal(monitor, event, |body| {
            body.string("node_id", node_id).string("unique_id", &format!(":{number}"));
            if let Some(reason) = reason {
                body.string("reason", reason.word());
            }
        });
    }

    fn answer_bytes(&self, key: SessionKey) -> usize {
        self.sessions.get(key).map_or(0, |session| session.outbound.outbox.answer_bytes())
    }

    /// Whether a monitor has to be told of this instance: not if its roll call has yet to come to it, unless
    /// another monitor of the connection wants it.
    fn has_to_hear(&self, monitor: SessionKey, news: &News) -> bool {
        let Some(session) = self.sessions.get(monitor) else { return false };
        let Some(Walk { through: Through::RollCall(roll_call), .. }) = session.inbound.walk.as_deref() else {
            return true;
        };
        let told = |(name, last): &(Arc<str>, u64)| (&*news.node_id, news.number) <= (&**name, *last);
        roll_call.is_repeated
            || roll_call.after.as_ref().is_some_and(told)
            || self.watchers.monitors_beside(session.caller.number, &news.node_id, &roll_call.pattern)
    }

    /// Begins to tell a new monitor which nodes are there; the reply comes behind.
    pub(super) fn begin_roll_call(&mut self, pattern: &str, is_new: bool, asked: Asked) {
        let roll_call = RollCall { pattern: pattern.into(), is_repeated: !is_new, after: None };
        let session = asked.asker;
        self.go_on_with_roll_call(session, asked, roll_call);
    }

    /// Tells of as many instances as there is room and time for. If not all have been told, the session stays
    /// blocked, and goes on when its queue has drained or its turn comes.
    pub(super) fn go_on_with_roll_call(&mut self, key: SessionKey, asked: Asked, mut roll_call: RollCall) {
        // What it tells is how things are now, and news of before must not come behind that.
        if self.desk.after.has_news() {
            self.desk.after.behind_news.push(key);
            return self.suspend(key, Walk { asked, through: Through::RollCall(roll_call) });
        }
        let room = self.roll_call_room();
        loop {
            let is_tired = self.desk.effort.call > self.desk.tuning.line_effort;
            if is_tired {
                self.desk.orders.resume(key);
                return self.suspend(key, Walk { asked, through: Through::RollCall(roll_call) });
            }
            let Some((name, numbers)) = self.next_of_roll_call(&mut roll_call) else { break };
            for number in numbers {
                if self.answer_bytes(key) >= room {
                    return self.suspend(key, Walk { asked, through: Through::RollCall(roll_call) });
                }
                self.say_news(key, &name, number, None);
                self.desk.works(LINE_EFFORT);
                roll_call.after = Some((name.clone(), number));
            }
        }
        self.say_reply(key, asked.borrowed(), |_| {});
    }

    /// Keeps a walk that is not over; until it is, nothing more of its session is handled.
    pub(super) fn suspend(&mut self, key: SessionKey, walk: Walk) {
        if let Some(session) = self.sessions.get_mut(key).filter(|session| session.phase.acts()) {
            session.inbound.pauses.begin(Pause::Walk);
            session.inbound.walk = Some(Box::new(walk));
        }
    }

    /// The node that is to be told of next, and its instances that have not been. Nodes that do not match are
    /// left behind on the way, as many as there is time for.
    fn next_of_roll_call(&mut self, roll_call: &mut RollCall) -> Option<(Arc<str>, Vec<u64>)> {
        if let Some((name, last)) = &roll_call.after
            && let Some(node) = self.registry.find(name).and_then(|node| self.registry.get(node))
        {
            let rest = numbers_behind(node, *last);
            self.desk.works(node.instances.len());
            if !rest.is_empty() {
                return Some((name.clone(), rest));
            }
        }
        let most = self.desk.tuning.line_effort;
        let behind = roll_call.after.as_ref().map(|(name, _)| name.clone());
        let (mut looked_at, mut found) = (0, None);
        for (_, node) in self.registry.nodes_after(behind.as_deref(), literal_prefix(&roll_call.pattern)) {
            looked_at += 1;
            let is_wanted = !node.instances.is_empty() && matches(&roll_call.pattern, &node.name);
            if is_wanted {
                found = Some((node.name.clone(), numbers_behind(node, 0)));
                break;
            }
            if looked_at > most {
                // It matches nothing: all its instances are behind.
                roll_call.after = Some((node.name.clone(), u64::MAX));
                found = Some((node.name.clone(), Vec::new()));
                break;
            }
        }
        self.desk.works(looked_at);
        found
    }
}

/// The numbers of a node's instances that are higher than `last`, in order.
fn numbers_behind(node: &Node, last: u64) -> Vec<u64> {
    let numbers = node.instances.iter().map(|instance| instance.number);
    let mut numbers: Vec<_> = numbers.filter(|number| *number > last).collect();
    numbers.sort_unstable();
    numbers
}
