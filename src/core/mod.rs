//! Knows the whole service as a state machine: facts go in, orders and bytes come out.
//! Never: opens, reads, writes or logs anything, or asks what time it is.
//!
//! A shell hands in what happened ([`Core::open`], [`Core::handle`]), writes what
//! [`Core::transmit`] gives to those that [`Core::next_dirty`] names, tells with [`Core::wrote`] how
//! much of it the kernel took, and carries out [`Core::next_effect`]. Time is a value that comes with
//! each call; [`Core::next_deadline`] says when the core wants to be called at the latest.
//!
//! The way of a line, from top to bottom: `intake` (frame, envelope, whose it is) → `gate` → `route`
//! or `control` → `delivery` (into outboxes) → `transmit`.

mod blocks;
mod control;
mod delivery;
mod effect;
mod emit;
mod event;
mod gate;
mod happened;
mod intake;
mod leave;
mod news;
mod outbox;
mod peer;
mod pressure;
mod progress;
mod registry;
mod reload;
mod repeats;
mod report;
mod requests;
mod route;
mod session;
mod share;
mod stats;
mod timers;
mod topics;
mod waiting;
mod watch;

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::time::Duration;

use slotmap::SlotMap;

use crate::clock::Now;
use crate::limits::Limits;
use crate::wire::code::Code;
use crate::wire::message::Refusal;

pub use effect::{Effect, Input, Reason};
pub use emit::{BadEmission, Emission};
pub use event::{Event, Level, Note, Subject};
pub use gate::{Counters, Gate, Judged, OpenGate, Verdict};
pub use happened::{Happened, Happening, Party};
pub use peer::{Identity, Peer, Transport, User};
pub use reload::{Reloaded, Token};
pub use repeats::Repeats;
pub use stats::Stats;

use session::Session;
use timers::Timer;

slotmap::new_key_type! {
    /// One connection's session. A key is never used again.
    pub struct SessionKey;
}

/// What the daemon says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// Of the program: `0.1.0`.
    pub version: &'static str,
    /// What `%n` becomes.
    pub host: String,
    /// How long queues are drained at the end; for `whoami`.
    pub drain_timeout: Duration,
}

/// The service.
#[derive(Debug)]
pub struct Core {
    about: About,
    limits: Limits,
    now: Now,
    started: Now,
    sessions: SlotMap<SessionKey, Session>,
    by_number: HashMap<u64, SessionKey>,
    users: HashMap<User, usize>,
    registry: registry::Registry,
    topics: topics::Topics,
    requests: requests::Requests,
    watch: watch::Watch,
    timers: timers::Timers,
    stats: Stats,
    /// Connections that were refused, for the notes.
    refusals: Repeats,
    /// What outboxes and sessions keep; `kept_bytes` adds the rest.
    memory_bytes: usize,
    /// A [`Timer::Pressure`] is set.
    under_pressure: bool,
    /// Sessions that hold a line.
    paused: usize,
    stopping: bool,
    /// Plugins want to know what happens.
    tells_happenings: bool,
    /// The last ticket and the last id of a message of the daemon's own.
    tickets: u64,
    own_ids: u64,

    dirty: VecDeque<SessionKey>,
    large: Vec<SessionKey>,
    effects: VecDeque<Effect>,
    /// Sessions that read too slowly, to be ended when the line in hand has been handled, and why.
    doomed: Vec<(SessionKey, Reason, String)>,
    /// What monitors have not been told yet.
    news: VecDeque<news::News>,
    /// Roll calls that go on when there are no such news any more.
    behind_news: Vec<SessionKey>,
    /// Leaving sessions that may have got all that they are owed.
    leaving: Vec<SessionKey>,
    /// Killed sessions, which are closed after one more try to write.
    at_once: Vec<SessionKey>,
    /// Work done for the session in hand beyond its bytes, in entries looked at.
    effort: usize,
    /// Bytes of its backlog that have been handled.
    worked_off: usize,

    spare: outbox::Spare,
    blocks: blocks::Blocks,
    scratch: intake::Scratch,
    /// Scratch for a line that goes to several, without and with the member `sender`.
    copies: [Vec<u8>; 2],
    receivers: Vec<SessionKey>,
}

