//! Knows the switch behind the sockets: the core, the plugins and the log, and that each hears what another orders.
//! Never: when anything is due.

use crate::clock::Now;
use crate::core::{Core, Emission, Input, Order, Outcome, SessionKey, Token, Work};
use crate::daemon::accept::Troubles;
use crate::daemon::log::Log;
use crate::net;
use crate::plugin::Plugins;
use crate::store::Numbers;
use crate::sys;

/// The daemon's connections, under the keys of their sessions.
pub(super) type Sockets = net::Sockets<SessionKey>;

/// The daemon without its sockets.
#[derive(Debug)]
pub(super) struct Switch {
    pub(super) core: Core,
    pub(super) plugins: Plugins,
    pub(super) log: Log,
    pub(super) numbers: Numbers,
    pub(super) troubles: Troubles,
    /// Requests for a reload that has not begun.
    pub(super) reloads: Vec<Token>,
    /// Requests for the settings in force.
    pub(super) wants_settings: Vec<Token>,
}

impl Switch {
    /// Hands the core a fact, and carries out all that this leads to. Says how much work the fact itself was,
    /// beyond its bytes, in bytes' worth.
    pub(super) fn tell(&mut self, input: Input<'_>, sockets: &mut Sockets, now: Now) -> usize {
        self.core.handle(input, now, &mut self.plugins);
        let effort = self.core.effort_bytes();
        self.carry_out(sockets, now);
        effort
    }

    /// Carries out what the core has ordered and what plugins have emitted, until there is no more of either.
    /// [`Switch::tell`] does so by itself; this is for what core and plugins order elsewhere.
    pub(super) fn carry_out(&mut self, sockets: &mut Sockets, now: Now) {
        loop {
            while let Some(order) = self.core.next_order() {
                self.carry_out_one(order, sockets, now);
            }
            let emitted = self.plugins.take_emitted();
            if emitted.is_empty() {
                return;
            }
            for emission in &emitted {
                self.core.handle(Input::Emitted(emission), now, &mut self.plugins);
            }
        }
    }

    fn carry_out_one(&mut self, order: Order, sockets: &mut Sockets, now: Now) {
        match order {
            Order::Note(note) => self.log.note(note),
            Order::Happened(happened) => self.plugins.happened(&happened),
            Order::Do(token, Work::Reload) => self.reloads.push(token),
            Order::Do(token, Work::Settings) => self.wants_settings.push(token),
            Order::Do(token, Work::LogLevel(level, time)) => {
                self.log.set_level_until(level, time.map(|time| now.mono + time));
                let text = format!("an administrator has the log begin at {}", level.word());
                self.log.announce(&text);
                self.core.handle(Input::Done { token, outcome: Outcome::Told("{}") }, now, &mut self.plugins);
            }
            Order::Resume(session) => sockets.resume(session),
            Order::Measure(session) => {
                if let Some(stream) = sockets.stream(session) {
                    let unread = sys::unread(stream);
                    self.core.handle(Input::Measured { session, unread }, now, &mut self.plugins);
                }
            }
            Order::Close(session) => sockets.close(session),
        }
    }

    /// Publishes what has been logged, for administrators that subscribe to it, and takes back a level of the log whose
    /// time is over.
    pub(super) fn publish_log(&mut self, sockets: &mut Sockets, now: Now) {
        if self.log.deadline().is_some_and(|at| at <= now.mono) {
            self.take_back_log_level();
        }
        self.log.publishes(self.core.publishes_log());
        let published = self.log.take_published();
        for note in &published {
            self.core.handle(Input::Emitted(&Emission::of_record(note, now.wall)), now, &mut self.plugins);
        }
        if !published.is_empty() {
            self.carry_out(sockets, now);
        }
    }

    /// The level of the configuration is in force again.
    pub(super) fn take_back_log_level(&mut self) {
        if let Some(level) = self.log.take_back_level() {
            self.log.announce(&format!("the log begins at {} again", level.word()));
        }
    }

    /// Hands what has been logged in this turn to the plugins that take it, or to stderr.
    pub(super) fn hand_over_log(&mut self, now: Now) {
        for note in self.plugins.take_notes() {
            self.log.note(note);
        }
        let notes = self.log.take_waiting();
        if notes.is_empty() {
            return;
        }
        for note in &notes {
            if !self.plugins.record(note, now.wall) {
                self.log.write(note);
            }
        }
        self.plugins.flush();
        for note in self.plugins.take_echoes() {
            self.log.note_to_stderr(note);
        }
        self.log.for_plugins(self.plugins.has_log());
    }
}
