//! Knows who subscribes to what, and picks who gets a topic's message (PROTOCOL.md section 6).
//! Never: what is sent, or what becomes of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use slotmap::{SecondaryMap, SlotMap};

use crate::core::SessionKey;
use crate::core::table::search::{BranchKey, Search, Subscriber};
use crate::topic::{self, is_reserved};

/// All subscriptions, as a tree of tokens: what a topic does not match costs nothing.
#[derive(Debug)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Topics {
    branches: SlotMap<BranchKey, Branch>,
    root: BranchKey,
    /// The subscriptions of each session, to end them with it.
    sessions: SecondaryMap<SessionKey, Vec<Pattern>>,
    groups: HashMap<Arc<str>, Group>,
    count: usize,
    /// How many of them are to topics of the daemon's.
    own: usize,
    /// How many subscriptions have ended so far.
    ended: u64,
}

/// A pattern, and the group that its messages are shared in.
type Pattern = (Box<str>, Option<Arc<str>>);

/// What one branch takes with its place above, about.
const BRANCH_BYTES: usize = 512;

/// What shares one run of tokens from the root.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
struct Branch {
    above: Option<(BranchKey, Box<str>)>,
    tokens: HashMap<Box<str>, BranchKey>,
    /// Patterns that end here, ordered by number and group.
    here: Vec<Subscriber>,
    /// Patterns that end here with one more token, `>`.
    rest: Vec<Subscriber>,
}

#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
struct Group {
    subscriptions: usize,
    /// The number of the member that got the last message.
    last: u64,
}

impl Default for Topics {
    fn default() -> Topics {
        let mut branches = SlotMap::with_key();
        let root = branches.insert(Branch::default());
        Topics {
            branches,
            root,
            sessions: SecondaryMap::new(),
            groups: HashMap::new(),
            count: 0,
            own: 0,
            ended: 0,
        }
    }
}

impl Topics {
    /// The memory that the tree takes, without the texts of the subscriptions.
    pub(crate) fn kept_bytes(&self) -> usize {
        (self.branches.len() - 1) * BRANCH_BYTES
    }

    /// How many subscriptions there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Whether any is to this topic of the daemon's.
    pub(crate) fn has_own(&self, topic: &str) -> bool {
        if self.own == 0 {
            return false;
        }
        let mut search = self.new_search();
        self.search(&mut search, topic, usize::MAX);
        !search.found.is_empty()
    }

    /// Adds a subscription of a session and its number; false if it has it already.
    pub(crate) fn subscribe(
        &mut self,
        (session, number): (SessionKey, u64),
        pattern: &str,
        group: Option<&str>,
    ) -> bool {
        let branch = self.grow(pattern);
        let group = group.map(|name| match self.groups.get_key_value(name) {
            Some((name, _)) => name.clone(),
            None => Arc::from(name),
        });
        let list = self.branches[branch].list(is_rest(pattern));
        let place = match place(list, number, group.as_deref()) {
            Ok(_) => return false,
            Err(place) => place,
        };
        list.insert(place, Subscriber { number, session, group: group.clone() });
        if let Some(name) = &group {
            self.groups.entry(name.clone()).or_default().subscriptions += 1;
        }
        if !self.sessions.contains_key(session) {
            self.sessions.insert(session, Vec::new());
        }
        self.sessions[session].push((pattern.into(), group));
        self.count += 1;
        self.own += usize::from(is_reserved(pattern));
        true
    }

    /// Ends a subscription; false if there is no such one.
    pub(crate) fn unsubscribe(
        &mut self,
        (session, number): (SessionKey, u64),
        pattern: &str,
        group: Option<&str>,
    ) -> bool {
        let Some(own) = self.sessions.get_mut(session) else { return false };
        let Some(at) = own.iter().position(|(own, theirs)| **own == *pattern && theirs.as_deref() == group)
        else {
            return false;
        };
        own.remove(at);
        self.remove(number, pattern, group);
        true
    }

    /// How many subscriptions have ended so far: while that is the same, what was found is still there.
    pub(crate) fn ended(&self) -> u64 {
        self.ended
    }

