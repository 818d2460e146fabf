//! Knows what can be set of a cluster, and the defaults.
//! Never: what is done by it.

use std::time::Duration;

use crate::cluster::balance::Balance;
use crate::cluster::servers::{BadServers, Server, servers};

/// Of what `timeout` is the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeoutOf {
    /// Of each try: from when it is sent until its answer.
    #[default]
    Request,
    /// Of a connection that is waited for, and over which no request and no answer goes. It ends then, and all that
    /// is in flight on it fails. So did MR::IProto.
    Silence,
}

impl TimeoutOf {
    /// The meaning of a word: `request` or `silence`; `None` for any other.
    ///
    /// ```
    /// use telex::cluster::TimeoutOf;
    ///
    /// assert_eq!(TimeoutOf::of("silence"), Some(TimeoutOf::Silence));
    /// ```
    pub fn of(word: &str) -> Option<TimeoutOf> {
        match word {
            "request" => Some(TimeoutOf::Request),
            "silence" => Some(TimeoutOf::Silence),
            _ => None,
        }
    }
}

/// The settings of a cluster. Two clusters that name the same server share nothing.
///
/// ```
/// use std::time::Duration;
/// use telex::cluster::{Balance, Settings, servers};
///
/// let settings = Settings {
///     balance: Balance::HashCrc32,
///     timeout: Some(Duration::from_millis(500)),
///     ..Settings::of("a:4040,b:4040*2")?
/// };
/// assert_eq!((settings.max_parallel, settings.max_request_retries), (1000, 2));
/// assert!(settings.balance.needs_key());
/// let more = [&settings.servers[..], &servers("c:4040")?].concat();
/// assert_eq!(Settings::new(more).servers.len(), 3);
/// # Ok::<(), telex::cluster::BadServers>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The servers; their order matters to [`Balance::HashCrc32`]. There must be one at least.
    pub servers: Vec<Server>,
    /// How requests are spread over them.
    pub balance: Balance,
    /// Requests that are under way at once in all: 1000. The others wait, first come first served; 0 counts as 1.
    pub max_parallel: usize,
    /// Requests in flight to one server at once: 10. 0 counts as 1.
    pub max_parallel_per_server: usize,
    /// Tries of a request in all, the first included: 2. 0 counts as 1.
    pub max_request_retries: u32,
    /// The time between a failed try and the next: none.
    pub retry_delay: Duration,
    /// How long a connection may take, and the answer to a probe: 2 s.
    pub connect_timeout: Duration,
    /// How long an answer may take: 2 s. `None`: for ever. The time in queues does not count.
    pub timeout: Option<Duration>,
    /// Of what that is the time.
    pub timeout_of: TimeoutOf,
    /// Whether small writes leave at once: true. Of TCP alone.
    pub tcp_nodelay: bool,
    /// After how much time without a word from it an open connection is probed: never (`None`). The standard
    /// library cannot set SO_KEEPALIVE, so the probe is one of the wire's own; it works over Unix sockets, too, and
    /// finds servers that are frozen.
    pub tcp_keepalive: Option<Duration>,
    /// The time between two probes of a server that is out: 1 s.
    pub probe_interval: Duration,
    /// The random draws of [`Balance::Random`] follow from it: 0.
    pub seed: u64,
}

impl Settings {
    /// The defaults, for these servers.
    pub fn new(servers: Vec<Server>) -> Settings {
        Settings {
            servers,
            balance: Balance::RoundRobin,
            max_parallel: 1000,
            max_parallel_per_server: 10,
            max_request_retries: 2,
            retry_delay: Duration::ZERO,
            connect_timeout: Duration::from_secs(2),
            timeout: Some(Duration::from_secs(2)),
            timeout_of: TimeoutOf::Request,
            tcp_nodelay: true,
            tcp_keepalive: None,
            probe_interval: Duration::from_secs(1),
            seed: 0,
        }
    }

    /// The defaults, for the servers that [`servers`] reads.
    pub fn of(list: &str) -> Result<Settings, BadServers> {
        servers(list).map(Settings::new)
    }
}
