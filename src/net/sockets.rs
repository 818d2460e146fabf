//! Knows connections as sockets: which are open, which are ready, and in which order.
//! Never: what a connection is for, or what its bytes say.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use mio::event::Source;
use mio::unix::SourceFd;
use nix::errno::Errno;
use slotmap::{Key, KeyData, SecondaryMap};

use crate::net::connection::Connection;
use crate::net::listeners::Listeners;
use crate::net::newcomers::Newcomers;
use crate::net::poller::{Poller, Readiness};
use crate::net::reserve::Reserve;
use crate::net::{Bound, Newcomer, Read, Stream, Waker, Wrote};

/// Bytes read from one connection in one go. With half of it the kernel takes twice the time for each byte that
/// came over TCP from a fast sender. What is kept of a sender that has to wait may be as much.
const READ_BYTES: usize = 256 * 1024;

// Tokens of what is no connection. Connections have those of their keys, which are larger.
const ALARM: usize = 0;
const WAKER: usize = 1;
const LISTENERS: usize = 2;
/// Of other sources, on top of their marks.
const OTHERS: usize = 1 << 16;

/// Listeners and connections under the caller's keys, none of which is ever used twice: a server's half that
/// knows nothing of its service. Readiness is told by the kernel once per change, and is remembered here; the
/// caller learns of it as [`Found`] and [`Ready`]. What a socket is watched for is decided here alone: a stream that
/// has to write in order to read (TLS) can wait for room of its own accord.
#[derive(Debug)]
pub struct Sockets<K: Key> {
    poller: Poller,
    /// What the last wait has found, as far as it has not been handed out.
    told: VecDeque<Readiness>,
    listeners: Listeners,
    newcomers: Newcomers,
    reserve: Reserve,
    /// Those for files that are opened beside the loop.
    for_files: Reserve,
    /// What is kept for files has been given up for them.
    opens_files: bool,
    connections: SecondaryMap<K, Connection>,
    /// The keys of connections that are ready, each once.
    ready: VecDeque<K>,
    /// All that is read goes through this buffer.
    buffer: Vec<u8>,
}

/// What a wait of [`Sockets`] has found that its caller has to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<K> {
    /// A source that is watched by [`Sockets::watch`] can be read: its mark.
    Other(usize),
    /// A connection has changed.
    Change(Change<K>),
}

/// What has become of a connection; each but `has_room` is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<K> {
    /// The connection's key.
    pub key: K,
    /// The peer writes no more: reading will come to an end.
    pub ends: bool,
    /// Writing is of no use any more. It is ready, so that it is read to its end.
    pub broken: bool,
    /// There is room to write again, after a write that found none.
    pub has_room: bool,
}

/// A connection that is ready: there may be something to be done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready<K> {
    /// The connection's key.
    pub key: K,
    /// It was asked for with [`Sockets::resume`].
    pub resumed: bool,
    /// There may be something to read.
    pub readable: bool,
}