impl Core {
    /// A service without connections.
    pub fn new(about: About, limits: Limits, now: Now) -> Core {
        Core {
            about,
            limits,
            now,
            started: now,
            sessions: SlotMap::with_key(),
            by_number: HashMap::new(),
            users: HashMap::new(),
            registry: Default::default(),
            topics: Default::default(),
            requests: Default::default(),
            watch: Default::default(),
            timers: Default::default(),
            stats: Stats::default(),
            refusals: Repeats::default(),
            memory_bytes: 0,
            under_pressure: false,
            paused: 0,
            stopping: false,
            tells_happenings: false,
            tickets: 0,
            own_ids: 0,
            dirty: VecDeque::new(),
            large: Vec::new(),
            effects: VecDeque::new(),
            doomed: Vec::new(),
            news: VecDeque::new(),
            behind_news: Vec::new(),
            leaving: Vec::new(),
            at_once: Vec::new(),
            effort: 0,
            worked_off: 0,
            spare: outbox::Spare::default(),
            blocks: blocks::Blocks::default(),
            scratch: Default::default(),
            copies: Default::default(),
            receivers: Vec::new(),
        }
    }

    /// Takes a new connection. `number` makes its unique id and must never have been used before.
    /// Where there is no room for it, gives the line to tell its peer before it is closed.
    pub fn open(&mut self, number: u64, peer: Peer, now: Now) -> Result<SessionKey, Vec<u8>> {
        self.now = now;
        if let Err(refusal) = self.admit_connection(&peer) {
            return Err(self.refuse_connection(number, &peer, &refusal));
        }
        self.stats.connections_total += 1;
        *self.users.entry(peer.user()).or_default() += 1;
        let transport = peer.transport.word();
        let text = format!("connected over {transport}");
        self.note(Level::Debug, Event::Opened, Subject::new(number, &peer), text, |fields| {
            fields.string("transport", transport);
        });
        let session = self.sessions.insert(Session::new(number, peer));
        self.by_number.insert(number, session);
        Ok(session)
    }

    /// Whether there is room for one more connection of this peer's; whoever has others to ask whether it
    /// may be opened asks this first.
    pub fn would_open(&self, peer: &Peer) -> bool {
        self.admit_connection(peer).is_ok()
    }

    /// Takes note of a connection that a plugin (`filter`) does not want, and that is not opened therefore.
    /// Gives the line to tell its peer before it is closed.
    pub fn turn_away(&mut self, number: u64, peer: &Peer, filter: &str, reason: &str, now: Now) -> Vec<u8> {
        self.now = now;
        let refusal = Refusal { filter: Some(filter.to_owned()), ..Refusal::new(Code::Denied, reason) };
        self.refuse_connection(number, peer, &refusal)
    }

    /// Takes note of a fact. What it leads to is told by the other methods.
    pub fn handle(&mut self, input: Input<'_>, now: Now, gate: &mut dyn Gate) {
        self.now = now;
        (self.effort, self.worked_off) = (0, 0);
        if self.stopping && !matches!(input, Input::Broke { .. } | Input::TimePassed) {
            return;
        }
        self.spread_news();
        match input {
            Input::Received { session, bytes } => self.received(session, bytes, gate),
            Input::Ending { session } => self.ending(session),
            Input::Ended { session } => self.ended(session, gate),
            Input::Broke { session } => self.broke(session),
            Input::Resumed { session } => self.resumed(session, gate),
            Input::TimePassed => self.time_passed(),
            Input::Measured { session, unread } => self.measured(session, unread),
            Input::Reloaded { token, outcome } => self.reloaded(token, outcome),
            Input::Emitted(emission) => self.emit(emission),
            Input::LimitsChanged(limits) => {
                self.limits = *limits;
                self.look_again_at_all();
            }
            Input::StopAsked => self.stop(),
        }
        self.settle();
    }

    /// Whether bytes of this session can be handled now. Where not, an [`Effect::Resume`] will come.
    pub fn wants_bytes(&self, session: SessionKey) -> bool {
        self.sessions
            .get(session)
            .is_some_and(|session| !session.is_blocked() && session.backlog.is_empty() && !session.ended)
    }

