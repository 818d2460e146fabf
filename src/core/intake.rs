//! Knows how a connection's bytes become messages that are let in: lines, envelopes, whose they
//! are, what the gate says (PROTOCOL.md sections 1 to 3 and 10).
//! Never: where a message goes.

use std::borrow::Cow;
use std::rc::Rc;

use crate::core::delivery::AskedBy;
use crate::core::registry::Node;
use crate::core::route::Parcel;
use crate::core::session::{Backlog, Called};
use crate::core::{Core, Effect, Event, Gate, Level, Reason, SessionKey};
use crate::limits::BROKEN_LINES_MAX;
use crate::name::node_of;
use crate::wire::code::Code;
use crate::wire::envelope::{Broken, Envelope, Outgoing};
use crate::wire::frame::Frame;
use crate::wire::json::write_string;
use crate::wire::message::{Id, Kind, Message, Refusal, Target, Told, excerpt};

/// Entries that one session may make the core look at before others have their turn.
pub(super) const EFFORT_MAX: usize = 10_000;

/// Buffers that are used for one line after the other.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The members that are added to a line.
    added: Vec<u8>,
    /// The id that a message without one is given.
    id: String,
    /// `from`, written as JSON.
    from: Vec<u8>,
}

impl Core {
    pub(super) fn received(&mut self, key: SessionKey, bytes: &[u8], gate: &mut dyn Gate) {
        self.stats.bytes_in += bytes.len() as u64;
        let Some(session) = self.sessions.get_mut(key) else { return };
        if !session.backlog.is_empty() {
            // The batches before this one were of the same read.
            session.backlog.bytes.extend_from_slice(bytes);
            return self.account(key);
        }
        let used = self.pump(key, bytes, gate);
        if let Some(session) = self.sessions.get_mut(key)
            && session.is_here()
            && used < bytes.len()
        {
            session.backlog = Backlog { bytes: bytes[used..].to_vec(), at: 0 };
        }
        self.check_partial(key);
        self.account(key);
    }

    /// Handles lines until the bytes are used up or the session is blocked; says how many were
    /// used.
    fn pump(&mut self, key: SessionKey, bytes: &[u8], gate: &mut dyn Gate) -> usize {
        self.pump_favoured(key, bytes, gate, None)
    }

