//! Knows the order of the plugins, and what becomes of a message that they judge (PROTOCOL.md section 11).
//! Never: how a plugin is loaded or called.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use telex_plugin::raw::{self, Str};

use super::ffi::{Call, Replaced};
use super::slot::{OnFault, Slot};
use super::usage::{Usage, last_tick};
use crate::core::{Counters, Event, Identity, Judged, Level, Note, Peer, Subject, Transport, Verdict};
use crate::wire::envelope::{Envelope, Field};
use crate::wire::json::Object;
use crate::wire::message::{Kind, Message, Target};
use crate::wire::rewrite::{Changes, one_value, read_rewritten, rewrite};

/// One message of so many has its filters timed for the counters.
const SAMPLED: u64 = 64;
/// Where a tick of the clock has passed during a call, it may have been late, or the machine did something
/// else: so many of the next calls are watched, and only such a one is a strike.
const WATCHED_CALLS: u32 = 1000;

/// The plugins that are in force, in their order.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) slots: Vec<Slot>,
    /// The places of the filters among them.
    filters: Vec<usize>,
    pub(super) call: Box<Call>,
    pub(super) notes: Vec<Note>,
    began: Instant,
    judged: u64,
    /// Scratch for the node IDs of a sender.
    node_ids: Vec<Str>,
}

/// What one filter makes of a message.
enum Outcome {
    Pass,
    Drop,
    Reject(String),
    /// This line goes on in its place.
    Replace(Vec<u8>),
}

/// Why a message cannot go on as a filter has changed it.
enum NoLine {
    TooLong(String),
    /// The filter is at fault.
    Wrong(String),
}

impl Chain {
    pub(super) fn new(max_line_bytes: usize) -> Chain {
        Chain {
            slots: Vec::new(),
            filters: Vec::new(),
            call: Call::new(max_line_bytes),
            notes: Vec::new(),
            began: Instant::now(),
            judged: 0,
            node_ids: Vec::new(),
        }
    }

    /// Puts other plugins in force; gives those that were.
    pub(super) fn put(&mut self, slots: Vec<Slot>) -> Vec<Slot> {
        let is_filter = |at: &usize| slots[*at].instance.is_filter();
        self.filters = (0..slots.len()).filter(is_filter).collect();
        std::mem::replace(&mut self.slots, slots)
    }

    pub(super) fn has_filters(&self) -> bool {
        !self.filters.is_empty()
    }

    /// Has a message judged by all filters that want it, in their order; the first refusal counts.
    pub(super) fn judge(&mut self, judged: &Judged<'_>) -> Verdict {
        self.judged += 1;
        self.judge_from(0, judged, judged.message)
    }

    fn judge_from(&mut self, first: usize, judged: &Judged<'_>, message: &Message<'_>) -> Verdict {
        for nth in first..self.filters.len() {
            let at = self.filters[nth];
            let interests = &self.slots[at].instance.interests;
            if !interests.iter().any(|interest| interest.covers(message, judged.from)) {
                continue;
            }
            match self.judge_by(at, judged, message) {
                Outcome::Pass => {}
                Outcome::Drop => return Verdict::Drop,
                Outcome::Reject(reason) => {
                    return Verdict::Reject { filter: self.slots[at].wanted.name.clone(), reason };
                }
                Outcome::Replace(line) => return self.judge_on(nth + 1, judged, line),
            }
        }
        Verdict::Pass
    }

    /// Has those that come later judge what an earlier one made of a message.
    #[inline(never)]
    fn judge_on(&mut self, first: usize, judged: &Judged<'_>, line: Vec<u8>) -> Verdict {
        let verdict = match Envelope::scan(&line) {
            Ok(envelope) => match Message::read(&envelope) {
                Ok(message) => self.judge_from(first, judged, &message),
                Err(_) => return Verdict::Replace(line),
            },
            Err(_) => return Verdict::Replace(line),
        };
        if verdict == Verdict::Pass { Verdict::Replace(line) } else { verdict }
    }

    /// Apart, so that the search for who wants a message has little to set up.
    #[inline(never)]
    fn judge_by(&mut self, at: usize, judged: &Judged<'_>, message: &Message<'_>) -> Outcome {
        let slot = &self.slots[at];
        let answer = match slot.is_out || slot.suspected > 0 || self.judged.is_multiple_of(SAMPLED) {
            true if slot.is_out => return self.fare_by_fault(at),
            true => self.call_watched(at, judged, message),
            false => {
                let before = last_tick();
                let answer = self.call(at, judged, message);
                let after = last_tick();
                let slot = &mut self.slots[at];
                if after != before && Duration::from(after - before) > slot.wanted.budget {
                    slot.suspected = WATCHED_CALLS;
                }
                answer
            }
        };
        let counters = &mut self.slots[at].counters;
        counters.calls += 1;
        if answer == raw::PASS {
            counters.pass += 1;
            return Outcome::Pass;
        }
        self.outcome(at, answer, message)
    }

