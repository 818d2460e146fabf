//! Knows the steps of one turn of the loop: act on what is found, serve, welcome, accept, write, hand over the log.
//! Never: what is taken or written.

use std::time::Duration;

use crate::clock::Now;
use crate::core::{Input, Outcome, SessionKey};
use crate::daemon::hand_over::HandingOver;
use crate::daemon::{Daemon, FILES, SIGNALS};
use crate::net::{Found, Ready};
use crate::sys::Signal;

/// What may be read of each connection that is ready, however many they are: less is hardly worth a system call.
const SHARE_BYTES_MIN: usize = 4 * 1024;
/// What is read at once of a newcomer, or of a connection that has ended before it came.
const SHARE_BYTES: usize = 16 * 1024;

impl Daemon {
    /// What there is to be done after a wait. `now` is the only time that anything of it goes by.
    pub(super) fn turn(&mut self, now: Now) {
        while let Some(found) = self.sockets.next_found() {
            match found {
                Found::Other(SIGNALS) => self.take_signals(now),
                Found::Other(FILES) => self.reach.changed(now),
                Found::Other(_) => {}
                Found::Change(change) => self.switch.take_change(change, &mut self.sockets, now),
            }
        }
        let is_behind = self.catch_up.turn_begins(now.mono, self.sockets.ready_count())
            && self.stop_at.is_none()
            && self.switch.core.is_due(now.mono);
        let begins = if is_behind { Input::HeldUp } else { Input::TimePassed };
        self.switch.tell(begins, &mut self.sockets, now);
        self.switch.plugins.tick(now.mono);
        self.switch.carry_out(&mut self.sockets, now);
        if self.stop_at.is_none() && self.reach.deadline().is_some_and(|at| at <= now.mono) {
            self.look_after_files(now);
        }
        let left = self.serve(is_behind, now);
        self.welcome(left, now);
        if self.stop_at.is_none() && !self.sockets.has_newcomers() {
            self.switch.accept(&mut self.sockets, now);
        }
        self.go_on_with_reload(now);
        self.go_on_with_hand_over();
        self.notify(now.mono);
        while let Some(error) = self.service_manager.next_failure() {
            self.switch.log.warn(&format!("cannot tell the service manager: {error}"));
        }
        self.tell_settings(now);
        self.switch.publish_log(&mut self.sockets, now);
        self.switch.write_all(&mut self.sockets, now);
        self.switch.hand_over_log(now);
    }

    /// Answers those that want to know the settings in force.
    pub(super) fn tell_settings(&mut self, now: Now) {
        for token in std::mem::take(&mut self.switch.wants_settings) {
            let told = self.settings();
            let outcome = Outcome::Told(&told);
            self.switch.tell(Input::Done { token, outcome }, &mut self.sockets, now);
        }
    }

    /// Whether an ordered end is over.
    pub(super) fn is_over(&self, now: Now) -> bool {
        self.stop_at.is_some_and(|at| now.mono >= at || self.switch.core.is_drained())
    }

    /// When the next turn begins at the latest, as far as the sockets do not say; none: with the next event.
    pub(super) fn deadline(&mut self, now: Duration) -> Option<Duration> {
        if self.switch.plugins.has_notes() || self.switch.log.has_published() {
            return Some(now);
        }
        let timer = self.switch.plugins.next_deadline(now);
        let files = self.reach.deadline().filter(|_| self.stop_at.is_none());
        let core = self.switch.core.next_deadline();
        let log = self.switch.log.deadline();
        let deadlines =
            [core, self.stop_at, timer, self.reload_deadline(), files, log, self.notices.deadline()];
        deadlines.into_iter().flatten().min()
    }

    fn take_signals(&mut self, now: Now) {
        for signal in self.signals.pending() {
            match signal {
                Signal::Stop if self.stop_at.is_some() => self.stop_at = Some(Duration::ZERO),
                Signal::Stop => self.stop(now),
                // The kernel and the shell may each tell it: only the first counts.
                Signal::TerminalGone if self.stop_at.is_some() => {}
                Signal::TerminalGone => {
                    self.switch.log.notice("the terminal that this was started at is gone");
                    self.stop(now);
                }
                Signal::Ignored(name) => self.switch.log.notice(&format!(
                    "{name} is ignored: SIGTERM ends the daemon, SIGHUP has it read its configuration again, and SIGUSR2 has \
                     it hand over to a new process"
                )),
                Signal::Reload => self.wants_reload = true,
                Signal::HandOver => {
                    self.handing_over.get_or_insert(HandingOver::Asked);
                }
            }
        }
    }

    /// Begins to end: no more connections are taken, every peer is told, and what is queued is written.
    fn stop(&mut self, now: Now) {
        self.switch.log.notice("stopping");
        self.switch.plugins.stopping();
        // What they have to say to others goes before `shutdown`, behind which nothing is let in.
        self.switch.carry_out(&mut self.sockets, now);
        self.tell_stopping();
        self.sockets.stop_accepting();
        self.stop_at = Some(now.mono + self.config.drain_timeout);
        self.switch.tell(Input::StopAsked, &mut self.sockets, now);
        // Also those that the core did not want to hear.
        self.sockets.queue_all();
    }

    /// Serves every connection that is ready once, until the turn has taken enough. What it may take is shared by
    /// them, so that none has to wait for a next turn because of those that send much. Says how much is left for
    /// newcomers, which is something if there are any. A daemon that `is_behind` reads as much of each as there can
    /// be.
    fn serve(&mut self, is_behind: bool, now: Now) -> usize {
        let for_newcomers = if self.sockets.has_newcomers() { self.config.turn_bytes / 4 } else { 0 };
        let mut left = self.config.turn_bytes - for_newcomers;
        let share = match is_behind {
            true => usize::MAX,
            false => (left / self.sockets.ready_count().max(1)).max(SHARE_BYTES_MIN),
        };
        for _ in 0..self.sockets.ready_count() {
            let Some(ready) = self.sockets.next_ready() else { break };
            let key = ready.key;
            left = left.saturating_sub(self.serve_one(ready, share, now));
            // Else some of what has been read is handled later.
            if !self.sockets.is_resumed(key) {
                self.catch_up.served();
            }
            if left == 0 {
                break;
            }
        }
        left + for_newcomers
    }

    fn serve_one(&mut self, ready: Ready<SessionKey>, share: usize, now: Now) -> usize {
        match self.stop_at {
            None => self.switch.serve(ready, share, &mut self.sockets, now),
            Some(_) if ready.readable => self.sockets.discard(ready.key),
            Some(_) => 0,
        }
    }

    /// Opens the connections that were taken in a turn before, and hears what they have sent. The wait of this turn
    /// has told of all that had ended before: they come to their end first, so that a program that comes back finds
    /// its name free and its connection not counted.
    fn welcome(&mut self, mut left: usize, now: Now) {
        // A connection costs something also if it has sent nothing.
        const EACH_BYTES: usize = 512;
        while left > 0 && self.sockets.has_newcomers() {
            let ready = match self.sockets.next_ending() {
                Some(ending) => Some(ending),
                None => {
                    // An end may have left something to be written, or to be done in turns to come.
                    self.switch.write_all(&mut self.sockets, now);
                    if self.switch.core.has_leavers() {
                        return;
                    }
                    let newcomer = self.sockets.next_newcomer();
                    newcomer.and_then(|newcomer| self.switch.welcome(newcomer, &mut self.sockets, now))
                }
            };
            let work = ready.map_or(0, |ready| self.serve_one(ready, SHARE_BYTES, now));
            left = left.saturating_sub(work.max(EACH_BYTES));
        }
    }
}
