//! Knows the keys of the screen that shows what a daemon does, and when it is drawn anew.
//! Never: how what the daemon tells becomes a table.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Text};
use telex::address::Address;
use telex::client::Client;

use crate::context::{CONNECT_TIMEOUT, Context, Form};
use crate::exit::{Exit, Failure};
use crate::given;
use crate::output::safe;
use crate::screen::Screen;
use crate::stop::Stop;
use crate::table::cut;
use crate::views::{View, Views};
use crate::watch::{Snapshot, watch};

pub(super) const EXAMPLES: &str = r#"Examples:
  telex top
  telex top --every 5s"#;

const HELP: &str = "q quit  Tab view  s sort  Up, Down scroll";

/// Show what the daemon does, on a full screen
///
/// Nodes, connections, topics, users and errors, each with its rates, queues, and the age of the oldest line in them.
/// Administrators see all connections and the topics, others the connections of their own user. Keys: q or Ctrl-C ends
/// it, Tab goes to the next view and Shift-Tab to the one before, s sorts by the next column and S by the one before,
/// Up, Down, Page Up and Page Down scroll. When the daemon goes away, it is tried again.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Top {
    /// Ask the daemon again after this time
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = every)]
    every: Duration,
}

fn every(text: &str) -> Result<Duration, String> {
    const LEAST: Duration = Duration::from_millis(100);
    let time = given::duration(text)?;
    if time < LEAST { Err(given::pointed("it is 100ms at least", text, 0)) } else { Ok(time) }
}

impl Top {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        if context.form == Some(Form::Json) {
            return Err(Failure::usage("top is for people; lines of JSON come from telex stats --watch --json"));
        }
        let address = context.address()?;
        Screen::check()?;
        let client = Client::connect_within(&address, CONNECT_TIMEOUT)
            .map_err(|error| Failure::unreachable(&address, &error))?;
        let stop = Stop::watch()?;
        let news = watch(client, address.clone(), self.every);
        Shown::new(&address, self.every).go_on(&mut Screen::open()?, &news, &stop)
    }
}

/// What is shown, and of what.
struct Shown {
    address: String,
    view: usize,
    /// The column by which each view is sorted.
    sorted_by: [usize; View::ALL.len()],
    /// So many rows are above the screen.
    above: usize,
    now: Option<Snapshot>,
    before: Option<Snapshot>,
    /// Why there is no news.
    trouble: Option<String>,
    /// When something was heard, if only of trouble.
    heard: Instant,
    every: Duration,
}

/// What a key leads to.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    Stay,
    Leave,
}

impl Shown {
    fn new(address: &Address, every: Duration) -> Shown {
        let sorted_by = View::ALL.map(View::sorted_by);
        let (address, heard) = (safe(&address.to_string()), Instant::now());
        let (now, before, trouble) = (None, None, None);
        Shown { address, view: 0, sorted_by, above: 0, now, before, trouble, heard, every }
    }

    fn go_on(
        mut self,
        screen: &mut Screen,
        news: &Receiver<Result<Snapshot, String>>,
        stop: &Stop,
    ) -> Result<(), Failure> {
        /// How long news and the end may have to wait for a key.
        const PATIENCE: Duration = Duration::from_millis(50);
        let (mut is_new, mut silent) = (true, 0);
        while !stop.has_come() {
            match news.try_recv() {
                Ok(news) => {
                    self.take(news);
                    is_new = true;
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => {
                    return Err(Failure::new(Exit::Refused, "what looks at the daemon has failed"));
                }
            }
            // Each second that there is no answer is shown.
            if is_new || self.silent() != silent {
                silent = self.silent();
                let text = self.text(screen.size());
                screen.show(text)?;
            }
            is_new = true;
            match screen.event(PATIENCE)? {
                Some(Event::Key(key)) if self.key(key, screen.size().1) == Then::Leave => return Ok(()),
                Some(Event::Resize(..)) => screen.measure()?,
                Some(_) => {}
                None => is_new = false,
            }
        }
        Ok(())
    }

    /// How many seconds later than it should have come no answer has come.
    fn silent(&self) -> u64 {
        self.heard.elapsed().saturating_sub(self.every).as_secs()
    }

    fn take(&mut self, news: Result<Snapshot, String>) {
        self.heard = Instant::now();
        match news {
            Ok(snapshot) => {
                // After a gap the counters may be another daemon's.
                let is_next = self.trouble.take().is_none();
                self.before = self.now.replace(snapshot).filter(|_| is_next);
            }
            Err(why) => self.trouble = Some(why),
        }
    }

    fn key(&mut self, key: KeyEvent, height: u16) -> Then {
        if key.kind == KeyEventKind::Release {
            return Then::Stay;
        }
        let (views, columns) = (View::ALL.len(), View::ALL[self.view].columns().len());
        let (sorted_by, page) = (&mut self.sorted_by[self.view], usize::from(height / 2).max(1));
        match key.code {
            KeyCode::Char('q') => return Then::Leave,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Then::Leave,
            KeyCode::Tab => (self.view, self.above) = ((self.view + 1) % views, 0),
            KeyCode::BackTab => (self.view, self.above) = ((self.view + views - 1) % views, 0),
            KeyCode::Char('s') => *sorted_by = (*sorted_by + 1) % columns,
            KeyCode::Char('S') => *sorted_by = (*sorted_by + columns - 1) % columns,
            KeyCode::Up => self.above = self.above.saturating_sub(1),
            KeyCode::Down => self.above += 1,
            KeyCode::PageUp => self.above = self.above.saturating_sub(page),
            KeyCode::PageDown => self.above += page,
            _ => {}
        }
        Then::Stay
    }

    fn text(&mut self, (width, height): (u16, u16)) -> Text<'static> {
        let (width, height) = (usize::from(width), usize::from(height));
        let (bold, reversed) = (Style::new().add_modifier(Modifier::BOLD), Style::new().add_modifier(Modifier::REVERSED));
        let view = View::ALL[self.view];
        let (mut summary, mut table) = (Vec::new(), Vec::new());
        if let Some(now) = &self.now {
            let views = Views::new(now, self.before.as_ref());
            summary = views.summary();
            table = views.table(view, self.sorted_by[self.view], width);
        }
        let plain = |line: &str| Line::raw(cut(line, width));
        let mut lines = vec![Line::styled(cut(&format!("telexd at {}", self.address), width), bold)];
        lines.extend(summary.iter().map(|line| plain(line)));
        let names = View::ALL.map(|one| if one == view { format!("[{}]", one.name()) } else { one.name().to_owned() });
        let column = view.columns()[self.sorted_by[self.view]].trim_start_matches(['>', '=', '?']);
        lines.push(plain(&format!("{}  by {column}", names.join(" "))));
        let mut table = table.into_iter();
        lines.extend(table.next().map(|head| Line::styled(format!("{head:width$}"), reversed)));
        let room = height.saturating_sub(lines.len() + 1);
        self.above = self.above.min(table.len().saturating_sub(room));
        lines.extend(table.skip(self.above).take(room).map(|line| plain(&line)));
        lines.resize(height.saturating_sub(1), Line::default());
        lines.push(match &self.trouble {
            Some(why) => Line::styled(cut(&format!("{}; trying again", safe(why)), width), reversed),
            None if self.silent() > 1 => {
                let why = format!("the daemon has not answered for {} s; waiting", self.heard.elapsed().as_secs());
                Line::styled(cut(&why, width), reversed)
            }
            None => plain(HELP),
        });
        Text::from(lines)
    }
}
