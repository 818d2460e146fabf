//! Knows what becomes of a message, and who is told of it.
//! Never: the daemon; that is what the plugin around it is for.

use std::collections::HashMap;
use std::time::Instant;

use telex_log::{Tell, check_append};
use telex_plugin::{Interest, Level, Transport, Verdict};

use crate::attempt::{Attempt, Said, Sender, quoted};
use crate::config::{Config, Unknown};
use crate::learned::{Learned, cannot_open};
use crate::notes::Told;
use crate::policy::{Decision, Policy};
use crate::verb::{ASKS, Verb};

/// The place where messages are judged.
#[derive(Debug)]
pub struct Door {
    policy: Policy,
    /// Names of uids, for texts.
    users: HashMap<u32, String>,
    /// The node IDs of connections: a message to a `:N` is one to each of them.
    node_ids: HashMap<u64, Vec<Box<str>>>,
    told: Told,
    /// Where rules are learned, everything is let through.
    learns: bool,
    /// None if the configuration is only checked.
    learned: Option<Learned>,
    unknown: Vec<Unknown>,
}

impl Door {
    /// Opens the file of learned rules, if there is to be one. `tell` is told, on another thread, if it cannot
    /// be written.
    pub fn new(config: Config, users: HashMap<u32, String>, tell: Tell) -> Result<Door, String> {
        let Config { policy, learn_file, unknown } = config;
        let learned = learn_file.map(|path| Learned::open(&path, tell)).transpose()?;
        let learns = learned.is_some();
        Ok(Door { policy, users, node_ids: HashMap::new(), told: Told::default(), learns, learned, unknown })
    }

    /// The same for a check of the configuration: the file is not opened. `tell` is told what that leaves open.
    pub fn check(
        mut config: Config,
        users: HashMap<u32, String>,
        tell: &dyn Fn(Level, &str),
    ) -> Result<Door, String> {
        let learn_file = config.learn_file.take();
        if let Some(path) = &learn_file
            && let Some(unknown) = check_append(path).map_err(|error| cannot_open(path, &error))?
        {
            tell(Level::Warning, &unknown);
        }
        Ok(Door { learns: learn_file.is_some(), ..Door::new(config, users, Box::new(|_, _| {}))? })
    }

    /// The users and groups of rules that this machine does not have, for the log. It is an error where a rule
    /// was to deny something: that is not denied.
    pub fn unknown(&self) -> Vec<(Level, String)> {
        let tell = |Unknown { rule, allows, name }: &Unknown| {
            let level = if *allows { Level::Warning } else { Level::Error };
            (level, format!("rule {rule}: {name}"))
        };
        self.unknown.iter().map(tell).collect()
    }

    /// What is odd about the rules, for the log.
    pub fn doubts(&self) -> Vec<String> {
        let late = self.policy.late_rules().into_iter();
        let mut doubts: Vec<String> = late
            .map(|(late, earlier)| {
                format!("rule {late} comes too late: rule {earlier} before it matches all that it does")
            })
            .collect();
        if self.learns {
            doubts.push("everything is let through while rules are learned".into());
        } else if !Verb::ALL.into_iter().any(|verb| self.is_judged(verb)) {
            doubts.push("everything is allowed: the default is to allow, and no rule denies anything".into());
        }
        doubts
    }

    /// The messages that have to be judged.
    pub fn interests(&self) -> Vec<Interest> {
        let text = |text: &str| Some(text.to_owned());
        let request = |name| Interest {
            message_type: text(name),
            to: text(""),
            topic: text(""),
            ..Interest::default()
        };
        let mut interests = Vec::new();
        for verb in Verb::ALL.into_iter().filter(|verb| self.is_judged(*verb)) {
            match verb {
                Verb::Own => interests.push(request("register")),
                Verb::Subscribe => interests.push(request("subscribe")),
                Verb::Monitor => interests.push(request("monitor")),
                Verb::Ask => interests.extend(ASKS.map(request)),
                // There is no pattern for a field that is there; so these let requests to the daemon in, too.
                Verb::Send => interests.push(Interest { topic: text(""), ..Interest::default() }),
                Verb::Publish => interests.push(Interest { to: text(""), ..Interest::default() }),
            }
        }
        if interests.is_empty() {
            // No list at all would ask for everything, and no type is empty.
            interests.push(request(""));
        }
        interests
    }

    /// Whether the node IDs of connections have to be known.
    pub fn follows_names(&self) -> bool {
        self.is_judged(Verb::Send)
    }

    fn is_judged(&self, verb: Verb) -> bool {
        self.learned.is_some() || self.policy.can_deny(verb)
    }

    /// A connection holds one more node ID.
    pub fn registered(&mut self, connection: u64, node_id: &str) {
        self.node_ids.entry(connection).or_default().push(node_id.into());
    }

