//! The data is a script for one pure session, one act per line; the first byte of a line says which, and a `TEXT` ends
//! at the first space:
//!
//! - `qTEXT BODY`: a request to the node of that name; `QTEXT BODY`: one of that type to the daemon; `gTEXT BODY`: one
//!   by that key
//! - `sTEXT BODY`: a signal to that node; `tTEXT BODY`: one to that topic; `pTEXT BODY`: the same for a receipt
//! - `aBODY`: a reply to the last request that came
//! - `f`: the oldest request that waits is given up
//! - `r`: the rest of the line comes, and an LF; `R`: without the LF
//! - `k`: the oldest request that waits is answered, by a body with the rest of the line for its members; `K`: the same
//!   twice; `j`: the youngest one; `e`: the oldest one by an error line
//! - `m50`: so many bytes are the longest line that is written; `x`: the connection ends, and a new one is made
//!
//! What comes is handed to one session as it is and to another byte by byte, and must be the same to both. What is
//! written has to be one line that is a message, or nothing; every answer has to be to a request that waits.

use std::fmt::Debug;
use std::time::Duration;

use telex::client::{Category, Event, Message, Session, Ticket, To, Unsendable};

pub(crate) fn run(data: &[u8]) {
    let mut world = World::new();
    for act in data.split(|&byte| byte == b'\n').take(400) {
        world.act(act);
        world.look();
    }
    world.end();
}

struct World {
    session: Session,
    /// Is handed the same, byte by byte.
    cut: Session,
    /// Requests that wait, with their ids, the oldest first.
    waiting: Vec<(Ticket, String)>,
    /// The last line that was written.
    last: Option<Ticket>,
    /// The last request that came.
    came: Option<Message>,
    /// Whether what came last may tell why the connection ends.
    may_tell_why: bool,
}

impl World {
    fn new() -> World {
        World {
            session: Session::new("p"),
            cut: Session::new("p"),
            waiting: Vec::new(),
            last: None,
            came: None,
            may_tell_why: false,
        }
    }

    fn act(&mut self, act: &[u8]) {
        let Some((&verb, rest)) = act.split_first() else { return };
        let whole = String::from_utf8_lossy(rest).into_owned();
        let (text, body) = whole.split_once(' ').unwrap_or((&whole, ""));
        let keyed = To::Keyed { node: "a", key: text };
        match verb {
            b'q' => self.ask(|session, out| session.request(To::Node(text), "ask", body, None, out)),
            b'Q' => {
                let second = Some(Duration::from_secs(1));
                self.ask(|session, out| session.request(To::Daemon, text, body, second, out));
            }
            b'g' => self.ask(|session, out| session.request(keyed, "ask", body, None, out)),
            b'p' => self.ask(|session, out| session.publish_for_receipt(text, body, out)),
            b's' => drop(self.write(|session, out| session.signal(To::Node(text), body, out))),
            b't' => drop(self.write(|session, out| session.signal(To::Topic(text), body, out))),
            b'a' => self.reply(&whole),
            b'f' if !self.waiting.is_empty() => {
                let (request, _) = self.waiting.remove(0);
                self.session.forget(request);
                self.cut.forget(request);
            }
            b'r' => self.receive(&[rest, b"\n"].concat()),
            b'R' => self.receive(rest),
            b'k' | b'K' => {
                let first = self.waiting.first().map(|(_, id)| id.clone());
                for _ in 0..1 + usize::from(verb == b'K') {
                    self.answer(first.as_deref(), "ask_reply", &whole);
                }
            }
            b'j' => {
                let last = self.waiting.last().map(|(_, id)| id.clone());
                self.answer(last.as_deref(), "ask_reply", &whole);
            }
            b'e' => {
                let first = self.waiting.first().map(|(_, id)| id.clone());
                self.answer(first.as_deref(), "error", &whole);
            }
            b'm' => {
                let bytes = whole.parse().unwrap_or(1 << 20);
                self.session.set_max_line_bytes(bytes);
                self.cut.set_max_line_bytes(bytes);
            }
            b'x' => self.end(),
            _ => {}
        }
    }

    fn ask(&mut self, write: impl Fn(&mut Session, &mut Vec<u8>) -> Result<Ticket, Unsendable>) {
        if let Some((ticket, message)) = self.write(write) {
            self.waiting.push((ticket, message.id().expect("an id").text.into_owned()));
        }
    }

