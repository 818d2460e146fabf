//! Knows the tables `[[plugin]]`: which plugins there are, in their order, and what each is told.
//! Never: what a plugin makes of its own configuration.

use std::time::Duration;

use serde::Deserialize;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::quantity::{Count, Time};
use super::value::{Flag, Form, Text, Word};
use crate::plugin_settings::{OnFault, PluginSettings};
use crate::toml_file::{File, Place, Problem, Value, Wrong};

const KEYS: &str = "path, name, config, required, on_fault, budget, strikes";
const PATH: Text = Text("a file's path, or its name in plugin_dir, such as \"filter-acl\"");
const FAULTS: Word<OnFault> = Word(&[("deny", OnFault::Deny), ("pass", OnFault::Pass)]);
const BUDGET: Time = Time(Duration::from_millis(1), Duration::from_secs(10));
const STRIKES: Count = Count(1, 1_000_000);

/// A table `[[plugin]]`.
pub(super) struct Plugin<'t> {
    pub settings: PluginSettings,
    /// Where it gets its name.
    pub place: Place<'t>,
}

/// The settings of a plugin of which only the path is given.
fn defaults(path: String) -> PluginSettings {
    PluginSettings {
        name: name_of(&path).to_owned(),
        path,
        config: "{}".to_owned(),
        required: true,
        on_fault: OnFault::Deny,
        budget: Duration::from_millis(1),
        strikes: 10,
    }
}

/// What a plugin is called by default: its file's name, without what all libraries have in theirs.
fn name_of(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    let file = file.strip_suffix(".so").unwrap_or(file);
    file.strip_prefix("lib").filter(|name| !name.is_empty()).unwrap_or(file)
}

/// Reads the value of `plugin`, in the file's order. Every fault is added to `problems`.
pub(super) fn read<'t>(file: &'t File, value: &Value<'_>, problems: &mut Vec<Problem>) -> Vec<Plugin<'t>> {
    let DeValue::Array(tables) = value.get_ref() else {
        problems.push(file.problem(&value.span(), "plugin", "must be tables: [[plugin]]"));
        return Vec::new();
    };
    let mut plugins = Vec::new();
    for table in tables.iter() {
        let DeValue::Table(fields) = table.get_ref() else {
            problems.push(file.problem(&table.span(), "plugin", "must be tables: [[plugin]]"));
            continue;
        };
        if let Some(settings) = read_one(file, table, fields, problems) {
            let place = Place::File(file, "plugin.name".to_owned(), table.span());
            plugins.push(Plugin { settings, place });
        }
    }
    plugins
}

