//! Knows what a panic says.
//! Never: where one is caught.

use std::any::Any;

/// The words of a panic, as `catch_unwind` gives it.
pub(crate) fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words")
}
