//! Knows how one value is written: permissions, words, names, paths, addresses.
//! Never: which setting it is for, or where it stands.

use std::path::PathBuf;

use toml::de::DeValue;

use super::model::Listen;
use crate::address::Address;
use crate::name;
use crate::toml_file::{Value, Wrong};

/// A way to write values, and the range they must be in.
pub(super) trait Form {
    /// What a configuration holds.
    type Held;
    /// What would be right, to go behind "it must be".
    fn expected(&self) -> String;
    /// The value, or what is wrong with it.
    fn read(&self, value: &Value<'_>) -> Result<Self::Held, Wrong>;
    /// The value as TOML; none if nothing is set.
    fn show(&self, held: &Self::Held) -> Option<String>;

    /// `held`, or the plain fault of a value that is not what was expected.
    fn accept(&self, value: &Value<'_>, held: Option<Self::Held>) -> Result<Self::Held, Wrong> {
        held.ok_or_else(|| Wrong::unlike(value.get_ref(), &self.expected()))
    }
}

/// Permissions, as octal digits.
pub(super) struct Mode;
/// One of some words.
pub(super) struct Word<T: 'static>(pub &'static [(&'static str, T)]);
/// The name of a group of the system.
pub(super) struct Group;
/// What can be a part of a node ID.
pub(super) struct HostName;
/// A directory.
pub(super) struct Directory;
/// A yes or no.
pub(super) struct Flag;
/// A text that is not empty, and what it is.
pub(super) struct Text(pub &'static str);
/// Addresses to listen at, or the word for the sockets of the service manager.
pub(super) struct Addresses;
/// What stands in place of addresses.
const SYSTEMD: &str = "systemd";
/// Names of plugins.
pub(super) struct Names;

impl Form for Mode {
    type Held = u32;

    fn expected(&self) -> String {
        "octal permissions from \"0000\" to \"0777\", in quotes, such as \"0660\"".into()
    }

    fn read(&self, value: &Value<'_>) -> Result<u32, Wrong> {
        let octal = |text: &str| match text.len() {
            // A sign, which from_str_radix() takes, is no digit.
            3 | 4 if text.bytes().all(|byte| byte.is_ascii_digit()) => u32::from_str_radix(text, 8).ok(),
            _ => None,
        };
        let mode = value.get_ref().as_str().and_then(octal);
        self.accept(value, mode.filter(|mode| *mode <= 0o777))
    }

    fn show(&self, held: &u32) -> Option<String> {
        Some(format!("\"{held:04o}\""))
    }
}

impl<T: Copy + PartialEq> Form for Word<T> {
    type Held = T;

    fn expected(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        format!("one of {}", words.join(", "))
    }

    fn read(&self, value: &Value<'_>) -> Result<T, Wrong> {
        let text = value.get_ref().as_str();
        self.accept(value, self.0.iter().find(|(word, _)| Some(*word) == text).map(|(_, held)| *held))
    }

    fn show(&self, held: &T) -> Option<String> {
        self.0.iter().find(|(_, of)| of == held).map(|(word, _)| quoted(word))
    }
}

impl Form for Group {
    type Held = Option<String>;

    fn expected(&self) -> String {
        "the name of a group, such as \"telex\"".into()
    }

    fn read(&self, value: &Value<'_>) -> Result<Option<String>, Wrong> {
        // What /etc/group cannot hold is a slip, not a name.
        let odd = |c: char| c.is_control() || c.is_whitespace() || c == ':' || c == ',';
        let text = value.get_ref().as_str().filter(|text| !text.is_empty() && !text.contains(odd));
        self.accept(value, text.map(|text| Some(text.to_owned())))
    }

    fn show(&self, held: &Option<String>) -> Option<String> {
        held.as_deref().map(quoted)
    }
}

impl Form for HostName {
    type Held = Option<String>;

    fn expected(&self) -> String {
        "a name that can be part of a node ID, such as \"alpha\"".into()
    }

    fn read(&self, value: &Value<'_>) -> Result<Option<String>, Wrong> {
        let Some(text) = value.get_ref().as_str() else {
            return self.accept(value, None);
        };
        match name::check_node_id(text) {
            Ok(()) => Ok(Some(text.to_owned())),
            Err(why) => Err(Wrong { span: None, text: format!("{why}; it must be {}", self.expected()) }),
        }
    }

    fn show(&self, held: &Option<String>) -> Option<String> {
        held.as_deref().map(quoted)
    }
}

impl Form for Directory {
    type Held = Option<PathBuf>;

    fn expected(&self) -> String {
        "the path of a directory, such as \"/var/lib/telexd\"".into()
    }

    fn read(&self, value: &Value<'_>) -> Result<Option<PathBuf>, Wrong> {
        let text = value.get_ref().as_str().filter(|text| !text.is_empty() && !text.contains('\0'));
        self.accept(value, text.map(|text| Some(PathBuf::from(text))))
    }

    fn show(&self, held: &Option<PathBuf>) -> Option<String> {
        held.as_ref().map(|path| quoted(&path.to_string_lossy()))
    }
}

impl Form for Flag {
    type Held = bool;

    fn expected(&self) -> String {
        "true or false".into()
    }

    fn read(&self, value: &Value<'_>) -> Result<bool, Wrong> {
        self.accept(value, value.get_ref().as_bool())
    }

    fn show(&self, held: &bool) -> Option<String> {
        Some(held.to_string())
    }
}

impl Form for Text {
    type Held = String;

    fn expected(&self) -> String {
        self.0.into()
    }

    fn read(&self, value: &Value<'_>) -> Result<String, Wrong> {
        let text =
            value.get_ref().as_str().filter(|text| !text.is_empty() && !text.contains(char::is_control));
        self.accept(value, text.map(str::to_owned))
    }

    fn show(&self, held: &String) -> Option<String> {
        Some(quoted(held))
    }
}

impl Form for Addresses {
    type Held = Listen;

    fn expected(&self) -> String {
        "a list of addresses, such as [\"unix:/run/telexd/telex.sock\", \"tcp:127.0.0.1:4040\"], or [\"systemd\"]"
            .into()
    }

    fn read(&self, value: &Value<'_>) -> Result<Listen, Wrong> {
        let DeValue::Array(items) = value.get_ref() else {
            return self.accept(value, None);
        };
        match items.iter().find(|item| item.get_ref().as_str() == Some(SYSTEMD)) {
            Some(_) if items.len() == 1 => Ok(Listen::Systemd),
            Some(item) => Err(Wrong {
                span: Some(item.span()),
                text: "\"systemd\" must stand alone: further addresses are further ListenStream= of the socket unit".into(),
            }),
            None => items.iter().map(|item| self.read_one(item)).collect::<Result<_, _>>().map(Listen::At),
        }
    }

    fn show(&self, held: &Listen) -> Option<String> {
        let items: Vec<String> = match held {
            Listen::Systemd => vec![quoted(SYSTEMD)],
            Listen::At(addresses) => addresses.iter().map(|address| quoted(&address.to_string())).collect(),
        };
        Some(format!("[{}]", items.join(", ")))
    }
}

impl Form for Names {
    type Held = Vec<String>;

    fn expected(&self) -> String {
        "a list of names of plugins, such as [\"filter-acl\"]".into()
    }

    fn read(&self, value: &Value<'_>) -> Result<Vec<String>, Wrong> {
        let name = |item: &Value<'_>| item.get_ref().as_str().map(str::to_owned);
        let names = value.get_ref().as_array().and_then(|items| items.iter().map(name).collect());
        self.accept(value, names)
    }

    fn show(&self, held: &Vec<String>) -> Option<String> {
        let names: Vec<String> = held.iter().map(|name| quoted(name)).collect();
        Some(format!("[{}]", names.join(", ")))
    }
}

impl Addresses {
    fn read_one(&self, item: &Value<'_>) -> Result<Address, Wrong> {
        let wrong = |text| Wrong { span: Some(item.span()), text };
        let DeValue::String(text) = item.get_ref() else {
            return Err(Wrong::element(item, &self.expected()));
        };
        let address = Address::parse(text).map_err(|bad| wrong(bad.to_string()))?;
        address.check_local().map_err(|exposed| wrong(exposed.to_string()))?;
        Ok(address)
    }
}

/// A text as TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn value(text: &str) -> Value<'_> {
        DeValue::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    pub(crate) fn told<F: Form>(form: &F, text: &str) -> String {
        match form.read(&value(text)) {
            Ok(_) => panic!("{text} is taken"),
            Err(wrong) => wrong.text,
        }
    }

    #[test]
    fn modes() {
        for (text, mode) in [("\"0660\"", 0o660), ("\"777\"", 0o777), ("\"0000\"", 0)] {
            assert_eq!(Mode.read(&value(text)).ok(), Some(mode));
        }
        for text in
            ["660", "0o660", "\"0668\"", "\"1777\"", "\"+660\"", "\"7\"", "\"00660\"", "\"rw-rw----\""]
        {
            assert!(told(&Mode, text).contains("octal permissions from \"0000\" to \"0777\""), "{text}");
        }
    }

    #[test]
    fn words() {
        let form = Word(&[("user", 1), ("any", 2)]);
        assert_eq!(form.read(&value("\"any\"")).ok(), Some(2));
        assert_eq!(told(&form, "\"Any\""), "is \"Any\"; it must be one of \"user\", \"any\"");
        assert_eq!(told(&form, "1"), "is 1; it must be one of \"user\", \"any\"");
    }

    #[test]
    fn names_and_paths() {
        assert_eq!(Group.read(&value("\"telex\"")).ok(), Some(Some("telex".into())));
        for text in ["\"\"", "\"a b\"", "\"a:b\"", "1000"] {
            assert!(told(&Group, text).contains("it must be the name of a group"), "{text}");
        }
        assert_eq!(HostName.read(&value("\"alpha.example\"")).ok(), Some(Some("alpha.example".into())));
        assert!(told(&HostName, "\"a#b\"").starts_with("has a '#' in it"));
        assert!(told(&HostName, "\"\"").starts_with("is empty; it must be a name"));
        assert!(told(&HostName, "7").starts_with("is 7; it must be a name"));
        assert_eq!(Directory.read(&value("\"state\"")).ok(), Some(Some("state".into())));
        for text in ["\"\"", "\"a\\u0000b\"", "[]"] {
            assert!(told(&Directory, text).contains("it must be the path of a directory"), "{text}");
        }
    }

    #[test]
    fn addresses() {
        let read = |text| Addresses.read(&value(text)).ok().map(|list| Addresses.show(&list).unwrap());
        assert_eq!(read("[]").as_deref(), Some("[]"));
        assert_eq!(read("[\"systemd\"]").as_deref(), Some("[\"systemd\"]"));
        for text in ["[\"systemd\", \"unix:/x\"]", "[\"unix:/x\", \"systemd\"]", "[\"systemd\", \"systemd\"]"]
        {
            assert!(told(&Addresses, text).starts_with("\"systemd\" must stand alone: "), "{text}");
        }
        assert_eq!(
            read("[\"unix:/path\", \"127.0.0.1:*\", \"localhost:1\", \"tcp:[::1]:0\"]").as_deref(),
            Some("[\"unix:/path\", \"tcp:127.0.0.1:0\", \"tcp:localhost:1\", \"tcp:[::1]:0\"]")
        );
        assert!(
            told(&Addresses, "\"unix:/x\"").starts_with("is \"unix:/x\"; it must be a list of addresses")
        );
        assert!(told(&Addresses, "[4040]").starts_with("holds 4040; it must be a list of addresses"));
        assert!(told(&Addresses, "[\"x\"]").starts_with("\"x\" is no address: it lacks a port"));
        assert_eq!(told(&Addresses, "[\"/x\"]"), "\"/x\" is no address; did you mean unix:/x?");
        for text in ["[\"*:4040\"]", "[\"unix:/x\", \"tcp:192.0.2.1:4040\"]"] {
            let wrong = Addresses.read(&value(text)).expect_err(text);
            assert!(
                wrong.text.contains("needs authentication, which this version does not offer"),
                "{}",
                wrong.text
            );
            let span = wrong.span.unwrap();
            assert!(text[span].contains("4040"));
        }
    }

    #[test]
    fn long_values_are_cut() {
        let form = Word(&[("x", ())]);
        let long = format!("\"{}\"", "x".repeat(1000));
        assert!(told(&form, &long).len() < 120);
        assert!(told(&form, "1979-05-27").starts_with("is the time 1979-05-27; "));
    }
}