/// Adds to `problems` which names there are twice.
pub(super) fn check_names(plugins: &[Plugin<'_>], problems: &mut Vec<Problem>) {
    for (n, plugin) in plugins.iter().enumerate() {
        let name = &plugin.settings.name;
        if let Some(first) = plugins[..n].iter().find(|other| other.settings.name == *name) {
            let first = first.place.position();
            let text = format!(
                "there are two plugins called {name:?}, here and at {first}; give each a name of its own"
            );
            problems.push(plugin.place.problem(Wrong { span: None, text }));
        }
    }
}

fn read_one(
    file: &File,
    table: &Value<'_>,
    fields: &DeTable<'_>,
    problems: &mut Vec<Problem>,
) -> Option<PluginSettings> {
    let Some((_, path)) = fields.iter().find(|(key, _)| key.get_ref() == "path") else {
        let text = format!("is missing; it must be {}", PATH.expected());
        problems.push(file.problem(&table.span(), "plugin.path", &text));
        return None;
    };
    // A path that is wrong is told of below.
    let mut plugin = defaults(PATH.read(path).unwrap_or_default());
    for (key, value) in fields.iter() {
        if let Err(wrong) = set(&mut plugin, key.get_ref(), value) {
            let at = wrong.span.unwrap_or_else(|| key.span());
            problems.push(file.problem(&at, &format!("plugin.{}", key.get_ref()), &wrong.text));
        }
    }
    Some(plugin)
}

/// Sets what a key of the table stands for.
fn set(plugin: &mut PluginSettings, key: &str, value: &Value<'_>) -> Result<(), Wrong> {
    match key {
        "path" => plugin.path = PATH.read(value)?,
        "name" => plugin.name = Text("a name, such as \"acl\"").read(value)?,
        "config" => plugin.config = read_config(value)?,
        "required" => plugin.required = Flag.read(value)?,
        "on_fault" => plugin.on_fault = FAULTS.read(value)?,
        "budget" => plugin.budget = BUDGET.read(value)?,
        "strikes" => plugin.strikes = STRIKES.read(value)? as u32,
        _ => {
            let text = format!("is nothing that a plugin has; there are {KEYS}");
            return Err(Wrong { span: None, text });
        }
    }
    Ok(())
}

/// A table as JSON; times, which JSON does not have, as strings.
fn read_config(value: &Value<'_>) -> Result<String, Wrong> {
    let wrong = |text: &str| Wrong { span: None, text: text.to_owned() };
    if !matches!(value.get_ref(), DeValue::Table(_)) {
        return Err(wrong("must be a table: [plugin.config]"));
    }
    let json = serde_json::Value::deserialize(ValueDeserializer::from(value.clone()))
        .map_err(|error| wrong(&format!("cannot be written as JSON: {}", error.message())))?;
    Ok(with_plain_times(json).to_string())
}

fn with_plain_times(json: serde_json::Value) -> serde_json::Value {
    // What the TOML crate makes of a time for a type that knows no times.
    const TIME: &str = "$__toml_private_datetime";
    use serde_json::Value as Json;
    match json {
        Json::Object(mut members) => match members.remove(TIME) {
            Some(time) => time,
            None => {
                Json::Object(members.into_iter().map(|(key, value)| (key, with_plain_times(value))).collect())
            }
        },
        Json::Array(values) => Json::Array(values.into_iter().map(with_plain_times).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{read, told};

    #[test]
    fn plugins_in_their_order() {
        let config = read(
            "
            plugin_dir = '/opt/plugins'
            [[plugin]]
            path = 'filter-acl'
            [[plugin]]
            path = '/x/liblog_file.so'
            name = 'log'
            required = false
            on_fault = 'pass'
            budget = '2ms'
            strikes = 3
            [plugin.config]
            path = '/var/log/telexd.log'
            since = 1979-05-27T07:32:00Z
            [[plugin.config.rule]]
            n = [1, 2.5, true]
            ",
            &[],
        );
        let config = config.unwrap();
        let acl = defaults("filter-acl".into());
        let log = PluginSettings {
            path: "/x/liblog_file.so".into(),
            name: "log".into(),
            config:
                r#"{"path":"/var/log/telexd.log","rule":[{"n":[1,2.5,true]}],"since":"1979-05-27T07:32:00Z"}"#
                    .into(),
            required: false,
            on_fault: OnFault::Pass,
            budget: Duration::from_millis(2),
            strikes: 3,
        };
        assert_eq!(config.plugins, [acl, log]);
        assert_eq!(config.plugin_dir.as_deref(), Some(std::path::Path::new("/opt/plugins")));
        let changed = read("plugin_dir = '/opt/plugins'", &[]).unwrap();
        let names: Vec<_> = config.differences(&changed).iter().map(|of| of.name).collect();
        assert_eq!(names, ["plugin"]);
    }

    #[test]
    fn names_by_default() {
        for (path, name) in [
            ("filter-acl", "filter-acl"),
            ("/x/libfilter_acl.so", "filter_acl"),
            ("lib.so", "lib"),
            ("x.so", "x"),
        ] {
            assert_eq!(name_of(path), name);
        }
    }

    #[test]
    fn faults_are_told_with_their_lines() {
        for (text, expected) in [
            ("\nplugin = 1", "t.toml:2: plugin: must be tables: [[plugin]]"),
            ("[plugin]\npath = 'x'", "t.toml:1: plugin: must be tables: [[plugin]]"),
            ("[[plugin]]\nname = 'x'", "t.toml:1: plugin.path: is missing; it must be a file's path"),
            ("[[plugin]]\npath = 1", "t.toml:2: plugin.path: is 1; it must be a file's path"),
            ("[[plugin]]\npath = ''", "t.toml:2: plugin.path: is \"\"; it must be a file's path"),
            (
                "[[plugin]]\npath = 'x'\nrequire = true",
                "t.toml:3: plugin.require: is nothing that a plugin has; there are path, ",
            ),
            (
                "[[plugin]]\npath = 'x'\nrequired = 'yes'",
                "t.toml:3: plugin.required: is \"yes\"; it must be true or false",
            ),
            (
                "[[plugin]]\npath = 'x'\non_fault = 'stop'",
                "t.toml:3: plugin.on_fault: is \"stop\"; it must be one of \"deny\", \"pass\"",
            ),
            (
                "[[plugin]]\npath = 'x'\nconfig = 'x'",
                "t.toml:3: plugin.config: must be a table: [plugin.config]",
            ),
            (
                "[[plugin]]\npath = 'x'\n[[plugin]]\npath = '/y/libx.so'",
                "t.toml:3: plugin.name: there are two plugins called \"x\", here and at t.toml:1; give each a name of its own",
            ),
        ] {
            let told = told(text, &[]);
            assert!(told.starts_with(expected), "{told}");
        }
    }
}
