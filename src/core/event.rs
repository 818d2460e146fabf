//! Knows what is worth a record, by one fixed word each, and what such a record has in it.
//! Never: where records go.

use std::sync::Arc;

use crate::core::peer::Peer;

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident => $word:literal,)*) => {
        /// What a record is of. The words and the fields are public: log plugins and programs that read a log
        /// by program go by them, so neither ever changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Event { $($(#[$doc])* $variant,)* }

        impl Event {
            /// Every event.
            pub const ALL: &[Event] = &[$(Event::$variant,)*];

            /// The fixed word.
            pub fn word(self) -> &'static str {
                match self { $(Event::$variant => $word,)* }
            }
        }
    };
}

events! {
    /// A connection was opened. `transport`: `unix` or `tcp`.
    Opened => "opened",
    /// A connection was not opened. `code`: the error that its peer was told; `filter`: the plugin that
    /// did not want it, if one did not; `count`: how many there were since the last such record.
    Refused => "refused",
    /// A connection holds one more node ID. `node_id`.
    Registered => "registered",
    /// A connection has given up a node ID. `node_id`.
    Unregistered => "unregistered",
    /// A connection is disconnected for what it sent: broken lines alone. `lines`: how many in a row.
    Broken => "broken",
    /// A connection is disconnected for what it did not read. `queue_bytes`: what waited for it.
    Stalled => "stalled",
    /// A connection misses messages to topics, which it does not read fast enough; at most once a minute. `count`:
    /// how many since the last such record; `missed`: how many in all; `queue_bytes`: what waits for it.
    Lagged => "lagged",
    /// A connection is gone for everybody else. `reason`, as in `node_down`; `node_ids` that went with it.
    Left => "left",
    /// The last of a connection: it has got what it was owed, or could be given no more.
    Closed => "closed",
    /// Memory has run short. `memory_bytes`: what peers make the daemon keep; `max_memory_bytes`.
    Overloaded => "overloaded",
    /// A plugin's fault, or the daemon's own, was kept from the peers.
    Internal => "internal",
    /// A plugin says something, or something is said of it. `plugin`: its name.
    Plugin => "plugin",
    /// The daemon itself says something: it begins, ends, has read its configuration again, fails.
    Daemon => "daemon",
}

/// How much a note matters, as in syslog(3).
///
/// ```
/// use telex::hub::{Hub, Level};
///
/// // What is worth a look, and all that is worse.
/// let hub = Hub::new(|level, line| {
///     if level <= Level::Notice {
///         eprintln!("{}: {line}", level.word());
///     }
/// });
/// assert!(Level::Error < Level::Notice && Level::WORDS[0] == ("error", Level::Error));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub enum Level {
    /// The daemon failed at something.
    Error,
    /// A peer misbehaves, or something runs short.
    Warning,
    /// Normal, but worth a look.
    Notice,
    /// Comings and goings.
    Info,
    /// For people who debug a client.
    Debug,
}

impl Level {
    /// Every level and its word, the most severe first.
    pub const WORDS: &[(&str, Level)] = &[
        ("error", Level::Error),
        ("warning", Level::Warning),
        ("notice", Level::Notice),
        ("info", Level::Info),
        ("debug", Level::Debug),
    ];

    /// The word in a configuration, a record and a request.
    pub fn word(self) -> &'static str {
        Level::WORDS[self as usize].0
    }
}

/// A record for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub level: Level,
    /// What happened.
    pub event: Event,
    /// The connection that it is about.
    pub about: Subject,
    /// What happened, for people, on one line.
    pub text: String,
    /// What else belongs to it, for programs: a JSON object on one line.
    pub fields: String,
}

/// What a record is about: a connection, a plugin, or neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub struct Subject {
    /// The connection's unique number.
    pub number: Option<u64>,
    /// The first of its node IDs.
    pub node_id: Option<Arc<str>>,
    /// Its user, if the kernel has said.
    pub uid: Option<u32>,
    /// The plugin's name.
    pub plugin: Option<String>,
}

impl Subject {
    /// A connection without node IDs.
    pub(crate) fn new(number: u64, peer: &Peer) -> Subject {
        Subject { number: Some(number), uid: peer.uid(), ..Subject::default() }
    }
}
