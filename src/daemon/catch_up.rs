//! Knows whether the loop was held up, and how many connections are to be read before a deadline may be judged.
//! Never: what is due, or what is read.

use std::time::Duration;

/// Turns that begin further apart were held up: by a stop of the process, a sleep of the machine, a long turn. Or
/// there was nothing to do; then little is there to be read.
const GAP: Duration = Duration::from_millis(100);

/// What there is to be caught up with.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// When the last turn began.
    last: Duration,
    /// How many of the connections that were ready behind a gap have not been served since; none when there was no
    /// gap, or deadlines have been judged since.
    left: Option<usize>,
}

impl CatchUp {
    /// A turn begins, with so many connections that are ready. Says whether what they have sent may be an answer to
    /// what seems overdue.
    pub(super) fn turn_begins(&mut self, now: Duration, ready: usize) -> bool {
        let has_gap = now.saturating_sub(std::mem::replace(&mut self.last, now)) > GAP;
        self.left = match self.left {
            None if has_gap => Some(ready),
            // Though it has taken long to read them: else nothing would ever be due.
            Some(0) => None,
            left => left.map(|left| left.min(ready)),
        };
        self.left.take_if(|left| *left == 0);
        self.left.is_some()
    }

    /// One of those that were ready has been served.
    pub(super) fn served(&mut self) {
        self.left = self.left.map(|left| left.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_ready_behind_a_gap_comes_first_and_then_deadlines_are_judged() {
        let ms = Duration::from_millis;
        let mut catch_up = CatchUp::default();
        assert!(!catch_up.turn_begins(ms(50), 3));
        assert!(!catch_up.turn_begins(ms(250), 0), "nothing is ready");
        assert!(catch_up.turn_begins(ms(400), 3));
        catch_up.served();
        // A gap while it catches up is no other one.
        assert!(catch_up.turn_begins(ms(600), 9));
        catch_up.served();
        catch_up.served();
        assert!(!catch_up.turn_begins(ms(800), 9));
        assert!(catch_up.turn_begins(ms(1000), 9));
        assert!(!catch_up.turn_begins(ms(1001), 0), "those that were left have been closed");
    }
}
