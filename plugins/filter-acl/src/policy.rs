//! Knows the rules, and which of them decides.
//! Never: where they come from, or what becomes of what they refuse.

use std::collections::HashMap;

use telex_plugin::Transport;
use telex_users::Groups;

use crate::attempt::{Attempt, Sender};
use crate::pattern::{Glob, Pattern};
use crate::verb::Verb;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether it allows what it matches; else it denies that.
    pub allows: bool,
    /// All of it must hold.
    pub who: Vec<Who>,
    /// The verbs, each with patterns of which any may match.
    pub what: Vec<(Verb, Vec<Pattern>)>,
    /// Message types, any of them; all where there is none.
    pub types: Vec<Glob>,
}

/// A condition on the sender. Of a list any may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// How it is connected.
    Over(Transport),
    /// Its user id, over a Unix socket.
    Uid(Vec<u32>),
    /// Its group: it connected with one of these group ids, or its user is one of the members.
    Group(Groups),
    /// Its authenticated name, over TCP.
    User(Vec<String>),
    /// A node ID that it holds.
    Node(Vec<Glob>),
}

impl Who {
    fn holds(&self, sender: &Sender<'_>) -> bool {
        match self {
            Who::Over(transport) => sender.transport == *transport,
            Who::Uid(uids) => sender.uid.is_some_and(|uid| uids.contains(&uid)),
            Who::Group(groups) => groups.hold(sender.uid, sender.gid),
            Who::User(names) => sender.user.is_some_and(|user| names.iter().any(|name| name == user)),
            Who::Node(patterns) => {
                (sender.holds)(&|node_id| patterns.iter().any(|pattern| pattern.covers(node_id)))
            }
        }
    }

    /// Whether this holds wherever `other` does.
    fn covers(&self, other: &Who) -> bool {
        match (self, other) {
            (Who::Uid(mine), Who::Uid(theirs)) => is_subset(theirs, mine),
            (Who::Group(mine), Who::Group(theirs)) => {
                is_subset(&theirs.gids, &mine.gids) && is_subset(&theirs.members, &mine.members)
            }
            (Who::User(mine), Who::User(theirs)) => is_subset(theirs, mine),
            (Who::Node(mine), Who::Node(theirs)) => {
                theirs.iter().all(|their| mine.iter().any(|glob| glob.covers(&their.asked())))
            }
            _ => self == other,
        }
    }
}

fn is_subset<T: PartialEq>(part: &[T], whole: &[T]) -> bool {
    part.iter().all(|item| whole.contains(item))
}

impl Rule {
    /// Whether it asks for a user or group and this machine has none of those that it names.
    fn matches_nobody(&self) -> bool {
        self.who.iter().any(|condition| match condition {
            Who::Uid(uids) => uids.is_empty(),
            Who::Group(groups) => groups.gids.is_empty(),
            _ => false,
        })
    }

    /// Whether this matches all that `later` does, so that `later` comes too late.
    fn forestalls(&self, later: &Rule) -> bool {
        self.who.iter().all(|condition| later.who.iter().any(|other| condition.covers(other)))
            && later.what.iter().all(|(verb, patterns)| {
                let mine = || self.what.iter().filter(|(mine, _)| mine == verb).flat_map(|(_, mine)| mine);
                let typed = !verb.has_type() || self.types_cover(later);
                typed && patterns.iter().all(|pattern| mine().any(|mine| mine.covers(&pattern.asked())))
            })
    }

    fn types_cover(&self, later: &Rule) -> bool {
        self.types.is_empty()
            || !later.types.is_empty()
                && later.types.iter().all(|later| self.types.iter().any(|mine| mine.covers(&later.asked())))
    }
}

/// What was decided, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may be.
    pub allowed: bool,
    /// The number of the rule, from 1 on; none: no rule matched, and the default decided.
    pub rule: Option<usize>,
}

/// All rules, in their order.
#[derive(Debug)]
pub struct Policy {
    default_allows: bool,
    pub(crate) rules: Vec<Rule>,
    /// By the number of the verb.
    entries: [Entries; Verb::ALL.len()],
}

/// What the rules say of one verb, in their order.
#[derive(Debug, Default)]
struct Entries {
    all: Vec<Entry>,
    /// The places of entries that are for users, by each of them, and of all others.
    of_user: HashMap<u32, Places>,
    of_any: Places,
}