    /// Calls a filter between two looks at the clock, and where it has seemed late also at whose time it
    /// takes.
    #[inline(never)]
    fn call_watched(&mut self, at: usize, judged: &Judged<'_>, message: &Message<'_>) -> i32 {
        let before = (self.slots[at].suspected > 0).then(Usage::now);
        let began = Instant::now();
        let answer = self.call(at, judged, message);
        let took = began.elapsed();
        let slot = &mut self.slots[at];
        if self.judged.is_multiple_of(SAMPLED) {
            slot.counters.nanoseconds +=
                SAMPLED * u64::try_from(took.as_nanos()).unwrap_or(u64::MAX / SAMPLED);
        }
        slot.suspected = slot.suspected.saturating_sub(1);
        let budget = slot.wanted.budget;
        if took > budget {
            match before {
                None => slot.suspected = WATCHED_CALLS,
                // What is a fault besides is one strike.
                Some(before) if is_verdict(answer) && Usage::now().is_to_blame(before, budget) => {
                    let (took, budget) = (took.as_secs_f64() * 1e3, budget.as_secs_f64() * 1e3);
                    let what = format!("took {took:.1} ms for a message, and its budget is {budget:.1} ms");
                    self.strike(at, &what);
                }
                Some(_) => {}
            }
        }
        answer
    }

    /// What an answer leads to that is no [`raw::PASS`].
    #[inline(never)]
    fn outcome(&mut self, at: usize, answer: i32, message: &Message<'_>) -> Outcome {
        let counters = &mut self.slots[at].counters;
        match answer {
            raw::DROP => {
                counters.drop += 1;
                Outcome::Drop
            }
            raw::REJECT => {
                counters.reject += 1;
                Outcome::Reject(self.call.take_reason().unwrap_or_else(|| "a filter refused it".to_owned()))
            }
            raw::REPLACE => match self.replaced(message) {
                Ok(line) => {
                    self.slots[at].counters.replace += 1;
                    Outcome::Replace(line)
                }
                // The sender made it so long: that is not to end the filter for others.
                Err(NoLine::TooLong(why)) => Outcome::Reject(why),
                Err(NoLine::Wrong(why)) => {
                    self.fault(at, &format!("made of a message what cannot go on: {why}"))
                }
            },
            raw::FAULT => self.fault(at, "failed at a message"),
            raw::PANIC => self.fault(at, "panicked at a message"),
            other => self.fault(at, &format!("answered {other} to a message, which is no verdict")),
        }
    }

    /// Calls a filter with a message, as it sees it.
    #[inline(always)]
    fn call(&mut self, at: usize, judged: &Judged<'_>, message: &Message<'_>) -> i32 {
        self.node_ids.clear();
        self.node_ids.extend(judged.node_ids().map(Str::of));
        let sender = peer(judged.number, judged.unique_id, judged.peer, &self.node_ids);
        let message = view(&sender, judged.from, message);
        self.slots[at].instance.judge(&message, &self.call)
    }

    /// The line that a filter has made of a message.
    fn replaced(&self, message: &Message<'_>) -> Result<Vec<u8>, NoLine> {
        let wrong = |why: &str| NoLine::Wrong(why.to_owned());
        let Replaced { to, topic, message_type, body } = self.call.take_replaced();
        let body = match &body {
            None => None,
            Some(body) => Some(one_value(body).ok_or_else(|| wrong("the new body is no JSON value"))?),
        };
        let target = match (to, topic) {
            (Some(to), _) => Some(Target::Address(Cow::Owned(to))),
            (None, topic) => topic.map(|topic| Target::Topic(Cow::Owned(topic))),
        };
        let changes = Changes { target, message_type: message_type.as_deref(), body };
        let (line, most) = (rewrite(message.envelope, &changes), self.call.max_line_bytes());
        if line.len() > most {
            let why = format!("a filter's new line is longer than {most} bytes (max_line_bytes)");
            return Err(NoLine::TooLong(why));
        }
        let envelope = Envelope::scan(&line).map_err(|_| wrong("the new line is no JSON"))?;
        read_rewritten(message, &envelope).map_err(|refusal| NoLine::Wrong(refusal.error))?;
        Ok(line)
    }

