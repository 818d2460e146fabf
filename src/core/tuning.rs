//! Knows the thresholds that are no limits of the protocol: what is worth a buffer, a block, a pause.
//! Never: a bound that a peer can see.

/// Thresholds of the core. A peer can tell none of them, so any values are right; the defaults are the
/// measured ones, and a simulation draws them small to reach in few steps what takes many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Units of [effort](crate::core::Core::effort_bytes) that the lines of one connection may cost in one
    /// call; the rest of them waits for its next turn.
    pub line_effort: usize,
    /// Units of effort that consequences and time-outs may cost in each turn; the rest of them is left to
    /// the next turn.
    pub settle_effort: usize,
    /// Subscribers of one publication that are served in one step.
    pub publish_step: usize,
    /// Timers that may be stale before anything is done about them.
    pub stale_timers_min: usize,
    /// Timers that are kept in one heap, and looked through in one step when many are stale.
    pub timers_together_max: usize,
    /// Bytes at which a block of shared lines is closed: a slow reader keeps at most one block beyond what
    /// it is owed.
    pub block_bytes: usize,
    /// Bytes of lines for the same receivers that are worth a block. For less, its record costs more than
    /// copies do.
    pub shared_bytes_min: usize,
    /// Bytes in an outbox that are written before the turn ends, while they are warm.
    pub early_write_bytes: usize,
    /// Written bytes that may stay in front of an outbox before what is behind them is moved down.
    pub compact_bytes: usize,
    /// Bytes that are gathered for one write, about: sockets hardly take more, and the runs of a long queue
    /// may be short ones.
    pub gathered_bytes: usize,
    /// Bytes of memory that are kept of one outbox that has been emptied.
    pub spare_bytes_each_max: usize,
    /// Bytes of memory that are kept of all of them.
    pub spare_bytes_max: usize,
    /// Bytes of news that may wait for one monitor while memory is short: many may monitor, and one event
    /// is a line for each.
    pub short_news_bytes: usize,
    /// Bytes that may wait for a connection that is still read while memory is short.
    pub short_answer_bytes: usize,
    /// In debug builds, one call in so many is followed by a check of every sum.
    pub check_every: u32,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            line_effort: 10_000,
            settle_effort: 24 * 1024,
            publish_step: 1024,
            stale_timers_min: 64,
            timers_together_max: 16 * 1024,
            block_bytes: 64 * 1024,
            shared_bytes_min: 4096,
            early_write_bytes: 64 * 1024,
            compact_bytes: 64 * 1024,
            gathered_bytes: 512 * 1024,
            spare_bytes_each_max: 1024 * 1024,
            spare_bytes_max: 16 * 1024 * 1024,
            short_news_bytes: 64 * 1024,
            short_answer_bytes: 4096,
            check_every: 64,
        }
    }
}
