//! Knows the file: its text, its sections, and what is no TOML or no setting.
//! Never: which section counts.

use std::path::Path;

use toml::de::DeTable;

use super::plugin;
use super::setting::{self, Setting};
use crate::plugin_settings::PluginSettings;
use crate::toml_file::{Place, Problem, Profiles, Source, Value, Wrong, load};

/// The sections of a file.
pub(super) struct Sections<'t> {
    /// The settings above every table.
    pub globals: Vec<Entry<'t>>,
    /// The tables `[profile.NAME]`.
    pub profiles: Profiles<'t, Vec<Entry<'t>>>,
    /// The tables `[[plugin]]`.
    pub plugins: Vec<PluginSettings>,
}

/// A setting with the value that it is given.
pub(super) struct Entry<'t> {
    pub setting: &'static Setting,
    pub value: Value<'t>,
    pub place: Place<'t>,
}

/// The text of the file at `path`, if it is a regular one that says anything: what is in others may come once, or
/// never, and an empty one is hardly meant.
pub(super) fn load_again(path: &Path) -> Result<String, Problem> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            let text = format!("{}: is no regular file; it cannot be read again", path.display());
            Err(Problem::outside(text))
        }
        // Of any other fault, reading will learn too.
        _ => load(path).and_then(|text| match text.trim_start().is_empty() {
            true => {
                let why = "is empty, as a file is that is being written; a comment alone means every default";
                Err(Problem::outside(format!("{}: {why}", path.display())))
            }
            false => Ok(text),
        }),
    }
}

impl<'t> Source<'t> {
    /// Takes the text apart. The error is that it is no TOML; every other fault is added to `problems`.
    pub(super) fn sections(self, problems: &mut Vec<Problem>) -> Result<Sections<'t>, Problem> {
        let mut root = self.parse()?;
        let profiles = self.profiles(&mut root, problems, |_, prefix, table, problems| {
            self.entries(prefix, table, problems)
        });
        let plugins = root.remove("plugin");
        let plugins = plugins.map_or_else(Vec::new, |tables| plugin::read(self, &tables, problems));
        let globals = self.entries("", root, problems);
        Ok(Sections { globals, profiles, plugins })
    }

    fn entries(self, prefix: &str, table: DeTable<'t>, problems: &mut Vec<Problem>) -> Vec<Entry<'t>> {
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
    fn read(text: &str) -> (Option<Sections<'_>>, Vec<String>) {
        let source = Source { path: Path::new("t.toml"), text };
        let mut problems = Vec::new();
        let sections = source.sections(&mut problems).map_err(|problem| problems.push(problem)).ok();
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

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        let told = |problem: Result<String, Problem>| {
            let text = problem.expect_err("fault").text;
            text.strip_prefix(&path.display().to_string()).unwrap().to_owned()
        };
        assert!(told(load(&path)).starts_with(": cannot be read: No such file"));
        std::fs::write(&path, b"host = 'a'\nlog_level = '\xff'").unwrap();
        assert_eq!(told(load(&path)), ":2: is no UTF-8 text, as TOML must be");
        std::fs::write(&path, " ".repeat((1 << 20) + 1)).unwrap();
        assert_eq!(told(load(&path)), ": is no configuration: it is longer than 1048576 bytes");
        std::fs::write(&path, " ".repeat(1 << 20)).unwrap();
        assert_eq!(load(&path).map(|text| text.len()), Ok(1 << 20));
        for empty in ["", " ", "\r\n\t\n"] {
            std::fs::write(&path, empty).unwrap();
            assert_eq!(load(&path), Ok(empty.to_owned()));
            assert!(told(load_again(&path)).starts_with(": is empty, "), "{empty:?}");
        }
        std::fs::write(&path, "#").unwrap();
        assert_eq!(load_again(&path), load(&path));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(load_again(&path), load(&path));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(told(load_again(&path)), ": is no regular file; it cannot be read again");
    }
}
