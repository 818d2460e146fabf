//! Knows the thread that speaks with all direct connections: which are ready, which are over, and what is too much.
//! Never: what a line says.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::client::moment::after;
use crate::listen::{Bound, Listener, is_shortage};
use crate::service::hear::{About, Asker};
use crate::service::peer::Peer;
use crate::service::stream::{self, Stream};
use crate::service::work::{Caller, Job, Work};
use crate::wire::code::Code;

const WAKE: u64 = 0;
/// What the listeners' tokens begin with; those of connections come behind them.
const LISTENERS: u64 = 1;
const READ_BYTES: usize = 64 << 10;
/// Connections that are taken from one listener in one turn.
const ACCEPTED_MAX: usize = 64;
/// Connections beyond the bound that are told so at a time; others are closed without a word.
const REFUSED_MAX: usize = 64;
/// How long a connection has to have been idle to make room for another one.
const IDLE_MIN: Duration = Duration::from_secs(10);
/// How long no connection is taken when the system has no room for one.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// The bounds of a service.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    pub(super) max_connections: usize,
    pub(super) max_memory_bytes: usize,
    pub(super) stall_timeout: Duration,
    pub(super) stop_timeout: Duration,
}

/// What other threads leave for that of the hall.
pub(super) struct Letterbox {
    wake: EventFd,
    /// Answers, each with the number of its connection and the bytes of the message that has been handled.
    answers: Mutex<Vec<(u64, Vec<u8>, usize)>>,
    stops: AtomicBool,
}

