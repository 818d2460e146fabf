//! Knows how a file of profiles is written, where it is, and what is wrong with it.
//! Never: what a node does with its settings.

use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::address::Address;
use crate::profile::error::Error;
use crate::profile::json::json;
use crate::profile::settings::{Layer, Profiles, Setting, check_pattern};
use crate::profile::source::Source;
use crate::profile::spawn::Spawn;
use crate::toml_file::{self, ConfigError, File, Problem, Value, Wrong, no_setting};

/// The keys of a profile beside `parent`, and of `[global]`.
const KEYS: [&str; 3] = ["node_id", "address", "services"];

/// The table that all profiles share. No profile has its name, so that a name alone says which table is meant.
const GLOBAL: &str = "global";

impl Profiles {
    /// Reads the text of a file; `path` is its name in errors and sources. Every profile is checked, and
    /// [`Error::File`] tells all that is wrong with them.
    ///
    /// ```
    /// use std::path::Path;
    /// use telex::profile::{Profiles, Program};
    ///
    /// let text = r#"
    ///     [global]
    ///     address = ["unix:/run/telexd/telex.sock"]
    ///
    ///     [profile.worker]
    ///     services = ["images"]
    ///
    ///     [profile.night]
    ///     parent = "worker"
    ///     node_id = "night/%n"
    /// "#;
    /// let profiles = Profiles::read(Path::new("profiles.toml"), text)?;
    /// let night = profiles.settings("night", &Program::default())?;
    /// assert_eq!((night.node_id.value.as_str(), night.services.value.len()), ("night/%n", 1));
    /// assert_eq!(night.services.source.to_string(), "profiles.toml:6: [profile.worker]");
    /// assert_eq!(night.address.source.to_string(), "profiles.toml:3: [global]");
    ///
    /// let bad = Profiles::read(Path::new("profiles.toml"), "[profile.a]\nnode-id = 'a'").expect_err("a slip");
    /// assert_eq!(bad.to_string(), "profiles.toml:2: profile.a.node-id: is no setting; did you mean node_id?");
    /// # Ok::<(), telex::profile::Error>(())
    /// ```
    pub fn read(path: &Path, text: &str) -> Result<Profiles, Error> {
        Profiles::from_file(&File { nth: 0, path: path.to_owned(), text: text.to_owned() })
    }

    fn from_file(file: &File) -> Result<Profiles, Error> {
        let mut problems = Vec::new();
        let path = &file.path;
        let mut root = file.parse().map_err(ConfigError::from)?;
        let profiles = file.profiles(&mut root, &mut problems, |name, prefix, table, problems| {
            let of = |line| Source::Profile { name: name.to_owned(), path: path.clone(), line };
            layer(file, prefix, table, of, problems)
        });
        let global = root.remove_entry(GLOBAL).map(|(key, value)| match value.into_inner() {
            DeValue::Table(table) => {
                let of = |line| Source::Global { path: path.clone(), line };
                layer(file, "global.", table, of, &mut problems)
            }
            _ => {
                problems.push(file.problem(&key.span(), GLOBAL, "must be a table: [global]"));
                Layer::default()
            }
        });
        for (key, _) in &root {
            let text = no_setting(
                key.get_ref(),
                [GLOBAL, "profile"].into_iter(),
                "there are [global] and [profile.NAME]",
            );
            problems.push(file.problem(&key.span(), key.get_ref(), &text));
        }
        if let Some(profile) = profiles.get(GLOBAL) {
            let text = "is no name of a profile; what all profiles share is [global]".to_owned();
            problems.push(profile.place.problem(Wrong { span: None, text }));
        }
        let chains = toml_file::chains(&profiles, &mut problems);
        ConfigError::check(problems)?;
        let all = |layers: Vec<&Layer>| layers.into_iter().fold(Layer::default(), Layer::over);
        let profiles = chains.into_iter().map(|(name, layers)| (name.to_owned(), all(layers))).collect();
        Ok(Profiles { profiles, global: global.unwrap_or_default() })
    }

    /// Reads a regular file of up to 1 MiB. [`Error::File`] also if it cannot be read.
    ///
    /// ```
    /// use telex::profile::{Profiles, config_home};
    ///
    /// let own = Profiles::load_own()?;
    /// println!("{:?} in {:?}", own.names().collect::<Vec<_>>(), config_home());
    /// let error = Profiles::load("/nowhere/profiles.toml".as_ref()).expect_err("no file");
    /// assert!(error.to_string().starts_with("/nowhere/profiles.toml: cannot be read: "));
    /// # Ok::<(), telex::profile::Error>(())
    /// ```
    pub fn load(path: &Path) -> Result<Profiles, Error> {
        // The end of any other one may never come. Of any other fault, reading will learn too.
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            let problem = Problem::of_file(0, path, "cannot be read: it is no regular file");
            return Err(ConfigError::from(problem).into());
        }
        Profiles::from_file(&File::load(0, path).map_err(ConfigError::from)?)
    }

    /// Reads the user's own file, `telex/profiles.toml` in the folder [`config_home`]. There need not be one.
    pub fn load_own() -> Result<Profiles, Error> {
        config_home().map_or_else(|| Ok(Profiles::default()), |home| Profiles::load_in(&home))
    }

    fn load_in(config_home: &Path) -> Result<Profiles, Error> {
        let path = config_home.join("telex/profiles.toml");
        // A link that leads nowhere is no absent file: what it led to is missing.
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Profiles::default()),
            _ => Profiles::load(&path),
        }
    }
}

/// The folder of the user's configuration: `$XDG_CONFIG_HOME`, or, if that is unset, empty or no absolute path,
/// `$HOME/.config`. `None` if there is neither.
pub fn config_home() -> Option<PathBuf> {
    config_home_of(std::env::var_os("XDG_CONFIG_HOME"), std::env::var_os("HOME"))
}

