//! Knows how a connection's bytes become messages that are let in: lines, envelopes, whose they are (PROTOCOL.md
//! sections 1 to 3 and 10).
//! Never: where a message goes.

use std::borrow::Cow;
use std::sync::Arc;

use crate::core::event::{Event, Level};
use crate::core::gate::Gate;
use crate::core::order::Reason;
use crate::core::own_line::AskedBy;
use crate::core::parcel::{Parcel, names_itself, stamp};
use crate::core::phase::{Pause, Phase};
use crate::core::refusals::{doubled_field, not_held};
use crate::core::rows::Standing;
use crate::core::session::{Backlog, Called};
use crate::core::{Core, SessionKey};
use crate::limits::BROKEN_LINES_MAX;
use crate::wire::code::Code;
use crate::wire::complaint::{explain, explain_beginning};
use crate::wire::envelope::{Broken, Envelope, Field};
use crate::wire::frame::Frame;
use crate::wire::message::{Id, Kind, Message, Refusal, Told};

/// A line of up to this many bytes may be one that is answered while memory is short.
const HELPING_LINE_BYTES: usize = 8 * 1024;

/// Buffers that are used for one line after the other.
#[derive(Debug, Default)]
pub(in crate::core) struct Scratch {
    /// The members that are added to a line.
    added: Vec<u8>,
    /// The id that a message without one is given.
    id: String,
    /// `from`, written as JSON.
    from: Vec<u8>,
}

impl Core {
    /// Handles bytes of a connection's, or keeps them for later.
    pub(in crate::core) fn received(&mut self, key: SessionKey, bytes: &[u8], gate: &mut dyn Gate) {
        self.desk.stats.bytes_in += bytes.len() as u64;
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.inbound.bytes += bytes.len() as u64;
        if !session.inbound.backlog.is_empty() {
            // The batches before this one were of the same read.
            session.inbound.backlog.extend(bytes);
            return self.sessions.account(key);
        }
        let used = self.pump(key, bytes, gate, None);
        if let Some(session) = self.sessions.get_mut(key)
            && session.phase.acts()
            && used < bytes.len()
        {
            session.inbound.backlog = Backlog::of(&bytes[used..]);
        }
        self.check_partial(key);
        self.sessions.account(key);
    }

