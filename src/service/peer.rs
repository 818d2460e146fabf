//! Knows one direct connection: what of it is read, what waits to be written, and when it takes too long.
//! Never: other connections, or which of them is ready.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use crate::limits::{BROKEN_LINES_MAX, STALL_BYTES_MIN};
use crate::service::hear::{About, Asker, Heard, error_line, hear, refuse_beginning};
use crate::service::stream::Stream;
use crate::service::work::Job;
use crate::wire::code::Code;
use crate::wire::frame::{Deframer, Frame};
use crate::wire::message::Refusal;

/// Answers that are not taken yet, from which on no more is heard, in bytes.
const UNSENT_BYTES_MAX: usize = 256 << 10;
/// How long a connection that is to be closed is given to take what was said.
const LINGER: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) stream: Stream,
    pub(super) asker: Asker,
    stage: Stage,
    deframer: Deframer,
    /// What was read; from `rest_at` on it is not looked at yet: its turn comes when there is room.
    rest: Vec<u8>,
    rest_at: usize,
    /// Lines to be written, of which `sent` bytes are.
    output: Vec<u8>,
    sent: usize,
    /// Messages that are being handled, and their bytes.
    open: usize,
    open_bytes: usize,
    broken_lines: u32,
    /// Whether its first bytes have been looked at, and whether a line of it was a message.
    has_begun: bool,
    has_spoken: bool,
    /// Since when half a line is there, and how much of it was there then.
    half: Option<(Instant, usize)>,
    /// Since when something waits to be taken, and how much was taken since.
    unsent: Option<(Instant, usize)>,
    /// When something came last.
    active: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Both sides may speak.
    Open,
    /// Nothing more is heard; what is due is said.
    Ended,
    /// All is said, and what comes is dropped until the other side ends, too, or then.
    Leaving(Instant),
    Closed,
}

impl Peer {
    pub(super) fn new(stream: Stream, asker: Asker, now: Instant) -> Peer {
        Peer {
            stream,
            asker,
            stage: Stage::Open,
            deframer: Deframer::default(),
            rest: Vec::new(),
            rest_at: 0,
            output: Vec::new(),
            sent: 0,
            open: 0,
            open_bytes: 0,
            broken_lines: 0,
            has_begun: false,
            has_spoken: false,
            half: None,
            unsent: None,
            active: now,
        }
    }

    /// Reads once, if there is room for what that brings. Gives what is to be handled to `take`.
    pub(super) fn read(
        &mut self,
        scratch: &mut [u8],
        about: &About,
        now: Instant,
        take: &mut dyn FnMut(u64, Job),
    ) {
        if !self.wants_read(about) {
            return;
        }
        match self.stream.read_some(scratch) {
            Ok(0) if self.stage == Stage::Open => {
                if let Some(Frame::Joined(line)) = self.deframer.finish(about.max_line_bytes) {
                    self.heard(&line, about, now, take);
                }
                self.end();
            }
            Ok(0) => self.stage = Stage::Closed,
            Ok(length) if self.stage == Stage::Open => {
                self.active = now;
                self.rest = scratch[..length].to_vec();
                self.hear_rest(about, now, take);
            }
            Ok(_) => {}
            Err(error) if is_later(&error) => {}
            // What it said before is handled all the same.
            Err(_) if self.open > 0 => self.lose(),
            Err(_) => self.stage = Stage::Closed,
        }
    }

    /// Goes on with what was read before, as far as there is room.
    pub(super) fn hear_rest(&mut self, about: &About, now: Instant, take: &mut dyn FnMut(u64, Job)) {
        let rest = std::mem::take(&mut self.rest);
        let mut input = &rest[std::mem::take(&mut self.rest_at)..];
        if !self.has_begun && self.is_tcp() && !self.check_beginning(input) {
            return;
        }
        while self.stage == Stage::Open && self.has_room(about) {
            match self.deframer.next(&mut input, about.max_line_bytes) {
                Some(Frame::Whole(line)) => self.heard(line, about, now, take),
                Some(Frame::Joined(line)) => self.heard(&line, about, now, take),
                Some(Frame::TooLong) => {
                    let error =
                        format!("the line is longer than {} bytes; it is skipped", about.max_line_bytes);
                    self.broken(error_line(&Refusal::new(Code::LineTooLong, error), None));
                }
                None => break,
            }
        }
        if self.stage == Stage::Open && !input.is_empty() {
            self.rest_at = rest.len() - input.len();
            self.rest = rest;
        }
        let partial = self.deframer.partial().len();
        match self.half {
            _ if partial == 0 || !self.rest.is_empty() => self.half = None,
            Some((_, then)) if partial < then + STALL_BYTES_MIN as usize && partial >= then => {}
            _ => self.half = Some((now, partial)),
        }
    }

    /// Whether the beginning of the connection may be this protocol. An HTTP request must not be taken for lines.
    fn check_beginning(&mut self, bytes: &[u8]) -> bool {
        if bytes.trim_ascii_start().is_empty() {
            return true;
        }
        self.has_begun = true;
        match refuse_beginning(bytes) {
            Some(line) => {
                self.say(&line);
                self.end();
                false
            }
            None => true,
        }
    }

    fn heard(&mut self, line: &[u8], about: &About, now: Instant, take: &mut dyn FnMut(u64, Job)) {
        match hear(line, &mut self.asker, about) {
            Heard::Broken(line) => return self.broken(line),
            Heard::Say(line) => self.say(&line),
            Heard::Nothing => {}
            Heard::Do(message) => {
                let job = Job::new(message, now);
                self.open += 1;
                self.open_bytes += job.bytes();
                take(self.asker.number, job);
            }
        }
        (self.broken_lines, self.has_spoken) = (0, true);
    }

