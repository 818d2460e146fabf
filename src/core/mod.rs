//! Knows the whole service as a state machine: facts go in, orders and bytes come out.
//! Never: opens, reads, writes or logs anything, or asks what time it is.
//!
//! A shell hands in what happened ([`Core::open`], [`Core::handle`]), writes what [`Core::transmit`] gives to
//! those that [`Core::next_dirty`] names, tells with [`Core::wrote`] how much of it the kernel took, and carries
//! out [`Core::next_order`]. Time is a value that comes with each call; [`Core::next_deadline`] says when the
//! core wants to be called at the latest.
//!
//! ```text
//!   bytes ─▶ acts/intake ─▶ judge ─▶ route ─▶ publish ─▶ Post ─▶ bytes of the receivers
//!             lines, whose   gate     │         copies     outboxes, blocks
//!                                     ├▶ control, register, report, answer: say ─▶ Post
//!   time  ─▶ acts/settle ─────────────┴▶ leave, presence, fates, stop:      say ─▶ Post
//!                ▲
//!                └── After: what something leads to beyond itself, in its order
//!
//!   Core       the acts, and these nouns; each has its fields to itself, and verbs that call only downwards:
//!   ├ Sessions   who is there, by key and number      Session: Caller, Phase, Inbound, Outbound, Holdings
//!   ├ KeptBack   administrators' connections beyond all bounds
//!   ├ Post       lines into outboxes and out of them  (Outbox, Blocks, Spare)
//!   ├ Rows       who waits for room, in which order   (Row, with its receiver)
//!   ├ Stalls     who takes too little                 (Watch, with its session)
//!   ├ Budget     every counted byte, and its bound    (Kept)
//!   ├ Traffic    what is published of late
//!   ├ table/     Registry, Topics, Requests, Watchers, Timers: who holds, subscribes, owes, watches, when
//!   └ Desk       the time, Limits, Tuning, Stats, Orders to the shell, Consequences, Effort
//! ```
//!
//! # Words
//!
//! A *line* is bytes up to LF; a *message* is what a peer's line says; a *parcel* is a message on its way. A
//! *fate* is what became of it. A *record* ([`Note`]) is for the log, and its [`Event`] says what of; a
//! *happening* is for plugins; *news* are for monitors. A *watcher* monitors node IDs or taps messages; a
//! session is *watched* while its peer has to read on. A connection is *broken* when nothing can be written to
//! it any more. An [`Order`] is for the shell.

mod acts;
mod after;
mod blocks;
mod budget;
mod check;
mod desk;
mod emission;
mod event;
mod gate;
mod happening;
mod kept_back;
mod order;
mod outbox;
mod own_line;
mod parcel;
mod peer;
mod phase;
mod post;
mod refusals;
mod repeats;
mod row;
mod rows;
mod session;
mod sessions;
mod stalls;
mod stats;
mod table;
mod traffic;
mod tuning;

use std::io::IoSlice;
use std::time::Duration;

use crate::clock::Now;
use crate::limits::Limits;
use crate::wire::code::Code;
use crate::wire::message::Refusal;

#[cfg(feature = "daemon")]
pub use acts::STATE_VERSION;
pub use emission::{BadEmission, Emission};
pub use event::{Event, Level, Note, Subject};
pub use gate::{Counters, Explained, Gate, Judged, OpenGate, Ruling, Verdict};
pub use happening::{Happened, Happening, Party};
pub use order::{Input, Order, Outcome, Reason, Reloaded, Token, Work};
pub use peer::{Identity, Peer, Transport, User};
pub use repeats::Repeats;
pub use stats::Stats;
pub use tuning::Tuning;

use acts::Scratch;
use budget::Budget;
use desk::Desk;
use kept_back::KeptBack;
use phase::{Pause, Phase};
use post::Post;
use rows::Rows;
use sessions::Sessions;
use table::registry::Registry;
use table::requests::Requests;
use table::search::Search;
use table::timers::Timer;
use table::topics::Topics;
use table::watchers::Watchers;
use traffic::Traffic;

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
    desk: Desk,
    sessions: Sessions,
    kept_back: KeptBack,
    post: Post,
    rows: Rows,
    budget: Budget,
    registry: Registry,
    topics: Topics,
    requests: Requests,
    watchers: Watchers,
    /// What is published, once that was asked.
    traffic: Option<Box<Traffic>>,
    /// Connections that were refused, for the records.
    refusals: Repeats,
    /// Plugins want to know what happens.
    tells_happenings: bool,
    /// Buffers that are used again and again.
    scratch: Scratch,
    search: Search,
    receivers: Vec<SessionKey>,
}

