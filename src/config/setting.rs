//! Knows every setting: its name, form, range, place in the configuration, and what applies it when the file is
//! read again.
//! Never: where a value comes from.

use std::time::Duration;

use super::model::Config;
use super::quantity::{Bytes, Count, GIB, KIB, MIB, TIB, Time};
use super::value::{Addresses, Directory, Form, Group, HostName, Mode, Names, Word};
use crate::core::Level;
use crate::limits::{MAX_LINE_BYTES_MAX, SharedNames};
use crate::toml_file::{Value, Wrong, no_setting};

/// What applies a setting when the configuration is read again. The daemon's `apply` says how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppliedBy {
    /// Nothing: it counts from the next start on.
    NextStart,
    /// The log.
    Log,
    /// The order of an end.
    Drain,
    /// Each turn of the loop.
    Turn,
    /// The making of plugins.
    Plugins,
    /// The core, with all other limits.
    Limits,
}

impl AppliedBy {
    /// When a changed value counts: `now`, at the reload, or `restart`, from the next start on.
    pub(super) fn applies(self) -> &'static str {
        if self == AppliedBy::NextStart { "restart" } else { "now" }
    }
}

/// One setting, under one name in the file, in profiles and for `--set`.
pub(super) struct Setting {
    /// Its key.
    pub name: &'static str,
    /// What applies it when the configuration is read again.
    pub applied_by: AppliedBy,
    /// Reads a value and puts it into a configuration.
    pub set: fn(&mut Config, &Value<'_>) -> Result<(), Wrong>,
    /// Whether it is the same in both.
    pub same: fn(&Config, &Config) -> bool,
    /// Its value as TOML; none if nothing is set.
    pub show: fn(&Config) -> Option<String>,
}

macro_rules! setting {
    ($name:literal, $applied_by:ident, $($field:ident).+, $form:expr) => {
        Setting {
            name: $name,
            applied_by: AppliedBy::$applied_by,
            set: |config, value| {
                config.$($field).+ = $form.read(value)?;
                Ok(())
            },
            same: |one, other| one.$($field).+ == other.$($field).+,
            show: |config| $form.show(&config.$($field).+),
        }
    };
}

const TIMEOUT: Time = Time(Duration::from_millis(1), Duration::from_secs(3600));
const LEVELS: Word<Level> = Word(Level::WORDS);
const SHARERS: Word<SharedNames> = Word(&[("user", SharedNames::User), ("any", SharedNames::Any)]);

/// Every setting, in the order in which they are shown.
pub(super) static SETTINGS: &[Setting] = &[
    setting!("listen", NextStart, listen, Addresses),
    setting!("state_dir", NextStart, state_dir, Directory),
    setting!("host", NextStart, host, HostName),
    setting!("socket_mode", NextStart, socket_mode, Mode),
    setting!("socket_group", NextStart, socket_group, Group),
    setting!("log_level", Log, log_level, LEVELS),
    setting!("drain_timeout", Drain, drain_timeout, TIMEOUT),
    setting!("turn_bytes", Turn, turn_bytes, Bytes(64 * KIB, 64 * MIB)),
    setting!("plugin_dir", Plugins, plugin_dir, Directory),
    setting!("without", Plugins, without, Names),
    setting!("max_line_bytes", Limits, limits.max_line_bytes, Bytes(KIB, MAX_LINE_BYTES_MAX as u64)),
    setting!("max_queue_bytes", Limits, limits.max_queue_bytes, Bytes(4 * KIB, GIB)),
    setting!("max_memory_bytes", Limits, limits.max_memory_bytes, Bytes(4 * KIB, TIB)),
    setting!("max_connections", Limits, limits.max_connections, Count(1, 1_000_000)),
    setting!("max_connections_per_uid", Limits, limits.max_connections_per_uid, Count(1, 1_000_000)),
    setting!("max_names", Limits, limits.max_names, Count(1, 100_000)),
    setting!("max_requests", Limits, limits.max_requests, Count(1, 1_000_000)),
    setting!("max_subscriptions", Limits, limits.max_subscriptions, Count(1, 1_000_000)),
    setting!("max_known_nodes", Limits, limits.max_known_nodes, Count(1, 10_000_000)),
    setting!("request_timeout", Limits, limits.request_timeout, TIMEOUT),
    setting!("stall_timeout", Limits, limits.stall_timeout, TIMEOUT),
    setting!("shared_names", Limits, limits.shared_names, SHARERS),
];

/// The setting of that name, or what to say behind the key of one that does not exist.
pub(super) fn find(name: &str) -> Result<&'static Setting, String> {
    if let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) {
        return Ok(setting);
    }
    Err(no_setting(name, SETTINGS.iter().map(|setting| setting.name), "telexd --help names them all"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::command_line::HELP;

    #[test]
    fn names_are_found_once() {
        for setting in SETTINGS {
            assert_eq!(find(setting.name).unwrap().name, setting.name);
            assert_eq!(SETTINGS.iter().filter(|other| other.name == setting.name).count(), 1);
        }
    }

    #[test]
    fn slips_are_told_what_is_near() {
        for (slip, meant) in [
            ("max_lin_bytes", "max_line_bytes"),
            ("max-queue-bytes", "max_queue_bytes"),
            ("lisen", "listen"),
            ("Log_Level", "log_level"),
        ] {
            assert_eq!(find(slip).err(), Some(format!("is no setting; did you mean {meant}?")));
        }
        for other in ["foo", "", "timeout", "profiles"] {
            let told = find(other).err().unwrap();
            assert_eq!(told, "is no setting; telexd --help names them all");
        }
        let (_, named) = HELP.split_once("\nSettings: ").unwrap();
        let (named, _) = named.split_once(".\n").unwrap();
        let named: Vec<&str> = named.split(',').map(str::trim).collect();
        assert_eq!(named, SETTINGS.iter().map(|setting| setting.name).collect::<Vec<_>>());
    }
}