impl<K: Key> Sockets<K> {
    /// Without listeners and connections. Fails if the kernel has no poller or timer to give.
    pub fn new() -> io::Result<Sockets<K>> {
        Ok(Sockets {
            poller: Poller::new(ALARM)?,
            told: VecDeque::new(),
            listeners: Listeners::default(),
            newcomers: Newcomers::default(),
            reserve: Reserve::default(),
            for_files: Reserve::default(),
            opens_files: false,
            connections: SecondaryMap::new(),
            ready: VecDeque::new(),
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Takes connections from these listeners from now on, in place of those before.
    pub fn listen(&mut self, mut bound: Vec<Bound>) -> io::Result<()> {
        for (at, bound) in bound.iter_mut().enumerate() {
            self.poller.watch_listener(&mut bound.listener, LISTENERS + at)?;
        }
        self.listeners = Listeners::new(bound);
        Ok(())
    }

    /// Puts another listener in the place of one of these whose socket file is gone.
    pub fn replace_listener(&mut self, at: usize, mut fresh: Bound) -> io::Result<()> {
        self.poller.watch_listener(&mut fresh.listener, LISTENERS + at)?;
        self.listeners.replace(at, fresh);
        Ok(())
    }

    /// The listeners, in the order in which they were given.
    pub fn listeners(&self) -> &[Bound] {
        &self.listeners.bound
    }

    /// Watches another source that can be read; [`Found::Other`] tells of it by this mark.
    pub fn watch(&self, source: &mut impl Source, mark: usize) -> io::Result<()> {
        self.poller.watch(source, OTHERS + mark)
    }

    /// The same of a descriptor, which is closed when its owner closes it.
    pub fn watch_descriptor(&self, descriptor: BorrowedFd<'_>, mark: usize) -> io::Result<()> {
        self.poller.watch(&mut SourceFd(&descriptor.as_raw_fd()), OTHERS + mark)
    }

    /// What other threads end a wait with. There is one for each `Sockets`.
    pub fn waker(&self) -> io::Result<Waker> {
        self.poller.waker(WAKER)
    }

    /// Waits until something is ready or it is `deadline` (none: for ever), by the clock that it is `now`; not at
    /// all while a connection is ready or a newcomer waits. A signal may end it early, and so may a deadline of a
    /// wait before.
    pub fn wait(&mut self, deadline: Option<Duration>, now: Duration) -> io::Result<()> {
        let own = match self.ready.is_empty() && self.newcomers.is_empty() {
            true => self.listeners.deadline(),
            false => Some(now),
        };
        self.poller.wait([deadline, own].into_iter().flatten().min(), now)?;
        self.told.extend(self.poller.readiness());
        self.newcomers.look();
        Ok(())
    }

    /// The next thing that the last wait has found. To be asked until there is none.
    pub fn next_found(&mut self) -> Option<Found<K>> {
        loop {
            let told = self.told.pop_front()?;
            if let Some(key) = key_of(told.token) {
                if let Some(change) = self.remember(key, told) {
                    return Some(Found::Change(change));
                }
                continue;
            }
            match told.token {
                ALARM | WAKER => {}
                OTHERS.. => return Some(Found::Other(told.token - OTHERS)),
                token => self.listeners.connection_waits(token - LISTENERS),
            }
        }
    }

    fn remember(&mut self, key: K, told: Readiness) -> Option<Change<K>> {
        // It may have been closed meanwhile.
        let connection = self.connections.get_mut(key)?;
        let (ends, broken) = connection.remember(told);
        if told.readable || told.broken {
            self.queue(key);
        }
        let change = Change { key, ends, broken, has_room: told.writable && !told.broken };
        (change.ends || change.broken || change.has_room).then_some(change)
    }

    /// Takes the connections that wait at the listeners; each is a [newcomer](Sockets::next_newcomer) then. Gives the
    /// next reason why one could not be taken; if that is a shortage ([`is_shortage`](crate::net::is_shortage)) it
    /// waits on and is tried again by itself. To be asked until there is none: each round takes a bounded number
    /// of each listener.
    pub fn accept(&mut self, now: Duration) -> Option<io::Error> {
        if self.opens_files && self.reserve.is_short() {
            self.listeners.put_off(now);
            return None;
        }
        loop {
            match self.listeners.accept(now, &mut self.reserve)? {
                Ok(stream) => self.newcomers.push(stream),
                Err(error) => return Some(error),
            }
        }
    }

    /// Keeps so many file descriptors back: when the process can get no more, connections are taken all the same, as
    /// many as that. [`Sockets::refill`] says whether that is so.
    pub fn keep_back(&mut self, descriptors: usize) {
        self.reserve.keep(descriptors);
    }

    /// Keeps so many file descriptors back for files that are opened beside the loop; 0: those are opened now. Until
    /// they are, a process that can get no more takes no connections, which would take these.
    pub fn keep_for_files(&mut self, descriptors: usize) {
        self.opens_files = descriptors == 0;
        self.listeners.descriptor_freed();
        self.for_files.keep(descriptors);
        // What cannot be had now is got back by `refill`.
        let _ = self.for_files.refill(self.poller.any_fd());
    }

    /// Gets back the descriptors that are kept back, as far as they have been given up. An error says that there are
    /// not enough: what has been taken is beyond what the process may have.
    pub fn refill(&mut self) -> io::Result<()> {
        if self.opens_files && self.reserve.is_short() {
            return Err(Errno::EMFILE.into());
        }
        if self.reserve.refill(self.poller.any_fd())? {
            self.listeners.descriptor_freed();
        }
        self.for_files.refill(self.poller.any_fd()).map(drop)
    }

    /// Whether there are newcomers.
    pub fn has_newcomers(&self) -> bool {
        !self.newcomers.is_empty()
    }

    /// The next connection that was taken and is not open yet. If a [wait](Sockets::wait) has come between, it has
    /// told of every connection that had ended before this one came: [`Sockets::next_ending`] gives them, and this
    /// one is best opened behind their ends.
    pub fn next_newcomer(&mut self) -> Option<Newcomer> {
        self.newcomers.pop()
    }

    /// Whether connections wait that could not be taken yet.
    pub fn has_waiting(&self) -> bool {
        self.listeners.has_waiting()
    }

    /// Takes no more connections.
    pub fn stop_accepting(&mut self) {
        self.listeners.stop();
    }

    /// Keeps a connection under this key; it is ready at once, and given as that. Fails if it cannot be watched; it
    /// is closed then.
    pub fn open(&mut self, key: K, newcomer: Newcomer) -> io::Result<Ready<K>> {
        let Newcomer { mut stream, ends } = newcomer;
        self.poller.watch_stream(&mut stream, token_of(key))?;
        self.connections.insert(key, Connection::new(stream, ends));
        Ok(Ready { key, resumed: false, readable: true })
    }

    /// Keeps a connection under this key that another process has passed on. It is ready: what that process has read of
    /// it is not known. Fails as [`Sockets::open`] does.
    pub fn take_over(&mut self, key: K, stream: Stream) -> io::Result<()> {
        self.open(key, Newcomer { stream, ends: false })?;
        self.queue(key);
        Ok(())
    }

    /// Gives all connections away, as they are. What has been found of them is forgotten.
    pub fn give_away(&mut self) -> Vec<(K, Stream)> {
        self.connections.drain().map(|(key, connection)| (key, connection.stream)).collect()
    }

    /// The stream of a connection; none if it has been closed.
    pub fn stream(&self, key: K) -> Option<&Stream> {
        self.connections.get(key).map(|connection| &connection.stream)
    }

    /// Closes a connection, so that its peer can still read what was written. Of its key nothing more is told.
    pub fn close(&mut self, key: K) {
        if let Some(connection) = self.connections.remove(key) {
            connection.close();
            self.listeners.descriptor_freed();
        }
    }

    /// Closes all connections, each as [`Sockets::close`] does.
    pub fn close_all(&mut self) {
        self.connections.drain().for_each(|(_, connection)| connection.close());
    }

    /// How many connections are ready.
    pub fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// The next connection that is ready, which it is no more then. What there is left to be done is forgotten, unless
    /// [`Sockets::queue_if_readable`] or [`Sockets::resume`] makes it ready again.
    pub fn next_ready(&mut self) -> Option<Ready<K>> {
        let key = self.ready.pop_front()?;
        Some(self.take_ready(key))
    }

    /// The same for the next one of those whose peers write no more.
    pub fn next_ending(&mut self) -> Option<Ready<K>> {
        let ends = |key: &K| self.connections.get(*key).is_some_and(|connection| connection.ends);
        let key = self.ready.iter().position(ends).and_then(|at| self.ready.remove(at))?;
        Some(self.take_ready(key))
    }

    fn take_ready(&mut self, key: K) -> Ready<K> {
        // It may have been closed meanwhile.
        let Some(connection) = self.connections.get_mut(key) else {
            return Ready { key, resumed: false, readable: false };
        };
        connection.queued = false;
        let resumed = std::mem::take(&mut connection.resumed);
        Ready { key, resumed, readable: connection.readable }
    }

    /// Whether the peer of a connection writes no more, and its end has not been read yet.
    pub fn nears_end(&self, key: K) -> bool {
        self.connections.get(key).is_some_and(|connection| connection.ends && connection.readable)
    }

    /// Makes a connection ready although nothing may have come.
    pub fn resume(&mut self, key: K) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.resumed = true;
            self.queue(key);
        }
    }

    /// Whether a connection is ready by [`Sockets::resume`].
    pub fn is_resumed(&self, key: K) -> bool {
        self.connections.get(key).is_some_and(|connection| connection.resumed)
    }

    /// Makes a connection ready if there may be something to read.
    pub fn queue_if_readable(&mut self, key: K) {
        if self.connections.get(key).is_some_and(|connection| connection.readable) {
            self.queue(key);
        }
    }

    /// Makes every connection ready.
    pub fn queue_all(&mut self) {
        for (key, connection) in &mut self.connections {
            if !std::mem::replace(&mut connection.queued, true) {
                self.ready.push_back(key);
            }
        }
    }

    fn queue(&mut self, key: K) {
        if let Some(connection) = self.connections.get_mut(key)
            && !std::mem::replace(&mut connection.queued, true)
        {
            self.ready.push_back(key);
        }
    }

    /// Reads once from a connection, at most so many bytes.
    pub fn read(&mut self, key: K, most: usize) -> Read {
        let most = most.min(self.buffer.len());
        match self.connections.get_mut(key) {
            Some(connection) => connection.read(&mut self.buffer[..most]),
            None => Read::Nothing,
        }
    }

    /// The buffer, with what the last [`Sockets::read`] has given at its start. To be given back
    /// ([`Sockets::give_back`]) before the next one.
    pub fn lend_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Takes back the buffer that [`Sockets::lend_buffer`] has lent.
    pub fn give_back(&mut self, buffer: Vec<u8>) {
        self.buffer = buffer;
    }

    /// Reads once from a connection and forgets what has come; says how many bytes. Left unread it would cost the peer
    /// what it is still owed: a connection that is closed with unread bytes is reset.
    pub fn discard(&mut self, key: K) -> usize {
        // Of an end or an error, writing will learn too.
        let Read::Bytes(count) = self.read(key, READ_BYTES) else { return 0 };
        self.queue_if_readable(key);
        count
    }

    /// Whether it makes sense to write to a connection now.
    pub fn can_write(&self, key: K) -> bool {
        self.connections.get(key).is_some_and(|connection| connection.writable && !connection.broken)
    }

    /// Writes once to a connection, as much as the kernel takes.
    pub fn write(&mut self, key: K, slices: &[IoSlice<'_>]) -> Wrote {
        let Some(connection) = self.connections.get_mut(key) else { return Wrote::Full };
        let mut wrote = connection.write(slices);
        if wrote == Wrote::Full && self.set_awaits_room(key, true).is_err() {
            // It would never be written to again.
            wrote = Wrote::Broken;
        }
        if wrote == Wrote::Broken {
            self.break_off(key);
        }
        wrote
    }

    /// Room that a [`Change`] has told of is not needed: no more is told.
    pub fn needs_no_room(&mut self, key: K) {
        // A failure costs nothing but being told.
        let _ = self.set_awaits_room(key, false);
    }

    fn set_awaits_room(&mut self, key: K, awaited: bool) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        match std::mem::replace(&mut connection.awaits_room, awaited) == awaited {
            true => Ok(()),
            false => self.poller.await_room(&mut connection.stream, token_of(key), awaited),
        }
    }

    /// Has it read to its end.
    fn break_off(&mut self, key: K) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.break_off();
            self.queue_if_readable(key);
        }
    }
}

// A shorter token would lose the generation, and an event that is late for one connection find another.
const _: () = assert!(usize::BITS >= u64::BITS, "telexd needs 64 bits: a connection's key is its token");

/// The poller's token for a connection: its key is never used again, so an event that is still on its way when a
/// connection is closed finds none.
fn token_of(key: impl Key) -> usize {
    key.data().as_ffi() as usize
}

/// The key of a token; none if it is that of something else. A key has its generation, which is never 0, in
/// its upper half; a token without one must not be made a key, for what comes out is the key of the first
/// connection that ever stood in that place.
fn key_of<K: Key>(token: usize) -> Option<K> {
    let token = token as u64;
    (token > u64::from(u32::MAX)).then(|| KeyData::from_ffi(token).into())
}

#[cfg(test)]
mod tests;
