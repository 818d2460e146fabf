//! Knows how a line that waited for room becomes a message again.
//! Never: where it goes now.

use std::time::Duration;

use crate::core::SessionKey;
use crate::core::parcel::Parcel;
use crate::core::rows::Standing;
use crate::core::session::{Called, Held};
use crate::wire::envelope::Envelope;
use crate::wire::message::Message;

/// Hands `act` the message of a held line.
pub(super) fn with_held(sender: SessionKey, held: &Held, now: Duration, act: impl FnOnce(&Parcel<'_>)) {
    let standing = Standing { ticket: Some(held.ticket), favoured: held.called.and_then(Called::by) };
    with_line(sender, &held.line, held.deadline.unwrap_or(now), standing, act);
}

/// Hands `act` the message of a line that was read and stamped before: it has a `from` and an id.
pub(super) fn with_line(
    sender: SessionKey,
    line: &[u8],
    deadline: Duration,
    standing: Standing,
    act: impl FnOnce(&Parcel<'_>),
) {
    let Ok(envelope) = Envelope::scan(line) else { return };
    let Ok(message) = Message::read(&envelope) else { return };
    let (Some(from), Some(id)) = (&message.from, &message.id) else { return };
    let line = message.envelope.outgoing();
    act(&Parcel { sender, message: &message, from, id, line, deadline, standing });
}
