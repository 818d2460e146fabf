//! Knows how every setting is told: its value, where that comes from, and when another would count.
//! Never: which source counts more.

use serde::Deserialize;
use toml::de::ValueDeserializer;

use super::model::Config;
use super::setting::{SETTINGS, Setting};

/// A setting as a configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective<'c> {
    /// Its name.
    pub name: &'static str,
    /// Its value as JSON; `null` if nothing is set, and the daemon chooses.
    pub value: String,
    /// Where the value comes from: `default`, `FILE:LINE`, `FILE:LINE (profile.NAME)`, `--set`, `--listen` or
    /// `--state-dir`.
    pub source: &'c str,
    /// When a changed value counts: `now`, at the reload, or `restart`, from the next start on.
    pub applies: &'static str,
}

impl Config {
    /// Every setting in the order in which they are shown, with its value and where that comes from. What applies at a
    /// restart is in force as the daemon was started with it, whatever has been read since.
    pub fn settings(&self) -> impl Iterator<Item = Effective<'_>> {
        let effective = |setting: &'static Setting| Effective {
            name: setting.name,
            value: (setting.show)(self).map_or(serde_json::Value::Null, |toml| json(&toml)).to_string(),
            source: self.sources.0.get(setting.name).map_or("default", String::as_str),
            applies: setting.applied_by.applies(),
        };
        SETTINGS.iter().map(effective)
    }
}

/// A value of TOML as JSON.
fn json(toml: &str) -> serde_json::Value {
    let value = ValueDeserializer::parse(toml).and_then(serde_json::Value::deserialize);
    // Settings are shown as TOML.
    value.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::setting::AppliedBy;
    use crate::config::testing::{read, read_all};

    /// The settings of these names, as `NAME VALUE SOURCE`.
    fn told(config: &Config, names: &[&str]) -> Vec<String> {
        let settings = config.settings().filter(|setting| names.contains(&setting.name));
        settings.map(|setting| format!("{} {} {}", setting.name, setting.value, setting.source)).collect()
    }

    #[test]
    fn each_setting_tells_where_its_value_comes_from() {
        let main = "
            max_names = 1
            max_requests = 1
            max_subscriptions = 1
            turn_bytes = '64KiB'
            log_level = 'error'
            listen = ['unix:/main']
            [profile.alpha]
            parent = 'old'
            max_requests = 2
            [profile.'old one']
            [profile.old]
            host = 'old'
            max_names = 2";
        let drop_in = "max_names = 3\nmax_subscriptions = 3\n[profile.alpha]\nmax_requests = 3";
        let set = ["--set", "log_level=warning", "--listen", "unix:/a", "--listen", "127.0.0.1:0"];
        let config = read_all(&[main, drop_in], &set).unwrap();
        let names = [
            "listen",
            "state_dir",
            "host",
            "log_level",
            "drain_timeout",
            "turn_bytes",
            "max_names",
            "max_requests",
            "max_subscriptions",
        ];
        assert_eq!(
            told(&config, &names),
            [
                r#"listen ["unix:/a","tcp:127.0.0.1:0"] --listen"#,
                "state_dir null default",
                r#"host "old" t.toml:13 (profile.old)"#,
                r#"log_level "warning" --set"#,
                r#"drain_timeout "5s" default"#,
                r#"turn_bytes "64KiB" t.toml:5"#,
                "max_names 2 t.toml:14 (profile.old)",
                "max_requests 3 t.d/1.toml:4 (profile.alpha)",
                "max_subscriptions 3 t.d/1.toml:2",
            ]
        );
        let config = read("host = 'x'", &["--state-dir", "/a \"b\"", "--set", "host=y"]).unwrap();
        assert_eq!(
            told(&config, &["state_dir", "host"]),
            [r#"state_dir "/a \"b\"" --state-dir"#, r#"host "y" --set"#]
        );
        let config = read("[profile.'a b.c']\nhost = 'x'", &["--profile", "a b.c"]).unwrap();
        assert_eq!(told(&config, &["host"]), [r#"host "x" t.toml:2 (profile.a b.c)"#]);
    }

    #[test]
    fn every_setting_is_told_in_order_with_when_it_applies() {
        let config = Config::default();
        let settings: Vec<_> = config.settings().collect();
        let names: Vec<_> = settings.iter().map(|setting| setting.name).collect();
        assert_eq!(names, SETTINGS.iter().map(|setting| setting.name).collect::<Vec<_>>());
        for (told, setting) in settings.iter().zip(SETTINGS) {
            let is_late = setting.applied_by == AppliedBy::NextStart;
            assert_eq!(told.applies == "restart", is_late, "{}", told.name);
            assert_eq!(told.value == "null", (setting.show)(&config).is_none(), "{}", told.name);
            assert_eq!(told.source, "default");
        }
        let applies: BTreeSet<_> = settings.iter().map(|setting| setting.applies).collect();
        assert_eq!(applies.into_iter().collect::<Vec<_>>(), ["now", "restart"]);
    }

    #[test]
    fn the_same_values_from_elsewhere_are_the_same() {
        let (one, other) =
            (read("max_names = 3", &[]).unwrap(), read("", &["--set", "max_names=3"]).unwrap());
        assert_ne!(told(&one, &["max_names"]), told(&other, &["max_names"]));
        assert_eq!((&one, one.differences(&other)), (&other, Vec::new()));
    }
}
