//! Knows what may be asked of the daemon itself, and the form of each request's body (PROTOCOL.md
//! section 7).
//! Never: what the answer is.

use std::borrow::Cow;
use std::time::Duration;

use crate::limits::{ADDRESS_BYTES_MAX, NAME_BYTES_MAX};
use crate::topic::{check_pattern, is_reserved};
use crate::wire::code::Code;
use crate::wire::fields::Fields;
use crate::wire::message::{Refusal, excerpt};

/// The protocol's requests that are not answered yet.
const NOT_YET: &[&str] =
    &["auth", "spool_ack", "spool_archive", "spool_delete", "spool_get", "spool_list", "spool_put"];

/// The protocol's requests that [`Ask::read`] reads.
const WORDS: &[&str] = &[
    "register",
    "unregister",
    "subscribe",
    "unsubscribe",
    "monitor",
    "unmonitor",
    "resolve",
    "list",
    "subscribers",
    "connections",
    "topics",
    "whoami",
    "ping",
    "stats",
    "explain",
    "settings",
    "log_level",
    "kill",
    "tap",
    "untap",
    "reload",
];

/// A request to the daemon, its body in the right form.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the protocol")]
pub enum Ask<'a> {
    Register(Box<Register<'a>>),
    Unregister {
        node_id: Cow<'a, str>,
    },
    Subscribe(Subscription<'a>),
    Unsubscribe(Subscription<'a>),
    Monitor {
        pattern: Cow<'a, str>,
    },
    Unmonitor {
        pattern: Cow<'a, str>,
    },
    Resolve {
        node_id: Cow<'a, str>,
    },
    List {
        pattern: Option<Cow<'a, str>>,
        all: bool,
        details: bool,
        after: Option<Cow<'a, str>>,
        limit: usize,
    },
    Connections {
        after: u64,
        limit: usize,
    },
    Topics {
        limit: usize,
    },
    Subscribers {
        topic: Cow<'a, str>,
        limit: usize,
    },
    Explain {
        message: &'a str,
        speaker: Option<u64>,
    },
    Settings,
    LogLevel {
        level: Cow<'a, str>,
        time: Option<Duration>,
    },
    Whoami,
    Ping,
    Stats,
    Kill {
        target: Victim<'a>,
        reason: Option<Cow<'a, str>>,
    },
    Tap(Box<Tap<'a>>),
    Untap(Box<Patterns<'a>>),
    Reload,
}

/// The body of `register`, by which a connection becomes an instance of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Register<'a> {
    /// As it stands in the body; the request's `from` may name it instead.
    pub node_id: Option<Cow<'a, str>>,
    /// How the instances of the node share messages; [`Delivery::All`] if none of them says so.
    pub delivery: Option<Delivery>,
    /// Whether this connection is to be the node's only instance, and others are refused.
    pub exclusive: Option<bool>,
    /// Whether the node ID is taken over from its instances, which lose it.
    pub replace: bool,
    /// Whether messages to this connection carry `sender`.
    pub credentials: Option<bool>,
    /// What becomes of this connection's messages that find no room.
    pub overflow: Option<Overflow>,
    /// Where others can dial the node: up to 16 strings of 1 to 255 bytes.
    pub endpoints: Option<Vec<Cow<'a, str>>>,
    /// What others are told about the node: a JSON object of up to 4096 bytes, or `null`.
    pub meta: Option<&'a str>,
}

/// How the instances of a node share what is sent to it.
///
/// ```
/// use telex::client::Delivery;
///
/// assert_eq!((Delivery::All.word(), Delivery::One.word()), ("all", "one"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub enum Delivery {
    /// Every instance gets every message.
    All,
    /// One instance gets each message.
    One,
}

impl Delivery {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Delivery::All => "all",
            Delivery::One => "one",
        }
    }
}

/// What becomes of a message that finds no room.
///
/// ```
/// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
/// use telex::client::{Handle, Overflow, Register, default_address};
///
/// // What it sends never waits for a slow reader: it is refused.
/// let terms = Register { node_id: Some("ticker".into()), overflow: Some(Overflow::Fail), ..Register::default() };
/// let ticker = Handle::builder().register_with(terms).connect(&default_address()?)?;
/// ticker.send("logger", r#"{"tick":1}"#)?;
/// # Ok::<(), telex::client::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// It waits, and its sender with it.
    Wait,
    /// It is refused.
    Fail,
}

/// What a subscription is to: `topic` and, if it is shared, `group`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the protocol")]
pub struct Subscription<'a> {
    pub pattern: Cow<'a, str>,
    pub group: Option<Cow<'a, str>>,
}

