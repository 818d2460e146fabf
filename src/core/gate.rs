//! Knows what the core asks of whoever judges messages, and what becomes of a message by the answer
//! (PROTOCOL.md section 11).
//! Never: who judges, or why.

use crate::core::intake::{names_itself, stamp};
use crate::core::peer::Peer;
use crate::core::registry::Registry;
use crate::core::route::Parcel;
use crate::core::session::Session;
use crate::core::watch::Tapped;
use crate::core::{Core, Event, Level};
use crate::wire::code::Code;
use crate::wire::envelope::Envelope;
use crate::wire::message::{Kind, Message, Refusal, Target, excerpt};
use crate::wire::rewrite::read_rewritten;

/// Judges every message of a peer once, before it goes anywhere.
pub trait Gate {
    /// Looks at one message, as it came but for its `from`.
    fn judge(&mut self, judged: &Judged<'_>) -> Verdict;

    /// What each of those who judge has counted, in their order; for `stats`.
    fn counters(&self) -> Vec<Counters> {
        Vec::new()
    }
}

/// What one of those who judge has counted since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the protocol")]
pub struct Counters {
    pub name: String,
    pub calls: u64,
    pub pass: u64,
    pub drop: u64,
    pub reject: u64,
    pub replace: u64,
    pub nanoseconds: u64,
    pub strikes: u64,
}

/// A message at the door.
#[derive(Debug)]
pub struct Judged<'a> {
    /// The unique number of the connection it came from.
    pub number: u64,
    /// The same as an address: `:7`.
    pub unique_id: &'a str,
    /// Who that is.
    pub peer: &'a Peer,
    /// The sender's address, as stamped.
    pub from: &'a str,
    /// The message as it came.
    pub message: &'a Message<'a>,
    session: &'a Session,
    registry: &'a Registry,
}

impl<'a> Judged<'a> {
    /// The node IDs that the sender holds, in the order in which it took them.
    pub fn node_ids(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let registry = self.registry;
        self.session.names.iter().filter_map(|&name| registry.get(name)).map(|node| &*node.name)
    }
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It is gone, and nobody is told.
    Drop,
    /// This line, without its LF, goes on in its place. [`read_rewritten`] has let it stand there, and it
    /// is at most `max_line_bytes` long: the core looks for itself, but then it is nobody's fault but the
    /// daemon's.
    Replace(Vec<u8>),
    /// It is refused, and its sender is told.
    Reject {
        /// The filter that said so.
        filter: String,
        /// Why, for people.
        reason: String,
    },
}

impl Verdict {
    /// The word for a tap.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Drop => "drop",
            Verdict::Replace(_) => "replace",
            Verdict::Reject { .. } => "reject",
        }
    }
}

/// The gate of a daemon without filters.
#[derive(Debug)]
pub struct OpenGate;

impl Gate for OpenGate {
    fn judge(&mut self, _: &Judged<'_>) -> Verdict {
        Verdict::Pass
    }
}

impl Core {
    /// Has a message judged, and does with it what is said.
    pub(super) fn judge(&mut self, parcel: &Parcel<'_>, gate: &mut dyn Gate) {
        let Some(session) = self.sessions.get(parcel.sender) else { return };
        let verdict = gate.judge(&Judged {
            number: session.number,
            unique_id: &session.unique_id,
            peer: &session.peer,
            from: parcel.from,
            message: parcel.message,
            session,
            registry: &self.registry,
        });
        // Taps see what a message becomes.
        if !matches!(verdict, Verdict::Replace(_)) {
            self.tap_parcel(parcel, verdict.word());
        }
        let is_request = parcel.message.kind == Kind::Request;
        match verdict {
            Verdict::Pass => self.route(parcel, gate),
            Verdict::Replace(line) => self.go_on_as(parcel, &line, gate),
            Verdict::Reject { filter, reason } => {
                let refusal = Refusal { filter: Some(filter), ..Refusal::new(Code::Denied, reason) };
                self.refuse(parcel, &refusal);
            }
            // A request to the daemon would wait for nobody.
            Verdict::Drop if is_request && parcel.message.target == Target::Daemon => {
                self.refuse(parcel, &Refusal::new(Code::Denied, "a filter dropped the request"));
            }
            // Its asker waits in vain.
            Verdict::Drop if is_request => {
                if let Err(refusal) = self.open_unheard(parcel) {
                    self.refuse(parcel, &refusal);
                }
            }
            Verdict::Drop => {}
        }
    }

    /// Lets a message go on as another line, which still is its sender's, and still has its id.
    fn go_on_as(&mut self, parcel: &Parcel<'_>, line: &[u8], gate: &dyn Gate) {
        let envelope = match Envelope::scan(line) {
            Ok(envelope) if line.len() <= self.limits.max_line_bytes => envelope,
            Ok(_) => return self.refuse_false_line(parcel, "the new line is longer than max_line_bytes"),
            Err(_) => return self.refuse_false_line(parcel, "the new line is no JSON object"),
        };
        let message = match read_rewritten(parcel.message, &envelope) {
            Ok(message) => message,
            Err(refusal) => return self.refuse_false_line(parcel, &refusal.error),
        };
        // What was a `register` may have come from an address that only a `register` may come from.
        if !self.holds(parcel.sender, parcel.from) && !names_itself(&message) {
            self.tap_parcel(parcel, "reject");
            let error = format!(
                "\"from\" is \"{}\", which this connection does not hold, and a filter made the \"register\" another message",
                excerpt(parcel.from)
            );
            return self.refuse(parcel, &Refusal::new(Code::NotYours, error));
        }
        let (mut added, mut replaced) = (Vec::new(), Vec::new());
        let line = stamp(&message, parcel.from, parcel.id, &mut added, &mut replaced);
        let parcel = Parcel { message: &message, line, ..parcel.clone() };
        self.tap_parcel(&parcel, "replace");
        self.route(&parcel, gate);
    }

    /// The gate has said what it must not say. Nobody is handed such a line.
    fn refuse_false_line(&mut self, parcel: &Parcel<'_>, why: &str) {
        let (about, text) = (self.subject(parcel.sender), format!("a filter has failed at a message: {why}"));
        self.note(Level::Error, Event::Internal, about, text, |_| {});
        self.tap_parcel(parcel, "reject");
        self.refuse(parcel, &Refusal::new(Code::Internal, "a filter has failed at this message"));
    }

    fn tap_parcel(&mut self, parcel: &Parcel<'_>, verdict: &'static str) {
        if !self.has_taps() {
            return;
        }
        let (to, topic) = match &parcel.message.target {
            Target::Daemon => ("", ""),
            Target::Address(to) => (&**to, ""),
            Target::Topic(topic) => ("", &**topic),
        };
        let message = Tapped { from: parcel.from, to, topic, message_type: &parcel.message.message_type };
        self.tap(parcel.sender, message, &parcel.line, verdict);
    }
}
