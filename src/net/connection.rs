//! Knows one connection: its stream, and what is known of its readiness.
//! Never: its key, or when it is served.

use std::io::{self, IoSlice};

use crate::net::poller::Readiness;
use crate::net::{Stream, Taken};

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The poller tells when it is writable again. That ends only when it has told so and nothing is to be written: a
    /// socket that has been full once is likely to be so again, and each change is a system call.
    pub(super) awaits_room: bool,
    /// The peer has sent urgent bytes: a read may end before all that is there.
    urgent: bool,
    /// The end of what the peer sends is near: reading goes on until it is seen.
    pub(super) ends: bool,
    /// It has been seen.
    ended: bool,
    /// Writing is of no use any more.
    pub(super) broken: bool,
    /// The caller wants it to be ready although nothing may have come.
    pub(super) resumed: bool,
    /// It is in the list of those that are ready.
    pub(super) queued: bool,
}

/// What [`Sockets::read`](crate::net::Sockets::read) has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// There was nothing.
    Nothing,
    /// So many bytes, which [`Sockets::lend_buffer`](crate::net::Sockets::lend_buffer) gives.
    Bytes(usize),
    /// The end of what the peer sends.
    End,
    /// The connection is broken, for writing too.
    Failed,
}

/// What [`Sockets::write`](crate::net::Sockets::write) has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// So many bytes were taken.
    Bytes(usize),
    /// None, for there was no room. A [`Change`](crate::net::Change) will tell of room.
    Full,
    /// None, and none will be. It is ready, so that it is read to its end.
    Broken,
}

impl Connection {
    /// One that has just been taken. If it `ends`, that is not told again.
    pub(super) fn new(stream: Stream, ends: bool) -> Connection {
        Connection {
            stream,
            readable: true,
            writable: true,
            awaits_room: false,
            urgent: false,
            ends,
            ended: false,
            broken: false,
            resumed: false,
            queued: false,
        }
    }

    /// Remembers what the poller has told. Says whether it ends and whether it is broken, each once.
    pub(super) fn remember(&mut self, told: Readiness) -> (bool, bool) {
        self.readable |= told.readable;
        self.writable |= told.writable;
        self.urgent |= told.urgent;
        let ends = told.ends && !self.ends;
        self.ends |= told.ends;
        (ends, told.broken && self.break_off())
    }

    /// Reads once.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Read {
        match self.stream.read(buffer) {
            Ok(Taken { count: 0, .. }) => {
                self.readable = false;
                self.ended = true;
                Read::End
            }
            Ok(Taken { count, is_all }) => {
                // An end that has been told already will not be told again.
                self.readable = !is_all || self.ends || self.urgent;
                Read::Bytes(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Read::Nothing
            }
            Err(_) => {
                self.readable = false;
                self.ended = true;
                self.broken = true;
                Read::Failed
            }
        }
    }

    /// Writes once, as much as the kernel takes.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> Wrote {
        match self.stream.write(slices) {
            Ok(count) => Wrote::Bytes(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.writable = false;
                Wrote::Full
            }
            Err(_) => Wrote::Broken,
        }
    }

    /// Closes it, so that the peer can still read what was written.
    pub(super) fn close(self) {
        // What has been read to its end has nothing unread.
        if !self.ended {
            self.stream.close();
        }
    }

    /// Nothing more is written. It is read to its end, which nothing else will announce. False if that is so
    /// already.
    pub(super) fn break_off(&mut self) -> bool {
        self.ends = true;
        self.readable |= !self.ended && !self.broken;
        !std::mem::replace(&mut self.broken, true)
    }
}