impl Core {
    /// A service without connections.
    pub fn new(about: About, limits: Limits, now: Now) -> Core {
        Core::tuned(about, limits, Tuning::default(), now)
    }

    /// A service without connections that has thresholds of its own.
    pub fn tuned(about: About, limits: Limits, tuning: Tuning, now: Now) -> Core {
        Core {
            about,
            post: Post::new(tuning.clone()),
            desk: Desk::new(limits, tuning, now),
            sessions: Sessions::default(),
            kept_back: KeptBack::default(),
            rows: Rows::default(),
            budget: Budget::default(),
            registry: Registry::default(),
            topics: Topics::default(),
            requests: Requests::default(),
            watchers: Watchers::default(),
            traffic: None,
            refusals: Repeats::default(),
            tells_happenings: false,
            scratch: Scratch::default(),
            search: Search::default(),
            receivers: Vec::new(),
        }
    }

    /// Takes a new connection. `number` makes its unique id and must never have been used before. If there is
    /// no room for it, or the daemon ends, gives the line to tell its peer before it is closed.
    pub fn open(&mut self, number: u64, peer: Peer, now: Now) -> Result<SessionKey, Vec<u8>> {
        self.desk.set_now(now);
        if self.desk.stopping {
            return Err(self.refuse_at_the_end(number));
        }
        if let Err(refusal) = self.admit_connection(&peer) {
            return Err(self.refuse_connection(number, &peer, &refusal));
        }
        Ok(self.begin(number, peer))
    }

    /// Takes a new connection of an administrator's although there is no room for it, as one of those that are kept
    /// back: it may only send requests to the daemon, ends soon after its last line, and the oldest one ends
    /// if there are too many. A daemon that ends takes none, as [`Core::open`] does.
    pub fn open_beyond(&mut self, number: u64, peer: Peer, now: Now) -> Result<SessionKey, Vec<u8>> {
        self.desk.set_now(now);
        if self.desk.stopping {
            return Err(self.refuse_at_the_end(number));
        }
        let key = self.begin(number, peer);
        self.keep_back(key);
        Ok(key)
    }

    fn begin(&mut self, number: u64, peer: Peer) -> SessionKey {
        self.desk.stats.connections_total += 1;
        let transport = peer.transport.word();
        let (about, text) = (Subject::new(number, &peer), format!("connected over {transport}"));
        self.desk.orders.note(Level::Debug, Event::Opened, about, text, |fields| {
            fields.string("transport", transport);
        });
        let key = self.sessions.open(number, peer, self.desk.now.wall);
        self.tell_peers(key, &Happening::Connected);
        key
    }

    /// Whether there is room for one more connection of this peer's: to be asked before a plugin is asked
    /// whether it may be opened.
    pub fn would_open(&self, peer: &Peer) -> bool {
        !self.desk.stopping && self.admit_connection(peer).is_ok()
    }

    /// Takes note of a connection that a plugin (`filter`) does not want, and that is not opened therefore.
    /// Gives the line to tell its peer before it is closed.
    pub fn turn_away(&mut self, number: u64, peer: &Peer, filter: &str, reason: &str, now: Now) -> Vec<u8> {
        self.desk.set_now(now);
        let refusal = Refusal { filter: Some(filter.to_owned()), ..Refusal::new(Code::Denied, reason) };
        self.refuse_connection(number, peer, &refusal)
    }

    /// Takes note of a connection that is not opened because the process may have no more files open. Gives the
    /// line to tell its peer before it is closed.
    pub fn refuse_for_files(&mut self, number: u64, peer: &Peer, now: Now) -> Vec<u8> {
        self.desk.set_now(now);
        if self.desk.stopping {
            return self.refuse_at_the_end(number);
        }
        let error = "the daemon cannot open more files, so it takes no more connections";
        self.refuse_connection(number, peer, &Refusal::new(Code::Overloaded, error))
    }

