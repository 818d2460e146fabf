//! The data is a script for one client without threads and sockets, one act per line; the first byte of a line says
//! which:
//!
//! - `o`: a connection is made; `x`: it is lost; `w5`: five bytes of what is to be written are; `W`: all of it
//! - `r`: the rest of the line comes, and an LF; `R`: without the LF
//! - `k`: the oldest request that was written and not answered is, by a body with the rest of the line for its members;
//!   `K`: the same twice; `j`: the youngest one
//! - `t5`: so many tenths of a second pass
//! - `c`: it calls a node of that name; `g`: it gathers from it; `s`: it sends to it; `p`: it publishes to that topic
//! - `n`, `N`: it registers and unregisters; `u`, `U`: it subscribes and unsubscribes; `m`, `M`: it monitors and does
//!   not any more; `d`: what it was given first is dropped
//!
//! A first line that begins with `!` has it fail what is sent while there is no connection. What is written has to be
//! whole lines of JSON, every answer has to come by its time, and in the end there is one for everything.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde_json::Value;
use telex::client::{Answer, Driven, Handle, Message, Reconnect, Stream, To, WhileAway};

const TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than anything is waited for.
const LONG: Duration = Duration::from_secs(100);

pub(crate) fn run(data: &[u8]) {
    let mut reconnect = Reconnect::default();
    if data.starts_with(b"!") {
        reconnect.meanwhile = WhileAway::Fail;
    }
    let mut world = World::new(Driven::new("p", reconnect, 400));
    for act in data.split(|&byte| byte == b'\n').take(400) {
        world.act(act);
        world.look();
    }
    world.end();
}

/// What is still to come.
trait Owed {
    /// Takes what is there; whether it is over.
    fn look(&mut self) -> bool;
}

impl<T> Owed for Answer<T> {
    fn look(&mut self) -> bool {
        Pin::new(self).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }
}

impl<T> Owed for Stream<T> {
    fn look(&mut self) -> bool {
        while let Poll::Ready(Some(_)) = self.poll_next(&mut Context::from_waker(Waker::noop())) {}
        self.is_ended()
    }
}

struct World {
    driven: Driven,
    now: Duration,
    is_connected: bool,
    /// What was written of a line.
    line: Vec<u8>,
    /// Requests that were written, by id and type.
    written: VecDeque<(String, String)>,
    /// With the time by which it has to be there.
    owed: VecDeque<(Box<dyn Owed>, Duration)>,
}

impl World {
    fn new(driven: Driven) -> World {
        driven.handle().on("echo", |request| Ok::<_, String>(request.body().unwrap_or("").to_owned()));
        let (line, written, owed) = (Vec::new(), VecDeque::new(), VecDeque::new());
        World { driven, now: Duration::ZERO, is_connected: false, line, written, owed }
    }

    fn act(&mut self, act: &[u8]) {
        let Some((&verb, rest)) = act.split_first() else { return };
        let text = String::from_utf8_lossy(rest).into_owned();
        let count = || text.parse().unwrap_or(1_usize);
        match verb {
            b'o' if !self.is_connected => {
                self.driven.opened();
                self.is_connected = true;
            }
            b'x' => self.lose(),
            b'w' => self.write(count()),
            b'W' => self.write(usize::MAX),
            b'r' => self.receive(&[rest, b"\n"].concat()),
            b'R' => self.receive(rest),
            b'k' | b'K' => {
                let request = self.written.pop_front();
                for _ in 0..1 + usize::from(verb == b'K') {
                    self.answer(request.as_ref(), &text);
                }
            }
            b'j' => {
                let request = self.written.pop_back();
                self.answer(request.as_ref(), &text);
            }
            b't' => self.pass_time(Duration::from_millis(100) * count().min(1000) as u32),
            b'd' => drop(self.owed.pop_front()),
            _ => self.ask(verb, &text),
        }
    }

    fn ask(&mut self, verb: u8, text: &str) {
        let has_room = self.driven.has_room();
        let handle: &Handle = self.driven.handle();
        // What only the daemon answers is waited for longer.
        let (owed, timeout): (Box<dyn Owed>, Duration) = match verb {
            b'c' => (Box::new(handle.call(text, "ask", "[1]", TIMEOUT)), TIMEOUT),
            b'g' => (Box::new(handle.gather(text, "ask", "", TIMEOUT)), TIMEOUT),
            b'n' => (Box::new(handle.register(text)), LONG),
            b'N' => (Box::new(handle.unregister(text)), LONG),
            b'u' => (Box::new(handle.subscribe(text, None)), LONG),
            b'U' => (Box::new(handle.unsubscribe(text, None)), LONG),
            b'm' => (Box::new(handle.monitor(text)), LONG),
            b'M' => (Box::new(handle.unmonitor(text)), LONG),
            b's' if has_room => return drop(handle.send(text, "{}")),
            b'p' if has_room => return drop(handle.send(To::Topic(text), "{}")),
            _ => return,
        };
        self.owed.push_back((owed, self.now + timeout + Duration::from_secs(1)));
    }

    fn look(&mut self) {
        if self.is_connected && self.driven.is_broken() {
            self.lose();
        }
        let now = self.now;
        self.owed.retain_mut(|(owed, until)| {
            let is_over = owed.look();
            assert!(is_over || now < *until, "something never ends");
            !is_over
        });
    }

    fn lose(&mut self) {
        if std::mem::take(&mut self.is_connected) {
            self.driven.lost();
            self.line.clear();
            self.written.clear();
        }
    }

    fn write(&mut self, most: usize) {
        if !self.is_connected {
            return;
        }
        let output = self.driven.output();
        let count = output.len().min(most);
        let bytes = output[..count].to_vec();
        if count > 0 {
            self.driven.wrote(count);
        }
        for byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = String::from_utf8(std::mem::take(&mut self.line)).expect("text");
            let value: Value = serde_json::from_str(&line).expect("JSON");
            let message = Message::read(line.into()).expect("a message");
            if message.is_request() {
                let id = value["message_id"].as_str().expect("an id").to_owned();
                self.written.push_back((id, message.message_type().to_owned()));
            }
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        if self.is_connected && self.driven.received(bytes).is_err() {
            self.lose();
        }
    }

    fn answer(&mut self, request: Option<&(String, String)>, members: &str) {
        if let Some((id, message_type)) = request {
            let comma = if members.is_empty() { "" } else { "," };
            self.receive(
                format!(
                    "{{\"message_type\":\"{message_type}_reply\",\"from\":null,\"body\":{{\"in_reply_to\":\"{id}\"{comma}{members}}}}}\n"
                )
                .as_bytes(),
            );
        }
    }

    fn pass_time(&mut self, span: Duration) {
        self.now += span;
        self.driven.set_time(self.now);
    }

    fn end(&mut self) {
        self.pass_time(LONG);
        self.look();
        assert!(self.owed.is_empty(), "something never ends");
        let deadline = self.driven.next_deadline();
        assert!(deadline.is_none_or(|at| at > self.now), "what is due is not done");
    }
}
