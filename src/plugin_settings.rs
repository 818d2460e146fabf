//! Knows what a configuration says of one plugin.
//! Never: how that is written in a file, or what the plugin does.

use std::time::Duration;

/// What becomes of a message if its filter fails at it, and of a new connection if a plugin that is asked
/// about it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFault {
    /// It is refused.
    Deny,
    /// It goes on.
    Pass,
}

/// The settings of one plugin: a table `[[plugin]]` of the daemon's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginSettings {
    /// The path of its library, absolute, or the library's name in the directory of plugins.
    pub path: String,
    /// What it is called in the log, in `stats` and to peers that it refuses. No two plugins of a
    /// configuration have the same name.
    pub name: String,
    /// Its own configuration: a JSON object, handed to it as it is.
    pub config: String,
    /// Whether the daemon refuses to start without it.
    pub required: bool,
    /// What a fault of it leads to.
    pub on_fault: OnFault,
    /// How long one call may take that hands it up to 64 KiB; a call with more may take longer, in
    /// proportion to its bytes.
    pub budget: Duration,
    /// After so many faults and late calls, each within a minute of the one before, it is not called any
    /// more. A plugin that takes the log and judges no messages is called all the same.
    pub strikes: u32,
}