    /// Takes note of a fact. What it leads to is told by the other methods.
    pub fn handle(&mut self, input: Input<'_>, now: Now, gate: &mut dyn Gate) {
        self.desk.set_now(now);
        self.desk.effort.begin_call();
        if self.desk.stopping && !matches!(input, Input::Broke { .. } | Input::TimePassed) {
            return;
        }
        match input {
            Input::Received { session, bytes } => self.received(session, bytes, gate),
            Input::Ending { session } => self.ending(session),
            Input::Ended { session } => self.ended(session, gate),
            Input::Broke { session } => self.break_off(session),
            Input::Resumed { session } => self.resumed(session, gate),
            Input::HeldUp => self.desk.begin_turn(true),
            Input::TimePassed => {
                self.desk.begin_turn(false);
                self.time_passed();
            }
            Input::Measured { session, unread } => self.measured(session, unread),
            Input::Done { token, outcome } => self.done(token, outcome),
            Input::Emitted(emission) => self.emit(emission),
            Input::LimitsChanged(limits) => {
                self.desk.limits = *limits;
                self.look_again_at_all();
            }
            Input::StopAsked => self.stop(),
        }
        self.settle();
        self.tidy();
    }

    /// Whether bytes of this session can be handled now. If not, an [`Order::Resume`] will come.
    pub fn wants_bytes(&self, session: SessionKey) -> bool {
        self.sessions.get(session).is_some_and(|session| {
            !session.is_blocked() && session.inbound.backlog.is_empty() && session.phase < Phase::Ended
        })
    }

    /// Whether connections that have ended wait for nothing but the core itself, so that they are not gone for all
    /// others yet, or count where a newcomer may be refused for their number.
    pub fn has_leavers(&self) -> bool {
        // Of one that waits the end may not have been read.
        let ends = |key| {
            let session = self.sessions.get(key);
            session.is_some_and(|session| matches!(session.phase, Phase::Ending | Phase::Ended))
        };
        self.desk.after.has_leavers() && self.is_crowded() || self.desk.after.waiting().any(ends)
    }

    /// The next session that has something to be written.
    pub fn next_dirty(&mut self) -> Option<SessionKey> {
        self.post.next_dirty(&mut self.sessions)
    }

    /// Whether any session has something to be written.
    pub fn has_dirty(&self) -> bool {
        self.post.has_dirty()
    }

    /// Whether [`Core::reap`] has anything to end.
    pub fn has_condemned(&self) -> bool {
        !self.desk.after.condemned.is_empty()
    }

    /// The next session with so much to be written that it should not wait for the end of the turn.
    pub fn next_large(&mut self) -> Option<SessionKey> {
        self.post.next_large()
    }

    /// Whether there is something to be written to a session.
    pub fn is_owed(&self, session: SessionKey) -> bool {
        let session = self.sessions.get(session);
        // Half a line may have been written to it, of which the rest is given up: what comes meanwhile is none.
        session.is_some_and(|session| !session.outbound.outbox.is_empty() && !session.outbound.broken)
    }

    /// Puts what is to be written to a session next into `slices`, and says how many it filled.
    pub fn transmit<'a>(&'a self, session: SessionKey, slices: &mut [IoSlice<'a>]) -> usize {
        let session = self.sessions.get(session).filter(|session| !session.outbound.broken);
        session.map_or(0, |session| self.post.transmit(&session.outbound.outbox, slices))
    }

    /// Takes note that `count` bytes of what [`Core::transmit`] gave have been written.
    pub fn wrote(&mut self, key: SessionKey, count: usize, now: Now) {
        self.desk.set_now(now);
        let (choked_at, roll_call_at) = (self.choked_at(), self.roll_call_room() / 2);
        let is_short = self.is_overloaded();
        let Some(session) = self.sessions.get_mut(key) else { return };
        self.post.wrote(session, count, &self.desk.limits);
        self.desk.stats.bytes_out += count as u64;
        let answers = session.outbound.outbox.answer_bytes();
        let pauses = &mut session.inbound.pauses;
        if answers <= choked_at && pauses.end(Pause::Answers)
            || answers <= roll_call_at && pauses.contains(Pause::Walk)
        {
            self.desk.orders.resume(key);
        }
        if session.phase == Phase::Owed && session.outbound.outbox.is_empty() {
            self.desk.after.push(after::After::Settled(key));
        }
        let is_watched = session.is_watched();
        let has_row = session.row.is_some();
        self.tell_missed(key);
        if has_row {
            self.rows.relieve(&mut self.sessions, &mut self.desk, key, is_short);
        }
        if is_watched && let Some(session) = self.sessions.get_mut(key) {
            session.unwatch(&mut self.desk, is_short);
        }
        self.settle();
    }

