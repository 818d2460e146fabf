//! Knows how a setting of a profile stands on the command line: a KEY, and a VALUE in TOML or as plain text.
//! Never: where it is kept.

use clap::ValueEnum;
use telex::profile;
use toml_edit::{Array, Value};

use crate::caret;
use crate::exit::Failure;

/// What a profile can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Key {
    /// The node ID, in which %n is the host's name and %u something unique
    NodeId,
    /// A list of addresses of switches
    Address,
    /// A list of functions that are started, each a name, or a list of the name and arguments
    Services,
    /// Another profile; not of global
    Parent,
}

impl Key {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Key::NodeId => "node_id",
            Key::Address => "address",
            Key::Services => "services",
            Key::Parent => "parent",
        }
    }

    /// The key that has this name.
    pub(crate) fn of(word: &str) -> Option<Key> {
        Key::value_variants().iter().copied().find(|key| key.word() == word)
    }

    pub(crate) fn is_list(self) -> bool {
        matches!(self, Key::Address | Key::Services)
    }

    /// Reads a VALUE: what begins with a quote or a bracket is TOML, else it is a text without quotes. A text alone is
    /// a list of one.
    pub(crate) fn parse(self, given: &str) -> Result<Value, Failure> {
        let given = given.trim();
        let value = if is_toml(given) {
            given.parse().map_err(|error: toml_edit::TomlError| {
                let at = error.span().unwrap_or(0..given.len());
                caret::fault(given, at, &format!("{}: is no TOML: {}", self.word(), error.message()))
            })?
        } else {
            text(given)
        };
        let is_one = self.is_list() && value.is_str();
        Ok(if is_one { Value::Array(Array::from_iter([value])) } else { value })
    }

    /// The same of one that is to be set: what the library would refuse is refused here.
    pub(crate) fn read(self, given: &str) -> Result<Value, Failure> {
        let (given, value) = (given.trim(), self.parse(given)?);
        match profile::fault(self.word(), &value.to_string()) {
            None => Ok(value),
            Some((at, why)) => {
                // Else the part is one of what was typed, with something around it.
                let is_one = self.is_list() && !given.starts_with('[');
                let at = if is_toml(given) && !is_one { at } else { 0..given.len() };
                Err(caret::fault(given, at, &format!("{}: {why}", self.word())))
            }
        }
    }
}

fn is_toml(given: &str) -> bool {
    given.starts_with(['"', '\'', '['])
}

/// A text as TOML has it, in double quotes.
pub(crate) fn text(text: &str) -> Value {
    // A string of JSON is one of TOML, but for DEL.
    let quoted = serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f");
    quoted.parse().unwrap_or_else(|_| Value::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_toml_or_plain_text() {
        for (key, given, read) in [
            (Key::NodeId, "night/%n", r#""night/%n""#),
            (Key::NodeId, "'night'", "'night'"),
            (Key::NodeId, "it's \"q\"", r#""it's \"q\"""#),
            (Key::NodeId, "5", r#""5""#),
            (Key::Services, "images", r#"["images"]"#),
            (Key::Services, "a\u{7f}b", r#"["a\u007fb"]"#),
            (Key::Services, " [ 'a', \"b\" ] ", "[ 'a', \"b\" ]"),
            (Key::Services, "[]", "[]"),
            (Key::Services, "['a', [\"b\", 5]]", "['a', [\"b\", 5]]"),
            (Key::Address, "unix:/a", r#"["unix:/a"]"#),
            (Key::Parent, "worker", r#""worker""#),
        ] {
            assert_eq!(key.read(given).expect(given).to_string().trim(), read);
        }
    }

    #[test]
    fn what_is_refused_is_shown() {
        for (key, given, told) in [
            (
                Key::Services,
                "['a', 5]",
                "services: holds 5; it must be a list of functions, such as [\"images\", [\"backup\", \"/srv\"]]\n  ['a', 5]\n        ^",
            ),
            (
                Key::NodeId,
                "a#1",
                "node_id: has a '#' in it, which belongs to ports (NODE#PORT); it must be a node ID, such as \"worker/%n\"\n  a#1\n  ^^^",
            ),
            (
                Key::Parent,
                "['a']",
                "parent: is a list; it must be the name of another profile\n  ['a']\n  ^^^^^",
            ),
        ] {
            assert_eq!(key.read(given).expect_err(given).words, told);
        }
        assert!(Key::Services.read("['a").expect_err("half").words.starts_with("services: is no TOML: "));
        for given in ["'a' 5", "'a'\nx = 1", "[]]"] {
            assert!(Key::Services.read(given).is_err(), "{given}");
        }
    }
}
