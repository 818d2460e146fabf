//! Knows how far a connection is between its first byte and its last.
//! Never: what leads from one phase to the next.

/// How far a connection is. It only ever goes on:
///
/// | from | to | when |
/// | --- | --- | --- |
/// | open | ending | its peer has closed the writing side; some of what it sent may not be read yet |
/// | ending | ended | all that it sent has been read |
/// | open, ending, ended | leaving | it is gone for everybody else, which they are being told |
/// | leaving | owed | they have been told, and it only gets what it is owed |
/// | owed | gone | it has got that, or can be given no more; its key is dead |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Phase {
    #[default]
    Open,
    Ending,
    Ended,
    Leaving,
    Owed,
    Gone,
}

impl Phase {
    /// Goes on to `next`; false if it is that far already.
    pub(crate) fn advance(&mut self, next: Phase) -> bool {
        let is_new = *self < next;
        if is_new {
            debug_assert!(self.leads_to(next), "{self:?} does not lead to {next:?}");
            *self = next;
        }
        is_new
    }

    fn leads_to(self, next: Phase) -> bool {
        use Phase::*;
        matches!(
            (self, next),
            (Open, Ending)
                | (Ending, Ended)
                | (Open | Ending | Ended, Leaving)
                | (Leaving, Owed)
                | (Owed, Gone)
        )
    }

    /// Whether what its peer sends is handled.
    pub(crate) fn acts(self) -> bool {
        self < Phase::Leaving
    }
}

/// Why nothing more of what a connection sent is handled for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Pause {
    /// Its line waits for room in the queue of a receiver.
    Room = 1,
    /// It asked without reading: more of its answers wait than may while it is read.
    Answers = 2,
    /// It is told a long answer, a part at a time.
    Walk = 4,
    /// It has had its share of the work of this turn.
    Turn = 8,
    /// What its last line led to is not done yet.
    Consequences = 16,
}

/// All that pauses a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "daemon", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Pauses(u8);

impl Pauses {
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn contains(self, pause: Pause) -> bool {
        self.0 & pause as u8 != 0
    }

    /// The protocol's word for what pauses it (PROTOCOL.md section 7, `connections`).
    pub(crate) fn word(self) -> Option<&'static str> {
        const WORDS: [(Pause, &str); 5] = [
            (Pause::Room, "room"),
            (Pause::Answers, "answers"),
            (Pause::Walk, "turn"),
            (Pause::Turn, "turn"),
            (Pause::Consequences, "turn"),
        ];
        WORDS.iter().find(|(pause, _)| self.contains(*pause)).map(|(_, word)| *word)
    }

    pub(crate) fn begin(&mut self, pause: Pause) {
        self.0 |= pause as u8;
    }

    /// Ends a pause; false if there was none.
    pub(crate) fn end(&mut self, pause: Pause) -> bool {
        let was = self.contains(pause);
        self.0 &= !(pause as u8);
        was
    }
}
