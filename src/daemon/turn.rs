//! Knows the steps of one turn of the loop: wait, take, write, reap.
//! Never: what is taken or written.

use std::io::{self, IoSlice};
use std::time::Duration;

use crate::clock::Now;
use crate::core::{Input, Order, SessionKey, Work};
use crate::daemon::conns::{session_of, token_of};
use crate::daemon::{ALARM, Daemon, Fatal, LISTENERS, SIGNALS, WAKER};
use crate::net::Taken;
use crate::sys::{self, Signal};
use crate::wire::frame::whole_lines;

/// Pieces written in one system call.
const SLICES: usize = 16;
/// What may be read of everybody who is ready, however many they are: less is hardly worth a system call.
const SHARE_BYTES_MIN: usize = 4 * 1024;

impl Daemon {
    pub(super) fn turn(&mut self) -> Result<(), Fatal> {
        let now = self.clock.now().mono;
        let deadline = self.deadline(now);
        self.poller.wait(deadline, now).map_err(Fatal::doing("waiting for events"))?;
        let now = self.clock.now();
        self.core.handle(Input::TimePassed, now, &mut self.plugins);
        self.plugins.tick(now.mono);
        self.take_events(now);
        self.accept(now.mono);
        self.obey(now);
        self.take(now);
        self.go_on_with_reload(now);
        // Who is closed leaves others with something to be told, for which nothing else wakes.
        while self.core.has_dirty() || self.core.has_condemned() {
            self.write_all(now);
            self.core.reap();
            self.obey(now);
        }
        self.hand_over_log();
        self.core.turned(self.clock.now().mono - now.mono);
        Ok(())
    }

    /// Whether an ordered end is over.
    pub(super) fn is_over(&self) -> bool {
        self.stop_at.is_some_and(|at| self.clock.now().mono >= at || self.core.is_drained())
    }

    /// When the next turn begins at the latest.
    fn deadline(&mut self, now: Duration) -> Option<Duration> {
        if !self.ready.is_empty() || self.plugins.has_notes() {
            return Some(now);
        }
        let timer = self.plugins.next_deadline(now);
        let reload = self.reloading.as_ref().and_then(|reloading| reloading.tell_at);
        let deadlines = [self.core.next_deadline(), self.accepting.deadline(), self.stop_at, timer, reload];
        deadlines.into_iter().flatten().min()
    }

    fn take_events(&mut self, now: Now) {
        let events: Vec<_> = self.poller.events().collect();
        for event in events {
            if event.token == SIGNALS {
                self.take_signals(now);
                continue;
            }
            if event.token == WAKER || event.token == ALARM {
                continue;
            }
            let Some(session) = session_of(event.token) else {
                self.accepting.connection_waits(event.token - LISTENERS);
                continue;
            };
            // It may have been closed since the event.
            let Some(conn) = self.conns.get_mut(session) else { continue };
            conn.readable |= event.readable;
            conn.writable |= event.writable;
            conn.urgent |= event.urgent;
            let is_ending = event.ends && !conn.ends;
            conn.ends |= event.ends || event.broke;
            if is_ending {
                self.core.handle(Input::Ending { session }, now, &mut self.plugins);
            }
            if event.broke {
                self.broke(session, now);
            } else if event.writable && !self.flush(session, now) {
                self.await_room(session, false, now);
            }
            if event.readable || event.broke {
                self.enqueue(session);
            }
        }
    }

    fn take_signals(&mut self, now: Now) {
        for signal in self.signals.pending() {
            match signal {
                Signal::Stop if self.stop_at.is_some() => self.stop_at = Some(Duration::ZERO),
                Signal::Stop => self.stop(now),
                Signal::Reload => self.wants_reload = true,
            }
        }
    }

    /// Begins to end: nobody is taken any more, everybody is told, and what is queued is written.
    fn stop(&mut self, now: Now) {
        self.log.notice("stopping");
        self.plugins.stopping();
        // What they have to say to others goes before `shutdown`, behind which nothing is let in.
        self.obey(now);
        // A service manager that cannot be told will find out.
        let _ = sys::notify_stopping();
        self.accepting.stop();
        self.stop_at = Some(now.mono + self.config.drain_timeout);
        self.core.handle(Input::StopAsked, now, &mut self.plugins);
        // Also those that the core did not want to hear.
        for session in self.conns.keys().collect::<Vec<_>>() {
            self.enqueue(session);
        }
    }

