//! Knows how one connection is served: read, handed in, written.
//! Never: which connection is ready.

use std::io::IoSlice;

use crate::clock::Now;
use crate::core::{Input, SessionKey};
use crate::daemon::switch::{Sockets, Switch};
use crate::net::{Change, Read, Ready, Wrote};
use crate::wire::frame::whole_lines;

/// Pieces written in one system call.
const SLICES: usize = 16;

impl Switch {
    /// Takes note of what has become of a connection.
    pub(super) fn take_change(&mut self, change: Change<SessionKey>, sockets: &mut Sockets, now: Now) {
        let session = change.key;
        if change.ends {
            self.tell(Input::Ending { session }, sockets, now);
        }
        if change.broken {
            self.tell(Input::Broke { session }, sockets, now);
        } else if change.has_room && !self.flush(session, sockets, now) {
            sockets.needs_no_room(session);
        }
    }

    /// Serves a connection that is ready: what the core has kept of it first, else one read of at most `share` bytes.
    /// One whose peer writes no more comes to its end if it can within its share: what is heard next may rely on
    /// its being gone. Says how much work that was, in bytes.
    pub(super) fn serve(
        &mut self,
        ready: Ready<SessionKey>,
        share: usize,
        sockets: &mut Sockets,
        now: Now,
    ) -> usize {
        let session = ready.key;
        let mut work = if ready.resumed {
            self.tell(Input::Resumed { session }, sockets, now)
        } else if ready.readable && self.core.wants_bytes(session) {
            self.read(session, share, sockets, now)
        } else {
            return 0;
        };
        while work < share && sockets.nears_end(session) && self.core.wants_bytes(session) {
            work += self.read(session, share - work, sockets, now);
        }
        if self.core.wants_bytes(session) {
            sockets.queue_if_readable(session);
        }
        self.write_large(sockets, now);
        work
    }

    fn read(&mut self, session: SessionKey, share: usize, sockets: &mut Sockets, now: Now) -> usize {
        match sockets.read(session, share.min(self.core.read_bytes_max())) {
            Read::Bytes(count) => count + self.hand_in(session, count, sockets, now),
            Read::Nothing => 0,
            Read::End => self.tell(Input::Ended { session }, sockets, now),
            Read::Failed => {
                self.lose(session, sockets, now);
                0
            }
        }
    }

    /// Hands in what has been read, in batches of whole lines. Says how much work that was beyond its bytes.
    fn hand_in(&mut self, session: SessionKey, count: usize, sockets: &mut Sockets, now: Now) -> usize {
        let buffer = sockets.lend_buffer();
        let (mut rest, mut effort) = (&buffer[..count], 0);
        while !rest.is_empty() {
            let bytes;
            (bytes, rest) = rest.split_at(whole_lines(rest, self.core.batch_bytes()));
            effort += self.tell(Input::Received { session, bytes }, sockets, now);
            self.write_large(sockets, now);
        }
        sockets.give_back(buffer);
        effort
    }

    /// A connection that cannot even be read any more.
    pub(super) fn lose(&mut self, session: SessionKey, sockets: &mut Sockets, now: Now) {
        self.tell(Input::Broke { session }, sockets, now);
        self.tell(Input::Ended { session }, sockets, now);
    }

    /// Writes what is owed, and closes what is to be closed. What is closed leaves others with something to be
    /// told, for which nothing else wakes.
    pub(super) fn write_all(&mut self, sockets: &mut Sockets, now: Now) {
        loop {
            self.write_dirty(sockets, now);
            self.core.reap();
            self.carry_out(sockets, now);
            if !self.core.has_dirty() && !self.core.has_condemned() {
                return;
            }
        }
    }

    /// Writes to the sessions that are owed so much that it should not wait for the end of the turn.
    fn write_large(&mut self, sockets: &mut Sockets, now: Now) {
        while let Some(session) = self.core.next_large() {
            self.flush(session, sockets, now);
        }
    }

    /// Writes to all sessions that are owed anything new.
    pub(super) fn write_dirty(&mut self, sockets: &mut Sockets, now: Now) {
        while let Some(session) = self.core.next_dirty() {
            self.flush(session, sockets, now);
        }
    }

    /// Writes what a session is owed, as much as its socket takes. Says whether there was anything.
    pub(super) fn flush(&mut self, session: SessionKey, sockets: &mut Sockets, now: Now) -> bool {
        let mut was_owed = false;
        while self.core.is_owed(session) && sockets.can_write(session) {
            was_owed = true;
            let mut slices = [IoSlice::new(b""); SLICES];
            let filled = self.core.transmit(session, &mut slices);
            match sockets.write(session, &slices[..filled]) {
                Wrote::Bytes(count) => self.core.wrote(session, count, now),
                Wrote::Full => {}
                Wrote::Broken => drop(self.tell(Input::Broke { session }, sockets, now)),
            }
        }
        was_owed
    }
}