    /// The groups of a session's subscriptions to `topic`, none for a plain one.
    pub(crate) fn subscribed_to(
        &self,
        session: SessionKey,
        topic: &str,
    ) -> impl Iterator<Item = Option<&str>> {
        self.of_session(session)
            .filter(move |(pattern, _)| topic::matches(pattern, topic))
            .map(|(_, group)| group)
    }

    /// The subscriptions of a session, each with its group, in the order in which they were made.
    pub(crate) fn of_session(&self, session: SessionKey) -> impl Iterator<Item = (&str, Option<&str>)> {
        let own = self.sessions.get(session).into_iter().flatten();
        own.map(|(pattern, group)| (&**pattern, group.as_deref()))
    }

    /// Ends all subscriptions of a session.
    pub(crate) fn session_left(&mut self, session: SessionKey, number: u64) {
        for (pattern, group) in self.sessions.remove(session).unwrap_or_default() {
            self.remove(number, &pattern, group.as_deref());
        }
    }

    fn remove(&mut self, number: u64, pattern: &str, group: Option<&str>) {
        let Some(branch) = self.find(pattern) else { return };
        let list = self.branches[branch].list(is_rest(pattern));
        if let Ok(at) = place(list, number, group) {
            list.remove(at);
            self.count -= 1;
            self.own -= usize::from(is_reserved(pattern));
            self.ended += 1;
        }
        if let Some(name) = group
            && let Some(shared) = self.groups.get_mut(name)
        {
            shared.subscriptions -= 1;
            if shared.subscriptions == 0 {
                self.groups.remove(name);
            }
        }
        self.prune(branch);
    }

    /// Begins to look for those that match `topic`.
    pub(crate) fn begin(&self, search: &mut Search) {
        search.stack.clear();
        search.found.clear();
        search.lists = 0;
        search.stack.push((self.root, 0));
    }

    /// A search that has not begun to look.
    pub(crate) fn new_search(&self) -> Search {
        let mut search = Search::default();
        self.begin(&mut search);
        search
    }

    /// Looks at branches until that has cost about `most` units of effort. Says how much it has cost, and whether
    /// that was all.
    pub(crate) fn search(&self, search: &mut Search, topic: &str, most: usize) -> (usize, bool) {
        // A branch is two look-ups, a subscription a short copy, and a place to be found among many.
        const COPIED_PER_UNIT: usize = 16;
        const SORTED_PER_UNIT: usize = 4;
        let (mut branches, before) = (0, search.found.len());
        while let Some((branch, at)) = search.stack.pop() {
            // It may have been cut since the last step.
            if let Some(branch) = self.branches.get(branch) {
                look(branch, topic, at, search);
            }
            branches += 1;
            let effort = branches + (search.found.len() - before) / COPIED_PER_UNIT;
            if effort >= most && !search.stack.is_empty() {
                return (effort, false);
            }
        }
        let mut effort = branches + (search.found.len() - before) / COPIED_PER_UNIT;
        if search.lists > 1 {
            effort += search.found.len() / SORTED_PER_UNIT;
            search.found.sort_unstable_by(|a, b| a.place().cmp(&b.place()));
            search.found.dedup();
        }
        (effort, true)
    }

