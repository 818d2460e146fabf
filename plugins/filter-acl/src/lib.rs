//! Who may own, send, publish, subscribe, monitor and ask what: a filter for telexd. The README says how it
//! is used.
//!
//! The way of a message: `attempt` (what it tries to do) → `policy` (which rule decides, by its patterns)
//! → `door` (what becomes of it, and who is told). `config` makes the policy, with the machine's users.

pub mod attempt;
pub mod config;
pub mod door;
pub mod learned;
pub mod notes;
pub mod pattern;
pub mod policy;
#[cfg(test)]
mod stage;
pub mod verb;

use telex_plugin::{
    Call, Event, Events, Filter, Heard, Host, Interest, Kind, Level, Message, Plugin, Verdict,
};
use telex_users::Machine;

use crate::attempt::{Said, Sender};
use crate::door::Door;

/// The plugin.
#[derive(Debug)]
pub struct Acl {
    host: Host,
    door: Door,
}

impl Plugin for Acl {
    fn create(host: Host, config: &str) -> Result<Acl, String> {
        let machine = Machine::here();
        let tell = move |level, text: &str| host.log(level, text);
        let config = config::read(config, &machine)?;
        let door = match host.checking() {
            true => Door::check(config, machine.names(), &tell)?,
            false => Door::new(config, machine.names(), Box::new(tell))?,
        };
        for (level, text) in door.unknown() {
            host.log(level, &text);
        }
        for doubt in door.doubts() {
            host.log(Level::Warning, &doubt);
        }
        Ok(Acl { host, door })
    }
}

impl Filter for Acl {
    fn judge(&mut self, message: &Message<'_>, call: &Call<'_>) -> Verdict {
        let peer = message.sender();
        let said = Said {
            sender: Sender {
                transport: peer.transport(),
                uid: peer.uid(),
                gid: peer.gid(),
                user: peer.user(),
                unique_id: peer.unique_id(),
                holds: &|test| peer.node_ids().any(test),
            },
            category: message.category(),
            message_type: message.message_type(),
            from: message.from(),
            to: message.to(),
            topic: message.topic(),
            value: &|pointer| message.value(pointer),
        };
        if call.is_dry() {
            return self.door.look(&said);
        }
        let host = self.host;
        self.door.judge(&said, &mut |warning| host.log(Level::Warning, warning))
    }

    fn interests(&self) -> Vec<Interest> {
        self.door.interests()
    }
}

impl Events for Acl {
    fn event(&mut self, event: &Event<'_>, _: &Call<'_>) -> Heard {
        let Some(peer) = event.peer() else { return Heard::Yes };
        match (event.kind(), event.node_id()) {
            (Kind::Registered, Some(node_id)) => self.door.registered(peer.connection(), node_id),
            (Kind::Unregistered, Some(node_id)) => self.door.unregistered(peer.connection(), node_id),
            (Kind::Disconnected, _) => self.door.disconnected(peer.connection()),
            _ => {}
        }
        Heard::Yes
    }

    fn wants(&self) -> &'static [Kind] {
        match self.door.follows_names() {
            true => &[Kind::Registered, Kind::Unregistered, Kind::Disconnected],
            false => &[],
        }
    }
}

telex_plugin::export!(Acl, filter, events, dry);
