//! Knows which limits a message falls under, whose bucket it takes from there, and what is said when that is
//! empty.
//! Never: what the time is, or where messages come from.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use telex_plugin::{Interest, matches};

use crate::bucket::{Buckets, FullAt, Rate};
use crate::config::{Action, Kinds, Limit, Per};

/// What the limits look at in a message. What it does not have is an empty text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent<'a> {
    pub(crate) kind: Kinds,
    pub(crate) message_type: &'a str,
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) bytes: u64,
    pub(crate) connection: u64,
    pub(crate) user: User<'a>,
    pub(crate) gid: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum User<'a> {
    Uid(u32),
    Name(&'a str),
    /// All who come over TCP without authentication.
    Nobody,
}

/// All limits, with their buckets.
#[derive(Debug)]
pub(crate) struct Limits {
    limits: Vec<(Limit, Buckets)>,
    /// Names stand in the buckets by this keyed hash: it is small, and nobody can find two that share one.
    names: RandomState,
    /// What the message at hand takes: limit, whose bucket, and what becomes of that.
    taken: Vec<(usize, u64, FullAt)>,
}

/// Why a message does not pass.
#[derive(Debug)]
pub(crate) struct Refusal<'a> {
    limit: &'a Limit,
    /// What there was no room for: messages or bytes.
    unit: &'static str,
    rate: Rate,
    wait: u64,
}

impl Limits {
    pub(crate) fn new(limits: Vec<Limit>) -> Limits {
        let limits = limits.into_iter().map(|limit| (limit, Buckets::default())).collect();
        Limits { limits, names: RandomState::new(), taken: Vec::new() }
    }

    pub(crate) fn interests(&self) -> Vec<Interest> {
        self.limits.iter().map(|(limit, _)| limit.patterns.clone()).collect()
    }

    /// Takes what a message costs from the buckets of all limits that it falls under, or else from none. One that
    /// names its users or groups is the last of them. The limit that has no room for longest is the one that is told
    /// of. If it is only asked (`is_dry`), nothing is taken.
    pub(crate) fn judge(&mut self, sent: &Sent<'_>, now: u64, is_dry: bool) -> Result<(), Refusal<'_>> {
        self.taken.clear();
        let mut refused: Option<(u64, usize, &str, Rate)> = None;
        for (at, (limit, buckets)) in self.limits.iter().enumerate() {
            if !limit.covers(sent) {
                continue;
            }
            let who = limit.per.who(sent, &self.names);
            let mut full_at = buckets.get(who);
            let units = [("messages", 1), ("bytes", sent.bytes)];
            for ((rate, full_at), (unit, amount)) in limit.rates.iter().zip(&mut full_at).zip(units) {
                let Some(rate) = *rate else { continue };
                match rate.take(*full_at, amount, now) {
                    Ok(then) => *full_at = then,
                    Err(wait) if refused.is_some_and(|(longest, ..)| longest >= wait) => {}
                    Err(wait) => refused = Some((wait, at, unit, rate)),
                }
            }
            self.taken.push((at, who, full_at));
            if limit.who.is_named() {
                break;
            }
        }
        if let Some((wait, at, unit, rate)) = refused {
            return Err(Refusal { limit: &self.limits[at].0, unit, rate, wait });
        }
        if !is_dry {
            for (at, who, full_at) in self.taken.drain(..) {
                self.limits[at].1.set(who, full_at);
            }
        }
        Ok(())
    }

    #[cfg(test)]
    fn take(&mut self, sent: &Sent<'_>, now: u64) -> Result<(), Refusal<'_>> {
        self.judge(sent, now, false)
    }

    /// Whether users or groups have been looked up.
    pub(crate) fn has_names(&self) -> bool {
        self.limits.iter().any(|(limit, _)| limit.who.is_named())
    }

    /// Forgets what belonged to a connection alone. Nodes and users may come back, and do not find their
    /// buckets filled by having left.
    pub(crate) fn forget(&mut self, connection: u64, unique_id: &str) {
        for (limit, buckets) in &mut self.limits {
            match limit.per {
                Per::Connection => buckets.forget(connection),
                Per::Node => buckets.forget(self.names.hash_one(unique_id)),
                Per::User => {}
            }
        }
    }
}

impl Limit {
    fn covers(&self, sent: &Sent<'_>) -> bool {
        let fits = |pattern: &Option<String>, text| pattern.as_ref().is_none_or(|it| matches(it, text));
        let uid = if let User::Uid(uid) = sent.user { Some(uid) } else { None };
        self.counts.has(sent.kind)
            && self.who.holds(uid, sent.gid)
            && fits(&self.patterns.message_type, sent.message_type)
            && fits(&self.patterns.to, sent.to)
            && fits(&self.patterns.topic, sent.topic)
            && fits(&self.patterns.from, sent.from)
    }
}

impl Per {
    fn who(self, sent: &Sent<'_>, names: &RandomState) -> u64 {
        match self {
            Per::Connection => sent.connection,
            Per::Node => names.hash_one(sent.from.split('#').next().unwrap_or_default()),
            Per::User => match sent.user {
                User::Uid(uid) => uid.into(),
                User::Name(name) => names.hash_one(name),
                User::Nobody => u64::MAX,
            },
        }
    }
}

impl Refusal<'_> {
    pub(crate) fn action(&self) -> Action {
        self.limit.action
    }
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { limit, unit, rate, wait } = self;
        let (name, per, ms) = (&limit.name, limit.per, wait.div_ceil(1_000_000));
        write!(
            f,
            "limit {name:?} is reached ({} {unit} per second for each {per}): try again in {ms} ms",
            rate.per_second
        )
    }
}

