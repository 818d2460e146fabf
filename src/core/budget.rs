//! Knows every byte that peers make the daemon keep, and what may still be said and taken while that is too
//! much (PROTOCOL.md section 4, `max_memory_bytes`).
//! Never: whose lines, or which connection.

use crate::core::tuning::Tuning;
use crate::limits::Limits;

/// What the daemon keeps for its peers now, in bytes, by what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Half lines, backlogs, held lines, long answers, subscriptions' texts.
    pub(crate) sessions: usize,
    /// Queued lines.
    pub(crate) queues: usize,
    pub(crate) rows: usize,
    pub(crate) nodes: usize,
    pub(crate) topics: usize,
    /// Open requests, with their timers.
    pub(crate) requests: usize,
    /// What has been decided and not carried out.
    pub(crate) after: usize,
    pub(crate) orders: usize,
}

impl Kept {
    pub(crate) fn total(&self) -> usize {
        let Kept { sessions, queues, rows, nodes, topics, requests, after, orders } = *self;
        sessions + queues + rows + nodes + topics + requests + after + orders
    }
}

/// Beyond `max_memory_bytes`, for the answers to what everybody may ask while memory is short.
const RESERVE_BYTES: usize = 8 * 1024 * 1024;
/// And for what administrators may ask.
const ADMINISTRATORS_RESERVE_BYTES: usize = 16 * 1024 * 1024;

/// The bound on what is kept, and what changes while it is passed.
#[derive(Debug, Default)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Budget {
    /// It has been passed, and whether it still is will be looked at.
    pub(crate) under_pressure: bool,
    /// The most that was refused of one half line since then, in bytes.
    pub(crate) refused_bytes: usize,
}

impl Budget {
    /// Whether so much is too much.
    #[inline]
    pub(crate) fn is_passed(kept: usize, limits: &Limits) -> bool {
        kept > limits.max_memory_bytes
    }

    /// Whether an answer that helps out of the shortage may still be given.
    pub(crate) fn has_reserve(kept: usize, limits: &Limits, for_administrator: bool) -> bool {
        let reserve = if for_administrator { ADMINISTRATORS_RESERVE_BYTES } else { RESERVE_BYTES };
        kept <= limits.max_memory_bytes.saturating_add(reserve)
    }

    /// With more bytes of answers than this waiting for it a connection is not read.
    pub(crate) fn choked_at(is_short: bool, limits: &Limits, tuning: &Tuning) -> usize {
        let half = limits.half_queue();
        if is_short { tuning.short_answer_bytes.min(half) } else { half }
    }

    /// Up to how many bytes of answers a connection is told news.
    pub(crate) fn news_bytes_max(is_short: bool, limits: &Limits, tuning: &Tuning) -> usize {
        let most = limits.max_queue_bytes;
        if is_short { tuning.short_news_bytes.min(most) } else { most }
    }
}
