//! Knows how to forward lines, and no more than that: one thread, epoll, and a search for LF. What it costs
//! is about the least that any program costs that hands lines on.
//! Never: what is in a line.
//!
//! The first line of a connection says what it is called and where all its lines go: `NAME NAME`. Any number
//! of connections may have one name, and all of them get what goes there.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::server::Address;

/// As much as telexd reads at once.
const READ_BYTES: usize = 256 * 1024;
const LISTENER: u64 = u64::MAX;

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    fn bind(address: &Address) -> io::Result<Listener> {
        let listener = match address {
            Address::Unix(path) => Listener::Unix(UnixListener::bind(path)?),
            Address::Tcp(port) => Listener::Tcp(TcpListener::bind(("127.0.0.1", *port))?),
        };
        Ok(listener)
    }

    fn accept(&self) -> io::Result<File> {
        let fd: OwnedFd = match self {
            Listener::Unix(listener) => {
                let stream = listener.accept()?.0;
                stream.set_nonblocking(true)?;
                stream.into()
            }
            Listener::Tcp(listener) => {
                let stream = listener.accept()?.0;
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                stream.into()
            }
        };
        Ok(File::from(fd))
    }
}

struct Conn {
    stream: File,
    /// The name that its lines go to, once it has said so.
    to: Option<usize>,
    /// The beginning of a line.
    partial: Vec<u8>,
    out: Vec<u8>,
    /// It has something to be written in this turn.
    dirty: bool,
    /// Its socket is full.
    blocked: bool,
}

struct Relay {
    epoll: Epoll,
    conns: Vec<Conn>,
    names: HashMap<String, usize>,
    /// The connections of each name.
    members: Vec<Vec<usize>>,
    dirty: Vec<usize>,
}

/// Serves for ever.
pub(crate) fn run(address: &Address) -> io::Result<()> {
    let listener = Listener::bind(address)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let interest = EpollEvent::new(EpollFlags::EPOLLIN, LISTENER);
    match &listener {
        Listener::Unix(listener) => epoll.add(listener.as_fd(), interest)?,
        Listener::Tcp(listener) => epoll.add(listener.as_fd(), interest)?,
    }
    let (conns, names, members, dirty) = (Vec::new(), HashMap::new(), Vec::new(), Vec::new());
    let mut relay = Relay { epoll, conns, names, members, dirty };
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let mut events = [EpollEvent::empty(); 256];
        let count = relay.epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            if event.data() == LISTENER {
                relay.take(listener.accept()?)?;
                continue;
            }
            let at = event.data() as usize;
            if event.events().contains(EpollFlags::EPOLLOUT) {
                relay.flush(at)?;
            }
            if event.events().intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP) {
                relay.read(at, &mut buffer)?;
            }
        }
        while let Some(at) = relay.dirty.pop() {
            relay.conns[at].dirty = false;
            relay.flush(at)?;
        }
    }
}

impl Relay {
    fn take(&mut self, stream: File) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, self.conns.len() as u64);
        self.epoll.add(&stream, event)?;
        let (partial, out) = (Vec::new(), Vec::new());
        self.conns.push(Conn { stream, to: None, partial, out, dirty: false, blocked: false });
        Ok(())
    }

    fn read(&mut self, at: usize, buffer: &mut [u8]) -> io::Result<()> {
        let count = match self.conns[at].stream.read(buffer) {
            Ok(0) => return self.epoll.delete(&self.conns[at].stream).map_err(io::Error::from),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let (mut partial, mut rest) = (std::mem::take(&mut self.conns[at].partial), &buffer[..count]);
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, behind) = rest.split_at(end + 1);
            rest = behind;
            if partial.is_empty() {
                self.line(at, line);
            } else {
                partial.extend_from_slice(line);
                self.line(at, &partial);
                partial.clear();
            }
        }
        partial.extend_from_slice(rest);
        self.conns[at].partial = partial;
        Ok(())
    }

    fn line(&mut self, from: usize, line: &[u8]) {
        let Some(to) = self.conns[from].to else { return self.hello(from, line) };
        for &member in &self.members[to] {
            let conn = &mut self.conns[member];
            conn.out.extend_from_slice(line);
            if !conn.dirty {
                conn.dirty = true;
                self.dirty.push(member);
            }
        }
    }

    fn hello(&mut self, at: usize, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let (name, to) = line.trim_end().split_once(' ').expect("two names");
        let [name, to] = [name, to].map(|name| {
            let next = self.names.len();
            *self.names.entry(name.to_owned()).or_insert(next)
        });
        self.members.resize_with(self.names.len(), Vec::new);
        self.members[name].push(at);
        self.conns[at].to = Some(to);
        self.conns[at].out.extend_from_slice(b"ready\n");
        self.conns[at].dirty = true;
        self.dirty.push(at);
    }

    fn flush(&mut self, at: usize) -> io::Result<()> {
        let conn = &mut self.conns[at];
        let mut written = 0;
        let mut blocks = false;
        while written < conn.out.len() && !blocks {
            match conn.stream.write(&conn.out[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => blocks = true,
                // Who has gone wants nothing any more.
                Err(_) => written = conn.out.len(),
            }
        }
        conn.out.drain(..written);
        if std::mem::replace(&mut conn.blocked, blocks) != blocks {
            let out = if blocks { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
            let mut event = EpollEvent::new(EpollFlags::EPOLLIN | out, at as u64);
            self.epoll.modify(&conn.stream, &mut event)?;
        }
        Ok(())
    }
}
