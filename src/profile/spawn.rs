//! Knows a port that is to be made: by which function, of which arguments.
//! Never: which functions there are.

use crate::node::{Value, elements};

/// A port that is made when the node is there, by a function that the program offers: an entry of `services`.
///
/// ```
/// use telex::node::json;
/// use telex::profile::Spawn;
///
/// let plain = Spawn::from("images");
/// assert_eq!((plain.function.as_str(), plain.args.len(), plain.to_value()), ("images", 0, json!("images")));
/// let spawn = Spawn::new("images", json!(["/srv", 4]));
/// assert_eq!(spawn.to_value(), json!(["images", "/srv", 4]));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Spawn {
    /// The name of the function.
    pub function: String,
    /// What it is handed, beside the port.
    pub args: Vec<Value>,
}

impl Spawn {
    /// By a function and its arguments. A value that is no list is one argument.
    pub fn new(function: impl Into<String>, args: impl Into<Value>) -> Spawn {
        Spawn { function: function.into(), args: elements(args.into()) }
    }

    /// As it stands in a profile: the name, or a list of the name and the arguments.
    pub fn to_value(&self) -> Value {
        let name = Value::from(self.function.as_str());
        if self.args.is_empty() { name } else { [name].iter().chain(&self.args).cloned().collect() }
    }
}

impl From<&str> for Spawn {
    fn from(function: &str) -> Spawn {
        Spawn { function: function.to_owned(), args: Vec::new() }
    }
}
