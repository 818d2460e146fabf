//! Knows in which settings two configurations differ, and how all of one are shown.
//! Never: what a difference leads to.

use std::fmt;

use super::model::Config;
use super::setting::SETTINGS;

/// The names of the settings in which two configurations differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Those that a running daemon can take over.
    pub live: Vec<&'static str>,
    /// Those that count from the next start on.
    pub restart: Vec<&'static str>,
}

impl Config {
    /// What is different in `other`, in the order of the settings.
    pub fn differences(&self, other: &Config) -> Differences {
        let mut differences = Differences::default();
        for setting in SETTINGS.iter().filter(|setting| !(setting.same)(self, other)) {
            let names = if setting.live { &mut differences.live } else { &mut differences.restart };
            names.push(setting.name);
        }
        if self.plugins != other.plugins {
            differences.live.push("plugin");
        }
        differences
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
