//! Knows in which settings two configurations differ, and how all of one are shown.
//! Never: what a difference leads to.

use std::fmt;

use super::model::Config;
use super::setting::{AppliedBy, SETTINGS, Setting};

/// A setting in which two configurations differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name; `plugin` for the plugins.
    pub name: &'static str,
    /// What applies it.
    pub applied_by: AppliedBy,
}

impl Config {
    /// What is different in `other`, in the order of the settings.
    pub fn differences(&self, other: &Config) -> Vec<Difference> {
        let settings = SETTINGS.iter().filter(|setting| !(setting.same)(self, other));
        let of = |setting: &Setting| Difference { name: setting.name, applied_by: setting.applied_by };
        let plugins = Difference { name: "plugin", applied_by: AppliedBy::Plugins };
        settings.map(of).chain((self.plugins != other.plugins).then_some(plugins)).collect()
    }

    /// The names of plugins that are required here and that `other` lacks without saying so (`without`).
    pub fn lost_plugins<'c>(&'c self, other: &Config) -> Vec<&'c str> {
        let required = self.plugins.iter().filter(|plugin| plugin.required);
        let names = required.map(|plugin| plugin.name.as_str());
        let is_there = |name: &str| other.plugins.iter().any(|plugin| plugin.name == name);
        names.filter(|name| !is_there(name) && !other.without.iter().any(|other| other == name)).collect()
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for setting in SETTINGS {
            if let Some(value) = (setting.show)(self) {
                writeln!(f, "{} = {value}", setting.name)?;
            }
        }
        Ok(())
    }
}