impl Letterbox {
    pub(super) fn new() -> io::Result<Letterbox> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = EventFd::from_value_and_flags(0, flags)?;
        Ok(Letterbox { wake, answers: Mutex::default(), stops: AtomicBool::new(false) })
    }

    /// A message of a connection has been handled; `line` is the answer, or nothing.
    pub(super) fn answer(&self, number: u64, line: Vec<u8>, bytes: usize) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = answers.is_empty();
        answers.push((number, line, bytes));
        drop(answers);
        if is_first {
            self.ring();
        }
    }

    /// Ends the hall: nothing more is heard, and what is being handled is answered.
    pub(super) fn stop(&self) {
        self.stops.store(true, Ordering::Relaxed);
        self.ring();
    }

    fn ring(&self) {
        // It fails only if it has been rung more often than can be counted.
        let _ = self.wake.write(1);
    }

    /// What has been left since it rang first.
    fn empty(&self) -> Vec<(u64, Vec<u8>, usize)> {
        let _ = self.wake.read();
        std::mem::take(&mut *self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(super) struct Hall {
    epoll: Epoll,
    letterbox: Arc<Letterbox>,
    work: Arc<Work>,
    about: Arc<About>,
    bounds: Bounds,
    listeners: Vec<Bound>,
    /// Until when no connection is taken, for want of room.
    shortage: Option<Instant>,
    peers: HashMap<u64, Entry>,
    /// What is kept for all of them, in bytes.
    kept_bytes: usize,
    /// None of them is due before that.
    due: Option<Instant>,
    last: u64,
    scratch: Box<[u8]>,
    /// When it has to be over, once that was decided on.
    ends: Option<Instant>,
}

/// A connection, and what is known of it since it was attended last.
struct Entry {
    peer: Peer,
    watched: EpollFlags,
    kept_bytes: usize,
}

impl Hall {
    pub(super) fn new(
        listeners: Vec<Bound>,
        letterbox: Arc<Letterbox>,
        work: Arc<Work>,
        about: Arc<About>,
        bounds: Bounds,
    ) -> io::Result<Hall> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&letterbox.wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        let hall = Hall {
            epoll,
            letterbox,
            work,
            about,
            bounds,
            last: LISTENERS + listeners.len() as u64,
            listeners,
            shortage: None,
            peers: HashMap::new(),
            kept_bytes: 0,
            due: None,
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
            ends: None,
        };
        hall.watch_listeners(true)?;
        Ok(hall)
    }

    /// Serves until it is told to stop, and all has been answered or the time for that is over.
    pub(super) fn run(mut self) {
        let mut events = vec![EpollEvent::empty(); 256];
        loop {
            let due = self.due.into_iter().chain(self.shortage).chain(self.ends).min();
            let timeout = due.map(|due| due.saturating_duration_since(Instant::now()));
            // It counts in whole milliseconds, and is not to end before the time.
            let timeout = timeout.map_or(EpollTimeout::NONE, |left| {
                EpollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(EpollTimeout::MAX)
            });
            let count = match self.epoll.wait(&mut events, timeout) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                // Nothing that it was asked for can be wrong.
                Err(_) => break,
            };
            let now = Instant::now();
            for event in &events[..count] {
                match event.data() {
                    WAKE => self.take_answers(now),
                    token if token < LISTENERS + self.listeners.len() as u64 => {
                        self.accept((token - LISTENERS) as usize, now);
                    }
                    number => self.attend(number, true, now),
                }
            }
            self.keep_time(now);
            self.keep_bound(now);
            if self.letterbox.stops.load(Ordering::Relaxed) && self.ends.is_none() {
                self.begin_to_end(now);
            }
            if self.ends.is_some_and(|ends| self.peers.is_empty() || ends <= now) {
                break;
            }
        }
        self.numbers().into_iter().for_each(|number| self.remove(number));
    }

    fn numbers(&self) -> Vec<u64> {
        self.peers.keys().copied().collect()
    }

    fn take_answers(&mut self, now: Instant) {
        for (number, line, bytes) in self.letterbox.empty() {
            if let Some(Entry { peer, .. }) = self.peers.get_mut(&number) {
                peer.handled(&line, bytes, now);
                self.attend(number, false, now);
            }
        }
    }

    fn watch_listeners(&self, watch: bool) -> io::Result<()> {
        for (bound, token) in self.listeners.iter().zip(LISTENERS..) {
            let socket = match &bound.listener {
                Listener::Unix(listener) => listener.as_fd(),
                Listener::Tcp(listener) => listener.as_fd(),
            };
            match watch {
                true => self.epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, token))?,
                false => self.epoll.delete(socket)?,
            }
        }
        Ok(())
    }

    fn accept(&mut self, listener: usize, now: Instant) {
        for _ in 0..ACCEPTED_MAX {
            let accepted = match self.listeners.get(listener) {
                Some(bound) if self.shortage.is_none() => stream::accept(&bound.listener),
                _ => return,
            };
            match accepted {
                Ok(stream) => self.welcome(stream, now),
                Err(error) if is_shortage(&error) => {
                    self.shortage = Some(now + SHORTAGE_PAUSE);
                    // A listener that cannot be left alone only costs time.
                    let _ = self.watch_listeners(false);
                }
                // It has gone, or none waits.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {}
            }
        }
    }

    fn welcome(&mut self, stream: Stream, now: Instant) {
        // One that the kernel does not know any more has gone.
        let Ok(process) = stream::process(&stream) else { return };
        let has_room = self.peers.len() < self.bounds.max_connections || self.make_room(now);
        if !has_room && self.peers.len() >= self.bounds.max_connections + REFUSED_MAX {
            return;
        }
        self.last += 1;
        let number = self.last;
        let mut peer = Peer::new(stream, Asker { number, process, unnamed: 0 }, now);
        if !has_room {
            peer.dismiss(Code::Overloaded, "too many connections: this one is closed");
        }
        self.peers.insert(number, Entry { peer, watched: EpollFlags::empty(), kept_bytes: 0 });
        self.attend(number, false, now);
    }

    /// Closes the connection that has been idle for longest, if that was long; false if there is none.
    fn make_room(&mut self, now: Instant) -> bool {
        let idle = self.peers.iter().filter_map(|(number, entry)| Some((entry.peer.idle_since()?, *number)));
        let Some((since, number)) = idle.min() else { return false };
        if now.saturating_duration_since(since) < IDLE_MIN {
            return false;
        }
        self.remove(number);
        true
    }

    /// Does for a connection what there is to do, and watches for what it waits for.
    fn attend(&mut self, number: u64, may_read: bool, now: Instant) {
        let Some(Entry { peer, watched, kept_bytes }) = self.peers.get_mut(&number) else { return };
        let work = &self.work;
        let mut take = |number, job: Job| work.put(Caller::Direct(number), job);
        if may_read {
            peer.read(&mut self.scratch, &self.about, now, &mut take);
        }
        peer.write(now);
        // What was written may have made room for what was read before.
        while peer.can_go_on(&self.about) {
            peer.hear_rest(&self.about, now, &mut take);
            peer.write(now);
        }
        let mut wanted = EpollFlags::empty();
        wanted.set(EpollFlags::EPOLLIN, peer.wants_read(&self.about));
        wanted.set(EpollFlags::EPOLLOUT, peer.wants_write());
        let event = EpollEvent::new(wanted, number);
        // A connection of which nothing is wanted is not watched: the kernel tells of its end again and again.
        let changed = match (watched.is_empty(), wanted.is_empty()) {
            _ if *watched == wanted => Ok(()),
            (true, _) => self.epoll.add(&peer.stream, event),
            (_, true) => self.epoll.delete(&peer.stream),
            _ => self.epoll.modify(&peer.stream, &mut { event }),
        };
        *watched = wanted;
        self.kept_bytes -= std::mem::replace(kept_bytes, peer.kept_bytes());
        self.kept_bytes += *kept_bytes;
        self.due = self.due.into_iter().chain(peer.due(&self.about, self.bounds.stall_timeout)).min();
        if peer.is_closed() || changed.is_err() {
            self.remove(number);
        }
    }

    /// A connection is over, and so is what waits to be handled of it.
    fn remove(&mut self, number: u64) {
        if let Some(Entry { peer, watched, kept_bytes }) = self.peers.remove(&number) {
            self.kept_bytes -= kept_bytes;
            // The child of a fork may hold the socket: closed here alone, it would go on telling of itself, and its
            // other end would not see the end. One that is not watched any more cannot be deleted.
            if !watched.is_empty() {
                let _ = self.epoll.delete(&peer.stream);
            }
            peer.stream.shut();
        }
        self.work.forget(&Caller::Direct(number));
    }

    fn keep_time(&mut self, now: Instant) {
        if self.shortage.is_some_and(|until| until <= now) {
            self.shortage = None;
            let _ = self.watch_listeners(true);
        }
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let stall_timeout = self.bounds.stall_timeout;
        // Those that are attended below tell of theirs.
        self.due = None;
        for number in self.numbers() {
            let Some(Entry { peer, .. }) = self.peers.get_mut(&number) else { continue };
            match peer.due(&self.about, stall_timeout) {
                Some(due) if due <= now => {
                    peer.expire(&self.about, stall_timeout, now);
                    self.attend(number, false, now);
                }
                due => self.due = self.due.into_iter().chain(due).min(),
            }
        }
    }

    /// While all connections take too much memory, the one that takes most is closed.
    fn keep_bound(&mut self, now: Instant) {
        while self.kept_bytes > self.bounds.max_memory_bytes {
            let largest = self.peers.iter_mut().max_by_key(|(_, entry)| entry.kept_bytes);
            let Some((number, Entry { peer, .. })) = largest else { return };
            let number = *number;
            peer.give_up(now);
            self.remove(number);
        }
    }

    /// Hears nothing more.
    fn begin_to_end(&mut self, now: Instant) {
        self.ends = Some(after(now, self.bounds.stop_timeout));
        // One that the service manager has, too, would go on telling of connections.
        if self.shortage.take().is_none() {
            let _ = self.watch_listeners(false);
        }
        for bound in std::mem::take(&mut self.listeners) {
            // What cannot be removed is stale to the next program that listens there.
            let _ = bound.place.remove_file();
        }
        for number in self.numbers() {
            if let Some(Entry { peer, .. }) = self.peers.get_mut(&number) {
                peer.end();
                self.attend(number, false, now);
            }
        }
    }
}
