//! Knows how far something is, and shows it on a line of a terminal.
//! Never: what is being done.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::output::Words;

/// A bar on stderr, if that is a terminal and words are wanted. A bar of its own needs no more than this.
pub(crate) struct Progress {
    all: u64,
    done: u64,
    is_shown: bool,
    is_drawn: bool,
    next: Instant,
}

impl Progress {
    pub(crate) const EVERY: Duration = Duration::from_millis(100);
    const WIDTH: u64 = 40;

    pub(crate) fn new(all: u64, words: Words) -> Progress {
        let is_shown = std::io::stderr().is_terminal() && !words.quiet;
        Progress { all, done: 0, is_shown, is_drawn: false, next: Instant::now() }
    }

    /// Shows that `done` is done: now and then, or at once if that is due.
    pub(crate) fn show(&mut self, done: u64, is_due: bool) {
        self.done = done;
        if self.is_shown && (is_due || Instant::now() >= self.next) {
            self.next = Instant::now() + Progress::EVERY;
            self.draw();
        }
    }

    /// Says something in the place of the bar, which goes on below it.
    pub(crate) fn aside(&mut self, say: impl FnOnce()) {
        let is_drawn = self.is_drawn;
        self.end();
        say();
        if is_drawn {
            self.draw();
        }
    }

    /// Erases the bar.
    pub(crate) fn end(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }

    fn draw(&mut self) {
        self.is_drawn = true;
        let full = (self.done.min(self.all) * Progress::WIDTH / self.all.max(1)) as usize;
        let empty = Progress::WIDTH as usize - full;
        let bar = format!("\r[{}{}] {} of {}", "#".repeat(full), " ".repeat(empty), self.done, self.all);
        // Nothing depends on it.
        let _ = std::io::stderr().write_all(bar.as_bytes());
    }
}