/// What a `kill` closes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the protocol")]
pub enum Victim<'a> {
    Node(Cow<'a, str>),
    Unique(Cow<'a, str>),
}

/// Which messages a tap is told of, and how much of each.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub struct Tap<'a> {
    /// Which it looks at.
    pub patterns: Patterns<'a>,
    /// The longest part of a line that is copied, in bytes; none for whole lines.
    pub snap_bytes: Option<usize>,
    /// Of so many messages that match one is told, at least 1.
    pub sample: u64,
}

/// The patterns of a tap; an absent one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the protocol")]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub struct Patterns<'a> {
    pub from: Option<Cow<'a, str>>,
    pub to: Option<Cow<'a, str>>,
    pub topic: Option<Cow<'a, str>>,
    pub message_type: Option<Cow<'a, str>>,
    pub unique_id: Option<Cow<'a, str>>,
    pub uid: Option<u32>,
}

/// Whether requests of this type are the daemon's own, built or not.
pub fn is_daemons(message_type: &str) -> bool {
    WORDS.contains(&message_type) || NOT_YET.contains(&message_type)
}

impl<'a> Ask<'a> {
    /// What of this request of type `message_type` is for administrators alone, if anything is.
    pub fn for_administrators<'b>(&'b self, message_type: &'b str) -> Option<&'b str> {
        match self {
            Ask::Kill { .. }
            | Ask::LogLevel { .. }
            | Ask::Reload
            | Ask::Settings
            | Ask::Tap(_)
            | Ask::Topics { .. } => Some(message_type),
            Ask::Subscribe(of) => Some(&*of.pattern).filter(|pattern| is_reserved(pattern)),
            _ => None,
        }
    }

