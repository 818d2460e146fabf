//! Knows the people of the tests, and how they speak.
//! Never: what they may do.

use serde_json::Value;
use telex_plugin::{Category, Transport, Verdict};
use telex_users::{Members, Users};

use crate::attempt::{Attempt, Said, Sender};
use crate::config::{self, Config};
use crate::door::Door;
use crate::policy::{Decision, Policy};

/// alice, whose group is users, bob, who is in staff too, and carol.
pub(crate) struct Town;

impl Users for Town {
    fn uid(&self, user: &str) -> Result<Option<u32>, String> {
        let known = [("root", 0), ("alice", 1000), ("bob", 1001), ("carol", 1002)];
        Ok(known.into_iter().find(|(name, _)| *name == user).map(|(_, uid)| uid))
    }

    fn group(&self, group: &str) -> Result<Option<Members>, String> {
        Ok(match group {
            "users" => Some(Members { gid: 100, uids: vec![1002, 1000, 1001] }),
            "staff" => Some(Members { gid: 50, uids: vec![1001] }),
            _ => None,
        })
    }

    fn group_of(&self, gid: u32) -> Result<Members, String> {
        Ok(Members { gid, uids: Vec::new() })
    }
}

/// Someone who is connected.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) transport: Transport,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) user: Option<&'static str>,
    pub(crate) node_ids: Vec<&'static str>,
}

fn person(uid: u32) -> Peer {
    Peer { transport: Transport::Unix, uid: Some(uid), gid: Some(100), user: None, node_ids: Vec::new() }
}

pub(crate) fn alice() -> Peer {
    person(1000)
}

pub(crate) fn bob() -> Peer {
    person(1001)
}

pub(crate) fn carol() -> Peer {
    person(1002)
}

pub(crate) fn tcp() -> Peer {
    Peer { transport: Transport::Tcp, uid: None, gid: None, ..person(0) }
}

impl Peer {
    /// Says a line on connection `:7`, to whoever listens.
    fn says<T>(&self, line: &str, listen: impl FnOnce(&Said<'_>) -> T) -> T {
        let line: Value = serde_json::from_str(line).expect("a line");
        let field = |name: &str| line[name].as_str();
        let message_type = field("message_type").expect("a type");
        let texts = ["node_id", "topic", "to", "message_type"]
            .map(|name| (format!("/{name}"), line["body"].get(name).map(Value::to_string)));
        listen(&Said {
            sender: Sender {
                transport: self.transport,
                uid: self.uid,
                gid: self.gid,
                user: self.user,
                unique_id: ":7",
                holds: &|test| self.node_ids.iter().any(|node_id| test(node_id)),
            },
            category: match message_type {
                "signal" => Category::Signal,
                _ if message_type.ends_with("_reply") => Category::Reply,
                _ => Category::Request,
            },
            message_type,
            from: field("from").unwrap_or(self.node_ids.first().unwrap_or(&":7")),
            to: field("to"),
            topic: field("topic"),
            value: &|pointer| texts.iter().find(|(name, _)| name == pointer)?.1.as_deref(),
        })
    }

    /// What a line tries to do.
    pub(crate) fn attempts(&self, line: &str) -> Option<Attempt<'static>> {
        self.says(line, |said| {
            let attempt = Attempt::of(said)?;
            Some(Attempt {
                what: attempt.what.into_owned().into(),
                message_type: attempt.message_type.into_owned().into(),
                ..attempt
            })
        })
    }

    /// What the rules say to a line.
    pub(crate) fn asks(&self, policy: &Policy, line: &str) -> Decision {
        self.says(line, |said| policy.decide(&said.sender, &Attempt::of(said).expect("an attempt")))
    }

    /// What becomes of a line, and what the log is told.
    pub(crate) fn tries(&self, door: &mut Door, line: &str) -> (Verdict, Vec<String>) {
        let mut log = Vec::new();
        let verdict = self.says(line, |said| door.judge(said, &mut |text| log.push(text.to_owned())));
        (verdict, log)
    }

    /// What would become of a line.
    pub(crate) fn looks(&self, door: &Door, line: &str) -> Verdict {
        self.says(line, |said| door.look(said))
    }
}

/// Reads a configuration that is written in TOML, as people do.
pub(crate) fn config(toml: &str) -> Result<Config, String> {
    let config: Value = toml::from_str(toml).expect("TOML");
    config::read(&config.to_string(), &Town)
}

pub(crate) fn policy(toml: &str) -> Policy {
    config(toml).expect("a configuration").policy
}

pub(crate) fn door(toml: &str) -> Door {
    let names = [(0, "root".to_owned()), (1000, "alice".to_owned()), (1001, "bob".to_owned())];
    Door::new(config(toml).expect("a configuration"), names.into(), Box::new(|_, _| {})).expect("a door")
}