    /// Handles lines until the bytes are used up or the session is blocked; says how many were used. `favoured`
    /// is the receiver that called the session, which had waited for it.
    fn pump(
        &mut self,
        key: SessionKey,
        bytes: &[u8],
        gate: &mut dyn Gate,
        favoured: Option<SessionKey>,
    ) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            let is_tired = self.desk.effort.call > self.desk.tuning.line_effort;
            let cap = self.desk.limits.max_line_bytes;
            let choked_at = self.choked_at();
            let Some(session) = self.sessions.get_mut(key) else { break };
            // Memory may have run short since its last answer.
            if session.outbound.outbox.answer_bytes() > choked_at && !session.outbound.broken {
                session.inbound.pauses.begin(Pause::Answers);
            }
            if session.is_blocked() {
                break;
            }
            if is_tired {
                session.inbound.pauses.begin(Pause::Turn);
                self.desk.orders.resume(key);
                break;
            }
            if !session.inbound.greeted
                && session.inbound.frame.is_between_lines()
                && let Some(wrong) = explain_beginning(rest)
            {
                self.turn_off(key, Code::BadJson, Some(1), wrong);
                break;
            }
            let before = self.desk.after.put();
            match session.inbound.frame.next(&mut rest, cap) {
                None => break,
                Some(Frame::Whole(line)) => self.line(key, line, gate, favoured),
                Some(Frame::Joined(line)) => {
                    session.inbound.half_line_seen = None;
                    self.line(key, &line, gate, favoured);
                }
                Some(Frame::TooLong) => self.line_too_long(key),
            }
            self.settle_before_more(key, before);
        }
        bytes.len() - rest.len()
    }

    /// Ends a connection whose first line is no message: what comes behind it is of another protocol, and no line
    /// of it is handled.
    fn turn_off(&mut self, key: SessionKey, code: Code, column: Option<usize>, wrong: String) {
        let refusal = Refusal { column, ..Refusal::new(code, wrong) };
        self.say_error(key, None, &refusal, None, |_| {});
        let (about, text) = (self.sessions.subject(key), format!("is disconnected: {}", refusal.error));
        self.desk.orders.note(Level::Debug, Event::Broken, about, text, |fields| {
            fields.number("lines", 1);
        });
        self.leave(key, Reason::Broken);
    }

    /// Carries out what a line has led to, which is what has been put behind the first `before` consequences. What
    /// there is no time for now comes before the next line of its sender's; what others have led to keeps only
    /// them waiting.
    #[inline]
    fn settle_before_more(&mut self, key: SessionKey, before: u64) {
        let leads_on = self.desk.after.put() > before;
        self.settle();
        if leads_on
            && !self.desk.after.is_empty()
            && let Some(session) = self.sessions.get_mut(key)
            && session.phase.acts()
            && !session.inbound.pauses.contains(Pause::Consequences)
        {
            session.inbound.pauses.begin(Pause::Consequences);
            self.desk.after.wait(key);
        }
    }

    /// Goes on with what a session could not go on with before.
    pub(in crate::core) fn resumed(&mut self, key: SessionKey, gate: &mut dyn Gate) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.inbound.pauses.end(Pause::Turn);
        session.inbound.half_line_seen = None;
        if session.inbound.pauses.contains(Pause::Consequences) {
            return;
        }
        self.go_on_walking(key);
        let mut held = None;
        if self.sessions.get(key).is_some_and(|session| session.inbound.held.is_some()) {
            let Some(taken) = self.rows.take_called(&mut self.sessions, key) else { return };
            let before = self.desk.after.put();
            self.route_held(key, &taken, gate);
            self.settle_before_more(key, before);
            held = Some(taken);
        }
        let favoured = held.as_ref().and_then(|held| held.called).and_then(Called::by);
        self.work_off_backlog(key, gate, favoured);
        if let Some(held) = held {
            self.pass_on_all(&held.receivers);
        }
        self.sessions.account(key);
    }

    fn work_off_backlog(&mut self, key: SessionKey, gate: &mut dyn Gate, favoured: Option<SessionKey>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let mut backlog = std::mem::take(&mut session.inbound.backlog);
        let used = self.pump(key, backlog.rest(), gate, favoured);
        backlog.advance(used);
        self.desk.effort.worked_off += used;
        let Some(session) = self.sessions.get_mut(key).filter(|session| session.phase.acts()) else {
            return;
        };
        if backlog.is_empty() {
            self.check_partial(key);
            self.finish(key, gate, favoured);
        } else {
            session.inbound.backlog = backlog;
        }
    }

    /// The peer sends nothing more, and all that it had sent has been handed in: that is handled first.
    pub(in crate::core) fn ended(&mut self, key: SessionKey, gate: &mut dyn Gate) {
        self.ending(key);
        if let Some(session) = self.sessions.get_mut(key) {
            session.phase.advance(Phase::Ended);
        }
        self.finish(key, gate, None);
        self.sessions.account(key);
    }

    /// A peer that sends nothing more has to take what it is owed: one that does not may never be read to its
    /// end.
    pub(in crate::core) fn ending(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.phase.advance(Phase::Ending);
        if !session.outbound.outbox.is_empty() {
            session.watch(key, &mut self.desk);
        }
    }

    /// Lets a session leave when it has ended and nothing of what it sent is left.
    fn finish(&mut self, key: SessionKey, gate: &mut dyn Gate, favoured: Option<SessionKey>) {
        let cap = self.desk.limits.max_line_bytes;
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.phase != Phase::Ended || !session.is_done() {
            return;
        }
        let last = session.inbound.frame.finish(cap);
        let before = self.desk.after.put();
        match last {
            Some(Frame::TooLong) => self.line_too_long(key),
            Some(Frame::Joined(line)) => self.line(key, &line, gate, favoured),
            Some(Frame::Whole(_)) | None => {}
        }
        self.settle_before_more(key, before);
        if self.sessions.get(key).is_some_and(|session| session.is_done()) {
            self.leave(key, Reason::Lost);
        }
    }

    /// An unfinished line is kept only while there is memory, or for as long as it may be one that helps out of
    /// the shortage.
    fn check_partial(&mut self, key: SessionKey) {
        self.sessions.account(key);
        if !self.is_still_overloaded() {
            return;
        }
        self.watch_pressure();
        let most = if self.check_answer(key, 0).is_ok() { HELPING_LINE_BYTES } else { 0 };
        if let Some(session) = self.sessions.get_mut(key)
            && session.inbound.frame.kept_bytes() > most
            && session.phase.acts()
        {
            let refused = session.inbound.frame.partial().len();
            self.budget.refused_bytes = self.budget.refused_bytes.max(refused);
            session.inbound.frame.refuse_partial();
            let refusal = self.out_of_memory();
            self.say_error(key, None, &refusal, None, |_| {});
        }
    }

    fn line(&mut self, key: SessionKey, line: &[u8], gate: &mut dyn Gate, favoured: Option<SessionKey>) {
        self.desk.stats.lines_in += 1;
        if !self.kept_back.is_empty() {
            self.heard_of_kept_back(key);
        }
        let envelope = match Envelope::scan(line) {
            Ok(envelope) => envelope,
            Err(broken) => return self.broken_line(key, refuse_broken(broken, line)),
        };
        if let Some(session) = self.sessions.get_mut(key) {
            session.inbound.lines += 1;
            session.inbound.broken_lines = 0;
            session.inbound.greeted = true;
        }
        if let Some(field) = envelope.doubled() {
            return self.refuse_doubled_field(key, &envelope, field);
        }
        match Message::read(&envelope) {
            Ok(message) => self.let_in(key, &message, gate, favoured),
            Err(refusal) => self.refuse_fields(key, &envelope, &refusal),
        }
    }

    fn line_too_long(&mut self, key: SessionKey) {
        self.desk.stats.lines_in += 1;
        let error = format!(
            "a line is longer than {} bytes (max_line_bytes); it is skipped",
            self.desk.limits.max_line_bytes
        );
        self.broken_line(key, Refusal::new(Code::LineTooLong, error));
    }

    fn broken_line(&mut self, key: SessionKey, mut refusal: Refusal) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.inbound.lines += 1;
        if !session.inbound.greeted {
            refusal.error += "; as it is the first line, the connection is closed";
            return self.turn_off(key, refusal.code, refusal.column, refusal.error);
        }
        session.inbound.broken_lines += 1;
        let is_last = u32::from(session.inbound.broken_lines) == BROKEN_LINES_MAX;
        if is_last {
            refusal.error += &format!(
                "; this was the {BROKEN_LINES_MAX}th broken line in a row: the connection is closed"
            );
        }
        self.say_error(key, None, &refusal, None, |_| {});
        if is_last {
            let text = format!("is disconnected: it sent {BROKEN_LINES_MAX} broken lines in a row");
            let about = self.sessions.subject(key);
            self.desk.orders.note(Level::Warning, Event::Broken, about, text, |fields| {
                fields.number("lines", BROKEN_LINES_MAX);
            });
            self.leave(key, Reason::Broken);
        }
    }

    fn refuse_doubled_field(&mut self, key: SessionKey, envelope: &Envelope<'_>, field: Field) {
        let told = Told::of(envelope);
        let is_id = field == Field::MessageId;
        let id = told.id.and_then(Result::ok).filter(|_| !is_id);
        self.say_error(key, None, &doubled_field(field), id.as_ref(), |_| {});
    }

    /// Answers a line whose fields are at fault: a request by its reply, if its type can be told.
    fn refuse_fields(&mut self, key: SessionKey, envelope: &Envelope<'_>, refusal: &Refusal) {
        let told = Told::of(envelope);
        let address = self.told_address(key, told.from.as_deref());
        let Some(message_type) = &told.request_type else {
            let id = told.id.and_then(Result::ok);
            self.say_error(key, Some(&address), refusal, id.as_ref(), |_| {});
            return;
        };
        if let Some(Ok(id)) = &told.id
            && self.is_open(key, id)
        {
            return self.refuse_double(key, &address, id);
        }
        let assigned;
        let id = match &told.id {
            Some(Ok(id)) => Some(id),
            Some(Err(_)) => None,
            None => {
                assigned = Id { integer: false, text: Cow::Owned(self.assign_id(key)) };
                Some(&assigned)
            }
        };
        self.say_error_reply(key, AskedBy { from: &address, id, message_type }, refusal);
    }

    /// Where to tell a sender of a fault: `from` if that is its own, else where it is addressed
    /// by default.
    fn told_address(&self, key: SessionKey, from: Option<&str>) -> Arc<str> {
        match from {
            Some(from) if self.holds(key, from) => Arc::from(from),
            _ => self.address_of(key),
        }
    }

    /// Lets a message in: makes sure of its sender, stamps it, has it judged, and sends it on.
    fn let_in(
        &mut self,
        key: SessionKey,
        message: &Message<'_>,
        gate: &mut dyn Gate,
        favoured: Option<SessionKey>,
    ) {
        let is_request = message.kind == Kind::Request;
        // Looked at before any other fault, so that the asker can tell its two requests apart.
        if is_request
            && let Some(id) = &message.id
            && self.is_open(key, id)
        {
            let address = self.told_address(key, message.from.as_deref());
            return self.refuse_double(key, &address, id);
        }
        let own: Arc<str>;
        let from: &str = match &message.from {
            Some(from) if self.holds(key, from) || names_itself(message) => from,
            Some(_) => return self.refuse_from(key, message),
            None => {
                own = self.address_of(key);
                &own
            }
        };
        let standing = Standing { ticket: None, favoured };
        let deadline = self.desk.mono() + message.timeout.unwrap_or(self.desk.limits.request_timeout);
        if let (Some(id), Some(_)) = (&message.id, &message.from) {
            let line = message.envelope.outgoing();
            let parcel = Parcel { sender: key, message, from, id, line, deadline, standing };
            return self.judge(&parcel, gate);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let id = match &message.id {
            Some(id) => id.borrowed(),
            None => {
                scratch.id = self.assign_id(key);
                Id { integer: false, text: Cow::Borrowed(&scratch.id) }
            }
        };
        let line = stamp(message, from, &id, &mut scratch.added, &mut scratch.from);
        let parcel = Parcel { sender: key, message, from, id: &id, line, deadline, standing };
        self.judge(&parcel, gate);
        self.scratch = scratch;
    }

    fn refuse_from(&mut self, key: SessionKey, message: &Message<'_>) {
        let own = self.address_of(key);
        let from = message.from.as_deref().unwrap_or_default();
        self.refuse_fields(key, message.envelope, &not_held(from, &own));
    }

    /// An id for a message without one; not that of an open request of the same connection.
    fn assign_id(&mut self, key: SessionKey) -> String {
        loop {
            let Some(session) = self.sessions.get_mut(key) else { return String::new() };
            session.inbound.assigned_ids += 1;
            let text = format!("{}-{}", session.caller.unique_id, session.inbound.assigned_ids);
            if !self.is_open(key, &Id { integer: false, text: Cow::Borrowed(&text) }) {
                return text;
            }
        }
    }
}

fn refuse_broken(broken: Broken, line: &[u8]) -> Refusal {
    let (code, column) = match broken {
        Broken::NotAnObject => (Code::NotAnObject, None),
        Broken::BadJson { column } => (Code::BadJson, Some(column)),
    };
    Refusal { column, ..Refusal::new(code, explain(line, broken)) }
}
