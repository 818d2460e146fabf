//! Knows how a user changes the profiles of nodes.
//! Never: how the file is written.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::context::{Context, Form};
use crate::document::{Document, GLOBAL, json as in_json};
use crate::exit::Failure;
use crate::output::Results;
use crate::own_file::OwnFile;
use crate::setting::Key;
use crate::table::Table;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex profile global set address '["unix:/run/telexd/telex.sock", "tcp:127.0.0.1:4040"]'
  telex profile worker add services images
  telex profile worker add services '[["backup", "/srv", 7]]'
  telex profile night set node_id night/%n
  telex profile night del"#;

/// Show or change what a profile of nodes sets, in your profiles.toml
///
/// The file is telex/profiles.toml in $XDG_CONFIG_HOME, or in ~/.config. It is made if it is not there, and its comments
/// are kept. What a node could not be configured by is refused, and the file stays as it was.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Profile {
    /// The profile; global is what all profiles share
    name: String,
    /// What to do
    #[arg(value_enum)]
    act: Act,
    /// The setting; without one, show and del are about all of them
    #[arg(value_enum)]
    key: Option<Key>,
    /// The value: TOML if it begins with a quote or a bracket, else a text; a text alone is a list of one
    value: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Act {
    /// Give a setting this value
    Set,
    /// Add to a list
    Add,
    /// Remove a setting, elements of a list, or the profile
    Del,
    /// Print what the profile itself sets
    Show,
}

impl Profile {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let file = OwnFile::find()?;
        let (name, value) = (self.name.as_str(), self.value.as_deref());
        match (self.act, self.key, value) {
            (Act::Set, Some(key), Some(given)) => set(&file, name, key, given),
            (Act::Add, Some(key), Some(given)) if key.is_list() => {
                let value = key.read(given)?;
                file.edit(given, |document| {
                    document.add(name, key.word(), value);
                    Ok(())
                })
            }
            (Act::Add, Some(key), Some(_)) => Err(Failure::usage(format!("{} is no list: use set", key.word()))),
            (Act::Set | Act::Add, ..) => Err(Failure::usage("a KEY and a VALUE are needed")),
            (Act::Del, key, given) => delete(&file, name, key, given),
            (Act::Show, _, Some(_)) => Err(Failure::usage("show takes no VALUE")),
            (Act::Show, key, None) => show(&file, name, key, context),
        }
    }
}

/// Sets one setting.
pub(super) fn set(file: &OwnFile, name: &str, key: Key, given: &str) -> Result<(), Failure> {
    if name == GLOBAL && key == Key::Parent {
        return Err(Failure::usage("global has no parent: it is the last of all"));
    }
    let value = key.read(given)?;
    file.edit(given, |document| {
        document.set(name, key.word(), value);
        Ok(())
    })
}

fn delete(file: &OwnFile, name: &str, key: Option<Key>, given: Option<&str>) -> Result<(), Failure> {
    if let (Some(key), Some(_)) = (key, given)
        && !key.is_list()
    {
        return Err(Failure::usage(format!("{} is no list: del takes no VALUE of it", key.word())));
    }
    file.edit("", |document| {
        let (was_there, otherwise) = match (key, given) {
            (Some(key), Some(given)) => return take(document, name, key, given),
            (Some(key), None) => (document.remove(name, key.word()), sets_no(name, key)),
            (None, _) => (document.remove_table(name), no_profile(name)),
        };
        if was_there { Ok(()) } else { Err(otherwise) }
    })
}

/// Takes elements out of a list.
fn take(document: &mut Document, name: &str, key: Key, given: &str) -> Result<(), Failure> {
    for element in key.parse(given)?.as_array().into_iter().flatten() {
        if !document.take(name, key.word(), element) {
            let words = format!("{} is not among the {} of {name:?}", in_json(element), key.word());
            return Err(Failure::usage(words));
        }
    }
    Ok(())
}

fn show(file: &OwnFile, name: &str, key: Option<Key>, context: &Context) -> Result<(), Failure> {
    let settings = file.document()?.settings(name);
    let settings = match settings {
        Some(settings) => settings,
        None if name == GLOBAL => Vec::new(),
        None => return Err(no_profile(name)),
    };
    let is_meant = |word: &str| key.is_none_or(|key| key.word() == word);
    if let Some(key) = key
        && !settings.iter().any(|(word, _)| is_meant(word))
    {
        return Err(sets_no(name, key));
    }
    let mut results = Results::new();
    let mut table = Table::new(&["SETTING", "VALUE"]);
    for (word, value) in settings.into_iter().filter(|(word, _)| is_meant(word)) {
        match context.form() {
            Form::Json => results.line(&json!({"name": word, "value": value}).to_string())?,
            Form::Table => table.row([word, plain(&value)]),
        }
    }
    if context.form() == Form::Table {
        table.write(&mut results)?;
    }
    results.flush()
}

fn sets_no(name: &str, key: Key) -> Failure {
    Failure::usage(format!("{name:?} sets no {}", key.word()))
}

fn no_profile(name: &str) -> Failure {
    Failure::usage(format!("there is no profile {name:?}"))
}

/// A value for people: a list has spaces between its elements; what is in a list of lists is JSON.
pub(super) fn plain(value: &Value) -> String {
    let element = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        Value::Array(elements) => elements.iter().map(element).collect::<Vec<_>>().join(" "),
        value => element(value),
    }
}
