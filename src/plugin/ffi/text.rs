//! Knows how texts that a plugin hands over are read.
//! Never: what is in them.

use std::borrow::Cow;

use telex_plugin::raw::Str;

/// A text that a plugin hands over; none if it is not there. What is no UTF-8 in it is replaced.
pub(super) unsafe fn text_of<'a>(text: Str) -> Option<Cow<'a, str>> {
    if text.data.is_null() || text.len > isize::MAX as usize {
        return None;
    }
    // SAFETY: the header promises so many bytes.
    Some(String::from_utf8_lossy(unsafe { std::slice::from_raw_parts(text.data.cast(), text.len) }))
}

/// A text that a plugin hands over; none if it is not there or is no UTF-8.
pub(super) unsafe fn right_text<'a>(text: Str) -> Option<&'a str> {
    // SAFETY: the header promises so many bytes.
    match unsafe { text_of(text) } {
        Some(Cow::Borrowed(text)) => Some(text),
        _ => None,
    }
}