    /// What a search that is over has found, one entry for each connection and group (none: plainly), ordered
    /// by number.
    pub(crate) fn found<'a>(&self, search: &'a Search) -> &'a [Subscriber] {
        &search.found
    }

    /// How many a pick out of what was found would come to, if all have room.
    pub(crate) fn count(&self, search: &Search) -> usize {
        let is_plain = |subscriber: &&Subscriber| subscriber.group.is_none();
        let plain: HashSet<u64> = search.found.iter().filter(is_plain).map(|found| found.number).collect();
        let mut groups: HashMap<&str, bool> = HashMap::new();
        for subscriber in &search.found {
            if let Some(group) = &subscriber.group {
                *groups.entry(group).or_default() |= plain.contains(&subscriber.number);
            }
        }
        plain.len() + groups.values().filter(|counts_plainly| !**counts_plainly).count()
    }

    /// Picks the receivers of one message out of what was found for its topic into `receivers`, ordered by
    /// number: all that subscribe plainly, and of each group without one among them the next in turn that has
    /// room, or the next in turn if none has. A connection is picked once.
    pub(crate) fn pick(
        &mut self,
        search: &Search,
        has_room: impl Fn(SessionKey) -> bool,
        receivers: &mut Vec<SessionKey>,
    ) {
        let found = &search.found;
        if found.iter().all(|subscriber| subscriber.group.is_none()) {
            receivers.extend(found.iter().map(|subscriber| subscriber.session));
        } else {
            self.pick_with_groups(found, has_room, receivers);
        }
    }

    fn pick_with_groups(
        &mut self,
        found: &[Subscriber],
        has_room: impl Fn(SessionKey) -> bool,
        receivers: &mut Vec<SessionKey>,
    ) {
        let mut picked = BTreeMap::new();
        let mut groups: BTreeMap<&Arc<str>, Vec<&Subscriber>> = BTreeMap::new();
        for subscriber in found {
            match &subscriber.group {
                None => drop(picked.insert(subscriber.number, subscriber.session)),
                Some(group) => groups.entry(group).or_default().push(subscriber),
            }
        }
        for (name, members) in groups {
            // A member that gets it anyhow counts for its group; one that misses it does not, while another
            // member has room.
            let mut counting = members.iter().filter(|member| picked.contains_key(&member.number)).peekable();
            if counting.peek().is_some()
                && (counting.any(|member| has_room(member.session))
                    || !members.iter().any(|member| has_room(member.session)))
            {
                continue;
            }
            if let Some(next) = self.next_of_group(name, &members, &has_room) {
                picked.insert(next.number, next.session);
            }
        }
        receivers.extend(picked.into_values());
    }

    /// The member of a group, of these ordered by number, that is the next in turn and has room; if none has, the
    /// next in turn.
    fn next_of_group<'a>(
        &mut self,
        name: &str,
        members: &[&'a Subscriber],
        has_room: impl Fn(SessionKey) -> bool,
    ) -> Option<&'a Subscriber> {
        let group = self.groups.get_mut(name)?;
        let after = members.partition_point(|member| member.number <= group.last);
        let in_turn = || members[after..].iter().chain(&members[..after]);
        let next = in_turn().find(|member| has_room(member.session)).or_else(|| in_turn().next())?;
        group.last = next.number;
        Some(next)
    }

    /// Picks others in the place of a receiver that gets a message to `topic` no more though it was picked: for each
    /// group that it was found for and that has no member among the `receivers`, the next in turn of those that were
    /// found and subscribe still.
    pub(crate) fn pick_instead(
        &mut self,
        lost: SessionKey,
        (topic, search): (&str, &Search),
        receivers: &[SessionKey],
        has_room: impl Fn(SessionKey) -> bool,
    ) -> Vec<SessionKey> {
        let of_lost = search.found.iter().filter(|subscriber| subscriber.session == lost);
        let mut members: BTreeMap<&str, Vec<&Subscriber>> =
            of_lost.filter_map(|subscriber| Some((subscriber.group.as_deref()?, Vec::new()))).collect();
        for subscriber in search.found.iter().filter(|subscriber| subscriber.session != lost) {
            if let Some(members) = subscriber.group.as_deref().and_then(|group| members.get_mut(group)) {
                members.push(subscriber);
            }
        }
        let mut picked: HashSet<_> = receivers.iter().copied().collect();
        picked.remove(&lost);
        let mut fresh = Vec::new();
        for (name, mut members) in members {
            if members.iter().any(|member| picked.contains(&member.session)) {
                continue;
            }
            // Few have ended meanwhile, so only the one that is picked is looked at.
            while let Some(next) = self.next_of_group(name, &members, &has_room) {
                if self.subscribed_to(next.session, topic).any(|group| group == Some(name)) {
                    picked.insert(next.session);
                    fresh.push(next.session);
                    break;
                }
                members.retain(|member| member.session != next.session);
            }
        }
        fresh
    }

    fn find(&self, pattern: &str) -> Option<BranchKey> {
        tokens(pattern).try_fold(self.root, |branch, token| self.branches[branch].tokens.get(token).copied())
    }

    fn grow(&mut self, pattern: &str) -> BranchKey {
        let mut at = self.root;
        for token in tokens(pattern) {
            at = match self.branches[at].tokens.get(token) {
                Some(&branch) => branch,
                None => {
                    let above = Some((at, token.into()));
                    let branch = self.branches.insert(Branch { above, ..Branch::default() });
                    self.branches[at].tokens.insert(token.into(), branch);
                    branch
                }
            };
        }
        at
    }

    /// Cuts a branch that bears nothing any more, and those above it likewise.
    fn prune(&mut self, mut at: BranchKey) {
        while self.branches[at].is_bare() {
            let Some((above, token)) = self.branches[at].above.take() else { return };
            self.branches[above].tokens.remove(&token);
            self.branches.remove(at);
            at = above;
        }
    }
}

