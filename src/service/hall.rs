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

use crate::listen::{Bound, Listener, is_shortage};
use crate::service::hear::{About, Asker};
use crate::service::peer::Peer;
use crate::service::stream::Stream;
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
    peers: HashMap<u64, (Peer, EpollFlags)>,
    last: u64,
    scratch: Box<[u8]>,
    /// When it has to be over, once that was decided on.
    ends: Option<Instant>,
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
            let timeout = self.next_due().map(|due| due.saturating_duration_since(Instant::now()));
            // It counts in whole milliseconds, and is not to end before the time.
            let timeout = timeout.map_or(EpollTimeout::NONE, |left| {
                EpollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(EpollTimeout::MAX)
            });
            let count = match self.epoll.wait(&mut events, timeout) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                // Nothing that it was asked for can be wrong.
                Err(_) => return,
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
                return;
            }
        }
    }

    fn take_answers(&mut self, now: Instant) {
        for (number, line, bytes) in self.letterbox.empty() {
            if let Some((peer, _)) = self.peers.get_mut(&number) {
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
                Some(bound) if self.shortage.is_none() => Stream::accept(&bound.listener),
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
        let Ok(process) = stream.process() else { return };
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
        self.peers.insert(number, (peer, EpollFlags::empty()));
        self.attend(number, false, now);
    }

    /// Closes the connection that has been idle for longest, if that was long; false if there is none.
    fn make_room(&mut self, now: Instant) -> bool {
        let idle = self.peers.iter().filter_map(|(number, (peer, _))| Some((peer.idle_since()?, *number)));
        let Some((since, number)) = idle.min() else { return false };
        if now.saturating_duration_since(since) < IDLE_MIN {
            return false;
        }
        self.remove(number);
        true
    }

    /// Does for a connection what there is to do, and watches for what it waits for.
    fn attend(&mut self, number: u64, may_read: bool, now: Instant) {
        let Some((peer, watched)) = self.peers.get_mut(&number) else { return };
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
        if peer.is_closed() || changed.is_err() {
            self.remove(number);
        }
    }

    /// A connection is over, and so is what waits to be handled of it.
    fn remove(&mut self, number: u64) {
        self.peers.remove(&number);
        self.work.forget(&Caller::Direct(number));
    }

    fn next_due(&self) -> Option<Instant> {
        let stall_timeout = self.bounds.stall_timeout;
        let of_peers = self.peers.values().filter_map(|(peer, _)| peer.due(&self.about, stall_timeout));
        of_peers.chain(self.shortage).chain(self.ends).min()
    }

    fn keep_time(&mut self, now: Instant) {
        if self.shortage.is_some_and(|until| until <= now) {
            self.shortage = None;
            let _ = self.watch_listeners(true);
        }
        let stall_timeout = self.bounds.stall_timeout;
        let is_due = |peer: &Peer| peer.due(&self.about, stall_timeout).is_some_and(|due| due <= now);
        let due: Vec<u64> =
            self.peers.iter().filter(|(_, (peer, _))| is_due(peer)).map(|(number, _)| *number).collect();
        for number in due {
            if let Some((peer, _)) = self.peers.get_mut(&number) {
                peer.expire(&self.about, stall_timeout, now);
                self.attend(number, false, now);
            }
        }
    }

    /// While all connections take too much memory, the one that takes most is closed.
    fn keep_bound(&mut self, now: Instant) {
        while self.peers.values().map(|(peer, _)| peer.kept_bytes()).sum::<usize>()
            > self.bounds.max_memory_bytes
        {
            let largest = self.peers.iter().max_by_key(|(_, (peer, _))| peer.kept_bytes());
            let Some(number) = largest.map(|(number, _)| *number) else { return };
            if let Some((peer, _)) = self.peers.get_mut(&number) {
                peer.give_up(now);
            }
            self.remove(number);
        }
    }

    /// Hears nothing more.
    fn begin_to_end(&mut self, now: Instant) {
        self.ends = Some(now + self.bounds.stop_timeout);
        // One that the service manager has, too, would go on telling of connections.
        if self.shortage.take().is_none() {
            let _ = self.watch_listeners(false);
        }
        for bound in std::mem::take(&mut self.listeners) {
            // What cannot be removed is stale to the next program that listens there.
            let _ = bound.place.remove_file();
        }
        let all: Vec<u64> = self.peers.keys().copied().collect();
        for number in all {
            if let Some((peer, _)) = self.peers.get_mut(&number) {
                peer.end();
                self.attend(number, false, now);
            }
        }
    }
}