fn config_home_of(config_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let folder = |named: Option<OsString>| named.map(PathBuf::from).filter(|path| path.is_absolute());
    folder(config_home).or_else(|| folder(home).map(|home| home.join(".config")))
}

/// What is wrong with a value for a key of a profile: the part of its text at fault, in bytes, and why. The value is
/// written in TOML. Whether a `parent` is there is not looked at.
///
/// ```
/// use telex::profile::fault;
///
/// assert_eq!(fault("address", r#"["unix:/run/telexd/telex.sock"]"#), None);
/// let (at, why) = fault("services", r#"["images", 5]"#).expect("a number");
/// assert_eq!(at, 11..12);
/// assert!(why.starts_with("holds 5; it must be a list of functions"));
/// ```
#[doc(hidden)]
pub fn fault(key: &str, value: &str) -> Option<(Range<usize>, String)> {
    const HEAD: &str = "value=";
    let text = format!("{HEAD}{value}");
    let inside = |span: Range<usize>| {
        let at = |byte: usize| byte.saturating_sub(HEAD.len()).min(value.len());
        at(span.start)..at(span.end)
    };
    let mut root = match DeTable::parse(&text) {
        Ok(root) => root.into_inner(),
        Err(error) => {
            return Some((inside(error.span().unwrap_or(0..text.len())), error.message().to_owned()));
        }
    };
    let value = root.remove("value")?;
    let wrong = match key {
        "parent" => parent(&value),
        _ => set(&mut Layer::default(), key, &value, Source::Default),
    };
    let Wrong { span, text } = wrong.err()?;
    Some((inside(span.unwrap_or_else(|| value.span())), text))
}

fn parent(value: &Value<'_>) -> Result<(), Wrong> {
    let unlike = || Wrong::unlike(value.get_ref(), "the name of another profile");
    value.get_ref().as_str().map(|_| ()).ok_or_else(unlike)
}

/// What a table sets. `of` tells where, by the line.
fn layer(
    file: &File,
    prefix: &str,
    table: DeTable<'_>,
    of: impl Fn(usize) -> Source,
    problems: &mut Vec<Problem>,
) -> Layer {
    let mut layer = Layer::default();
    for (key, value) in table {
        if let Err(wrong) = set(&mut layer, key.get_ref(), &value, of(file.line(&key.span()))) {
            problems.push(file.place(prefix, &key).problem(wrong));
        }
    }
    layer
}

/// Sets what a key of the table stands for.
fn set(layer: &mut Layer, key: &str, value: &Value<'_>, source: Source) -> Result<(), Wrong> {
    match key {
        "node_id" => layer.node_id = Some(Setting { value: node_id(value)?, source }),
        "address" => layer.address = Some(Setting { value: addresses(value)?, source }),
        "services" => layer.services = Some(Setting { value: services(value)?, source }),
        _ => {
            let text = no_setting(
                key,
                KEYS.into_iter(),
                "there are node_id, address, services, and parent in a profile",
            );
            return Err(Wrong { span: None, text });
        }
    }
    Ok(())
}

fn node_id(value: &Value<'_>) -> Result<String, Wrong> {
    const EXPECTED: &str = "a node ID, such as \"worker/%n\"";
    let text = value.get_ref().as_str().ok_or_else(|| Wrong::unlike(value.get_ref(), EXPECTED))?;
    match check_pattern(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(why) => Err(Wrong { span: None, text: format!("{why}; it must be {EXPECTED}") }),
    }
}

fn addresses(value: &Value<'_>) -> Result<Vec<Address>, Wrong> {
    const EXPECTED: &str =
        "a list of one or more addresses, such as [\"unix:/run/telexd/telex.sock\", \"tcp:127.0.0.1:4040\"]";
    let items = elements(value, EXPECTED)?;
    if items.len() == 0 {
        return Err(Wrong { span: None, text: format!("is empty; it must be {EXPECTED}") });
    }
    let address = |item: &Value<'_>| {
        let text = item.get_ref().as_str().ok_or_else(|| Wrong::element(item, EXPECTED))?;
        let wrong = |text| Wrong { span: Some(item.span()), text };
        match Address::parse(text).map_err(|bad| wrong(bad.to_string()))? {
            Address::Tcp(_, 0) => Err(wrong(format!("holds {text:?}, which has no port to connect to"))),
            address => Ok(address),
        }
    };
    items.map(address).collect()
}

fn services(value: &Value<'_>) -> Result<Vec<Spawn>, Wrong> {
    const EXPECTED: &str = "a list of functions, such as [\"images\", [\"backup\", \"/srv\"]]";
    let name = |item: &Value<'_>| item.get_ref().as_str().map(str::to_owned);
    let spawn = |item: &Value<'_>| {
        let unlike = || Wrong::element(item, EXPECTED);
        let Some(entry) = item.get_ref().as_array() else {
            return Ok(Spawn { function: name(item).ok_or_else(unlike)?, args: Vec::new() });
        };
        let mut entry = entry.iter();
        let function = entry.next().and_then(name).ok_or_else(unlike)?;
        Ok(Spawn { function, args: entry.map(json).collect::<Result<_, _>>()? })
    };
    elements(value, EXPECTED)?.map(spawn).collect()
}

/// The elements of a list.
fn elements<'v>(value: &'v Value<'v>, expected: &str) -> Result<std::slice::Iter<'v, Value<'v>>, Wrong> {
    let list = value.get_ref().as_array().ok_or_else(|| Wrong::unlike(value.get_ref(), expected))?;
    Ok(list.iter())
}

#[cfg(test)]
mod tests;
