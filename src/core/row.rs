//! Knows the senders that wait for room in one queue, in their order.
//! Never: whose queue it is, or what they want to send.

use std::collections::BTreeMap;

use crate::core::SessionKey;

/// Senders that wait for room in one queue: first come, first served.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Row {
    by_ticket: BTreeMap<u64, SessionKey>,
    /// The queue has drained to half since it was full: the first waiter is called.
    pub(crate) relieved: bool,
}

impl Row {
    pub(crate) fn len(&self) -> usize {
        self.by_ticket.len()
    }

    /// The sender that is next.
    pub(crate) fn first(&self) -> Option<SessionKey> {
        self.by_ticket.values().next().copied()
    }

    /// Whether no line with a lower ticket than this waits.
    pub(crate) fn is_first(&self, ticket: u64) -> bool {
        self.by_ticket.keys().next().is_none_or(|first| ticket < *first)
    }

    /// Takes a sender in at its ticket's place; false if it stands there already.
    pub(crate) fn enter(&mut self, ticket: u64, sender: SessionKey) -> bool {
        self.by_ticket.insert(ticket, sender).is_none()
    }

    /// Takes the place of a ticket out; false if there is none.
    pub(crate) fn leave(&mut self, ticket: u64) -> bool {
        self.by_ticket.remove(&ticket).is_some()
    }

    /// Every place, the next one first.
    pub(crate) fn places(&self) -> impl Iterator<Item = (u64, SessionKey)> {
        self.by_ticket.iter().map(|(&ticket, &sender)| (ticket, sender))
    }

    /// The sender at a ticket's place.
    pub(crate) fn at(&self, ticket: u64) -> Option<SessionKey> {
        self.by_ticket.get(&ticket).copied()
    }
}
