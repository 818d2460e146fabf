//! Knows how far a look through the subscriptions has come, and what it has found.
//! Never: where it goes next.

use std::sync::Arc;

use crate::core::SessionKey;

slotmap::new_key_type! {
    /// A branch of the tree of subscriptions.
    pub(super) struct BranchKey;
}

/// One subscription, seen from its pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Subscriber {
    /// The connection's unique number.
    pub(crate) number: u64,
    pub(crate) session: SessionKey,
    pub(crate) group: Option<Arc<str>>,
}

/// A look through the tree for all that match one topic. It can be done in steps: what is subscribed or
/// unsubscribed between them may be found or not.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Search {
    /// Branches to be looked at, each with how much of the topic is behind it.
    pub(super) stack: Vec<(BranchKey, usize)>,
    pub(super) found: Vec<Subscriber>,
    /// How many lists what is found came from.
    pub(super) lists: usize,
}

impl Search {
    /// Takes what it has found, if that is of use behind the pick: if there are groups among it.
    pub(crate) fn take_groups(&mut self) -> Search {
        match self.found.iter().any(|subscriber| subscriber.group.is_some()) {
            true => std::mem::take(self),
            false => Search::default(),
        }
    }

    /// Leaves out of what it has found those that are not `here` any more.
    pub(crate) fn retain(&mut self, mut is_here: impl FnMut(SessionKey) -> bool) {
        self.found.retain(|subscriber| is_here(subscriber.session));
    }

    /// How many subscriptions it has found.
    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// The memory that it takes.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.stack.capacity() * size_of::<(BranchKey, usize)>()
            + self.found.capacity() * size_of::<Subscriber>()
    }
}