impl Topics {
    /// Panics if a count does not fit what is in the tree.
    pub(crate) fn check(&self) {
        let here = |branch: &Branch| branch.here.len() + branch.rest.len();
        assert_eq!(self.branches.values().map(here).sum::<usize>(), self.count);
        assert_eq!(self.sessions.values().map(Vec::len).sum::<usize>(), self.count);
        let own = self.sessions.values().flatten().filter(|(pattern, _)| is_reserved(pattern)).count();
        assert_eq!(own, self.own, "subscriptions to topics of the daemon's");
        let shared: usize = self.groups.values().map(|group| group.subscriptions).sum();
        let in_groups = self.sessions.values().flatten().filter(|(_, group)| group.is_some()).count();
        assert_eq!(shared, in_groups, "subscriptions of groups");
    }
}

impl Branch {
    fn list(&mut self, rest: bool) -> &mut Vec<Subscriber> {
        if rest { &mut self.rest } else { &mut self.here }
    }

    fn is_bare(&self) -> bool {
        self.here.is_empty() && self.rest.is_empty() && self.tokens.is_empty()
    }
}

impl Subscriber {
    fn place(&self) -> (u64, Option<&str>) {
        (self.number, self.group.as_deref())
    }
}

fn place(list: &[Subscriber], number: u64, group: Option<&str>) -> Result<usize, usize> {
    list.binary_search_by(|subscriber| subscriber.place().cmp(&(number, group)))
}

fn is_rest(pattern: &str) -> bool {
    pattern == ">" || pattern.ends_with(".>")
}

/// The tokens that lead to a pattern's branch: all of them, but for a last `>`.
fn tokens(pattern: &str) -> impl Iterator<Item = &str> {
    let leading = match pattern.strip_suffix('>') {
        Some("") => None,
        Some(leading) if leading.ends_with('.') => leading.strip_suffix('.'),
        _ => Some(pattern),
    };
    leading.into_iter().flat_map(|leading| leading.split('.'))
}

/// Takes what matches at one branch, and puts the branches below it that may match onto the stack. The topic
/// is used up to `at`; beyond its end if it ends at this branch.
fn look(branch: &Branch, topic: &str, at: usize, search: &mut Search) {
    if at > topic.len() {
        search.lists += usize::from(!branch.here.is_empty());
        search.found.extend_from_slice(&branch.here);
        return;
    }
    let end = topic[at..].find('.').map_or(topic.len(), |dot| at + dot);
    if at == 0 && is_reserved(topic) {
        // No wildcard stands for the daemon's own token.
        search.stack.extend(branch.tokens.get(&topic[..end]).map(|&below| (below, end + 1)));
        return;
    }
    search.lists += usize::from(!branch.rest.is_empty());
    search.found.extend_from_slice(&branch.rest);
    for token in [&topic[at..end], "*"] {
        if let Some(&below) = branch.tokens.get(token) {
            search.stack.push((below, end + 1));
        }
    }
}

#[cfg(test)]
mod tests;
