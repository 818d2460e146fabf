//! Knows how a value of TOML is said in JSON.
//! Never: what it is for.

use std::fmt::Display;

use toml::de::{DeInteger, DeValue};

use crate::node::Value as Json;
use crate::toml_file::{Value, Wrong};

/// A value as JSON has it. A time is a text; what JSON has not is at fault: a number that is infinite or none, or an
/// integer of more than 64 bits.
pub(super) fn json(value: &Value<'_>) -> Result<Json, Wrong> {
    let none = |number: &dyn Display| Wrong {
        span: Some(value.span()),
        text: format!("holds {number}, which is no number of JSON"),
    };
    Ok(match value.get_ref() {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => integer(number).ok_or_else(|| none(number))?.into(),
        DeValue::Float(number) => {
            let read = number.as_str().parse().ok().filter(|number: &f64| number.is_finite());
            read.ok_or_else(|| none(number))?.into()
        }
        DeValue::Boolean(truth) => (*truth).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(elements) => elements.iter().map(json).collect::<Result<_, _>>()?,
        DeValue::Table(table) => {
            let members = table.iter().map(|(key, value)| Ok((key.get_ref().to_string(), json(value)?)));
            members.collect::<Result<_, Wrong>>()?
        }
    })
}

fn integer(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}