    fn fault(&mut self, at: usize, what: &str) -> Outcome {
        self.strike(at, what);
        self.fare_by_fault(at)
    }

    fn fare_by_fault(&self, at: usize) -> Outcome {
        match self.slots[at].wanted.on_fault {
            OnFault::Deny => Outcome::Reject(super::FAILED.to_owned()),
            OnFault::Pass => Outcome::Pass,
        }
    }

    /// Counts what a plugin did wrong, and says so.
    pub(super) fn strike(&mut self, at: usize, what: &str) {
        let slot = &mut self.slots[at];
        let (text, is_out) = slot.strike(self.began.elapsed(), what);
        let name = slot.wanted.name.clone();
        let given_up = is_out.then(|| slot.given_up());
        if let Some(text) = text {
            self.note(Level::Warning, &name, &text);
        }
        if let Some(text) = given_up {
            self.note(Level::Error, &name, &text);
        }
    }

    pub(super) fn note(&mut self, level: Level, name: &str, what: &str) {
        let text = format!("plugin {name}: {what}");
        let about = Subject::default();
        self.notes.push(Note { level, event: Event::Plugin, about, text, fields: fields_of(name) });
    }

    pub(super) fn counters(&self) -> Vec<Counters> {
        let of = |slot: &Slot| Counters {
            name: slot.wanted.name.clone(),
            calls: slot.counters.calls,
            pass: slot.counters.pass,
            drop: slot.counters.drop,
            reject: slot.counters.reject,
            replace: slot.counters.replace,
            nanoseconds: slot.counters.nanoseconds,
            strikes: slot.counters.strikes,
        };
        self.slots.iter().map(of).collect()
    }
}

/// What a record of a plugin has for programs.
pub(super) fn fields_of(name: &str) -> String {
    let mut bytes = Vec::new();
    let mut object = Object::begin(&mut bytes);
    object.string("plugin", name);
    object.end();
    String::from_utf8(bytes).unwrap_or_default()
}

fn is_verdict(answer: i32) -> bool {
    (raw::PASS..=raw::REPLACE).contains(&answer)
}

pub(super) fn target<'a>(message: &'a Message<'_>) -> (Option<&'a str>, Option<&'a str>) {
    match &message.target {
        Target::Daemon => (None, None),
        Target::Address(to) => (Some(to), None),
        Target::Topic(topic) => (None, Some(topic)),
    }
}

/// A connection, as a plugin sees it; lives as long as what it is made of.
pub(super) fn peer(number: u64, unique_id: &str, peer: &Peer, node_ids: &[Str]) -> raw::Peer {
    let (uid, gid, pid) = match peer.identity {
        Identity::Kernel { uid, gid, pid } => (i64::from(uid), i64::from(gid), i64::from(pid)),
        Identity::Anonymous => (-1, -1, -1),
    };
    raw::Peer {
        size: size_of::<raw::Peer>() as u32,
        transport: match peer.transport {
            Transport::Unix => raw::UNIX,
            Transport::Tcp => raw::TCP,
        },
        connection: number,
        unique_id: Str::of(unique_id),
        node_ids: node_ids.as_ptr(),
        node_id_count: node_ids.len(),
        uid,
        gid,
        pid,
        user: Str::NONE,
        administrator: u32::from(peer.administrator),
        reserved: 0,
    }
}

/// A message, as a filter sees it; lives as long as what it is made of.
fn view(sender: &raw::Peer, from: &str, message: &Message<'_>) -> raw::Message {
    let (to, topic) = target(message);
    let raw_field = |field| Str::maybe(message.envelope.raw(field));
    raw::Message {
        size: size_of::<raw::Message>() as u32,
        kind: match message.kind {
            Kind::Request => raw::REQUEST,
            Kind::Signal => raw::SIGNAL,
            Kind::Reply(_) => raw::REPLY,
        },
        sender,
        line: Str::of(message.envelope.line()),
        message_id: raw_field(Field::MessageId),
        message_type: Str::of(&message.message_type),
        from: Str::of(from),
        to: Str::maybe(to),
        topic: Str::maybe(topic),
        key: Str::maybe(message.key.as_deref()),
        body: raw_field(Field::Body),
        in_reply_to: Str::maybe(message.envelope.in_reply_to().map(|value| value.raw)),
    }
}
