//! Knows the tables `[profile.NAME]` of a file, and which profiles each of them overlays.
//! Never: what a profile sets.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use crate::toml_file::fault::Problem;
use crate::toml_file::place::{File, Place};
use crate::toml_file::value::Wrong;

/// A table `[profile.NAME]`; `S` is what it sets.
pub(crate) struct Profile<'t, S> {
    /// Where it is given first.
    pub place: Place<'t>,
    pub settings: S,
    /// The profile that it overlays, and where that is said.
    pub parent: Option<(String, Place<'t>)>,
}

/// The profiles of one file, or of several, by their names.
pub(crate) type Profiles<'t, S> = BTreeMap<String, Profile<'t, S>>;

impl File {
    /// Takes the profiles out of the tables of a file. `read` is handed the name of each, what its keys begin
    /// with in full, and its table. Every fault is added to `problems`.
    pub(crate) fn profiles<'t, S>(
        &'t self,
        root: &mut DeTable<'t>,
        problems: &mut Vec<Problem>,
        mut read: impl FnMut(&str, &str, DeTable<'t>, &mut Vec<Problem>) -> S,
    ) -> Profiles<'t, S> {
        let mut profiles = Profiles::new();
        let Some((key, tables)) = root.remove_entry("profile") else { return profiles };
        let DeValue::Table(tables) = tables.into_inner() else {
            problems.push(self.problem(&key.span(), "profile", "must be a table: [profile.NAME]"));
            return profiles;
        };
        for (name, table) in tables {
            let key = format!("profile.{}", name.get_ref());
            let DeValue::Table(mut table) = table.into_inner() else {
                let text = format!("must be a table of settings: [{key}]");
                problems.push(self.problem(&name.span(), &key, &text));
                continue;
            };
            let prefix = format!("{key}.");
            let parent = self.parent(&prefix, &mut table, problems);
            let place = self.place("profile.", &name);
            let name = name.into_inner().into_owned();
            let settings = read(&name, &prefix, table, problems);
            profiles.insert(name, Profile { place, settings, parent });
        }
        profiles
    }

    fn parent<'t>(
        &'t self,
        prefix: &str,
        table: &mut DeTable<'t>,
        problems: &mut Vec<Problem>,
    ) -> Option<(String, Place<'t>)> {
        let (key, value) = table.remove_entry("parent")?;
        let place = self.place(prefix, &key);
        match value.into_inner() {
            DeValue::String(name) => Some((name.into_owned(), place)),
            _ => {
                let text = "must be the name of another profile, in quotes".to_owned();
                problems.push(place.problem(Wrong { span: None, text }));
                None
            }
        }
    }
}

/// The names of the profiles, for people.
pub(crate) fn names<S>(profiles: &Profiles<'_, S>) -> String {
    profiles.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// For each profile by its name: itself and its parents, the nearest first. One whose parents do not end, or are
/// not there, is a fault.
pub(crate) fn chains<'p, 't, S>(
    profiles: &'p Profiles<'t, S>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<&'p str, Vec<&'p S>> {
    let mut chains = BTreeMap::new();
    for name in profiles.keys() {
        match chain(profiles, name) {
            Ok(layers) => drop(chains.insert(name.as_str(), layers)),
            Err(problem) => problems.push(problem),
        }
    }
    chains
}

fn chain<'p, 't, S>(profiles: &'p Profiles<'t, S>, start: &'p str) -> Result<Vec<&'p S>, Problem> {
    let mut layers = Vec::new();
    let mut path: Vec<&str> = Vec::new();
    let mut name = start;
    while let Some(profile) = profiles.get(name) {
        path.push(name);
        layers.push(&profile.settings);
        let Some((parent, place)) = &profile.parent else {
            break;
        };
        let wrong = |text| place.problem(Wrong { span: None, text });
        if let Some(first) = path.iter().position(|seen| seen == parent) {
            // However a circle is entered, it is told from its first name on.
            let circle = &path[first..];
            if circle.iter().min() != Some(&parent.as_str()) {
                return chain(profiles, circle.iter().min().copied().unwrap_or(parent));
            }
            let circle = circle.join(" > ");
            return Err(wrong(format!(
                "closes a circle: {circle} > {parent}; the last of all parents must be a profile without one"
            )));
        }
        if !profiles.contains_key(parent) {
            return Err(wrong(format!("there is no profile {parent:?}; there are {}", names(profiles))));
        }
        name = parent;
    }
    Ok(layers)
}
