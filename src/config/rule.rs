//! Knows which settings must agree with each other, or with the machine.
//! Never: what range a setting has by itself.

use super::merged::Merged;
use super::model::{Config, Machine};
use super::plugin::Plugin;
use super::quantity::size;
use crate::toml_file::{Problem, Wrong};

/// One setting must be at least some times another.
struct Rule {
    big: &'static str,
    times: usize,
    small: &'static str,
    /// The values of both.
    of: fn(&Config) -> (usize, usize),
}

const RULES: &[Rule] = &[
    Rule {
        big: "max_queue_bytes",
        times: 4,
        small: "max_line_bytes",
        of: |config| (config.limits.max_queue_bytes, config.limits.max_line_bytes),
    },
    Rule {
        big: "max_memory_bytes",
        times: 1,
        small: "max_queue_bytes",
        of: |config| (config.limits.max_memory_bytes, config.limits.max_queue_bytes),
    },
];

impl Rule {
    fn factor(&self) -> String {
        if self.times == 1 { String::new() } else { format!("{} times ", self.times) }
    }
}

/// Adds to `problems` which settings do not agree.
pub(super) fn check(merged: &Merged<'_>, problems: &mut Vec<Problem>) {
    for rule in RULES {
        let (big, small) = (rule.of)(&merged.config);
        if big / rule.times >= small {
            continue;
        }
        let (Rule { big: name, small: other, .. }, times) = (rule, rule.factor());
        let (big, small) = (size(big as u64), size(small as u64));
        // One of the two has been set: the defaults agree.
        problems.extend(match (merged.set_by.get(name), merged.set_by.get(other)) {
            (Some(place), by) => {
                let by = by.map_or("the default".to_owned(), ToString::to_string);
                let text = format!("is {big}; it must be at least {times}{other}, which is {small} ({by})");
                Some(place.problem(Wrong { span: None, text }))
            }
            (None, Some(place)) => {
                let text =
                    format!("is {small}; {name} must be at least {times}that, and is {big} (the default)");
                Some(place.problem(Wrong { span: None, text }))
            }
            (None, None) => None,
        });
    }
}

/// Adds to `problems` that the machine lacks the group of the sockets.
pub(super) fn check_group(merged: &Merged<'_>, machine: &Machine, problems: &mut Vec<Problem>) {
    let lacking = merged.config.socket_group.as_ref().filter(|group| !(machine.has_group)(group));
    if let (Some(group), Some(place)) = (lacking, merged.set_by.get("socket_group")) {
        let text = format!("is {group:?}; it must be a group of this machine, as getent group lists them");
        problems.push(place.problem(Wrong { span: None, text }));
    }
}

/// Adds to `problems` which plugins there are that are said to be left out.
pub(super) fn check_without(merged: &Merged<'_>, plugins: &[Plugin<'_>], problems: &mut Vec<Problem>) {
    let Some(place) = merged.set_by.get("without") else { return };
    for plugin in plugins.iter().filter(|plugin| merged.config.without.contains(&plugin.settings.name)) {
        let (name, at) = (&plugin.settings.name, plugin.place.position());
        let text = format!(
            "holds {name:?}, and there is a [[plugin]] of that name at {at}; only one of them can be meant"
        );
        problems.push(place.problem(Wrong { span: None, text }));
    }
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{read, told};

    #[test]
    fn settings_must_agree_wherever_they_come_from() {
        assert_eq!(
            told("max_line_bytes = '1MiB'\nmax_queue_bytes = '3MiB'", &[]),
            "t.toml:2: max_queue_bytes: is 3MiB; it must be at least 4 times max_line_bytes, which is 1MiB \
             (t.toml:1: max_line_bytes)"
        );
        assert_eq!(
            told("\nmax_queue_bytes = '2MiB'", &[]),
            "t.toml:2: max_queue_bytes: is 2MiB; it must be at least 4 times max_line_bytes, which is 1MiB (the default)"
        );
        assert_eq!(
            told("", &["--set", "max_line_bytes=3MiB"]),
            "--set max_line_bytes: is 3MiB; max_queue_bytes must be at least 4 times that, and is 8MiB (the default)"
        );
        assert_eq!(
            told("max_memory_bytes = '4MiB'", &[]),
            "t.toml:1: max_memory_bytes: is 4MiB; it must be at least max_queue_bytes, which is 8MiB (the default)"
        );
        assert!(read("max_line_bytes = 2097152", &[]).is_ok());
        assert!(read("max_line_bytes = 2097153", &[]).is_err());
        assert!(read("max_memory_bytes = '8MiB'", &[]).is_ok());
    }

    #[test]
    fn a_plugin_is_there_or_left_out() {
        assert_eq!(
            told("\nwithout = ['acl', 'x']\n[[plugin]]\npath = 'x'", &[]),
            "t.toml:2: without: holds \"x\", and there is a [[plugin]] of that name at t.toml:3; only one of them can be meant"
        );
        assert!(read("without = ['acl']\n[[plugin]]\npath = 'x'", &[]).is_ok());
    }

    #[test]
    fn the_group_must_be_there() {
        let wrong =
            "socket_group: is \"elsewhere\"; it must be a group of this machine, as getent group lists them";
        assert_eq!(told("\nsocket_group = 'elsewhere'", &[]), format!("t.toml:2: {wrong}"));
        assert_eq!(told("", &["--set", "socket_group=elsewhere"]), format!("--set {wrong}"));
        let profile = "[profile.there]\nsocket_group = 'elsewhere'";
        assert!(read(profile, &[]).is_ok(), "a profile for a machine that has it");
        assert_eq!(told(profile, &["--profile", "there"]), format!("t.toml:2: profile.there.{wrong}"));
        assert!(read("socket_group = 'elsewhere'", &["--set", "socket_group=here"]).is_ok());
    }

    #[test]
    fn profiles_that_are_not_chosen_must_agree_too() {
        let text = "max_line_bytes = '2MiB'\n[profile.other]\nparent = 'wide'\n[profile.wide]\nmax_line_bytes = '4MiB'";
        assert_eq!(
            told(text, &[]),
            "t.toml:5: profile.wide.max_line_bytes: is 4MiB; max_queue_bytes must be at least 4 times that, and is 8MiB \
             (the default)"
        );
        let healed = format!("{text}\nmax_queue_bytes = '16MiB'");
        assert!(read(&healed, &[]).is_ok());
        assert!(read("max_line_bytes = '4MiB'", &["--set", "max_queue_bytes=16MiB"]).is_ok());
    }
}