    /// Puts a connection into the list of those that have something to be done, once.
    pub(super) fn enqueue(&mut self, session: SessionKey) {
        if let Some(conn) = self.conns.get_mut(session)
            && !std::mem::replace(&mut conn.queued, true)
        {
            self.ready.push_back(session);
        }
    }

    /// Carries out what the core has ordered.
    pub(super) fn obey(&mut self, now: Now) {
        loop {
            self.obey_core(now);
            let emitted = self.plugins.take_emitted();
            if emitted.is_empty() {
                return;
            }
            for emission in &emitted {
                self.core.handle(Input::Emitted(emission), now, &mut self.plugins);
            }
        }
    }

    fn obey_core(&mut self, now: Now) {
        while let Some(effect) = self.core.next_order() {
            match effect {
                Order::Note(note) => self.log.note(note),
                Order::Happened(happened) => self.plugins.happened(&happened),
                Order::Do(token, Work::Reload) => {
                    self.reloads.push(token);
                    self.wants_reload = true;
                }
                Order::Resume(session) => {
                    if let Some(conn) = self.conns.get_mut(session) {
                        conn.resumes = true;
                        self.enqueue(session);
                    }
                }
                Order::Measure(session) => {
                    let Some(conn) = self.conns.get(session) else { continue };
                    let unread = sys::unread(&conn.stream);
                    self.core.handle(Input::Measured { session, unread }, now, &mut self.plugins);
                }
                Order::Close(session) => {
                    if let Some(conn) = self.conns.remove(session) {
                        conn.stream.close();
                        self.accepting.descriptor_freed();
                    }
                }
            }
        }
    }

    /// Hands what has been logged in this turn to the plugins that take it, or to stderr.
    pub(super) fn hand_over_log(&mut self) {
        for note in self.plugins.take_notes() {
            self.log.note(note);
        }
        let notes = self.log.take_waiting();
        if notes.is_empty() {
            return;
        }
        let now = self.clock.now().wall;
        for note in &notes {
            if !self.plugins.record(note, now) {
                self.log.write(note);
            }
        }
        self.plugins.flush();
        for note in self.plugins.take_echoes() {
            self.log.note_to_stderr(note);
        }
        self.log.for_plugins(self.plugins.has_log());
    }

    /// Serves everybody who is ready once, until the turn has taken enough. What it may take is shared by
    /// them, so that nobody has to wait for a next one because of those who send much.
    fn take(&mut self, now: Now) {
        let mut left = self.config.turn_bytes;
        let share = (left / self.ready.len().max(1)).max(SHARE_BYTES_MIN);
        for _ in 0..self.ready.len() {
            let Some(session) = self.ready.pop_front() else { return };
            left = left.saturating_sub(self.serve(session, share, now));
            self.obey(now);
            self.write_large(now);
            if left == 0 {
                return;
            }
        }
    }

    /// Serves one connection: what the core has kept of it first, else one read of at most `share` bytes.
    /// Says how much work that was, in bytes.
    fn serve(&mut self, session: SessionKey, share: usize, now: Now) -> usize {
        let Some(conn) = self.conns.get_mut(session) else { return 0 };
        conn.queued = false;
        if self.stop_at.is_some() {
            return self.discard(session);
        }
        let work = if std::mem::take(&mut conn.resumes) {
            self.core.handle(Input::Resumed { session }, now, &mut self.plugins);
            self.core.effort_bytes()
        } else if conn.readable && self.core.wants_bytes(session) {
            self.read(session, share, now)
        } else {
            return 0;
        };
        if self.conns.get(session).is_some_and(|conn| conn.readable) && self.core.wants_bytes(session) {
            self.enqueue(session);
        }
        work
    }