    /// Ends those that were to have one more try to write, which the shell has made by now.
    pub fn reap(&mut self) {
        self.end_last_tries();
        self.settle();
    }

    /// What the core orders next.
    pub fn next_order(&mut self) -> Option<Order> {
        self.desk.orders.take()
    }

    /// When [`Input::TimePassed`] is wanted at the latest.
    pub fn next_deadline(&mut self) -> Option<Duration> {
        // What waits for the last try to write goes on with `reap`.
        let waits = self.desk.after.first_leaver().is_some_and(|leaver| self.is_tried_once_more(leaver));
        if !self.desk.after.is_empty() && !waits {
            return Some(Duration::ZERO);
        }
        self.next_timer()
    }

    /// Whether a deadline has come by `now`.
    pub fn is_due(&mut self, now: Duration) -> bool {
        self.next_timer().is_some_and(|at| at <= now)
    }

    fn next_timer(&mut self) -> Option<Duration> {
        let mut timers = std::mem::take(&mut self.desk.timers);
        timers.skip_stale(|at, timer| self.timer_matters(at, timer));
        self.desk.timers = timers;
        self.desk.timers.next()
    }

    /// Ends a call: nothing is half done.
    fn tidy(&mut self) {
        let looked_at_max = self.desk.tuning.timers_together_max;
        if self.desk.effort.timers < looked_at_max
            && self.desk.timers.has_many_stale(self.desk.tuning.stale_timers_min)
        {
            let mut timers = std::mem::take(&mut self.desk.timers);
            let looked_at = timers.prune(|at, timer| self.timer_matters(at, timer));
            self.desk.timers = timers;
            // Most lie close together, and are looked at faster than entries elsewhere.
            self.desk.works(looked_at / 4);
            self.desk.effort.timers += looked_at;
        }
        if cfg!(debug_assertions) {
            self.check_now_and_then();
        }
    }

    /// Whether anything happens when this timer is due, at `at`.
    fn timer_matters(&self, at: Duration, timer: Timer) -> bool {
        match timer {
            Timer::Request(key) => self.requests.contains(key),
            Timer::Held(session, ticket) => {
                let held = self.sessions.get(session).and_then(|session| session.inbound.held.as_ref());
                held.is_some_and(|held| held.ticket == ticket)
            }
            Timer::Progress(session) => {
                self.sessions.get(session).is_some_and(|session| session.is_watched_at(at))
            }
            Timer::KeptBack(session) => self.kept_back.ends_at(session, at),
            Timer::Pressure => true,
        }
    }

    /// Whether nothing is owed any more that could still be written.
    pub fn is_drained(&self) -> bool {
        let is_drained =
            |session: &session::Session| session.outbound.outbox.is_empty() || session.outbound.broken;
        self.desk.after.is_empty() && self.sessions.iter().all(|(_, session)| is_drained(session))
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.sessions.len()
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.registry.here()
    }

    /// Work done in the last call beyond the bytes that it brought, in bytes' worth. What earlier calls have
    /// led to is no part of it: that has a bound of its own in each turn, and must keep none from its turn.
    pub fn effort_bytes(&self) -> usize {
        const ENTRY_BYTES: usize = 50;
        let effort = &self.desk.effort;
        (effort.call - effort.call_settled) * ENTRY_BYTES + effort.worked_off
    }

    /// Takes note of how long a turn of the loop took.
    pub fn turned(&mut self, took: Duration) {
        self.desk.stats.turns += 1;
        self.desk.stats.longest_turn = self.desk.stats.longest_turn.max(took);
    }

    /// Takes note of how long queues will be drained at the end; for `whoami`.
    pub fn drain_timeout_changed(&mut self, drain_timeout: Duration) {
        self.about.drain_timeout = drain_timeout;
    }

    /// What has been counted so far.
    pub fn stats(&self) -> &Stats {
        &self.desk.stats
    }

    /// Panics if any sum or symmetry of the state does not hold. It looks at everything.
    pub fn check(&self) {
        check::check(self);
    }

    fn check_now_and_then(&mut self) {
        // All together it costs no more than a small part of what is done.
        let every = (self.desk.tuning.check_every as usize).max(self.sessions.len() / 4);
        self.desk.calls += 1;
        if self.desk.calls >= every {
            self.desk.calls = 0;
            self.check();
        }
    }
}

const _: () = {
    const fn is_send<T: Send>() {}
    // It can be embedded in programs that have threads.
    is_send::<Core>();
};

#[cfg(test)]
mod tests;
