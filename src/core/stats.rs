//! Knows how much has happened (PROTOCOL.md section 12).
//! Never: to whom.

use std::time::Duration;

use crate::wire::code::Code;

/// Counters since the start.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names are those of the protocol")]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub struct Stats {
    pub connections_total: u64,
    pub connections_refused: u64,
    pub lines_in: u64,
    pub lines_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Peers' messages put into a receiver's queue, less those it did not take.
    pub delivered: u64,
    errors: [u64; Code::ALL.len()],
    pub missed: u64,
    pub untold: u64,
    /// The most bytes that were ever queued for one receiver, both counts together.
    pub queue_bytes_max: usize,
    pub turns: u64,
    pub longest_turn: Duration,
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            connections_total: 0,
            connections_refused: 0,
            lines_in: 0,
            lines_out: 0,
            bytes_in: 0,
            bytes_out: 0,
            delivered: 0,
            errors: [0; Code::ALL.len()],
            missed: 0,
            untold: 0,
            queue_bytes_max: 0,
            turns: 0,
            longest_turn: Duration::ZERO,
        }
    }
}

impl Stats {
    /// Counts an error that a peer was told of.
    pub(crate) fn error(&mut self, code: Code) {
        self.errors[code as usize] += 1;
    }

    /// The errors that were told, by code; those that never happened are left out.
    pub(crate) fn errors(&self) -> impl Iterator<Item = (Code, u64)> {
        Code::ALL.iter().map(|&code| (code, self.errors[code as usize])).filter(|(_, count)| *count > 0)
    }
}
