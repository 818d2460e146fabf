//! Knows how limits are written in the configuration, and tells what is wrong with them.
//! Never: who has used how much of one.

use std::fmt;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::Value;
use telex_plugin::Interest;
use telex_users::{Groups, Unknown, Users, uids};

use crate::bucket::Rate;

/// What the plugin is told to do.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) limits: Vec<Limit>,
    /// What the log is to be told of names in limits that this machine does not have.
    pub(crate) warnings: Vec<String>,
}

/// One limit, as it is meant.
#[derive(Debug)]
pub(crate) struct Limit {
    pub(crate) name: String,
    pub(crate) per: Per,
    pub(crate) counts: Kinds,
    pub(crate) patterns: Interest,
    pub(crate) who: Who,
    /// Of messages and of bytes; of one at least.
    pub(crate) rates: [Option<Rate>; 2],
    pub(crate) action: Action,
}

/// Whom a limit is for.
#[derive(Debug, Default)]
pub(crate) struct Who {
    /// User ids; none asks for nothing.
    uids: Option<Vec<u32>>,
    groups: Option<Groups>,
}

impl Who {
    /// Whether the limit is for this peer.
    pub(crate) fn holds(&self, uid: Option<u32>, gid: Option<u32>) -> bool {
        self.uids.as_ref().is_none_or(|uids| uid.is_some_and(|uid| uids.contains(&uid)))
            && self.groups.as_ref().is_none_or(|groups| groups.hold(uid, gid))
    }

    /// Whether the limit is for some and not for everybody.
    pub(crate) fn is_named(&self) -> bool {
        self.uids.is_some() || self.groups.is_some()
    }
}

/// Who has a bucket.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Per {
    User,
    Node,
    Connection,
}

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Per::User => "user",
            Per::Node => "node",
            Per::Connection => "connection",
        })
    }
}

/// What becomes of a message that finds no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    #[default]
    Reject,
    Drop,
}

/// A set of kinds of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub(crate) struct Kinds(u8);

impl Kinds {
    pub(crate) const REQUESTS: Kinds = Kinds(1);
    pub(crate) const SIGNALS: Kinds = Kinds(2);
    pub(crate) const REPLIES: Kinds = Kinds(4);
    pub(crate) const TO_DAEMON: Kinds = Kinds(8);

    pub(crate) fn has(self, kind: Kinds) -> bool {
        self.0 & kind.0 != 0
    }
}

impl Default for Kinds {
    fn default() -> Kinds {
        Kinds(Kinds::REQUESTS.0 | Kinds::SIGNALS.0)
    }
}

impl TryFrom<Vec<String>> for Kinds {
    type Error = String;

    fn try_from(words: Vec<String>) -> Result<Kinds, String> {
        let mut kinds = Kinds(0);
        for word in &words {
            kinds.0 |= match word.as_str() {
                "requests" => Kinds::REQUESTS.0,
                "signals" => Kinds::SIGNALS.0,
                "replies" => Kinds::REPLIES.0,
                "to_daemon" => Kinds::TO_DAEMON.0,
                _ => return Err(format!("has {word:?} in it; {KINDS}")),
            };
        }
        if kinds == Kinds(0) { Err(format!("is empty; {KINDS}")) } else { Ok(kinds) }
    }
}

const KINDS: &str = "it must be a list of \"requests\", \"signals\", \"replies\" and \"to_daemon\"";

/// A number of messages, also a fraction.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
struct Messages(f64);

impl TryFrom<Value> for Messages {
    type Error = String;

    fn try_from(value: Value) -> Result<Messages, String> {
        const RANGE: RangeInclusive<f64> = 0.001..=1e6;
        let number = value.as_f64().filter(|number| RANGE.contains(number));
        number.map(Messages).ok_or_else(|| format!("is {value}; it must be a number from 0.001 to 1000000"))
    }
}

/// A number of bytes, written as in the daemon's own settings.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
struct Bytes(f64);

impl TryFrom<Value> for Bytes {
    type Error = String;

    fn try_from(value: Value) -> Result<Bytes, String> {
        let bytes = match &value {
            Value::String(text) => size(text),
            other => other.as_u64(),
        };
        let bytes = bytes.filter(|bytes| (1..=1 << 40).contains(bytes));
        bytes.map(|bytes| Bytes(bytes as f64)).ok_or_else(|| {
            format!(
                "is {value}; it must be a number of bytes from 1 to 1TiB, such as 65536, \"64KiB\" or \
                 \"1MiB\""
            )
        })
    }
}

