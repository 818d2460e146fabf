//! A filter for telexd that bounds how much a user, a node or a connection may send. Its README says how it
//! is configured.

mod bucket;
mod config;
mod limit;

use std::time::Instant;

use telex_plugin::{
    Call, Category, Event, Events, Filter, Heard, Host, Interest, Kind, Level, Message, Plugin, Verdict,
};
use telex_users::Machine;

use crate::config::{Action, Config, Kinds};
use crate::limit::{Limits, Sent, User};

/// The plugin.
#[derive(Debug)]
pub struct Rate {
    limits: Limits,
    began: Instant,
}

impl Plugin for Rate {
    fn create(host: Host, config: &str) -> Result<Rate, String> {
        let Config { limits, warnings } = config::read(config, &Machine::here())?;
        warnings.iter().for_each(|warning| host.log(Level::Warning, warning));
        Ok(Rate { limits: Limits::new(limits), began: Instant::now() })
    }
}

impl Filter for Rate {
    fn judge(&mut self, message: &Message<'_>, call: &Call<'_>) -> Verdict {
        let now = self.began.elapsed().as_nanos() as u64;
        match self.limits.judge(&sent(message), now, call.is_dry()) {
            Ok(()) => Verdict::Pass,
            Err(refusal) => match refusal.action() {
                Action::Drop => Verdict::Drop,
                Action::Reject => Verdict::Reject(refusal.to_string()),
            },
        }
    }

    fn interests(&self) -> Vec<Interest> {
        self.limits.interests()
    }
}

impl Events for Rate {
    fn event(&mut self, event: &Event<'_>, _: &Call<'_>) -> Heard {
        if let (Kind::Disconnected, Some(peer)) = (event.kind(), event.peer()) {
            self.limits.forget(peer.connection(), peer.unique_id());
        }
        Heard::Yes
    }

    /// Wants [`Kind::Reloaded`] so that a reload that changes nothing here fills no bucket. Names are
    /// looked up again, for which a new instance is made.
    fn wants(&self) -> &'static [Kind] {
        if self.limits.has_names() { &[Kind::Disconnected] } else { &[Kind::Disconnected, Kind::Reloaded] }
    }
}

fn sent<'a>(message: &'a Message<'_>) -> Sent<'a> {
    let sender = message.sender();
    let kind = match message.category() {
        _ if message.to().is_none() && message.topic().is_none() => Kinds::TO_DAEMON,
        Category::Request => Kinds::REQUESTS,
        Category::Signal => Kinds::SIGNALS,
        Category::Reply => Kinds::REPLIES,
    };
    Sent {
        kind,
        message_type: message.message_type(),
        from: message.from(),
        to: message.to().unwrap_or_default(),
        topic: message.topic().unwrap_or_default(),
        bytes: message.line().len() as u64,
        connection: sender.connection(),
        user: match (sender.uid(), sender.user()) {
            (Some(uid), _) => User::Uid(uid),
            (None, Some(name)) => User::Name(name),
            (None, None) => User::Nobody,
        },
        gid: sender.gid(),
    }
}

telex_plugin::export!(Rate, filter, events, dry);