    /// Reads the request of type `message_type` with the body `body`, as it stands in the line. An
    /// absent body and null are an empty one.
    pub fn read(message_type: &str, body: Option<&'a str>) -> Result<Ask<'a>, Refusal> {
        let fields = || Fields::read(body);
        Ok(match message_type {
            "register" => Ask::Register(Box::new(Register::read(&fields()?)?)),
            "unregister" => Ask::Unregister { node_id: fields()?.needed("node_id", ADDRESS_BYTES_MAX)? },
            "subscribe" => Ask::Subscribe(Subscription::read(&fields()?)?),
            "unsubscribe" => Ask::Unsubscribe(Subscription::read(&fields()?)?),
            "monitor" => Ask::Monitor { pattern: fields()?.needed("node_id", NAME_BYTES_MAX)? },
            "unmonitor" => Ask::Unmonitor { pattern: fields()?.needed("node_id", NAME_BYTES_MAX)? },
            "resolve" => Ask::Resolve { node_id: fields()?.needed("node_id", ADDRESS_BYTES_MAX)? },
            "list" => {
                let fields = fields()?;
                Ask::List {
                    pattern: fields.text("match", NAME_BYTES_MAX)?,
                    all: fields.flag("all")?.unwrap_or(false),
                    details: fields.flag("details")?.unwrap_or(false),
                    after: fields.text("after", NAME_BYTES_MAX)?,
                    limit: fields.limit()?,
                }
            }
            "subscribers" => {
                let fields = fields()?;
                let topic = fields.needed("topic", NAME_BYTES_MAX)?;
                crate::topic::check_topic(&topic).map_err(|why| {
                    Refusal::new(
                        Code::BadField,
                        format!("\"body.topic\" is \"{}\", which {why}", excerpt(&topic)),
                    )
                })?;
                Ask::Subscribers { topic, limit: fields.limit()? }
            }
            "connections" => {
                let fields = fields()?;
                Ask::Connections { after: fields.unique_id("after")?.unwrap_or(0), limit: fields.limit()? }
            }
            "topics" => Ask::Topics { limit: fields()?.limit()? },
            "whoami" => Ask::Whoami,
            "ping" => Ask::Ping,
            "stats" => Ask::Stats,
            "explain" => {
                let fields = fields()?;
                Ask::Explain { message: fields.message()?, speaker: fields.unique_id("as")? }
            }
            "settings" => Ask::Settings,
            "log_level" => {
                let fields = fields()?;
                let time = fields.integer("for_ms", 1)?.map(Duration::from_millis);
                Ask::LogLevel { level: fields.needed("level", NAME_BYTES_MAX)?, time }
            }
            "kill" => Ask::read_kill(&fields()?)?,
            "tap" => Ask::Tap(Box::new(Tap::read(&fields()?)?)),
            "untap" => Ask::Untap(Box::new(Patterns::read(&fields()?)?)),
            "reload" => Ask::Reload,
            _ => {
                let why = match NOT_YET.contains(&message_type) {
                    true => ": this version of telexd does not have it yet",
                    false => {
                        ", which is no request that the daemon answers; a message to a node needs \"to\", one to a topic \"topic\""
                    }
                };
                let error = format!("\"message_type\" is \"{}\"{why}", excerpt(message_type));
                return Err(Refusal::new(Code::UnknownType, error));
            }
        })
    }

    fn read_kill(fields: &Fields<'a>) -> Result<Ask<'a>, Refusal> {
        const REASON_BYTES_MAX: usize = 1024;
        let target =
            match (fields.text("node_id", NAME_BYTES_MAX)?, fields.text("unique_id", NAME_BYTES_MAX)?) {
                (Some(node_id), None) => Victim::Node(node_id),
                (None, Some(unique_id)) => Victim::Unique(unique_id),
                (None, None) => {
                    return Err(Refusal::missing_field(
                        "body.node_id",
                        "whom to close, or \"body.unique_id\"",
                    ));
                }
                _ => {
                    let error =
                        "\"body.node_id\" and \"body.unique_id\" are both given; a kill has one of them";
                    return Err(Refusal::new(Code::BadField, error));
                }
            };
        Ok(Ask::Kill { target, reason: fields.text("reason", REASON_BYTES_MAX)? })
    }
}

impl<'a> Register<'a> {
    fn read(fields: &Fields<'a>) -> Result<Register<'a>, Refusal> {
        Ok(Register {
            node_id: fields.text("node_id", ADDRESS_BYTES_MAX)?,
            delivery: fields.word("delivery", &[("all", Delivery::All), ("one", Delivery::One)])?,
            exclusive: fields.flag("exclusive")?,
            replace: fields.flag("replace")?.unwrap_or(false),
            credentials: fields.flag("credentials")?,
            overflow: fields.word("overflow", &[("wait", Overflow::Wait), ("fail", Overflow::Fail)])?,
            endpoints: fields.endpoints()?,
            meta: fields.meta()?,
        })
    }
}

impl<'a> Subscription<'a> {
    fn read(fields: &Fields<'a>) -> Result<Subscription<'a>, Refusal> {
        let pattern = fields.needed("topic", NAME_BYTES_MAX)?;
        check_pattern(&pattern).map_err(|why| {
            Refusal::new(Code::BadField, format!("\"body.topic\" is \"{}\", which {why}", excerpt(&pattern)))
        })?;
        Ok(Subscription { pattern, group: fields.text("group", NAME_BYTES_MAX)? })
    }
}

impl<'a> Tap<'a> {
    fn read(fields: &Fields<'a>) -> Result<Tap<'a>, Refusal> {
        Ok(Tap {
            patterns: Patterns::read(fields)?,
            snap_bytes: fields.integer("snap_bytes", 1)?,
            sample: fields.integer("sample", 1)?.unwrap_or(1),
        })
    }

    /// This tap, owned.
    pub fn into_owned(self) -> Tap<'static> {
        let Tap { patterns, snap_bytes, sample } = self;
        Tap { patterns: patterns.into_owned(), snap_bytes, sample }
    }
}

impl<'a> Patterns<'a> {
    fn read(fields: &Fields<'a>) -> Result<Patterns<'a>, Refusal> {
        Ok(Patterns {
            from: fields.text("from", ADDRESS_BYTES_MAX)?,
            to: fields.text("to", ADDRESS_BYTES_MAX)?,
            topic: fields.text("topic", NAME_BYTES_MAX)?,
            message_type: fields.text("message_type", ADDRESS_BYTES_MAX)?,
            unique_id: fields.text("unique_id", NAME_BYTES_MAX)?,
            uid: fields.integer("uid", 0)?,
        })
    }

    /// Whether no pattern is given at all.
    pub fn is_empty(&self) -> bool {
        *self == Patterns::default()
    }

    /// These patterns, owned.
    pub fn into_owned(self) -> Patterns<'static> {
        let own = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Patterns {
            from: own(self.from),
            to: own(self.to),
            topic: own(self.topic),
            message_type: own(self.message_type),
            unique_id: own(self.unique_id),
            uid: self.uid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_in_the_right_form() {
        let body = r#"{"node_id":"a","delivery":"one","exclusive":true,"credentials":false,"overflow":"fail",
            "endpoints":["unix:/x","\u0061"],"meta":{"v": 1e999},"remote_id":null}"#;
        let Ok(Ask::Register(register)) = Ask::read("register", Some(body)) else { panic!("a register") };
        assert_eq!(register.node_id.as_deref(), Some("a"));
        assert_eq!(register.delivery, Some(Delivery::One));
        assert_eq!((register.exclusive, register.replace), (Some(true), false));
        assert_eq!(register.overflow, Some(Overflow::Fail));
        assert_eq!(register.endpoints, Some(vec!["unix:/x".into(), "a".into()]));
        assert_eq!(register.meta, Some(r#"{"v": 1e999}"#));
        assert_eq!(Ask::read("register", None), Ok(Ask::Register(Box::default())));
        assert_eq!(Ask::read("whoami", Some("null")), Ok(Ask::Whoami));
        assert_eq!(
            Ask::read("list", Some(r#"{"limit":99999999999999999999999,"after":"x"}"#)),
            Ok(Ask::List { pattern: None, all: false, details: false, after: Some("x".into()), limit: 1000 })
        );
    }

    #[test]
    fn wrong_forms_are_named() {
        let endpoints = format!("{{\"endpoints\":[{}]}}", ["\"x\""; 17].join(","));
        let meta = format!("{{\"meta\":{{\"x\":\"{}\"}}}}", "x".repeat(4096));
        for (message_type, body, code, field) in [
            ("register", "7", Code::BadField, "body"),
            ("register", "[]", Code::BadField, "body"),
            ("register", r#"{"node_id":null}"#, Code::BadField, "node_id"),
            ("register", r#"{"node_id":""}"#, Code::BadField, "node_id"),
            ("register", r#"{"delivery":"two"}"#, Code::BadField, "\"all\" or \"one\""),
            ("register", r#"{"delivery":1}"#, Code::BadField, "delivery"),
            ("register", r#"{"exclusive":"yes"}"#, Code::BadField, "exclusive"),
            ("register", r#"{"overflow":null}"#, Code::BadField, "overflow"),
            ("register", r#"{"endpoints":"x"}"#, Code::BadField, "endpoints"),
            ("register", r#"{"endpoints":[""]}"#, Code::BadField, "endpoints"),
            ("register", &endpoints, Code::BadField, "endpoints"),
            ("register", r#"{"meta":[]}"#, Code::BadField, "meta"),
            ("register", &meta, Code::BadField, "meta"),
            ("unregister", "{}", Code::MissingField, "node_id"),
            ("subscribe", r#"{"topic":"a..b"}"#, Code::BadField, "topic"),
            ("subscribe", r#"{"topic":"a","group":null}"#, Code::BadField, "group"),
            ("subscribers", r#"{"topic":"a.*"}"#, Code::BadField, "topic"),
            ("connections", r#"{"after":"bob"}"#, Code::BadField, "a unique id, such as \":7\""),
            ("connections", r#"{"after":":7#x"}"#, Code::BadField, "after"),
            ("connections", r#"{"after":7}"#, Code::BadField, "after"),
            ("tap", r#"{"sample":0}"#, Code::BadField, "an integer from 1 on"),
            ("tap", r#"{"snap_bytes":1.5}"#, Code::BadField, "snap_bytes"),
            ("tap", r#"{"uid":4294967296}"#, Code::BadField, "of up to 32 bits"),
            ("tap", r#"{"uid":"root"}"#, Code::BadField, "uid"),
            ("list", r#"{"limit":0}"#, Code::BadField, "limit"),
            ("list", r#"{"limit":-1}"#, Code::BadField, "limit"),
            ("list", r#"{"limit":1.5}"#, Code::BadField, "limit"),
            ("kill", "{}", Code::MissingField, "node_id"),
            ("kill", r#"{"node_id":"a","unique_id":":1"}"#, Code::BadField, "unique_id"),
            ("nonsense", "{}", Code::UnknownType, "\"nonsense\", which is no request"),
        ] {
            let refusal = Ask::read(message_type, Some(body)).expect_err(body);
            assert_eq!(refusal.code, code, "{body}");
            assert!(refusal.error.contains(field), "{body}: {}", refusal.error);
        }
    }

    #[test]
    fn the_words_of_the_daemon_are_those_that_it_reads() {
        let source = include_str!("control.rs");
        let read =
            source.split("        Ok(match message_type {").nth(1).and_then(|rest| rest.split("_ =>").next());
        let arm = |line: &'static str| {
            line.strip_prefix("            \"")?.split_once("\" =>").map(|(word, _)| word)
        };
        let arms: Vec<&str> = read.expect("the arms").lines().filter_map(arm).collect();
        assert_eq!(arms, WORDS);
        let is_unknown = |refusal: Refusal| refusal.code == Code::UnknownType;
        assert!(WORDS.iter().all(|word| !Ask::read(word, None).is_err_and(is_unknown)));
        assert!(is_daemons("spool_put") && !is_daemons("read"));
    }

    #[test]
    fn what_the_page_says_is_not_there_yet_is_told_so() {
        let page = include_str!("../PROTOCOL.md");
        let row = |line: &'static str| line.strip_prefix("| `")?.split_once("` | *not yet*: `unknown_type`");
        let named: Vec<_> = page.lines().filter_map(row).map(|(message_type, _)| message_type).collect();
        assert_eq!(named.len(), NOT_YET.len(), "{named:?}");
        for message_type in named {
            let refusal = Ask::read(message_type, None).expect_err(message_type);
            let told = format!(
                "\"message_type\" is \"{message_type}\": this version of telexd does not have it yet"
            );
            assert_eq!((refusal.code, refusal.error), (Code::UnknownType, told));
        }
    }
}
