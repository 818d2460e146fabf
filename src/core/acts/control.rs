//! Knows what the daemon answers to requests (PROTOCOL.md section 7).
//! Never: how a long answer is spelled; see `report`.

use std::borrow::Cow;
use std::sync::Arc;

use crate::core::acts::answer::asked;
use crate::core::acts::memory::SHORT_BYTES;
use crate::core::desk::LINE_EFFORT;
use crate::core::event::Level;
use crate::core::gate::Gate;
use crate::core::happening::Happening;
use crate::core::order::{Reason, Work};
use crate::core::parcel::Parcel;
use crate::core::phase::Pause;
use crate::core::session::{Connections, Nodes, Through};
use crate::core::table::search::Search;
use crate::core::{Core, SessionKey};
use crate::limits::DEPTH_MAX;
use crate::name::NodeAddress;
use crate::wire::code::Code;
use crate::wire::control::{Ask, Patterns, Subscription, Tap, Victim};
use crate::wire::envelope::{Field, nests_within};
use crate::wire::message::{Refusal, excerpt};

/// What an entry of a session's takes beside its texts, about.
const HOLDING_BYTES: usize = 256;

impl Core {
    /// Answers a request to the daemon.
    pub(super) fn control(&mut self, parcel: &Parcel<'_>, gate: &mut dyn Gate) {
        let body = parcel.message.envelope.raw(Field::Body);
        let done = match Ask::read(&parcel.message.message_type, body) {
            Ok(ask) => self.comply(parcel, ask, body, gate),
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = done {
            self.refuse(parcel, &refusal);
        }
    }

    fn comply(
        &mut self,
        parcel: &Parcel<'_>,
        ask: Ask<'_>,
        body: Option<&str>,
        gate: &mut dyn Gate,
    ) -> Result<(), Refusal> {
        let key = parcel.sender;
        self.check_rights(key, &ask, &parcel.message.message_type)?;
        match ask {
            Ask::Explain { message, speaker } => return self.explain(parcel, message, speaker, gate),
            Ask::Register(register) => return self.register(parcel, *register),
            Ask::Unregister { node_id } => return self.unregister(parcel, &node_id),
            Ask::Monitor { .. } if self.sessions.has_departed(key) => {}
            Ask::Monitor { pattern } => return self.monitor(parcel, &pattern),
            Ask::Kill { target, reason } => return self.kill(parcel, &target, reason),
            Ask::Reload => return self.order(parcel, Work::Reload),
            Ask::Settings => return self.order(parcel, Work::Settings),
            Ask::LogLevel { level, time } => {
                return self.order(parcel, Work::LogLevel(read_level(&level)?, time));
            }
            Ask::Resolve { node_id } => return self.report_node(parcel, &node_id),
            Ask::List { pattern, all, details, after, limit } => {
                let pattern = pattern.as_deref().unwrap_or("*").into();
                let after = after.as_deref().map(Arc::from);
                let nodes = Nodes { pattern, all, details, after, page: self.page(limit) };
                self.go_on_with_nodes(key, asked(parcel), nodes);
                return Ok(());
            }
            Ask::Connections { after, limit } => {
                let of = self.user_to_show(key);
                let connections = Connections { of, after, page: self.page(limit) };
                self.go_on_with_connections(key, asked(parcel), connections);
                return Ok(());
            }
            Ask::Subscribers { topic, limit } => {
                let mut search = Search::default();
                self.topics.begin(&mut search);
                self.go_on_with_subscribers(key, asked(parcel), (topic.into(), limit, search));
                return Ok(());
            }
            Ask::Topics { limit } => {
                self.report_topics(parcel, limit);
                return Ok(());
            }
            Ask::Whoami => {
                self.report_whoami(parcel);
                return Ok(());
            }
            Ask::Stats => {
                self.report_stats(parcel, &gate.counters());
                return Ok(());
            }
            Ask::Ping => return self.ping(parcel, body.unwrap_or("null")),
            // It would end at once, and none hears of it.
            Ask::Subscribe(_) | Ask::Tap(_) if self.sessions.has_departed(key) => {}
            Ask::Subscribe(subscription) => self.subscribe(key, &subscription)?,
            Ask::Tap(tap) => self.begin_tap(key, *tap)?,
            Ask::Unsubscribe(_) | Ask::Unmonitor { .. } | Ask::Untap(_) => {
                self.check_answer(key, 0)?;
                self.end_watching(key, ask);
            }
        }
        self.say_reply(key, parcel.asked(), |_| {});
        Ok(())
    }

    /// Goes on with a long answer of a session's, whose turn has come again.
    pub(super) fn go_on_walking(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(walk) = session.inbound.walk.take() else { return };
        session.inbound.pauses.end(Pause::Walk);
        match walk.through {
            Through::RollCall(roll_call) => self.go_on_with_roll_call(key, walk.asked, roll_call),
            Through::Nodes(nodes) => self.go_on_with_nodes(key, walk.asked, nodes),
            Through::Connections(connections) => {
                self.go_on_with_connections(key, walk.asked, connections);
            }
            Through::Subscribers { topic, limit, search } => {
                self.go_on_with_subscribers(key, walk.asked, (topic, limit, search));
            }
        }
    }

    /// Gives the body back, one level deeper than it came.
    fn ping(&mut self, parcel: &Parcel<'_>, body: &str) -> Result<(), Refusal> {
        if self.is_overloaded() && body.len() > SHORT_BYTES {
            return Err(self.out_of_memory());
        }
        self.check_answer(parcel.sender, body.len())?;
        if !nests_within(body, DEPTH_MAX - 2) {
            let error = format!("\"body\" nests so deeply that the reply would pass {DEPTH_MAX} levels");
            return Err(Refusal::new(Code::BadField, error));
        }
        let now = self.desk.now.wall;
        self.say_reply(parcel.sender, parcel.asked(), |reply| {
            reply.raw("body", body.as_bytes()).seconds("time", now);
        });
        Ok(())
    }

    fn subscribe(&mut self, key: SessionKey, subscription: &Subscription<'_>) -> Result<(), Refusal> {
        let Subscription { pattern, group } = subscription;
        let Some(number) = self.sessions.number_of(key) else { return Ok(()) };
        if !self.topics.subscribe((key, number), pattern, group.as_deref()) {
            return Ok(());
        }
        let texts = pattern.len() + group.as_ref().map_or(0, |group| group.len());
        self.take_subscription(key, texts, false).inspect_err(|_| {
            self.topics.unsubscribe((key, number), pattern, group.as_deref());
        })?;
        self.happened(key, || Happening::Subscribed {
            topic: (**pattern).into(),
            group: group.as_deref().map(Box::from),
        });
        Ok(())
    }

    fn monitor(&mut self, parcel: &Parcel<'_>, pattern: &str) -> Result<(), Refusal> {
        let key = parcel.sender;
        let Some(number) = self.sessions.number_of(key) else { return Ok(()) };
        let is_new = self.watchers.monitor(key, number, pattern);
        if is_new {
            self.take_subscription(key, pattern.len(), true).inspect_err(|_| {
                self.watchers.unmonitor(number, pattern);
            })?;
        }
        self.begin_roll_call(pattern, is_new, asked(parcel));
        Ok(())
    }

    fn begin_tap(&mut self, key: SessionKey, tap: Tap<'_>) -> Result<(), Refusal> {
        let Some(number) = self.sessions.number_of(key) else { return Ok(()) };
        if !self.watchers.retap(key, &tap) {
            // Not to be taken back by untap: without patterns that would end all.
            self.take_subscription(key, texts_of(&tap.patterns), true)?;
            self.watchers.tap(key, number, tap.into_owned());
        }
        Ok(())
    }

    /// Ends a subscription, a monitor or taps.
    fn end_watching(&mut self, key: SessionKey, ask: Ask<'_>) {
        let Some(number) = self.sessions.number_of(key) else { return };
        match ask {
            Ask::Unsubscribe(Subscription { pattern, group })
                if self.topics.unsubscribe((key, number), &pattern, group.as_deref()) =>
            {
                self.release_subscription(key, pattern.len() + group.as_ref().map_or(0, |group| group.len()));
                self.happened(key, || Happening::Unsubscribed {
                    topic: pattern.into(),
                    group: group.map(Box::from),
                });
            }
            Ask::Unmonitor { pattern } if self.watchers.unmonitor(number, &pattern) => {
                self.release_subscription(key, pattern.len());
            }
            Ask::Untap(patterns) => {
                for ended in self.watchers.untap(key, &patterns) {
                    self.release_subscription(key, texts_of(&ended));
                }
            }
            _ => {}
        }
    }

    /// Counts a subscription, monitor or tap with so many bytes of texts; if that is one too many and it has been
    /// made already, it has to be taken back. One that `helps` an administrator to find out why memory is short
    /// may be made then too.
    fn take_subscription(&mut self, key: SessionKey, texts: usize, helps: bool) -> Result<(), Refusal> {
        let most = self.desk.limits.max_subscriptions;
        match helps && self.is_administrator(key) {
            true => self.check_answer(key, 0)?,
            false if self.is_overloaded() => return Err(self.out_of_memory()),
            false => {}
        }
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        if session.holdings.subscriptions as usize >= most {
            let error = format!(
                "this connection has {most} subscriptions, monitors and taps, which is max_subscriptions"
            );
            return Err(Refusal::new(Code::TooManySubscriptions, error));
        }
        session.holdings.subscriptions += 1;
        session.holdings.subscription_bytes += subscription_bytes(texts);
        self.sessions.account(key);
        Ok(())
    }

    fn release_subscription(&mut self, key: SessionKey, texts: usize) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.holdings.subscriptions -= 1;
            session.holdings.subscription_bytes -= subscription_bytes(texts);
            self.sessions.account(key);
        }
    }

    fn kill(
        &mut self,
        parcel: &Parcel<'_>,
        target: &Victim<'_>,
        reason: Option<Cow<'_, str>>,
    ) -> Result<(), Refusal> {
        let key = parcel.sender;
        self.check_answer(key, 0)?;
        let (victims, whom) = match target {
            Victim::Node(node_id) => {
                let node = self.registry.find(node_id).and_then(|node| self.registry.get(node));
                let instances =
                    node.map(|node| node.instances.iter().map(|instance| instance.session).collect());
                (instances.unwrap_or_default(), node_id)
            }
            Victim::Unique(unique_id) => {
                (self.find_unique(unique_id).into_iter().collect::<Vec<_>>(), unique_id)
            }
        };
        if victims.is_empty() {
            return Err(Refusal::new(Code::NoSuchNode, format!("no node \"{}\"", excerpt(whom))));
        }
        let reason = reason.unwrap_or(Cow::Borrowed("an administrator has closed this connection"));
        let refusal = Refusal::new(Code::Denied, reason);
        let others = victims.iter().copied().filter(|&victim| victim != key);
        let others: Vec<_> = others.collect();
        for &victim in &others {
            self.end_killed(victim, &refusal);
        }
        // Its own end comes last, behind the answer.
        self.say_reply(key, parcel.asked(), |reply| {
            reply.number("killed", victims.len());
        });
        if others.len() < victims.len() {
            self.end_killed(key, &refusal);
        }
        Ok(())
    }

    fn end_killed(&mut self, victim: SessionKey, refusal: &Refusal) {
        self.desk.works(LINE_EFFORT);
        self.say_error(victim, None, refusal, None, |_| {});
        self.leave(victim, Reason::Killed);
    }

    fn find_unique(&self, unique_id: &str) -> Option<SessionKey> {
        let Ok(NodeAddress::Unique(number)) = NodeAddress::parse(unique_id) else { return None };
        let key = self.sessions.here(number)?;
        self.sessions.get(key).filter(|session| *session.caller.unique_id == *unique_id).map(|_| key)
    }
}

fn read_level(word: &str) -> Result<Level, Refusal> {
    let found = Level::WORDS.iter().find(|(known, _)| *known == word);
    found.map(|(_, level)| *level).ok_or_else(|| {
        let words: Vec<_> = Level::WORDS.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let error =
            format!("\"body.level\" is \"{}\"; it must be one of {}", excerpt(word), words.join(", "));
        Refusal::new(Code::BadField, error)
    })
}

/// What a subscription, monitor or tap takes, about: each text stands in several tables.
fn subscription_bytes(texts: usize) -> u32 {
    // No text of them is longer than an address.
    u32::try_from(HOLDING_BYTES + 4 * texts).unwrap_or(u32::MAX)
}

fn texts_of(patterns: &Patterns<'_>) -> usize {
    let Patterns { from, to, topic, message_type, unique_id, uid: _ } = patterns;
    [from, to, topic, message_type, unique_id].into_iter().flatten().map(|text| text.len()).sum()
}
