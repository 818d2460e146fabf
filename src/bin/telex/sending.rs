//! Knows signals from the command line or from the lines of stdin, and what became of them.
//! Never: ends well before the daemon has taken them all.

use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::PollFlags;
use telex::client::{self, Category, Client, Error, Message, Refused, To};

use crate::body::{Sent, unsendable};
use crate::exit::{Exit, Failure, Failures};
use crate::notice::notice;
use crate::output::{Words, counted, safe};
use crate::wait::wait;

/// How many lines are sent at most before it is looked what the daemon says about them.
const LOOK_EVERY: u64 = 128;

/// Signals that are being sent to one receiver.
pub(crate) struct Sending<'a> {
    client: &'a mut Client,
    to: To<'a>,
    options: &'a Sent,
    /// Whether the bodies are lines of stdin.
    is_lines: bool,
    words: Words,
    /// Runs of lines: the ticket and the line of stdin that each begins with.
    sent: Vec<(u64, u64)>,
    failures: Failures,
    dropped: u64,
}

impl<'a> Sending<'a> {
    pub(crate) fn new(client: &'a mut Client, to: To<'a>, options: &'a Sent, words: Words) -> Sending<'a> {
        let (is_lines, sent) = (false, Vec::new());
        Sending { client, to, options, is_lines, words, sent, failures: Failures::default(), dropped: 0 }
    }

    /// Sends one with this body, or if there is none, or it is `-`, one for each line of stdin; then waits until the daemon
    /// has taken them.
    pub(crate) fn run(mut self, body: Option<&str>) -> Result<(), Failure> {
        let ended = match body.filter(|body| *body != "-") {
            Some(blank) if !self.options.text && blank.trim_ascii().is_empty() => self.send("\"\"", None),
            Some(body) => self.send(body, None),
            None => {
                self.is_lines = true;
                self.send_lines()
            }
        };
        match ended {
            // What was sent before a line at fault is to be reported all the same.
            Err(failure) if failure.exit == Exit::Usage && !failure.is_end => self.finish().and(Err(failure)),
            Ok(()) => self.finish(),
            Err(failure) => Err(failure),
        }
    }

    fn send_lines(&mut self) -> Result<(), Failure> {
        let mut stdin = BufReader::new(std::io::stdin().lock());
        let mut bytes = Vec::new();
        for number in 1.. {
            if stdin.buffer().is_empty() {
                self.wait_for(stdin.get_ref())?;
            }
            bytes.clear();
            let length = stdin.read_until(b'\n', &mut bytes);
            if length.map_err(|error| Failure::file("stdin", &error))? == 0 {
                break;
            }
            let line = std::str::from_utf8(&bytes).map_err(|error| {
                Failure::usage(format!("line {number} of stdin: it is not UTF-8: {error}"))
            })?;
            let line = line.strip_suffix('\n').unwrap_or(line);
            let line = line.strip_suffix('\r').unwrap_or(line);
            if self.options.text || !line.trim().is_empty() {
                self.send(line, Some(number))?;
            }
            if number % LOOK_EVERY == 0 {
                self.look()?;
            }
        }
        Ok(())
    }

    /// Waits for the next line of stdin. What the daemon says meanwhile is told at once, its end too.
    fn wait_for(&mut self, stdin: &impl AsFd) -> Result<(), Failure> {
        loop {
            self.look()?;
            let files = [(self.client.as_fd(), PollFlags::POLLIN), (stdin.as_fd(), PollFlags::POLLIN)];
            if let Some(1) = wait(&files, None)? {
                return Ok(());
            }
        }
    }

    fn send(&mut self, body: &str, line: Option<u64>) -> Result<(), Failure> {
        let text;
        let body = if self.options.text {
            text = client::text(body);
            &text
        } else {
            body
        };
        let ticket = loop {
            match self.client.send(self.to, body) {
                Ok(ticket) => break ticket.number(),
                Err(Error::KeptFull) => self.look()?,
                Err(Error::Unsendable(why)) => return Err(unsendable(&why, body, line, self.options.text)),
                Err(error) => return Err(error.into()),
            }
        };
        let line = line.unwrap_or(0);
        // Blank lines that were passed over begin a new run.
        if self.sent.last().is_none_or(|&(first, at)| line != at + (ticket - first)) {
            self.sent.push((ticket, line));
        }
        Ok(())
    }

    /// Takes what has come.
    fn look(&mut self) -> Result<(), Failure> {
        while let Some(message) = self.client.next(Some(Duration::ZERO))? {
            self.take(message);
        }
        Ok(())
    }

    fn take(&mut self, message: Message) {
        if message.category() != Category::Error {
            match notice(&message) {
                Some(notice) => self.words.say(&notice),
                None => self.dropped += 1,
            }
            return;
        }
        let line = self.line_of(&message);
        let Err(refused) = Refused::check(message) else { return };
        let failure = Failure::new(Exit::of_refusal(&refused), safe(&refused.to_string()));
        self.failures.add(&failure.at(line), self.words);
    }

    /// The line of stdin that an error is about.
    fn line_of(&self, message: &Message) -> Option<u64> {
        let ticket = self.client.answered(message)?.number();
        let run = self.sent.iter().rev().find(|(first, _)| *first <= ticket);
        run.map(|(first, line)| line + (ticket - first)).filter(|_| self.is_lines)
    }

    /// Waits until the daemon has taken everything: it answers a connection's lines in their order.
    fn finish(&mut self) -> Result<(), Failure> {
        loop {
            match self.client.call(To::Daemon, "ping", "", self.options.timeout) {
                Ok(_) => break,
                Err(Error::KeptFull) => self.look()?,
                Err(error) => return Err(error.into()),
            }
        }
        // The connection may end here: what it was needed for is done.
        let _ = self.look();
        if self.dropped > 0 {
            let name = self.options.from.as_deref().unwrap_or_default();
            let messages = counted(self.dropped, "message");
            self.words.say(&format!("{messages} for {name} came meanwhile and had to be dropped"));
        }
        std::mem::take(&mut self.failures).end(self.words)
    }
}
