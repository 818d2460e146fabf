//! Knows how plugins hear of what happens, and refuse connections.
//! Never: which plugins there are, or what a message says.

use std::time::Duration;

use telex_plugin::raw::{self, Str};

use super::chain::{Chain, FAILED, bytes_of, failed_at};
use super::pace::Task;
use super::view::{self, event};
use crate::core::{Happened, Happening, Peer};

/// A plugin that refuses a connection, and why.
#[derive(Debug)]
pub struct TurnedAway {
    /// The plugin's name.
    pub plugin: String,
    /// For people.
    pub reason: String,
}

impl Chain {
    /// Whether any plugin wants to hear what happens to connections.
    pub(super) fn wants_happenings(&self) -> bool {
        const KINDS: [u32; 6] = [
            raw::CONNECTED,
            raw::REGISTERED,
            raw::UNREGISTERED,
            raw::SUBSCRIBED,
            raw::UNSUBSCRIBED,
            raw::DISCONNECTED,
        ];
        self.slots.iter().any(|slot| KINDS.iter().any(|kind| slot.instance.wants(*kind)))
    }

    /// Asks whether a connection may be opened; the first refusal counts.
    pub(super) fn connected(&mut self, number: u64, peer: &Peer) -> Result<(), TurnedAway> {
        let unique_id = &format!(":{number}");
        for at in 0..self.slots.len() {
            let slot = &self.slots[at];
            if !slot.instance.wants(raw::CONNECTED) {
                continue;
            }
            let peer = view::peer(number, unique_id, peer, &[]);
            let refusal = match slot.is_out {
                true => slot.denies_on_fault().then(|| FAILED.to_owned()),
                false => self.tell(at, &raw::Event { peer: &peer, ..event(raw::CONNECTED) }, &[]),
            };
            if let Some(reason) = refusal {
                // Those before have been told that it is there.
                let gone = raw::Event { peer: &peer, reason: Str::of("refused"), ..event(raw::DISCONNECTED) };
                for before in 0..at {
                    self.tell(before, &gone, &[]);
                }
                return Err(TurnedAway { plugin: self.slots[at].settings.name.clone(), reason });
            }
        }
        Ok(())
    }

    /// Tells one plugin of what has happened, or, `replayed`, of what was there before it.
    pub(super) fn tell_of(&mut self, at: usize, happened: &Happened, replayed: bool) {
        let Happened { who, what } = happened;
        let mut node_ids = std::mem::take(&mut self.node_ids);
        node_ids.clear();
        node_ids.extend(who.node_ids.iter().map(|name| Str::of(name)));
        let peer = view::peer(who.number, &who.unique_id, &who.peer, &node_ids);
        let kind = match what {
            Happening::Connected => raw::CONNECTED,
            Happening::Registered { .. } => raw::REGISTERED,
            Happening::Unregistered { .. } => raw::UNREGISTERED,
            Happening::Subscribed { .. } => raw::SUBSCRIBED,
            Happening::Unsubscribed { .. } => raw::UNSUBSCRIBED,
            Happening::Disconnected { .. } => raw::DISCONNECTED,
        };
        let mut told = raw::Event { peer: &peer, replayed: u32::from(replayed), ..event(kind) };
        match what {
            Happening::Connected => {}
            Happening::Registered { node_id } => told.node_id = Str::of(node_id),
            Happening::Unregistered { node_id, reason } => {
                (told.node_id, told.reason) = (Str::of(node_id), Str::of(reason.word()));
            }
            Happening::Subscribed { topic, group } | Happening::Unsubscribed { topic, group } => {
                (told.topic, told.group) = (Str::of(topic), Str::maybe(group.as_deref()));
            }
            Happening::Disconnected { reason } => told.reason = Str::of(reason.word()),
        }
        self.tell(at, &told, &node_ids);
        self.node_ids = node_ids;
    }

    /// Tells all plugins of what is about no connection.
    pub(super) fn tell_all(&mut self, kind: u32) {
        for at in 0..self.slots.len() {
            self.tell(at, &event(kind), &[]);
        }
    }

    /// Tells each plugin of its timer if that has passed. `now` is monotonic.
    pub(super) fn tick(&mut self, now: Duration) {
        for at in 0..self.slots.len() {
            if self.slots[at].timer_has_passed(now) {
                self.tell(at, &event(raw::TIMER), &[]);
            }
        }
    }

    /// When [`Plugins::tick`] is wanted at the latest; `now` is monotonic.
    pub(super) fn next_deadline(&mut self, now: Duration) -> Option<Duration> {
        self.slots.iter_mut().filter_map(|slot| slot.next_timer(now)).min()
    }

    /// Tells one plugin of an event, if it wants it; gives the reason for which it refuses. `node_ids` are
    /// those in the event.
    pub(super) fn tell(&mut self, at: usize, event: &raw::Event, node_ids: &[Str]) -> Option<String> {
        let slot = &mut self.slots[at];
        if slot.is_out || !slot.instance.wants(event.kind) {
            return None;
        }
        let task = if event.kind == raw::TIMER { Task::Timer } else { Task::Event };
        let call = || slot.instance.event(event, &self.call);
        let (answer, late) = slot.pace.time(task, || bytes_of(node_ids), call);
        // What is a fault besides is one strike.
        if let Some(late) = late.filter(|_| matches!(answer, raw::OK | raw::REJECT)) {
            self.strike(at, &late.to_string());
        }
        match answer {
            raw::OK => None,
            // A connection that is there already stays; a plugin need not tell the one from the other.
            raw::REJECT if event.kind == raw::CONNECTED => {
                Some(self.call.take_reason().unwrap_or_else(|| "a plugin refused the connection".to_owned()))
            }
            answer => {
                self.strike(at, &failed_at(answer, task));
                let denies = self.slots[at].denies_on_fault();
                (event.kind == raw::CONNECTED && denies).then(|| FAILED.to_owned())
            }
        }
    }
}