    /// Reads what nobody will handle any more. Left unread it would cost the peer what it is still
    /// owed: TCP resets a connection that is closed with unread bytes.
    fn discard(&mut self, session: SessionKey) -> usize {
        let Some(conn) = self.conns.get_mut(session).filter(|conn| conn.readable) else { return 0 };
        // Of an error, writing will learn too.
        let nothing = Taken { count: 0, is_all: true };
        let Taken { count, is_all } = conn.stream.read(&mut self.buffer).unwrap_or(nothing);
        conn.readable = count > 0 && (!is_all || conn.ends || conn.urgent);
        if conn.readable {
            self.enqueue(session);
        }
        count
    }

    fn read(&mut self, session: SessionKey, share: usize, now: Now) -> usize {
        let Some(conn) = self.conns.get_mut(session) else { return 0 };
        let most = share.min(self.buffer.len()).min(self.core.read_bytes_max());
        match conn.stream.read(&mut self.buffer[..most]) {
            Ok(Taken { count: 0, .. }) => {
                conn.readable = false;
                conn.ended = true;
                self.core.handle(Input::Ended { session }, now, &mut self.plugins);
                0
            }
            Ok(Taken { count, is_all }) => {
                // An end that has been told already will not be told again.
                conn.readable = !is_all || conn.ends || conn.urgent;
                count + self.hand_in(session, count, now)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                conn.readable = false;
                0
            }
            Err(_) => {
                self.lose(session);
                0
            }
        }
    }

    /// Hands in what has been read, in batches of whole lines. Says how much work that was beyond its bytes.
    fn hand_in(&mut self, session: SessionKey, count: usize, now: Now) -> usize {
        let buffer = std::mem::take(&mut self.buffer);
        let (mut rest, mut effort) = (&buffer[..count], 0);
        while !rest.is_empty() {
            let bytes;
            (bytes, rest) = rest.split_at(whole_lines(rest, self.core.batch_bytes()));
            self.core.handle(Input::Received { session, bytes }, now, &mut self.plugins);
            effort += self.core.effort_bytes();
            self.write_large(now);
        }
        self.buffer = buffer;
        effort
    }

    /// Writes to those who are owed so much that it should not wait for the end of the turn.
    fn write_large(&mut self, now: Now) {
        while let Some(session) = self.core.next_large() {
            self.flush(session, now);
        }
    }

    /// A connection that cannot even be read any more.
    pub(super) fn lose(&mut self, session: SessionKey) {
        let now = self.clock.now();
        if let Some(conn) = self.conns.get_mut(session) {
            conn.readable = false;
            conn.ended = true;
        }
        self.core.handle(Input::Broke { session }, now, &mut self.plugins);
        self.core.handle(Input::Ended { session }, now, &mut self.plugins);
    }

    fn broke(&mut self, session: SessionKey, now: Now) {
        if let Some(conn) = self.conns.get_mut(session)
            && !std::mem::replace(&mut conn.broke, true)
        {
            self.core.handle(Input::Broke { session }, now, &mut self.plugins);
            // Whoever cannot be written to is read to its end, which nothing else will announce.
            conn.ends = true;
            if !conn.ended {
                conn.readable = true;
                self.enqueue(session);
            }
        }
    }

    pub(super) fn write_all(&mut self, now: Now) {
        while let Some(session) = self.core.next_dirty() {
            self.flush(session, now);
        }
    }

    /// Writes what a session is owed, as much as its socket takes. Says whether there was anything.
    fn flush(&mut self, session: SessionKey, now: Now) -> bool {
        let mut was_owed = false;
        while self.core.is_owed(session)
            && let Some(conn) = self.conns.get_mut(session).filter(|conn| conn.writable && !conn.broke)
        {
            was_owed = true;
            let mut slices = [IoSlice::new(b""); SLICES];
            let filled = self.core.transmit(session, &mut slices);
            match conn.stream.write(&slices[..filled]) {
                Ok(count) => self.core.wrote(session, count, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    conn.writable = false;
                    self.await_room(session, true, now);
                }
                Err(_) => self.broke(session, now),
            }
        }
        was_owed
    }

    fn await_room(&mut self, session: SessionKey, awaited: bool, now: Now) {
        if let Some(conn) = self.conns.get_mut(session)
            && std::mem::replace(&mut conn.awaits_room, awaited) != awaited
            && self.poller.await_room(&mut conn.stream, token_of(session), awaited).is_err()
            && awaited
        {
            // It would never be written to again.
            self.broke(session, now);
        }
    }
}
