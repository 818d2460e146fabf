//! Knows the connections of administrators that are there beyond all bounds, and when each of them ends.
//! Never: whether there is room for another one.

use std::time::Duration;

use crate::core::SessionKey;
use crate::limits::{KEPT_BACK_MAX, KEPT_BACK_TIME};

/// Such connections, the oldest first.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct KeptBack(Vec<(SessionKey, Duration)>);

impl KeptBack {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = SessionKey> {
        self.0.iter().map(|&(key, _)| key)
    }

    /// Whether there are all that there may be: before one more comes the oldest has to end.
    pub(crate) fn oldest_of_all(&self) -> Option<SessionKey> {
        (self.0.len() >= KEPT_BACK_MAX).then(|| self.keys().next())?
    }

    /// Adds one, at `now`; gives when it ends if nothing comes of it.
    pub(crate) fn add(&mut self, key: SessionKey, now: Duration) -> Duration {
        self.0.push((key, now + KEPT_BACK_TIME));
        now + KEPT_BACK_TIME
    }

    /// A line of it has come; gives when it ends now. None if it is not one of these.
    pub(crate) fn heard(&mut self, key: SessionKey, now: Duration) -> Option<Duration> {
        let (_, ends_at) = self.0.iter_mut().find(|(own, _)| *own == key)?;
        *ends_at = now + KEPT_BACK_TIME;
        Some(*ends_at)
    }

    /// Whether one ends at `at`.
    pub(crate) fn ends_at(&self, key: SessionKey, at: Duration) -> bool {
        self.0.contains(&(key, at))
    }

    /// Whether one has said nothing for long enough at `now`.
    pub(crate) fn is_over(&self, key: SessionKey, now: Duration) -> bool {
        self.0.iter().any(|&(own, ends_at)| own == key && ends_at <= now)
    }

    /// One has left.
    pub(crate) fn remove(&mut self, key: SessionKey) {
        self.0.retain(|&(own, _)| own != key);
    }
}
