//! Knows whether a line is what was expected, and where it differs.
//! Never: where it came from.

use std::collections::BTreeMap;

use serde_json::Value;

/// What the `"$name"`s of a story stand for.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<String, Value>);

impl Names {
    /// Puts what is known for each `"$name"` into a line that is sent.
    pub(crate) fn replace(&self, line: &[u8]) -> Result<Vec<u8>, String> {
        let Ok(mut text) = String::from_utf8(line.to_vec()) else { return Ok(line.to_vec()) };
        for (name, value) in &self.0 {
            text = text.replace(&format!("\"${name}\""), &value.to_string());
        }
        let unknown = text.split("\"$").skip(1).find(|rest| rest.split('"').next().is_some_and(is_name));
        match unknown {
            None => Ok(text.into_bytes()),
            Some(rest) => Err(format!("not known yet: \"${rest}")),
        }
    }

    /// Whether `found` is like `wanted`; else where it is not.
    pub(crate) fn compare(&mut self, wanted: &Value, found: &Value) -> Result<(), String> {
        self.compare_at("", wanted, Some(found))
    }

    fn compare_at(&mut self, place: &str, wanted: &Value, found: Option<&Value>) -> Result<(), String> {
        let shown = || found.map_or("absent".to_owned(), Value::to_string);
        let differs = |wanted: &Value| format!("{place} is {}, not {wanted}", shown());
        match (wanted, found) {
            (Value::String(text), None) if text == "<absent>" => Ok(()),
            (Value::Object(wanted), Some(Value::Object(found))) => {
                for (key, wanted) in wanted {
                    let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                    self.compare_at(&place, wanted, found.get(key))?;
                }
                Ok(())
            }
            (Value::Array(items), Some(Value::Array(found))) if items.len() == found.len() => {
                for (at, (wanted, found)) in items.iter().zip(found).enumerate() {
                    self.compare_at(&format!("{place}[{at}]"), wanted, Some(found))?;
                }
                Ok(())
            }
            (Value::String(text), Some(found)) => {
                let name = text.strip_prefix('$').filter(|name| is_name(name));
                let is_like = match (name, found) {
                    (Some(name), _) => {
                        let known = self.0.entry(name.to_owned()).or_insert_with(|| found.clone());
                        return if known == found { Ok(()) } else { Err(differs(known)) };
                    }
                    (None, _) if text == "*" => true,
                    (None, Value::String(found)) => text == found || telex::name::matches(text, found),
                    _ => false,
                };
                if is_like { Ok(()) } else { Err(differs(wanted)) }
            }
            (wanted, Some(found)) if wanted == found => Ok(()),
            _ => Err(differs(wanted)),
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