fn size(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default)]
    limits: Vec<Value>,
}

/// One limit, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<String>,
    per: Per,
    messages_per_second: Option<Messages>,
    burst_messages: Option<Messages>,
    bytes_per_second: Option<Bytes>,
    burst_bytes: Option<Bytes>,
    #[serde(default)]
    action: Action,
    #[serde(default)]
    counts: Kinds,
    message_type: Option<String>,
    to: Option<String>,
    topic: Option<String>,
    from: Option<String>,
    user: Option<Value>,
    group: Option<Value>,
}

/// Reads the configuration of the plugin, with the users and groups of this machine. Looking those up may block.
pub(crate) fn read(config: &str, users: &dyn Users) -> Result<Config, String> {
    let options: Options = serde_json::from_str(config).map_err(|error| error.to_string())?;
    if options.limits.is_empty() {
        return Err(
            "there are no limits; limits = [{ per = \"user\", messages_per_second = 100 }] would be one"
                .into(),
        );
    }
    let mut config = Config { limits: Vec::new(), warnings: Vec::new() };
    for (limit, n) in options.limits.into_iter().zip(1..) {
        let mut unknown = Vec::new();
        let limit =
            read_limit(limit, n, users, &mut unknown).map_err(|error| format!("limit {n}: {error}"))?;
        config.limits.push(limit);
        config.warnings.extend(unknown.iter().map(|name| format!("limit {n}: {name}")));
    }
    Ok(config)
}

fn read_limit(
    value: Value,
    n: usize,
    users: &dyn Users,
    unknown: &mut Vec<Unknown>,
) -> Result<Limit, String> {
    let written: Written = serde_path_to_error::deserialize(value).map_err(|error| error.to_string())?;
    let messages = (written.messages_per_second.map(|it| it.0), written.burst_messages.map(|it| it.0));
    let bytes = (written.bytes_per_second.map(|it| it.0), written.burst_bytes.map(|it| it.0));
    if (messages.0, bytes.0) == (None, None) {
        return Err("has neither messages_per_second nor bytes_per_second".into());
    }
    let message_type = written.message_type;
    if message_type.as_ref().is_some_and(|it| it.ends_with("_reply")) && !written.counts.has(Kinds::REPLIES) {
        return Err("is for replies, which it does not count; counts = [\"replies\"] does".into());
    }
    let who = Who {
        uids: written.user.map(|value| uids(&value, users, unknown)).transpose()?,
        groups: written.group.map(|value| Groups::read(&value, users, unknown)).transpose()?,
    };
    Ok(Limit {
        who,
        name: written.name.unwrap_or_else(|| n.to_string()),
        per: written.per,
        counts: written.counts,
        patterns: Interest { message_type, to: written.to, topic: written.topic, from: written.from },
        rates: [rate(messages, "messages")?, rate(bytes, "bytes")?],
        action: written.action,
    })
}

