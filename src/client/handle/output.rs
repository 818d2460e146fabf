//! Knows the bytes that are to be written, in their order, and how far that has come.
//! Never: what they say, or the socket.

/// How much is kept to be written before senders wait and calls are put off, in bytes.
pub(super) const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// Lines to be written. The positions in it count all bytes that ever were, from 0 on.
#[derive(Debug)]
pub(super) struct Output {
    bytes: Vec<u8>,
    bytes_max: usize,
    /// What the writer has taken and not written yet.
    in_hand: usize,
    written: u64,
    /// Whether the last byte that was written ended a line.
    is_between_lines: bool,
}

impl Output {
    /// It has room while less than `bytes_max` is not written.
    pub(super) fn new(bytes_max: usize) -> Output {
        Output { bytes: Vec::new(), bytes_max, in_hand: 0, written: 0, is_between_lines: true }
    }

    /// Where the next line will begin.
    pub(super) fn position(&self) -> u64 {
        self.written + self.unwritten() as u64
    }

    pub(super) fn unwritten(&self) -> usize {
        self.in_hand + self.bytes.len()
    }

    pub(super) fn has_room(&self) -> bool {
        self.unwritten() < self.bytes_max
    }

    /// Where lines are appended.
    pub(super) fn lines(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Hands what is there to the writer, which has none in hand, for an empty buffer.
    pub(super) fn hand_over(&mut self, hand: &mut Vec<u8>) {
        hand.clear();
        std::mem::swap(&mut self.bytes, hand);
        self.in_hand = hand.len();
    }

    /// These bytes were written.
    pub(super) fn wrote(&mut self, bytes: &[u8]) {
        self.in_hand -= bytes.len();
        self.written += bytes.len() as u64;
        self.is_between_lines = bytes.last().map_or(self.is_between_lines, |byte| *byte == b'\n');
    }

    /// The writer gives back what it has not written.
    pub(super) fn give_back(&mut self, rest: &[u8]) {
        self.in_hand = 0;
        self.bytes.splice(..0, rest.iter().copied());
    }

    /// Takes the rest of a line that was begun off, or `all`: its connection is lost. Gives the position before
    /// which nothing can be written any more. The writer has nothing in hand.
    pub(super) fn cut(&mut self, all: bool) -> u64 {
        let begun = match self.is_between_lines {
            true => 0,
            false => self.bytes.iter().position(|byte| *byte == b'\n').map_or(self.bytes.len(), |at| at + 1),
        };
        let lost = self.written + begun as u64;
        let cut = if all { self.bytes.len() } else { begun };
        self.bytes.drain(..cut);
        self.written += cut as u64;
        self.is_between_lines = true;
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_begun_stays_at_its_position() {
        let mut output = Output::new(OUTPUT_BYTES_MAX);
        output.lines().extend_from_slice(b"one\ntwo\n");
        let mut hand = Vec::new();
        output.hand_over(&mut hand);
        let third = output.position();
        output.lines().extend_from_slice(b"three\n");
        output.wrote(&hand[..5]);
        output.give_back(&hand[5..]);
        assert_eq!((output.unwritten(), third), (9, 8));
        assert_eq!(output.cut(false), 8);
        assert_eq!(output.lines(), b"three\n");
        assert_eq!(output.position(), 14);
        output.hand_over(&mut hand);
        output.wrote(&hand);
        assert_eq!((output.cut(false), output.unwritten()), (14, 0));
    }

    #[test]
    fn all_of_it_can_be_given_up() {
        let mut output = Output::new(OUTPUT_BYTES_MAX);
        output.lines().extend_from_slice(b"one\ntwo\n");
        assert_eq!(output.cut(true), 0, "none of it was begun");
        assert_eq!((output.unwritten(), output.position()), (0, 8));
    }
}
