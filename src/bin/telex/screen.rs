//! Knows the terminal as one screen, and gives it back as it was, however the program ends.
//! Never: what is shown.

use std::io::{IsTerminal, Stdout, stdin, stdout};
use std::os::fd::AsFd;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, enable_raw_mode};
use ratatui::layout::Rect;
use ratatui::text::Text;
use ratatui::widgets::Paragraph;
use ratatui::{Terminal, TerminalOptions, Viewport};
use terminal_size::terminal_size;

use crate::exit::Failure;

/// What a terminal has that does not say how large it is.
const SIZE: (u16, u16) = (80, 24);

/// The terminal, until this is dropped.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    size: (u16, u16),
    /// Whether what is shown has only letters that take one column.
    is_simple: bool,
}

impl Screen {
    /// Refuses to go on without a terminal.
    pub(crate) fn check() -> Result<(), Failure> {
        match stdin().is_terminal() && stdout().is_terminal() {
            true => Ok(()),
            false => Err(Failure::usage("top needs a terminal")),
        }
    }

    /// Takes the terminal.
    pub(crate) fn open() -> Result<Screen, Failure> {
        static HOOK: Once = Once::new();
        let size = size();
        let options = TerminalOptions { viewport: Viewport::Fixed(area(size)) };
        HOOK.call_once(|| {
            let hook = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                give_back();
                hook(info);
            }));
        });
        IS_TAKEN.store(true, Ordering::Relaxed);
        let opened = enable_raw_mode()
            .and_then(|()| execute!(stdout(), EnterAlternateScreen))
            .and_then(|()| Terminal::with_options(CrosstermBackend::new(stdout()), options));
        match opened {
            Ok(terminal) => Ok(Screen { terminal, size, is_simple: true }),
            Err(error) => {
                give_back();
                Err(Failure::file("the terminal", &error))
            }
        }
    }

    /// How many columns and lines there are.
    pub(crate) fn size(&self) -> (u16, u16) {
        self.size
    }

    /// Takes note of the size that the terminal has now.
    pub(crate) fn measure(&mut self) -> Result<(), Failure> {
        self.size = size();
        self.terminal.resize(area(self.size)).map_err(failed)
    }

    /// Shows this and nothing else.
    pub(crate) fn show(&mut self, text: Text<'_>) -> Result<(), Failure> {
        // Letters that join others may take other columns than is thought here. Then it is not enough to write what has
        // changed.
        let is_simple = |c: char| c.is_ascii() || c == '…';
        let is_simple =
            text.iter().flat_map(|line| &line.spans).all(|span| span.content.chars().all(is_simple));
        if !(self.is_simple && is_simple) {
            self.terminal.clear().map_err(failed)?;
        }
        self.is_simple = is_simple;
        let shown = self.terminal.draw(|frame| frame.render_widget(Paragraph::new(text), frame.area()));
        shown.map(drop).map_err(failed)
    }

    /// What the user does next; none if that is nothing in this time.
    pub(crate) fn event(&self, within: Duration) -> Result<Option<Event>, Failure> {
        // crossterm waits for a terminal that is gone, and never ends, so the wait is done here.
        let (input, gone) = (stdin(), PollFlags::POLLHUP | PollFlags::POLLERR);
        let mut fds = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        let patience = PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX);
        if poll(&mut fds, patience).is_ok() && fds[0].revents().is_some_and(|events| events.intersects(gone))
        {
            return Err(Failure::reader_gone());
        }
        let is_there = event::poll(Duration::ZERO);
        let came = is_there.and_then(|is_there| if is_there { event::read().map(Some) } else { Ok(None) });
        came.map_err(failed)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn size() -> (u16, u16) {
    terminal_size().map_or(SIZE, |(width, height)| (width.0, height.0))
}

fn area((width, height): (u16, u16)) -> Rect {
    Rect::new(0, 0, width, height)
}

fn failed(error: std::io::Error) -> Failure {
    Failure::file("the terminal", &error)
}

/// Whether the terminal is to be given back. Twice would move the cursor into what was said between.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

fn give_back() {
    if IS_TAKEN.swap(false, Ordering::Relaxed) {
        // There is no other way left to tell that it failed.
        let _ = execute!(stdout(), Show);
        let _ = ratatui::try_restore();
    }
}