/// Where no burst is given, it is what one second brings, and one message at least.
fn rate((per_second, burst): (Option<f64>, Option<f64>), unit: &str) -> Result<Option<Rate>, String> {
    match (per_second, burst) {
        (Some(per_second), burst) => Ok(Some(Rate::new(per_second, burst.unwrap_or(per_second.max(1.0))))),
        (None, Some(_)) => Err(format!("has burst_{unit} without {unit}_per_second")),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use telex_users::Machine;

    use super::*;

    fn read(config: &str) -> Result<Config, String> {
        super::read(config, &Machine::here())
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let config = read(
            r#"{"limits":[{"per":"node","bytes_per_second":"64KiB"},{"per":"user","messages_per_second":0.5}]}"#,
        );
        let Config { limits, warnings } = config.unwrap();
        assert_eq!(warnings, [""; 0]);
        assert_eq!(limits[1].name, "2");
        assert_eq!(limits[0].counts, Kinds::default());
        assert_eq!(limits[0].action, Action::Reject);
        assert_eq!(limits[0].patterns, Interest::default());
        let [None, Some(bytes)] = limits[0].rates else { panic!("{limits:?}") };
        assert!(bytes.take(0, 64 << 10, 0).is_ok_and(|full_at| bytes.take(full_at, 1, 0).is_err()));
        let [Some(messages), None] = limits[1].rates else { panic!("{limits:?}") };
        assert_eq!(messages.take(0, 1, 0), Ok(2_000_000_000));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (limit, wanted) in [
            ("5", "limit 2: invalid type: integer `5`"),
            ("{}", "limit 2: missing field `per`"),
            (
                r#"{"per":"uid"}"#,
                "limit 2: per: unknown variant `uid`, expected one of `user`, `node`, `connection`",
            ),
            (r#"{"per":"user"}"#, "limit 2: has neither messages_per_second nor bytes_per_second"),
            (
                r#"{"per":"user","burst_bytes":9,"messages_per_second":1}"#,
                "limit 2: has burst_bytes without bytes_per_second",
            ),
            (
                r#"{"per":"user","message_per_second":1}"#,
                "limit 2: message_per_second: unknown field `message_per_second`, expected one of",
            ),
            (
                r#"{"per":"user","messages_per_second":0}"#,
                "limit 2: messages_per_second: is 0; it must be a number from 0.001 to 1000000",
            ),
            (
                r#"{"per":"user","messages_per_second":"1"}"#,
                "limit 2: messages_per_second: is \"1\"; it must be a number from",
            ),
            (
                r#"{"per":"user","bytes_per_second":"64KB"}"#,
                "limit 2: bytes_per_second: is \"64KB\"; it must be a number of bytes from 1 to 1TiB",
            ),
            (r#"{"per":"user","bytes_per_second":0.5}"#, "limit 2: bytes_per_second: is 0.5; it must be"),
            (
                r#"{"per":"user","bytes_per_second":"KiB"}"#,
                "limit 2: bytes_per_second: is \"KiB\"; it must be",
            ),
            (
                r#"{"per":"user","messages_per_second":1,"action":"pause"}"#,
                "limit 2: action: unknown variant `pause`, expected `reject` or `drop`",
            ),
            (
                r#"{"per":"user","messages_per_second":1,"counts":["all"]}"#,
                "limit 2: counts: has \"all\" in it; it must be a list of",
            ),
            (
                r#"{"per":"user","messages_per_second":1,"counts":[]}"#,
                "limit 2: counts: is empty; it must be a list of",
            ),
            (
                r#"{"per":"user","messages_per_second":1,"to":7}"#,
                "limit 2: to: invalid type: integer `7`, expected a string",
            ),
            (
                r#"{"per":"user","messages_per_second":1,"user":true}"#,
                "limit 2: \"user\" is true; it must be a name or a number, or a list of them",
            ),
            (
                r#"{"per":"user","messages_per_second":1,"group":[]}"#,
                "limit 2: \"group\" is empty; a key that is left out asks for nothing",
            ),
            (
                r#"{"per":"user","messages_per_second":1,"message_type":"*_reply"}"#,
                "limit 2: is for replies, which it does not count",
            ),
        ] {
            let config = format!(r#"{{"limits":[{{"per":"user","messages_per_second":1}},{limit}]}}"#);
            let told = read(&config).unwrap_err();
            assert!(told.starts_with(wanted), "{told}");
        }
        assert!(read("{}").unwrap_err().starts_with("there are no limits; limits = [{"));
        assert!(read(r#"{"limit":[]}"#).unwrap_err().starts_with("unknown field `limit`, expected `limits`"));
    }

    #[test]
    fn a_name_that_is_unknown_is_told_with_its_place() {
        let limit = r#"{"per":"user","messages_per_second":1"#;
        let config = format!(
            r#"{{"limits":[{limit},"user":["root","no-such-user"]}},{limit},"group":"no-such-group"}}]}}"#
        );
        assert_eq!(
            read(&config).unwrap().warnings,
            [
                "limit 1: user \"no-such-user\" is not on this machine, and matches no connection",
                "limit 2: group \"no-such-group\" is not on this machine, and matches no connection",
            ]
        );
    }

    #[test]
    fn the_examples_of_the_readme_are_right() {
        let examples = telex_plugin::testing::toml_examples(include_str!("../README.md"));
        assert!(!examples.is_empty());
        for example in examples {
            let example: Value = toml::from_str(example).unwrap();
            let config = &example["plugin"][0]["config"];
            read(&config.to_string()).unwrap_or_else(|error| panic!("{config}: {error}"));
        }
    }
}