/// Places of entries, in order: of those that match nothing but a name, and of those with a wildcard.
#[derive(Debug, Default)]
struct Places {
    named: HashMap<Box<str>, Vec<usize>>,
    wild: Vec<usize>,
}

#[derive(Debug)]
struct Entry {
    rule: usize,
    patterns: Vec<Pattern>,
}

impl Policy {
    /// Puts rules in force.
    pub fn new(default_allows: bool, rules: Vec<Rule>) -> Policy {
        let mut entries: [Entries; Verb::ALL.len()] = Default::default();
        for (rule, (verb, patterns)) in
            rules.iter().enumerate().flat_map(|(at, rule)| rule.what.iter().map(move |what| (at, what)))
        {
            let uids = rules[rule].who.iter().find_map(|who| match who {
                Who::Uid(uids) => Some(uids.as_slice()),
                _ => None,
            });
            entries[*verb as usize].push(uids, Entry { rule, patterns: patterns.clone() });
        }
        Policy { default_allows, rules, entries }
    }

    /// The first rule that matches decides. Where not one thing but all that matches a pattern is asked for,
    /// a rule denies it that matches any of it, and a rule allows it that matches all of it.
    pub fn decide(&self, sender: &Sender<'_>, attempt: &Attempt<'_>) -> Decision {
        let what = &*attempt.what;
        let matches = |entry: &&Entry| {
            let rule = &self.rules[entry.rule];
            let any = attempt.is_pattern && !rule.allows;
            entry.patterns.iter().any(|one| if any { one.overlaps(what) } else { one.covers(what) })
                && rule.who.iter().all(|who| who.holds(sender))
                && (rule.types.is_empty()
                    || !attempt.verb.has_type()
                    || rule.types.iter().any(|one| one.covers(&attempt.message_type)))
        };
        let entries = &self.entries[attempt.verb as usize];
        let found = match attempt.is_pattern {
            true => entries.all.iter().find(matches),
            false => entries.that_may_match(sender.uid, what).find(matches),
        };
        match found {
            Some(entry) => Decision { allowed: self.rules[entry.rule].allows, rule: Some(entry.rule + 1) },
            None => Decision { allowed: self.default_allows, rule: None },
        }
    }

    /// Whether anything of this verb can be denied.
    pub fn can_deny(&self, verb: Verb) -> bool {
        let mut entries = self.entries[verb as usize].all.iter();
        !self.default_allows || entries.any(|entry| !self.rules[entry.rule].allows)
    }

    /// Rules that come too late, each with one before it that matches all that it does; by their numbers.
    pub fn late_rules(&self) -> Vec<(usize, usize)> {
        let earlier = |at: usize| self.rules[..at].iter().position(|rule| rule.forestalls(&self.rules[at]));
        let may_match = |at: &usize| !self.rules[*at].matches_nobody();
        (0..self.rules.len()).filter(may_match).filter_map(|at| Some((at + 1, earlier(at)? + 1))).collect()
    }
}

impl Entries {
    fn push(&mut self, uids: Option<&[u32]>, entry: Entry) {
        let place = self.all.len();
        match uids {
            Some(uids) => {
                uids.iter().for_each(|uid| self.of_user.entry(*uid).or_default().push(place, &entry))
            }
            None => self.of_any.push(place, &entry),
        }
        self.all.push(entry);
    }

    /// The entries that may match a name that a user asks for, in their order.
    fn that_may_match(&self, uid: Option<u32>, name: &str) -> impl Iterator<Item = &Entry> {
        let [one, two] = uid.and_then(|uid| self.of_user.get(&uid)).map_or([&[][..]; 2], |of| of.lists(name));
        let [three, four] = self.of_any.lists(name);
        let mut lists = [one, two, three, four];
        let next = move || {
            let first = lists.iter_mut().filter(|list| !list.is_empty()).min_by_key(|list| list[0])?;
            let place = first[0];
            *first = &first[1..];
            Some(place)
        };
        std::iter::from_fn(next).map(|place| &self.all[place])
    }
}

impl Places {
    fn push(&mut self, place: usize, entry: &Entry) {
        match entry.patterns.iter().map(Pattern::literal).collect::<Option<Vec<_>>>() {
            None => self.wild.push(place),
            Some(names) => {
                names.iter().for_each(|name| self.named.entry((*name).into()).or_default().push(place));
            }
        }
    }

    fn lists(&self, name: &str) -> [&[usize]; 2] {
        [self.named.get(name).map_or(&[], Vec::as_slice), &self.wild]
    }
}

#[cfg(test)]
mod tests;