    fn broken(&mut self, line: Vec<u8>) {
        self.say(&line);
        self.broken_lines += 1;
        if self.broken_lines == BROKEN_LINES_MAX || (self.is_tcp() && !self.has_spoken) {
            self.end();
        }
    }

    fn is_tcp(&self) -> bool {
        matches!(self.stream, Stream::Tcp(_))
    }

    pub(super) fn say(&mut self, line: &[u8]) {
        self.output.extend_from_slice(line);
    }

    /// Says why, and hears nothing more.
    pub(super) fn dismiss(&mut self, code: Code, why: &str) {
        self.say(&error_line(&Refusal::new(code, why), None));
        self.open = 0;
        self.end();
    }

    /// Says, if it can be said at once, that too much is kept for it.
    pub(super) fn give_up(&mut self, now: Instant) {
        if !self.wants_write() {
            self.dismiss(
                Code::Overloaded,
                "too much memory is in use: the connection that uses most is closed",
            );
            self.write(now);
        }
    }

    /// A message has been handled; `line` is the answer, or nothing.
    pub(super) fn handled(&mut self, line: &[u8], bytes: usize, now: Instant) {
        // What was not read meanwhile is not late.
        self.half = self.half.map(|(_, then)| (now, then));
        self.open = self.open.saturating_sub(1);
        self.open_bytes = self.open_bytes.saturating_sub(bytes);
        self.say(line);
    }

    /// Nothing more is heard.
    pub(super) fn end(&mut self) {
        if self.stage == Stage::Open {
            self.stage = Stage::Ended;
        }
        (self.deframer, self.half) = (Deframer::default(), None);
        (self.rest, self.rest_at) = (Vec::new(), 0);
    }

    /// Nothing more can be said.
    fn lose(&mut self) {
        self.end();
        (self.output, self.sent, self.unsent) = (Vec::new(), 0, None);
    }

    /// Writes what there is room for, and closes what is over.
    pub(super) fn write(&mut self, now: Instant) {
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(length) => {
                    self.sent += length;
                    let (since, taken) = self.unsent.unwrap_or((now, 0));
                    let is_enough = (taken + length) as u64 >= STALL_BYTES_MIN;
                    self.unsent = Some(if is_enough { (now, 0) } else { (since, taken + length) });
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_later(&error) => {
                    self.unsent.get_or_insert((now, 0));
                    break;
                }
                Err(_) => {
                    self.lose();
                    break;
                }
            }
        }
        if self.sent > UNSENT_BYTES_MAX && self.sent > self.output.len() / 2 {
            self.output.drain(..std::mem::take(&mut self.sent));
        }
        if self.sent == self.output.len() {
            (self.output, self.sent, self.unsent) = (Vec::new(), 0, None);
            if self.stage == Stage::Ended && self.open == 0 {
                // A TCP socket that is closed with something unread in it takes back what is still on its way.
                self.stage = match self.stream.end_of_tcp() {
                    true => Stage::Leaving(now + LINGER),
                    false => Stage::Closed,
                };
            }
        }
    }

    fn has_room(&self, about: &About) -> bool {
        self.open < 2 * about.max_requests
            && self.open_bytes < about.max_line_bytes
            && self.output.len() - self.sent < UNSENT_BYTES_MAX
    }

    /// Whether there is something to be heard that was read before, and room for it.
    pub(super) fn can_go_on(&self, about: &About) -> bool {
        !self.rest.is_empty() && self.has_room(about)
    }

    pub(super) fn wants_read(&self, about: &About) -> bool {
        match self.stage {
            Stage::Open => self.rest.is_empty() && self.has_room(about),
            Stage::Leaving(_) => true,
            Stage::Ended | Stage::Closed => false,
        }
    }

    pub(super) fn wants_write(&self) -> bool {
        self.sent < self.output.len()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }

    /// Since when nothing at all has gone on; none if something does.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_idle =
            self.stage == Stage::Open && self.open == 0 && !self.wants_write() && self.half.is_none();
        is_idle.then_some(self.active)
    }

    /// When it takes too long, unless something goes on.
    pub(super) fn due(&self, about: &About, stall_timeout: Duration) -> Option<Instant> {
        let leaves = match self.stage {
            Stage::Leaving(until) => Some(until),
            _ => None,
        };
        let half = self.half.filter(|_| self.wants_read(about));
        let stalls = [half, self.unsent].into_iter().flatten();
        stalls.filter_map(|(since, _)| since.checked_add(stall_timeout)).chain(leaves).min()
    }

    /// Ends it if that is over.
    pub(super) fn expire(&mut self, about: &About, stall_timeout: Duration, now: Instant) {
        if self.due(about, stall_timeout).is_none_or(|due| due > now) {
            return;
        }
        match (self.stage, self.half) {
            (Stage::Open, Some(_)) if self.unsent.is_none() => {
                let why = "the connection is closed: the rest of a line did not come";
                self.dismiss(Code::Timeout, why);
                self.write(now);
            }
            _ => self.stage = Stage::Closed,
        }
    }

    /// What is kept for it.
    pub(super) fn kept_bytes(&self) -> usize {
        self.deframer.kept_bytes() + self.rest.capacity() + self.output.capacity() + self.open_bytes
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