    fn reply(&mut self, body: &str) {
        let Some(request) = self.came.clone() else { return };
        if let Some((_, reply)) = self.write(|session, out| session.reply(&request, body, out)) {
            assert_eq!(reply.category(), Category::Reply);
            assert_eq!((reply.to(), reply.in_reply_to()), (request.from(), request.id()));
        }
    }

    /// What was written, which is a line or nothing.
    fn write(
        &mut self,
        write: impl Fn(&mut Session, &mut Vec<u8>) -> Result<Ticket, Unsendable>,
    ) -> Option<(Ticket, Message)> {
        const BEFORE: &[u8] = b"before";
        let (mut out, mut other) = (BEFORE.to_vec(), Vec::new());
        let written = write(&mut self.session, &mut out);
        assert_eq!(written, write(&mut self.cut, &mut other));
        assert_eq!(out, [BEFORE, &other].concat());
        let Ok(ticket) = written else {
            assert!(other.is_empty(), "an error leaves no line");
            return None;
        };
        let line = other.strip_suffix(b"\n").expect("an LF");
        assert!(!line.contains(&b'\n') && !line.contains(&b'\r'), "one line");
        assert!(line.len() <= self.session.max_line_bytes(), "no longer than was said");
        assert!(self.last < Some(ticket), "later ones are greater");
        self.last = Some(ticket);
        let message = Message::read(line.to_vec()).expect("a message");
        assert_eq!(message.id().expect("an id").text, format!("p-{}", ticket.number()));
        Some((ticket, message))
    }

    fn answer(&mut self, id: Option<&str>, message_type: &str, members: &str) {
        if let Some(id) = id {
            let comma = if members.is_empty() { "" } else { "," };
            let body = format!("{{\"in_reply_to\":\"{id}\"{comma}{members}}}");
            self.receive(
                format!("{{\"message_type\":\"{message_type}\",\"from\":null,\"body\":{body}}}\n").as_bytes(),
            );
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let events = taken(&mut self.session, bytes);
        let same = bytes.iter().flat_map(|byte| taken(&mut self.cut, &[*byte])).collect::<Vec<_>>();
        assert_eq!(shown(&events), shown(&same), "cutting changes nothing");
        events.into_iter().for_each(|event| self.hear(event));
    }

    fn hear(&mut self, event: Event) {
        self.may_tell_why = false;
        match event {
            Event::Answer { to, answer } => {
                let at = self.waiting.iter().position(|(ticket, _)| *ticket == to);
                self.waiting.remove(at.expect("it waits"));
                let message = answer.unwrap_or_else(|refused| {
                    assert!(refused.to_string().starts_with(refused.error()));
                    refused.message().clone()
                });
                assert!(matches!(message.category(), Category::Reply | Category::Error));
                assert_eq!(self.session.answered(&message), Some(to));
            }
            Event::Message(message) => {
                let about = self.session.answered(&message);
                let waits = |ticket| self.waiting.iter().any(|(waiting, _)| Some(*waiting) == ticket);
                match message.category() {
                    Category::Reply => assert_eq!(about, None, "what answers is an answer"),
                    Category::Error => {
                        assert!(!waits(about), "what tells of a request is an answer");
                        self.may_tell_why = message.from().is_none() && message.in_reply_to().is_none();
                    }
                    Category::Request => self.came = Some(message),
                    Category::Signal => {}
                }
            }
            Event::Fault(fault) => assert!(!fault.to_string().is_empty()),
        }
    }

    fn look(&self) {
        assert_eq!(self.session.pending(), self.waiting.len());
        assert!(self.may_tell_why || self.session.farewell().is_none());
    }

    /// The connection ends.
    fn end(&mut self) {
        let (last, same) = (self.session.finish(), self.cut.finish());
        assert_eq!(shown(&last), shown(&same), "cutting changes nothing");
        assert!(!matches!(last, Some(Event::Fault(_))), "a line that was cut off is no fault");
        last.into_iter().for_each(|event| self.hear(event));
        self.look();
        *self = World::new();
    }
}

/// All events of these bytes, which are used up.
fn taken(session: &mut Session, mut bytes: &[u8]) -> Vec<Event> {
    let events = std::iter::from_fn(|| session.take(&mut bytes)).collect();
    assert!(bytes.is_empty(), "all is taken");
    events
}

fn shown(events: &impl Debug) -> String {
    format!("{events:?}")
}
