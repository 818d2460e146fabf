//! Knows the order of the plugins, and what becomes of a message that they judge (PROTOCOL.md section 11).
//! Never: how a plugin is loaded or called.

use std::borrow::Cow;
use std::time::Instant;

use telex_plugin::raw::{self, Str};

use super::ffi::{Call, Replaced};
use super::pace::{Late, Task};
use super::slot::Slot;
use super::view;
use crate::core::{Counters, Event, Explained, Judged, Level, Note, Ruling, Subject, Verdict};
use crate::plugin_settings::OnFault;
use crate::wire::envelope::Envelope;
use crate::wire::json::Object;
use crate::wire::message::{Message, Target};
use crate::wire::rewrite::{Changes, one_value, read_rewritten, rewrite};

/// One message of so many has its filters timed for the counters.
const SAMPLED: u64 = 64;
/// Why something is refused that a plugin cannot judge.
pub(super) const FAILED: &str = "the plugin has failed, and what it cannot judge is refused";

/// The plugins that are in force, in their order.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) slots: Vec<Slot>,
    /// The places of the filters among them.
    filters: Vec<usize>,
    pub(super) call: Box<Call>,
    pub(super) notes: Vec<Note>,
    began: Instant,
    /// Scratch for the node IDs of a connection.
    pub(super) node_ids: Vec<Str>,
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
                    return Verdict::Reject { filter: self.slots[at].settings.name.clone(), reason };
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

    /// What the filters would say of a message, without anything coming of it. One that does not know that it may be
    /// asked so is passed over.
    pub(super) fn explain(&mut self, judged: &Judged<'_>) -> Explained {
        self.call.set_dry(true);
        let mut explained = Explained { rulings: Vec::new(), verdict: Verdict::Pass };
        self.explain_from(0, judged, judged.message, &mut explained);
        self.call.set_dry(false);
        explained
    }

    fn explain_from(
        &mut self,
        first: usize,
        judged: &Judged<'_>,
        message: &Message<'_>,
        explained: &mut Explained,
    ) {
        for nth in first..self.filters.len() {
            let at = self.filters[nth];
            let Slot { instance, settings, is_out, .. } = &self.slots[at];
            if !instance.interests.iter().any(|interest| interest.covers(message, judged.from)) {
                continue;
            }
            let filter = settings.name.clone();
            if !instance.knows_dry && !is_out {
                let reason = Some("not asked".to_owned());
                explained.rulings.push(Ruling { filter, verdict: None, reason });
                continue;
            }
            let (verdict, reason) = match self.look(at, judged, message) {
                Outcome::Pass => (Verdict::Pass, None),
                Outcome::Drop => (Verdict::Drop, None),
                Outcome::Reject(reason) => {
                    (Verdict::Reject { filter: filter.clone(), reason: reason.clone() }, Some(reason))
                }
                Outcome::Replace(line) => (Verdict::Replace(line), None),
            };
            explained.rulings.push(Ruling { filter, verdict: Some(verdict.word()), reason });
            if verdict == Verdict::Pass {
                continue;
            }
            explained.verdict = verdict;
            if let Verdict::Replace(line) = &explained.verdict {
                let line = line.clone();
                if let Ok(envelope) = Envelope::scan(&line)
                    && let Ok(message) = Message::read(&envelope)
                {
                    self.explain_from(nth + 1, judged, &message, explained);
                }
            }
            return;
        }
    }

    /// What a filter would answer. Nothing of it is counted, and no fault is a strike.
    fn look(&mut self, at: usize, judged: &Judged<'_>, message: &Message<'_>) -> Outcome {
        if self.slots[at].is_out {
            return self.fare_by_fault(at);
        }
        self.node_ids.clear();
        self.node_ids.extend(judged.node_ids().map(Str::of));
        let sender = view::peer(judged.number, judged.unique_id, judged.peer, &self.node_ids);
        let seen = view::message(&sender, judged.from, message);
        match self.slots[at].instance.judge(&seen, &self.call) {
            raw::PASS => Outcome::Pass,
            raw::DROP => Outcome::Drop,
            raw::REJECT => Outcome::Reject(self.refused_for()),
            raw::REPLACE => match self.replaced(message) {
                Ok(line) => Outcome::Replace(line),
                Err(NoLine::TooLong(why)) => Outcome::Reject(why),
                Err(NoLine::Wrong(_)) => self.fare_by_fault(at),
            },
            _ => self.fare_by_fault(at),
        }
    }

    fn refused_for(&self) -> String {
        self.call.take_reason().unwrap_or_else(|| "a filter refused it".to_owned())
    }

    /// A function of its own, so that the search for filters that want a message has little to set up.
    #[inline(never)]
    fn judge_by(&mut self, at: usize, judged: &Judged<'_>, message: &Message<'_>) -> Outcome {
        if self.slots[at].is_out {
            return self.fare_by_fault(at);
        }
        let (answer, late) = self.call(at, judged, message);
        let counters = &mut self.slots[at].counters;
        if answer == raw::PASS && late.is_none() {
            counters.pass += 1;
            return Outcome::Pass;
        }
        self.outcome(at, answer, late, message)
    }

    /// Calls a filter with a message, as it sees it. One call of [`SAMPLED`] is timed for the counters.
    #[inline(always)]
    fn call(&mut self, at: usize, judged: &Judged<'_>, message: &Message<'_>) -> (i32, Option<Late>) {
        self.node_ids.clear();
        self.node_ids.extend(judged.node_ids().map(Str::of));
        let sender = view::peer(judged.number, judged.unique_id, judged.peer, &self.node_ids);
        let seen = view::message(&sender, judged.from, message);
        let Slot { instance, counters, pace, .. } = &mut self.slots[at];
        counters.calls += 1;
        let bytes = || seen.line.len + bytes_of(&self.node_ids);
        pace.time(Task::Judge, bytes, || {
            if !counters.calls.is_multiple_of(SAMPLED) {
                return instance.judge(&seen, &self.call);
            }
            let began = Instant::now();
            let answer = instance.judge(&seen, &self.call);
            let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX / SAMPLED);
            counters.nanoseconds += SAMPLED * took;
            answer
        })
    }

    /// What an answer leads to that is no [`raw::PASS`], or was late.
    #[inline(never)]
    fn outcome(&mut self, at: usize, answer: i32, late: Option<Late>, message: &Message<'_>) -> Outcome {
        // What is a fault besides is one strike.
        if let Some(late) = late.filter(|_| is_verdict(answer)) {
            self.strike(at, &late.to_string());
        }
        let counters = &mut self.slots[at].counters;
        match answer {
            raw::PASS => {
                counters.pass += 1;
                Outcome::Pass
            }
            raw::DROP => {
                counters.drop += 1;
                Outcome::Drop
            }
            raw::REJECT => {
                counters.reject += 1;
                Outcome::Reject(self.refused_for())
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
            raw::FAULT | raw::PANIC => self.fault(at, &failed_at(answer, Task::Judge)),
            other => self.fault(at, &format!("answered {other} to a message, which is no verdict")),
        }
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
        match self.slots[at].settings.on_fault {
            OnFault::Deny => Outcome::Reject(FAILED.to_owned()),
            OnFault::Pass => Outcome::Pass,
        }
    }

    /// Counts what a plugin did wrong, and says so.
    pub(super) fn strike(&mut self, at: usize, what: &str) {
        let slot = &mut self.slots[at];
        let (text, is_out) = slot.strike(self.began.elapsed(), what);
        let name = slot.settings.name.clone();
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
        let about = Subject { plugin: Some(name.to_owned()), ..Subject::default() };
        self.notes.push(Note { level, event: Event::Plugin, about, text, fields: fields_of(name) });
    }

    pub(super) fn counters(&self) -> Vec<Counters> {
        self.slots.iter().map(|slot| slot.counters.clone()).collect()
    }
}

/// What a record of a plugin has for programs.
fn fields_of(name: &str) -> String {
    let mut bytes = Vec::new();
    let mut object = Object::begin(&mut bytes);
    object.string("plugin", name);
    object.end();
    String::from_utf8(bytes).unwrap_or_default()
}

/// How an answer is told that is a fault at what a plugin was called for.
pub(super) fn failed_at(answer: i32, task: Task) -> String {
    match answer {
        raw::FAULT => format!("failed at {task}"),
        raw::PANIC => format!("panicked at {task}"),
        other => format!("answered {other}, which means nothing, to {task}"),
    }
}

fn is_verdict(answer: i32) -> bool {
    (raw::PASS..=raw::REPLACE).contains(&answer)
}

pub(super) fn bytes_of(texts: &[Str]) -> usize {
    texts.iter().map(|text| text.len).sum()
}
