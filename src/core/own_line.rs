//! Knows how the lines are spelled that the daemon says itself: replies, errors, signals (PROTOCOL.md
//! sections 2, 7 and 10).
//! Never: to whom, or when.

use crate::wire::json::{Object, write_string};
use crate::wire::message::{Id, Refusal};
use crate::wire::refuse::{write_in_reply_to, write_refusal};

/// A request as its asker has to be answered, borrowed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AskedBy<'a> {
    /// Where the reply goes: the request's `from`, as stamped.
    pub(crate) from: &'a str,
    /// What it is in reply to; none if the id itself is at fault.
    pub(crate) id: Option<&'a Id<'a>>,
    /// The request's type.
    pub(crate) message_type: &'a str,
}

/// Writes an `error` line, without its LF.
pub(crate) fn write_error(
    out: &mut Vec<u8>,
    to: &str,
    refusal: &Refusal,
    in_reply_to: Option<&Id<'_>>,
    extra: impl FnOnce(&mut Object<'_>),
) {
    let mut line = Object::begin(out);
    line.string("message_type", "error").null("from").string("to", to);
    line.object("body", |body| {
        write_refusal(body, refusal);
        write_in_reply_to(body, in_reply_to);
        extra(body);
    });
    line.end();
}

/// Writes the daemon's reply to a request, without its LF; `fill` writes its body behind `in_reply_to`.
pub(crate) fn write_reply(
    out: &mut Vec<u8>,
    id: u64,
    asked: AskedBy<'_>,
    fill: impl FnOnce(&mut Object<'_>),
) {
    let mut line = Object::begin(out);
    write_own_id(&mut line, id);
    // The type may need escapes, and `_reply` goes inside its quotes.
    let message_type = line.key("message_type");
    write_string(message_type, asked.message_type);
    message_type.pop();
    message_type.extend_from_slice(b"_reply\"");
    line.null("from").string("to", asked.from);
    line.object("body", |body| {
        write_in_reply_to(body, asked.id);
        fill(body);
    });
    line.end();
}

/// Writes a signal of the daemon's own, without its LF; `extra` writes what stands in its body behind the
/// event.
pub(crate) fn write_signal(
    out: &mut Vec<u8>,
    id: u64,
    to: &str,
    event: &str,
    extra: impl FnOnce(&mut Object<'_>),
) {
    let mut line = Object::begin(out);
    write_own_id(&mut line, id);
    line.string("message_type", "signal").null("from").string("to", to);
    line.object("body", |body| {
        body.string("event", event);
        extra(body);
    });
    line.end();
}

/// Writes the id of the daemon's `id`-th line that has one.
pub(crate) fn write_own_id(line: &mut Object<'_>, id: u64) {
    let out = line.key("message_id");
    out.extend_from_slice(b"\":0-");
    out.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
    out.push(b'"');
}
