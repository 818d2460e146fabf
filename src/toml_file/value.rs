//! Knows how a value that a file gives is read, and what is said of one that is not what it must be.
//! Never: which key it is for, or where it stands.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

/// A value as TOML has it, with its place in the text.
pub(crate) type Value<'t> = Spanned<DeValue<'t>>;

/// What is wrong with a value.
#[derive(Debug)]
pub(crate) struct Wrong {
    /// The part at fault; none: the whole.
    pub span: Option<Range<usize>>,
    /// What goes behind the key and a colon.
    pub text: String,
}

impl Wrong {
    /// The plain fault of a value that is not what was expected.
    pub(crate) fn unlike(value: &DeValue<'_>, expected: &str) -> Wrong {
        Wrong { span: None, text: format!("is {}; it must be {expected}", excerpt(value)) }
    }

    /// The same of one element of a list, at its own place.
    pub(crate) fn element(item: &Value<'_>, expected: &str) -> Wrong {
        let text = format!("holds {}; it must be {expected}", excerpt(item.get_ref()));
        Wrong { span: Some(item.span()), text }
    }
}

/// A value as an error shows it, cut if it is long.
fn excerpt(value: &DeValue<'_>) -> String {
    const CHARS_MAX: usize = 60;
    match value {
        DeValue::String(text) if text.chars().count() > CHARS_MAX => {
            format!("{:?}...", text.chars().take(CHARS_MAX).collect::<String>())
        }
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(when) => format!("the time {when}"),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}
