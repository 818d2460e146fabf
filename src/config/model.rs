//! Knows what a configuration holds once it is read: the value of each setting, and where it comes from.
//! Never: how a value is written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::address::Address;
use crate::core::Level;
use crate::limits::Limits;
use crate::plugin_settings::PluginSettings;

/// What only the machine can say that a configuration is for.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its name, by which a profile is chosen if the command line names none.
    pub host_name: String,
    /// Whether it has a group of this name.
    pub has_group: fn(&str) -> bool,
}

/// Where the daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// At the sockets that the service manager hands over, and nowhere else: without one it does not start.
    Systemd,
    /// At these addresses, and at the sockets that are handed over. If there are neither: at the daemon's own choice.
    At(Vec<Address>),
}

impl Listen {
    /// The addresses that the daemon listens at by itself.
    pub fn addresses(&self) -> &[Address] {
        match self {
            Listen::Systemd => &[],
            Listen::At(addresses) => addresses,
        }
    }
}

impl Default for Listen {
    fn default() -> Listen {
        Listen::At(Vec::new())
    }
}

/// What the daemon is told to be. `Display` gives all settings as the TOML of a file; plugins are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where to listen.
    pub listen: Listen,
    /// Where the state is kept; none: the daemon's own choice.
    pub state_dir: Option<PathBuf>,
    /// What `%n` becomes in a node ID; none: the machine's host name.
    pub host: Option<String>,
    /// Permissions of Unix sockets in the file system.
    pub socket_mode: u32,
    /// The group that Unix sockets in the file system are given to, by name; none: the daemon's.
    pub socket_group: Option<String>,
    /// The least severe messages that are logged.
    pub log_level: Level,
    /// How long a daemon that stops waits for its peers to take what is queued for them.
    pub drain_timeout: Duration,
    /// Bytes that one turn of the loop may take from peers.
    pub turn_bytes: usize,
    /// Where plugins are that are named without a path; none: the daemon's own choice.
    pub plugin_dir: Option<PathBuf>,
    /// Plugins that are in force and required, and that a reload may end.
    pub without: Vec<String>,
    /// The bounds put on peers.
    pub limits: Limits,
    /// The plugins, in their order.
    pub plugins: Vec<PluginSettings>,
    /// What is no fault, but hardly meant: sentences for the log.
    pub warnings: Vec<String>,
    /// Where the settings have their values from.
    pub sources: Sources,
}

/// Where settings have their values from, by their names; those that are missing have their defaults. Any two compare
/// equal, so that configurations compare by values alone.
#[derive(Clone, Debug, Default)]
pub struct Sources(pub(super) BTreeMap<&'static str, String>);

impl PartialEq for Sources {
    fn eq(&self, _: &Sources) -> bool {
        true
    }
}

impl Eq for Sources {}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: Listen::default(),
            state_dir: None,
            host: None,
            socket_mode: 0o660,
            socket_group: None,
            log_level: Level::Info,
            drain_timeout: Duration::from_secs(5),
            turn_bytes: 1 << 20,
            plugin_dir: None,
            without: Vec::new(),
            limits: Limits::default(),
            plugins: Vec::new(),
            warnings: Vec::new(),
            sources: Sources::default(),
        }
    }
}
