//! Knows the daemon's settings: as plain data, from the defaults, the files and the command line.
//! Never: acts on a setting, or asks the system anything but for the files.

mod command_line;
mod difference;
mod files;
mod merge;
mod merged;
mod model;
mod plugin;
mod profile;
mod quantity;
mod rule;
mod sections;
mod setting;
mod source;
#[cfg(test)]
mod testing;
mod value;

pub use command_line::{BadUsage, CommandLine, HELP, Task};
pub use difference::Difference;
pub use files::drop_in_dir;
pub use model::{Config, Listen, Machine, Sources};
pub use setting::AppliedBy;
pub use source::Effective;

pub use crate::toml_file::ConfigError;

#[cfg(test)]
mod tests {
    use super::setting::SETTINGS;
    use super::testing::{machine, read_files};
    use super::*;
    use crate::core::Level;

    const SHIPPED: &str = include_str!("../../etc/telexd.toml");

    fn read(text: &str, profile: Option<&str>) -> Config {
        let command_line = CommandLine { profile: profile.map(str::to_owned), ..CommandLine::default() };
        read_files(&[("telexd.toml", text)], &command_line, &machine("nobody")).unwrap()
    }

    /// Every setting different from its default.
    fn other() -> Config {
        read(
            r#"
            listen = ["unix:/tmp/a b.sock", "[::1]:*"]
            state_dir = 'C:\state "1"'
            host = "alpha"
            socket_mode = "0600"
            socket_group = "telex"
            log_level = "debug"
            drain_timeout = 0.0015
            turn_bytes = 65537
            plugin_dir = "/opt/plugins"
            without = ["acl", "log"]
            max_line_bytes = "2KiB"
            max_queue_bytes = 8193
            max_memory_bytes = "3GiB"
            max_connections = 1
            max_connections_per_uid = 2
            max_names = 3
            max_requests = 4
            max_subscriptions = 5
            max_known_nodes = 6
            request_timeout = "61s"
            stall_timeout = "1500ms"
            shared_names = "any"
            "#,
            None,
        )
    }

    #[test]
    fn the_shipped_file_is_the_defaults_of_a_service() {
        let defaults = Config { listen: Listen::Systemd, ..Config::default() };
        assert_eq!(read(SHIPPED, None), defaults);
    }

    #[test]
    fn a_file_cut_anywhere_is_read_or_refused_with_its_line() {
        for end in 0..SHIPPED.len() {
            let text = &SHIPPED[..end];
            let command_line = CommandLine::default();
            if let Err(error) = read_files(&[("t", text)], &command_line, &machine("nobody")) {
                let place = format!("t:{}: ", text.lines().count());
                assert!(error.to_string().starts_with(&place), "{end}: {error}");
            }
        }
    }

    #[test]
    fn the_shipped_file_can_be_uncommented() {
        let lines = SHIPPED.lines().map(|line| match line.strip_prefix('#') {
            Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => setting,
            _ => line,
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        let config = read(&text, Some("alpha"));
        assert_eq!((config.limits.max_line_bytes, config.listen.addresses().len()), (64 << 10, 1));
        let config = read(&text, None);
        assert_eq!(config.listen, Listen::Systemd);
        assert!(config.state_dir.is_some() && config.host.is_some() && config.socket_group.is_some());
    }

    /// The comment above a setting of the shipped file, as one line.
    fn comment_on(name: &str) -> String {
        let lines: Vec<&str> = SHIPPED.lines().collect();
        let is_it = |line: &&str| line.trim_start_matches('#').starts_with(&format!("{name} = "));
        let at = lines.iter().position(is_it).unwrap_or_else(|| panic!("{name} is not there"));
        let comment: Vec<&str> =
            lines[..at].iter().rev().take_while(|line| line.starts_with("# ")).copied().collect();
        comment.iter().rev().map(|line| &line[2..]).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_shipped_file_tells_each_range_and_when_it_counts() {
        for setting in SETTINGS {
            let comment = comment_on(setting.name);
            let when = match setting.applied_by {
                AppliedBy::NextStart => "After restart.",
                _ => "At once",
            };
            assert!(comment.contains(when), "{}: {comment}", setting.name);
            let nothing = toml::Spanned::new(0..0, toml::de::DeValue::Boolean(true));
            let wrong = (setting.set)(&mut Config::default(), &nothing).expect_err(setting.name);
            if let Some((_, range)) = wrong.text.split_once("from ") {
                let range = range.split([',', ' ']).take(3).collect::<Vec<_>>().join(" ");
                assert!(comment.contains(&format!("from {range}")), "{}: from {range}", setting.name);
            }
            for word in wrong.text.split('"').skip(1).step_by(2).filter(|_| wrong.text.contains("one of")) {
                assert!(comment.contains(&format!("\"{word}\"")), "{}: {word}", setting.name);
            }
        }
    }

    #[test]
    fn what_is_shown_can_be_read() {
        for config in [Config::default(), other()] {
            assert_eq!(read(&config.to_string(), None), config, "{config}");
        }
    }

    #[test]
    fn differences_are_told_with_what_applies_them() {
        assert_eq!(other().differences(&other()), []);
        let all = Config::default().differences(&other());
        assert_eq!(all.len(), SETTINGS.len());
        let is_late = |of: &&Difference| of.applied_by == AppliedBy::NextStart;
        let late: Vec<_> = all.iter().filter(is_late).map(|of| of.name).collect();
        assert_eq!(late, ["listen", "state_dir", "host", "socket_mode", "socket_group"]);
        let mut other = Config::default();
        other.limits.max_names += 1;
        other.host = Some("alpha".into());
        let two = [("host", AppliedBy::NextStart), ("max_names", AppliedBy::Limits)];
        let two = two.map(|(name, applied_by)| Difference { name, applied_by });
        assert_eq!(Config::default().differences(&other), two);
    }

    #[test]
    fn log_levels_are_ordered_from_severe_to_chatty() {
        assert!(Level::Error < Level::Warning && Level::Info < Level::Debug);
    }
}