#[cfg(test)]
mod tests {
    use telex_users::Machine;

    use super::*;
    use crate::config;

    const MS: u64 = 1_000_000;

    fn limits(limits: &str) -> Limits {
        let config = format!(r#"{{"limits":[{limits}]}}"#);
        Limits::new(config::read(&config, &Machine::here()).unwrap().limits)
    }

    fn sent() -> Sent<'static> {
        Sent {
            kind: Kinds::REQUESTS,
            message_type: "ask",
            from: "alice",
            to: "bob",
            topic: "",
            bytes: 100,
            connection: 1,
            user: User::Uid(1000),
            gid: Some(1000),
        }
    }

    /// How many of ten messages pass at once.
    fn passed(limits: &mut Limits, sent: Sent<'_>) -> usize {
        (0..10).filter(|_| limits.take(&sent, 0).is_ok()).count()
    }

    #[test]
    fn a_refusal_names_the_limit_and_when_to_try_again() {
        let mut limits = limits(r#"{"name":"talk","per":"user","messages_per_second":4,"burst_messages":2}"#);
        assert_eq!(passed(&mut limits, sent()), 2);
        let told = limits.take(&sent(), MS / 2).unwrap_err().to_string();
        assert_eq!(
            told,
            "limit \"talk\" is reached (4 messages per second for each user): try again in 250 ms"
        );
        assert!(limits.take(&sent(), 250 * MS).is_ok());
    }

    #[test]
    fn bytes_are_counted_beside_messages() {
        let mut limits =
            limits(r#"{"per":"user","messages_per_second":5,"bytes_per_second":300,"action":"drop"}"#);
        assert_eq!(passed(&mut limits, sent()), 3);
        let refusal = limits.take(&sent(), 0).unwrap_err();
        assert_eq!(refusal.action(), Action::Drop);
        assert!(refusal.to_string().contains("\"1\" is reached (300 bytes per second"), "{refusal}");
        assert_eq!(passed(&mut limits, Sent { bytes: 0, ..sent() }), 2);
    }

    #[test]
    fn a_refused_message_takes_from_no_limit_and_the_longest_wait_is_told() {
        let mut limits = limits(
            r#"{"name":"slow","per":"user","messages_per_second":1,"burst_messages":2},
               {"name":"slower","per":"connection","messages_per_second":0.1,"burst_messages":1},
               {"name":"wide","per":"node","messages_per_second":0.01,"burst_messages":3}"#,
        );
        assert_eq!(passed(&mut limits, sent()), 1);
        let told = limits.take(&sent(), 0).unwrap_err().to_string();
        assert!(told.starts_with("limit \"slower\"") && told.ends_with("in 10000 ms"), "{told}");
        let other = Sent { connection: 2, ..sent() };
        assert_eq!(passed(&mut limits, other), 1);
        assert_eq!(passed(&mut limits, Sent { connection: 3, user: User::Nobody, ..sent() }), 1);
        let told = limits.take(&Sent { connection: 4, ..sent() }, 0).unwrap_err().to_string();
        assert!(told.starts_with("limit \"wide\""), "{told}");
    }

    #[test]
    fn users_nodes_and_connections_have_buckets_of_their_own() {
        let one_each = |per: &str| limits(&format!(r#"{{"per":"{per}","messages_per_second":1}}"#));
        let alice = sent();
        let second = Sent { connection: 2, ..alice };
        let bob = Sent { from: "bob", ..alice };
        let port = Sent { from: "alice#p", ..alice };
        let by = |user| Sent { user, ..alice };
        for (per, all, expected) in [
            ("connection", [alice, bob, port, second], [1, 0, 0, 1]),
            ("node", [alice, second, port, bob], [1, 0, 0, 1]),
            ("user", [alice, bob, second, by(User::Uid(1001))], [1, 0, 0, 1]),
            ("user", [by(User::Nobody), by(User::Name("1000")), by(User::Name("x")), alice], [1, 1, 1, 1]),
            (
                "user",
                [
                    by(User::Nobody),
                    Sent { connection: 2, ..by(User::Nobody) },
                    by(User::Name("x")),
                    by(User::Name("x")),
                ],
                [1, 0, 1, 0],
            ),
        ] {
            let mut limits = one_each(per);
            assert_eq!(all.map(|sent| passed(&mut limits, sent)), expected, "{per} {all:?}");
        }
    }

    #[test]
    fn replies_and_what_is_for_the_daemon_count_where_that_is_said() {
        let each = [Kinds::REQUESTS, Kinds::SIGNALS, Kinds::REPLIES, Kinds::TO_DAEMON];
        for (counts, expected) in [
            ("", [1, 0, 10, 10]),
            (r#","counts":["to_daemon"]"#, [10, 10, 10, 1]),
            (r#","counts":["replies","requests","signals","to_daemon"]"#, [1, 0, 0, 0]),
        ] {
            let mut limits = limits(&format!(r#"{{"per":"user","messages_per_second":1{counts}}}"#));
            assert_eq!(each.map(|kind| passed(&mut limits, Sent { kind, ..sent() })), expected, "{counts}");
        }
    }

    #[test]
    fn what_does_not_match_all_patterns_is_free() {
        let news = Sent { to: "", topic: "news.x", ..sent() };
        for (pattern, is_free) in [
            (r#""message_type":"a*""#, [false, false]),
            (r#""message_type":"b*""#, [true, true]),
            (r#""to":"bob""#, [false, true]),
            (r#""topic":"news.*""#, [true, false]),
            (r#""topic":"news.*","from":"bob""#, [true, true]),
            (r#""from":"alice""#, [false, false]),
        ] {
            let limit = format!(r#"{{"per":"connection","messages_per_second":1,{pattern}}}"#);
            let is_passed = [sent(), news].map(|sent| passed(&mut limits(&limit), sent) == 10);
            assert_eq!(is_passed, is_free, "{pattern}");
            assert_ne!(limits(&limit).interests(), [Interest::default()]);
        }
    }

    #[test]
    fn of_the_limits_that_name_users_or_groups_the_first_that_matches_counts_and_none_behind_it() {
        let mut limits = limits(
            r#"{"per":"node","messages_per_second":1,"burst_messages":6},
               {"per":"user","messages_per_second":1,"burst_messages":4,"user":["root",2000]},
               {"per":"user","messages_per_second":1,"burst_messages":3,"group":[0,3000]},
               {"per":"user","messages_per_second":1,"burst_messages":5,"group":3000,"user":2001},
               {"per":"user","messages_per_second":1,"burst_messages":2}"#,
        );
        let of = |user, gid, from| Sent { user, gid, from, ..sent() };
        for (sent, expected) in [
            (of(User::Uid(0), Some(0), "a"), 4),
            (of(User::Uid(2000), Some(1), "b"), 4),
            (of(User::Uid(2001), Some(3000), "c"), 3),
            (of(User::Uid(2002), Some(0), "d"), 3),
            (of(User::Uid(2003), Some(1), "e"), 2),
            // Users and groups are those of Unix sockets.
            (of(User::Name("root"), None, "f"), 2),
            (of(User::Nobody, None, "g"), 2),
            // What stands before it bounds them, too.
            (of(User::Uid(2004), Some(3000), "c"), 3),
            (of(User::Uid(2005), Some(3000), "c"), 0),
        ] {
            assert_eq!(passed(&mut limits, sent), expected, "{sent:?}");
        }
    }

    #[test]
    fn what_belonged_to_a_connection_alone_is_forgotten_with_it() {
        let mut limits = limits(
            r#"{"per":"connection","messages_per_second":1},{"per":"node","messages_per_second":1},{"per":"user","messages_per_second":1}"#,
        );
        assert!(limits.take(&Sent { from: ":1#port", ..sent() }, 0).is_ok());
        assert!(limits.take(&Sent { connection: 2, user: User::Nobody, ..sent() }, 0).is_ok());
        limits.forget(1, ":1");
        limits.forget(2, ":2");
        let left: Vec<_> = limits.limits.iter().map(|(_, buckets)| buckets.len()).collect();
        assert_eq!(left, [0, 1, 2]);
    }
}
