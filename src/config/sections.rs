//! Knows the sections of a file, and what in it is no TOML or no setting.
//! Never: which section counts.

use std::collections::btree_map;

use toml::de::DeTable;

use super::plugin::{self, Plugin};
use super::setting::{self, Setting};
use crate::toml_file::{File, Place, Problem, Profile, Profiles, Value, Wrong};

/// The sections of one file, or of several.
#[derive(Default)]
pub(super) struct Sections<'t> {
    /// The settings above every table.
    pub globals: Vec<Entry<'t>>,
    /// The tables `[profile.NAME]`.
    pub profiles: Profiles<'t, Vec<Entry<'t>>>,
    /// The tables `[[plugin]]`.
    pub plugins: Vec<Plugin<'t>>,
}

/// A setting with the value that it is given.
pub(super) struct Entry<'t> {
    pub setting: &'static Setting,
    pub value: Value<'t>,
    pub place: Place<'t>,
}

impl<'t> Sections<'t> {
    /// Adds the sections of a file that counts more.
    pub(super) fn add(&mut self, later: Sections<'t>) {
        self.globals.extend(later.globals);
        self.plugins.extend(later.plugins);
        for (name, profile) in later.profiles {
            match self.profiles.entry(name) {
                btree_map::Entry::Vacant(entry) => drop(entry.insert(profile)),
                btree_map::Entry::Occupied(mut entry) => entry.get_mut().add(profile),
            }
        }
    }
}

impl<'t> Profile<'t, Vec<Entry<'t>>> {
    fn add(&mut self, later: Profile<'t, Vec<Entry<'t>>>) {
        self.settings.extend(later.settings);
        self.parent = later.parent.or(self.parent.take());
    }
}

impl File {
    /// Takes the text apart. The error is that it is no TOML; every other fault is added to `problems`.
    pub(super) fn sections(&self, problems: &mut Vec<Problem>) -> Result<Sections<'_>, Problem> {
        let mut root = self.parse()?;
        let profiles = self.profiles(&mut root, problems, |_, prefix, table, problems| {
            self.entries(prefix, table, problems)
        });
        let plugins = root.remove("plugin");
        let plugins = plugins.map_or_else(Vec::new, |tables| plugin::read(self, &tables, problems));
        let globals = self.entries("", root, problems);
        Ok(Sections { globals, profiles, plugins })
    }

    fn entries<'t>(
        &'t self,
        prefix: &str,
        table: DeTable<'t>,
        problems: &mut Vec<Problem>,
    ) -> Vec<Entry<'t>> {
        let mut entries = Vec::new();
        for (key, value) in table {
            let place = self.place(prefix, &key);
            match setting::find(key.get_ref()) {
                Ok(setting) => entries.push(Entry { setting, value, place }),
                Err(text) => problems.push(place.problem(Wrong { span: None, text })),
            }
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sections of a text, and all that is wrong with it.
    fn read(text: &str) -> (Option<Sections<'static>>, Vec<String>) {
        let file = Box::leak(Box::new(File { nth: 0, path: "t.toml".into(), text: text.to_owned() }));
        let mut problems = Vec::new();
        let sections = file.sections(&mut problems).map_err(|problem| problems.push(problem)).ok();
        (sections, problems.into_iter().map(|problem| problem.text).collect())
    }

    #[test]
    fn a_file_has_globals_and_profiles() {
        let text = "log_level = 'info'\nprofile.a.parent = 'b'\n[profile.'b c']\nmax_names = 1\nhost = 'x'\n";
        let (sections, problems) = read(text);
        let sections = sections.unwrap();
        assert_eq!(problems, [""; 0]);
        assert_eq!(sections.globals.len(), 1);
        assert_eq!(sections.profiles["a"].parent.as_ref().unwrap().0, "b");
        let places: Vec<_> =
            sections.profiles["b c"].settings.iter().map(|entry| entry.place.to_string()).collect();
        assert_eq!(places, ["t.toml:5: profile.b c.host", "t.toml:4: profile.b c.max_names"]);
    }

    #[test]
    fn what_is_no_toml_is_told_with_line_and_column() {
        for (text, told) in [
            ("host = \"a\"\nmax_names 5\n", "t.toml:2: is no TOML at column 11: "),
            ("max_names = 1\n\nmax_names = 2", "t.toml:3: is no TOML at column 1: duplicate key max_names"),
            ("[profile.a]\n[profile.a]\n", "t.toml:2: is no TOML at column 10: duplicate key a"),
            ("[profile.a]\nhost = 'x\n", "t.toml:2: is no TOML at column "),
            ("listen = [", "t.toml:1: is no TOML at column "),
        ] {
            let (sections, problems) = read(text);
            assert!(sections.is_none(), "{text}");
            assert!(problems[0].starts_with(told), "{}", problems[0]);
        }
    }

    #[test]
    fn what_is_no_setting_is_told_with_its_line() {
        for (text, told) in [
            ("\nmax_lines = 1", "t.toml:2: max_lines: is no setting; did you mean max_names?"),
            ("\n\n[limits]\nmax_names = 1", "t.toml:3: limits: is no setting; telexd --help names them all"),
            ("parent = 'a'", "t.toml:1: parent: is no setting; telexd --help names them all"),
            ("[profile.a]\nhosts = 'x'", "t.toml:2: profile.a.hosts: is no setting; did you mean host?"),
            ("[profile.a.b]\n", "t.toml:1: profile.a.b: is no setting; telexd --help names them all"),
            ("\nprofile = 'a'", "t.toml:2: profile: must be a table: [profile.NAME]"),
            ("[profile]\nhost = 'a'", "t.toml:2: profile.host: must be a table of settings: [profile.host]"),
            ("[[profile.a]]\n", "t.toml:1: profile.a: must be a table of settings: [profile.a]"),
            ("[profile.a]\nparent = 1", "t.toml:2: profile.a.parent: must be the name of another profile"),
        ] {
            let (_, problems) = read(text);
            assert!(problems[0].starts_with(told), "{}", problems[0]);
            assert_eq!(problems.len(), 1);
        }
    }
}