    fn pump_favoured(
        &mut self,
        key: SessionKey,
        bytes: &[u8],
        gate: &mut dyn Gate,
        favoured: Option<SessionKey>,
    ) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            let tired = self.effort > EFFORT_MAX;
            let cap = self.limits.max_line_bytes;
            let choked_at = self.choked_at();
            let Some(session) = self.sessions.get_mut(key) else { break };
            // Memory may have run short since its last answer.
            session.choked |= session.outbox.answer_bytes() > choked_at;
            if session.is_blocked() {
                break;
            }
            if tired {
                session.weary = true;
                self.effects.push_back(Effect::Resume(key));
                break;
            }
            match session.frame.next(&mut rest, cap) {
                None => break,
                Some(Frame::Whole(line)) => self.line(key, line, gate, favoured),
                Some(Frame::Joined(line)) => self.line(key, &line, gate, favoured),
                Some(Frame::TooLong) => self.line_too_long(key),
            }
            self.settle();
        }
        bytes.len() - rest.len()
    }

    /// Goes on with what a session could not go on with before.
    pub(super) fn resumed(&mut self, key: SessionKey, gate: &mut dyn Gate) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.weary = false;
        self.go_on_with_roll_call(key);
        let mut held = None;
        if self.sessions.get(key).is_some_and(|session| session.held.is_some()) {
            let Some(taken) = self.take_held(key) else { return };
            self.route_held(key, &taken, gate);
            self.settle();
            held = Some(taken);
        }
        let favoured = held.as_ref().and_then(|held| held.called).and_then(Called::by);
        self.work_off_backlog(key, gate, favoured);
        if let Some(held) = held {
            self.pass_on_all(&held.receivers);
        }
        self.account(key);
    }

    fn route_held(&mut self, key: SessionKey, held: &super::session::Held, gate: &dyn Gate) {
        self.with_held(key, held, |core, parcel| core.route(parcel, gate));
    }

    /// Tells the sender of a held line that it goes nowhere.
    pub(super) fn refuse_held(&mut self, key: SessionKey, held: &super::session::Held, refusal: &Refusal) {
        self.with_held(key, held, |core, parcel| core.refuse(parcel, refusal));
    }

    fn with_held(
        &mut self,
        key: SessionKey,
        held: &super::session::Held,
        act: impl FnOnce(&mut Core, &Parcel<'_>),
    ) {
        // It has been read before, and stamped: it has a from and an id.
        let Ok(envelope) = Envelope::scan(&held.line) else { return };
        let Ok(message) = Message::read(&envelope) else { return };
        let (Some(from), Some(id)) = (&message.from, &message.id) else { return };
        let parcel = Parcel {
            sender: key,
            message: &message,
            from,
            id,
            line: message.envelope.outgoing(),
            deadline: held.deadline.unwrap_or(self.now.mono),
            ticket: Some(held.ticket),
            favoured: held.called.and_then(Called::by),
        };
        act(self, &parcel);
    }

    fn work_off_backlog(&mut self, key: SessionKey, gate: &mut dyn Gate, favoured: Option<SessionKey>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let mut backlog = std::mem::take(&mut session.backlog);
        let used = self.pump_favoured(key, &backlog.bytes[backlog.at..], gate, favoured);
        backlog.at += used;
        self.worked_off += used;
        let Some(session) = self.sessions.get_mut(key).filter(|session| session.is_here()) else { return };
        if backlog.is_empty() {
            self.check_partial(key);
            self.finish(key, gate, favoured);
        } else {
            session.backlog = backlog;
        }
    }

    /// The peer sends nothing more: what it had sent is handled first.
    pub(super) fn ended(&mut self, key: SessionKey, gate: &mut dyn Gate) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.ended = true;
        self.ending(key);
        self.finish(key, gate, None);
        self.account(key);
    }

    /// Who sends nothing more has to take what it is owed: one that does not may never be read to its end.
    pub(super) fn ending(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.ending = true;
        if !session.outbox.is_empty() {
            self.watch_progress(key);
        }
    }

    /// Lets a session leave when it has ended and nothing of what it sent is left.
    fn finish(&mut self, key: SessionKey, gate: &mut dyn Gate, favoured: Option<SessionKey>) {
        let cap = self.limits.max_line_bytes;
        let Some(session) = self.sessions.get_mut(key) else { return };
        if !session.ended || !session.is_done() {
            return;
        }
        match session.frame.finish(cap) {
            Some(Frame::TooLong) => self.line_too_long(key),
            Some(Frame::Joined(line)) => self.line(key, &line, gate, favoured),
            Some(Frame::Whole(_)) | None => {}
        }
        self.settle();
        if self.sessions.get(key).is_some_and(|session| session.is_done()) {
            self.leave(key, Reason::Lost);
        }
    }

    /// An unfinished line is kept only while there is memory.
    fn check_partial(&mut self, key: SessionKey) {
        self.account(key);
        if !self.is_still_overloaded() {
            return;
        }
        self.watch_pressure();
        if let Some(session) = self.sessions.get_mut(key)
            && session.frame.kept_bytes() > 0
            && session.is_here()
        {
            session.frame.refuse_partial();
            let refusal = self.out_of_memory();
            self.say_error(key, None, &refusal, None, |_| {});
        }
    }

    fn line(&mut self, key: SessionKey, line: &[u8], gate: &mut dyn Gate, favoured: Option<SessionKey>) {
        self.stats.lines_in += 1;
        let envelope = match Envelope::scan(line) {
            Ok(envelope) => envelope,
            Err(broken) => return self.broken_line(key, refuse_broken(broken, line)),
        };
        if let Some(session) = self.sessions.get_mut(key) {
            session.broken_lines = 0;
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
        self.stats.lines_in += 1;
        let error = format!(
            "a line is longer than {} bytes (max_line_bytes); it is skipped",
            self.limits.max_line_bytes
        );
        self.broken_line(key, Refusal::new(Code::LineTooLong, error));
    }

    fn broken_line(&mut self, key: SessionKey, refusal: Refusal) {
        self.say_error(key, None, &refusal, None, |_| {});
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.broken_lines += 1;
        if session.broken_lines == BROKEN_LINES_MAX {
            let text = format!("is disconnected: it sent {BROKEN_LINES_MAX} broken lines in a row");
            self.note(Level::Warning, Event::Broken, self.subject(key), text, |fields| {
                fields.number("lines", BROKEN_LINES_MAX);
            });
            self.leave(key, Reason::Broken);
        }
    }

    fn refuse_doubled_field(
        &mut self,
        key: SessionKey,
        envelope: &Envelope<'_>,
        field: crate::wire::envelope::Field,
    ) {
        let error = format!("\"{}\" is given twice; readers would differ in which one counts", field.name());
        let told = Told::of(envelope);
        let is_id = field == crate::wire::envelope::Field::MessageId;
        let id = told.id.and_then(Result::ok).filter(|_| !is_id);
        self.say_error(key, None, &Refusal::new(Code::DuplicateField, error), id.as_ref(), |_| {});
    }

    /// Answers a line whose fields are at fault: a request by its reply, where its type can be told.
    fn refuse_fields(&mut self, key: SessionKey, envelope: &Envelope<'_>, refusal: &Refusal) {
        let told = Told::of(envelope);
        let address = self.told_address(key, told.from.as_deref());
        let Some(message_type) = &told.request_type else {
            let id = told.id.and_then(Result::ok);
            self.say_error(key, Some(&address), refusal, id.as_ref(), |_| {});
            return;
        };
        if let Some(Ok(id)) = &told.id
            && self.requests.is_open(key, id)
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

    /// Where to tell a sender of a fault: `from` where that is its own, else where it is addressed
    /// by default.
    fn told_address(&self, key: SessionKey, from: Option<&str>) -> Rc<str> {
        match from {
            Some(from) if self.holds(key, from) => Rc::from(from),
            _ => self.address_of(key),
        }
    }

    /// Lets a message in: makes sure of who sent it, stamps it, has it judged, and sends it on.
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
            && self.requests.is_open(key, id)
        {
            let address = self.told_address(key, message.from.as_deref());
            return self.refuse_double(key, &address, id);
        }
        let own: Rc<str>;
        let from: &str = match &message.from {
            Some(from) if self.holds(key, from) || names_itself(message) => from,
            Some(_) => return self.refuse_from(key, message),
            None => {
                own = self.address_of(key);
                &own
            }
        };
        let deadline = self.now.mono + message.timeout.unwrap_or(self.limits.request_timeout);
        if let (Some(id), Some(_)) = (&message.id, &message.from) {
            let line = message.envelope.outgoing();
            let parcel = Parcel { sender: key, message, from, id, line, deadline, ticket: None, favoured };
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
        let parcel = Parcel { sender: key, message, from, id: &id, line, deadline, ticket: None, favoured };
        self.judge(&parcel, gate);
        self.scratch = scratch;
    }

    fn refuse_from(&mut self, key: SessionKey, message: &Message<'_>) {
        let own = self.address_of(key);
        let from = message.from.as_deref().unwrap_or_default();
        let error = format!(
            "\"from\" is \"{}\", which this connection does not hold; it may be \"{own}\", or left out",
            excerpt(from)
        );
        self.refuse_fields(key, message.envelope, &Refusal::new(Code::NotYours, error));
    }

    /// Whether a connection may call itself this: its unique id, a node ID that it holds, or a port
    /// of one of them.
    pub(super) fn holds(&self, key: SessionKey, address: &str) -> bool {
        let Some(session) = self.sessions.get(key) else { return false };
        // One of few names is found faster than by its hash.
        const FEW: usize = 8;
        let is_own = |node_id: &str| {
            let holds = |node: &Node| node.instances.iter().any(|instance| instance.session == key);
            let mut names = session.names.iter().filter_map(|&node| self.registry.get(node));
            *session.unique_id == *node_id
                || match session.names.len() {
                    ..=FEW => names.any(|node| *node.name == *node_id),
                    _ => self
                        .registry
                        .find(node_id)
                        .and_then(|node| self.registry.get(node))
                        .is_some_and(holds),
                }
        };
        // Most are without a port, and need no search for one.
        is_own(address) || (address.contains('#') && is_own(node_of(address)))
    }

    /// An id for a message without one; not that of an open request of the same connection.
    fn assign_id(&mut self, key: SessionKey) -> String {
        loop {
            let Some(session) = self.sessions.get_mut(key) else { return String::new() };
            session.assigned_ids += 1;
            let text = format!("{}-{}", session.unique_id, session.assigned_ids);
            if !self.requests.is_open(key, &Id { integer: false, text: Cow::Borrowed(&text) }) {
                return text;
            }
        }
    }
}

/// A `register` may come from the address that it is about to hold.
pub(super) fn names_itself(message: &Message<'_>) -> bool {
    message.target == Target::Daemon && message.message_type == "register"
}

/// The line as it leaves. Writes what has to be added to it, and what has to stand for a `from` that is
/// null.
pub(super) fn stamp<'a>(
    message: &Message<'a>,
    from: &str,
    id: &Id<'_>,
    added: &'a mut Vec<u8>,
    replaced: &'a mut Vec<u8>,
) -> Outgoing<'a> {
    added.clear();
    replaced.clear();
    if message.from.is_none() {
        match message.envelope.from_range().is_empty() {
            true => {
                added.extend_from_slice(b"\"from\":");
                write_string(added, from);
                added.push(b',');
            }
            false => write_string(replaced, from),
        }
    }
    if message.id.is_none() {
        added.extend_from_slice(b"\"message_id\":");
        id.write_to(added);
        added.push(b',');
    }
    let mut line = message.envelope.outgoing();
    line.added = added;
    if !replaced.is_empty() {
        line.from = Some((message.envelope.from_range(), replaced));
    }
    line
}

fn refuse_broken(broken: Broken, line: &[u8]) -> Refusal {
    match broken {
        Broken::NotAnObject => Refusal::new(
            Code::NotAnObject,
            format!("the line is JSON, but no object: {}", excerpt(&String::from_utf8_lossy(line))),
        ),
        Broken::BadJson { column } => {
            let near = &line[(column - 1).min(line.len())..];
            let near = &near[..near.len().min(20)];
            let error = match near.is_empty() {
                true => format!("the line is no valid JSON: it ends too early, after {} bytes", line.len()),
                false => format!(
                    "the line is no valid JSON (UTF-8, nested up to 128, no lone surrogates): column {column}, at: {}",
                    String::from_utf8_lossy(near)
                ),
            };
            Refusal { column: Some(column), ..Refusal::new(Code::BadJson, error) }
        }
    }
}
