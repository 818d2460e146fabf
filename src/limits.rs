//! Knows every bound that the daemon puts on its peers, under the names PROTOCOL.md gives them.
//! Never: which connection is bound by them, or what happens at a bound.

use std::time::Duration;

/// Longest node ID, topic, group, `message_type` (of a request or signal), string `message_id` and
/// `key`, in bytes of decoded UTF-8.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest `message_type` of a reply, in bytes of decoded UTF-8: that of its request and `_reply`.
pub const REPLY_TYPE_BYTES_MAX: usize = NAME_BYTES_MAX + "_reply".len();
/// Longest address (`NODE#PORT`, `:N#PORT`), in bytes of decoded UTF-8.
pub const ADDRESS_BYTES_MAX: usize = 511;
/// Deepest nesting of a line, in levels, its envelope counted.
pub const DEPTH_MAX: usize = 128;
/// Largest `timeout_ms`, in milliseconds: an hour.
pub const TIMEOUT_MS_MAX: u64 = 3_600_000;
/// Broken lines (`bad_json`, `not_an_object`, `line_too_long`) in a row that end a connection.
pub const BROKEN_LINES_MAX: u32 = 100;
/// Most `endpoints` of one registration.
pub const ENDPOINTS_MAX: usize = 16;
/// Longest `meta` of a registration, in bytes as it was sent.
pub const META_BYTES_MAX: usize = 4096;
/// Most entries in one page of an answer (`list`, `subscribers`).
pub const PAGE_ENTRIES_MAX: usize = 1000;
/// What a receiver has to take in every `stall_timeout` while senders wait for it, in bytes.
pub const STALL_BYTES_MIN: u64 = 64 * 1024;
/// Largest `max_line_bytes` that can be configured, in bytes.
pub const MAX_LINE_BYTES_MAX: usize = 64 << 20;
/// What the daemon may add to a line: `from`, `message_id` and `sender`, in bytes.
pub const ADDED_BYTES_MAX: usize = 1024;
/// Connections of administrators that are taken although there is no room for more.
pub const KEPT_BACK_MAX: usize = 8;
/// How long such a connection stays after its last line.
pub const KEPT_BACK_TIME: Duration = Duration::from_secs(10);

/// Which connections may share a node ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedNames {
    /// Only connections of one user (the default).
    User,
    /// All connections.
    Any,
}

/// The bounds that a configuration can set. Those in bytes say so in their names.
///
/// ```
/// use telex::limits::{Limits, MAX_LINE_BYTES_MAX, NAME_BYTES_MAX, SharedNames};
///
/// let limits = Limits::default();
/// assert!(limits.max_line_bytes == 1 << 20 && limits.max_line_bytes < MAX_LINE_BYTES_MAX);
/// assert_eq!((limits.shared_names, NAME_BYTES_MAX), (SharedNames::User, 255));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest line taken from a client, without CR and LF.
    pub max_line_bytes: usize,
    /// Each of the two counts of a receiver's queue; at least 4 × `max_line_bytes`.
    pub max_queue_bytes: usize,
    /// All that peers make the daemon keep.
    pub max_memory_bytes: usize,
    /// Connections in all.
    pub max_connections: usize,
    /// Connections of one user.
    pub max_connections_per_uid: usize,
    /// Node IDs of one connection.
    pub max_names: usize,
    /// Open requests of one connection; one handed to n instances counts n.
    pub max_requests: usize,
    /// Subscriptions, monitors and taps of one connection.
    pub max_subscriptions: usize,
    /// Nodes with endpoints that are remembered.
    pub max_known_nodes: usize,
    /// How long the answer to a request that names no `timeout_ms` is waited for.
    pub request_timeout: Duration,
    /// How long a receiver may take less than [`STALL_BYTES_MIN`] while senders wait for it.
    pub stall_timeout: Duration,
    /// Which connections may share a node ID.
    pub shared_names: SharedNames,
}

impl Limits {
    /// Half of `max_queue_bytes`: up to here a queue takes messages to topics, and to here it drains before senders
    /// that wait for room go on.
    pub(crate) fn half_queue(&self) -> usize {
        self.max_queue_bytes / 2
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_line_bytes: 1 << 20,
            max_queue_bytes: 8 << 20,
            max_memory_bytes: 1 << 30,
            max_connections: 65_536,
            max_connections_per_uid: 16_384,
            max_names: 64,
            max_requests: 4096,
            max_subscriptions: 1024,
            max_known_nodes: 100_000,
            request_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(10),
            shared_names: SharedNames::User,
        }
    }
}