    /// The next session that has something to be written.
    pub fn next_dirty(&mut self) -> Option<SessionKey> {
        loop {
            let key = self.dirty.pop_front()?;
            if let Some(session) = self.sessions.get_mut(key) {
                session.dirty = false;
                return Some(key);
            }
        }
    }

    /// Whether there is such a one.
    pub fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Whether [`Core::reap`] has anybody to close.
    pub fn has_condemned(&self) -> bool {
        !self.at_once.is_empty()
    }

    /// The next session with so much to be written that it should not wait for the end of the turn.
    pub fn next_large(&mut self) -> Option<SessionKey> {
        self.large.pop()
    }

    /// Whether there is something to be written to a session.
    pub fn is_owed(&self, session: SessionKey) -> bool {
        self.sessions.get(session).is_some_and(|session| !session.outbox.is_empty())
    }

    /// Puts what is to be written to a session next into `slices`, and says how many it filled.
    pub fn transmit<'a>(&'a self, session: SessionKey, slices: &mut [IoSlice<'a>]) -> usize {
        self.sessions.get(session).map_or(0, |session| session.outbox.transmit(&self.blocks, slices))
    }

    /// What the core orders next.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Input::TimePassed`] is wanted at the latest.
    pub fn next_deadline(&mut self) -> Option<Duration> {
        if !self.news.is_empty() {
            return Some(Duration::ZERO);
        }
        let mut timers = std::mem::take(&mut self.timers);
        timers.skip_stale(|at, timer| self.timer_matters(at, timer));
        self.timers = timers;
        self.timers.next()
    }

    /// One more timer does not matter any more.
    fn timer_gone_stale(&mut self) {
        let mut timers = std::mem::take(&mut self.timers);
        timers.gone_stale(|at, timer| self.timer_matters(at, timer));
        self.timers = timers;
    }

    /// Whether anything happens when this timer is due, at `at`.
    fn timer_matters(&self, at: Duration, timer: Timer) -> bool {
        match timer {
            Timer::Request(key) => self.requests.contains(key),
            Timer::Held(session, ticket) => self
                .sessions
                .get(session)
                .and_then(|session| session.held.as_ref())
                .is_some_and(|held| held.ticket == ticket),
            Timer::Progress(session) => self
                .sessions
                .get(session)
                .and_then(|session| session.watch.as_ref())
                .is_some_and(|watch| watch.due == at),
            Timer::Pressure => true,
        }
    }

    /// Whether nobody is owed anything any more that could still be written.
    pub fn is_drained(&self) -> bool {
        self.sessions.values().all(|session| session.outbox.is_empty() || session.broke)
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.sessions.len()
    }

    /// Work done in the last call beyond the bytes that it brought, in bytes' worth.
    pub fn effort_bytes(&self) -> usize {
        const ENTRY_BYTES: usize = 50;
        self.effort * ENTRY_BYTES + self.worked_off
    }

    /// Takes note of how long a turn of the loop took.
    pub fn turned(&mut self, took: Duration) {
        self.stats.turns += 1;
        self.stats.longest_turn = self.stats.longest_turn.max(took);
    }

    /// Takes note of how long queues will be drained at the end; for `whoami`.
    pub fn drain_timeout_changed(&mut self, drain_timeout: Duration) {
        self.about.drain_timeout = drain_timeout;
    }

    /// What has been counted so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    fn time_passed(&mut self) {
        while let Some(timer) = self.timers.due(self.now.mono) {
            match timer {
                Timer::Request(key) => self.request_expired(key),
                Timer::Held(session, ticket) => self.held_expired(session, ticket),
                Timer::Progress(session) => self.progress_is_due(session),
                Timer::Pressure => self.check_pressure(),
            }
            self.settle();
        }
    }

    /// Carries out what the line in hand has led to beyond itself, until nothing is left of it.
    fn settle(&mut self) {
        loop {
            if let Some((session, reason, why)) = self.doomed.pop() {
                self.end_now(session, reason, &why);
            } else if let Some(session) = self.leaving.pop() {
                self.close_if_settled(session);
            } else {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
