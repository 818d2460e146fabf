//! Knows which profile is chosen.
//! Never: what a profile sets.

use std::path::Path;

use super::command_line::CommandLine;
use super::sections::{Entry, Sections};
use crate::toml_file::{File, Problem, Profile, names};

/// The profile that the command line names, or else the one named as the host, if there is one.
pub(super) fn choose<'s>(
    sections: &'s Sections<'_>,
    files: &[File],
    command_line: &CommandLine,
    host_name: &str,
    problems: &mut Vec<Problem>,
) -> Option<&'s str> {
    let wanted = command_line.profile.as_deref().unwrap_or(host_name);
    let found = sections.profiles.get_key_value(wanted).map(|(name, _)| name.as_str());
    if found.is_none() && command_line.profile.is_some() {
        let path = command_line.config.as_deref().unwrap_or(Path::new("")).display();
        let has = if files.len() > 1 { "and its drop-ins have" } else { "has" };
        let names = Some(names(&sections.profiles)).filter(|names| !names.is_empty());
        let names = names.as_deref().unwrap_or("no profiles");
        let text = format!("--profile {wanted}: there is no such profile; {path} {has} {names}");
        problems.push(Problem::outside(text));
    }
    found
}

/// What is to be said of profiles that look like the host's and are not taken: those of its name with or without its
/// domain, or in other letters.
pub(super) fn warnings(sections: &Sections<'_>, command_line: &CommandLine, host_name: &str) -> Vec<String> {
    if command_line.profile.is_some() || sections.profiles.contains_key(host_name) {
        return Vec::new();
    }
    let first = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let alike = sections.profiles.iter().filter(|(name, _)| first(name) == first(host_name));
    let text = |(name, profile): (&String, &Profile<'_, Vec<Entry<'_>>>)| {
        format!(
            "{}: [profile.{}] is not taken: this host is called {host_name:?}; name the profile so, or start telexd \
             with --profile {name}",
            profile.place.position(),
            quoted_key(name)
        )
    };
    alike.map(text).collect()
}

/// A key as TOML has it.
fn quoted_key(name: &str) -> String {
    let is_bare = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if is_bare { name.to_owned() } else { format!("{name:?}") }
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{read, told};

    #[test]
    fn profiles_overlay_their_parents_which_overlay_the_globals() {
        let text = "
            max_names = 1
            max_requests = 1
            max_subscriptions = 1
            [profile.young]
            parent = 'middle'
            max_names = 4
            [profile.middle]
            parent = 'old'
            max_names = 3
            max_requests = 3
            [profile.old]
            max_names = 2
            max_requests = 2
            max_subscriptions = 2
            ";
        let limits = |arguments: &[&str]| {
            let limits = read(text, arguments).unwrap().limits;
            (limits.max_names, limits.max_requests, limits.max_subscriptions)
        };
        assert_eq!(limits(&[]), (1, 1, 1));
        assert_eq!(limits(&["--profile", "old"]), (2, 2, 2));
        assert_eq!(limits(&["--profile", "middle"]), (3, 3, 2));
        assert_eq!(limits(&["--profile", "young"]), (4, 3, 2));
        assert_eq!(limits(&["--profile", "young", "--set", "max_names=5"]), (5, 3, 2));
    }

    #[test]
    fn the_host_name_chooses_unless_the_command_line_does() {
        let text = "[profile.alpha]\nmax_names = 1\n[profile.beta]\nmax_names = 2";
        assert_eq!(read(text, &[]).unwrap().limits.max_names, 1);
        assert_eq!(read(text, &["--profile", "beta"]).unwrap().limits.max_names, 2);
        assert_eq!(
            told(text, &["--profile", "gamma"]),
            "--profile gamma: there is no such profile; t.toml has alpha, beta"
        );
        assert_eq!(
            told("", &["--profile", "gamma"]),
            "--profile gamma: there is no such profile; t.toml has no profiles"
        );
    }

    #[test]
    fn a_profile_that_is_almost_named_as_the_host_is_told_of() {
        let warnings = |text: &str, arguments: &[&str]| read(text, arguments).unwrap().warnings;
        let told = |name: &str, option: &str| {
            format!(
                "t.toml:1: [profile.{name}] is not taken: this host is called \"alpha\"; name the profile so, or start \
                 telexd with --profile {option}"
            )
        };
        assert_eq!(warnings("[profile.Alpha]", &[]), [told("Alpha", "Alpha")]);
        let full = "[profile.'alpha.example.org']";
        assert_eq!(warnings(full, &[]), [told("\"alpha.example.org\"", "alpha.example.org")]);
        assert_eq!(warnings(&format!("{full}\n[profile.alpha]"), &[]), [""; 0]);
        assert_eq!(warnings(full, &["--profile", "alpha.example.org"]), [""; 0]);
        assert_eq!(warnings("[profile.alphabet]\n[profile.beta]", &[]), [""; 0]);
    }

    #[test]
    fn parents_must_be_there_and_end() {
        assert_eq!(
            told("[profile.a]\nparent = 'b'\n[profile.c]\nparent = 'a'", &[]),
            "t.toml:2: profile.a.parent: there is no profile \"b\"; there are a, c"
        );
        let circle = "[profile.z]\nparent = 'c'\n[profile.a]\nparent = 'b'\n[profile.b]\nparent = 'c'\n[profile.c]\nparent = 'a'";
        assert_eq!(
            told(circle, &[]),
            "t.toml:8: profile.c.parent: closes a circle: a > b > c > a; the last of all parents must be a profile \
             without one"
        );
        assert!(told("[profile.a]\nparent = 'a'", &[]).contains("circle: a > a;"));
    }
}
