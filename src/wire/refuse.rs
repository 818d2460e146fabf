//! Knows how the body of a line says what was refused, and what the line is in reply to (PROTOCOL.md section 10).
//! Never: whose line it is.

use crate::wire::json::Object;
use crate::wire::message::{Id, Refusal};

/// Writes what a refusal says into a body.
pub(crate) fn write_refusal(body: &mut Object<'_>, refusal: &Refusal) {
    body.string("error", &refusal.error).string("code", refusal.code.word());
    if let Some(column) = refusal.column {
        body.number("column", column);
    }
    if let Some(filter) = &refusal.filter {
        body.string("filter", filter);
    }
}

/// Writes the id of what a line is in reply to; null if there is none.
pub(crate) fn write_in_reply_to(body: &mut Object<'_>, id: Option<&Id<'_>>) {
    match id {
        Some(id) => id.write_to(body.key("in_reply_to")),
        None => drop(body.null("in_reply_to")),
    }
}