    /// And one less.
    pub fn unregistered(&mut self, connection: u64, node_id: &str) {
        if let Some(held) = self.node_ids.get_mut(&connection) {
            held.retain(|one| **one != *node_id);
            if held.is_empty() {
                self.node_ids.remove(&connection);
            }
        }
    }

    /// A connection is gone.
    pub fn disconnected(&mut self, connection: u64) {
        self.node_ids.remove(&connection);
    }

    /// Judges a message; `log` takes warnings.
    pub fn judge(&mut self, said: &Said<'_>, log: &mut dyn FnMut(&str)) -> Verdict {
        let Some(attempt) = Attempt::of(said) else { return Verdict::Pass };
        for (attempt, decision) in self.objections(&said.sender, attempt) {
            let who = self.who(&said.sender);
            let rule = attempt.rule(&who);
            if self.learned.is_some() {
                self.learn(&attempt, decision, rule, log);
                continue;
            }
            let reason = format!("{} is {}", attempt.words(), words(decision));
            let who: Vec<String> = who.iter().map(|(key, value)| format!("{key} {value}")).collect();
            let way_out = match (&rule, decision.rule) {
                (Some(rule), None) => format!("this rule would allow it: {rule}"),
                (Some(rule), Some(number)) => {
                    format!("put before rule {number}, this would allow it: {rule}")
                }
                (None, _) => "no rule can allow just that".into(),
            };
            let warning = format!("{}: {reason}; {way_out}", who.join(" "));
            self.warn(rule.as_ref().unwrap_or(&reason), warning, log);
            return Verdict::Reject(reason);
        }
        Verdict::Pass
    }

    /// The verdict on a message of which only that is asked.
    pub fn look(&self, said: &Said<'_>) -> Verdict {
        let Some(attempt) = Attempt::of(said) else { return Verdict::Pass };
        match self.objections(&said.sender, attempt).first() {
            // What is learned passes.
            Some((attempt, decision)) if self.learned.is_none() => {
                Verdict::Reject(format!("{} is {}", attempt.words(), words(*decision)))
            }
            _ => Verdict::Pass,
        }
    }

    /// What the message tries to do that is denied, or, where rules are learned, not allowed by any yet.
    /// Empty, it takes no memory.
    fn objections<'a>(&self, sender: &Sender<'_>, attempt: Attempt<'a>) -> Vec<(Attempt<'a>, Decision)> {
        let objection = |attempt: Attempt<'a>| {
            let decision = self.policy.decide(sender, &attempt);
            let is_fine = decision.allowed && (self.learned.is_none() || decision.rule.is_some());
            (!is_fine).then_some((attempt, decision))
        };
        let number = || attempt.what.strip_prefix(':')?.parse().ok();
        match (attempt.verb, number().and_then(|number: u64| self.node_ids.get(&number))) {
            (Verb::Send, Some(node_ids)) => node_ids
                .iter()
                .filter_map(|node_id| {
                    objection(Attempt { what: node_id.to_string().into(), ..attempt.clone() })
                })
                .collect(),
            _ => objection(attempt).into_iter().collect(),
        }
    }

    fn learn(
        &mut self,
        attempt: &Attempt<'_>,
        decision: Decision,
        rule: Option<String>,
        log: &mut dyn FnMut(&str),
    ) {
        let warning = match (decision.rule, rule, &mut self.learned) {
            (Some(_), ..) => Some(format!("{} would be {}", attempt.words(), words(decision))),
            (None, Some(rule), Some(learned)) => learned.learn(&rule).err(),
            _ => Some(format!("{} cannot be learned: no rule can allow just that", attempt.words())),
        };
        if let Some(warning) = warning {
            self.warn(&warning.clone(), warning, log);
        }
    }

    fn warn(&mut self, key: &str, warning: String, log: &mut dyn FnMut(&str)) {
        self.told.tell(key, warning, Instant::now()).iter().for_each(|line| log(line));
    }

    /// The keys of a rule for a sender, with their values.
    fn who(&self, sender: &Sender<'_>) -> Vec<(&'static str, String)> {
        match (sender.transport, sender.uid, sender.user) {
            (Transport::Tcp, _, Some(user)) => vec![("transport", quoted("tcp")), ("user", quoted(user))],
            (Transport::Tcp, _, None) => vec![("transport", quoted("tcp"))],
            (Transport::Unix, Some(uid), _) => match self.users.get(&uid) {
                Some(user) => vec![("user", quoted(user))],
                None => vec![("uid", uid.to_string())],
            },
            (Transport::Unix, None, _) => vec![("transport", quoted("unix"))],
        }
    }
}

fn words(decision: Decision) -> String {
    match decision.rule {
        Some(rule) => format!("denied by rule {rule}"),
        None => "denied by the default".into(),
    }
}

#[cfg(test)]
mod tests;
