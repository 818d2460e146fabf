//! Knows how a message is ruled on, and what is done by the ruling (PROTOCOL.md section 11).
//! Never: the judges, or their reasons.

use crate::core::Core;
use crate::core::acts::answer::asked;
use crate::core::after::Reached;
use crate::core::event::{Event, Level};
use crate::core::gate::{Gate, Judged, Verdict};
use crate::core::parcel::{Parcel, names_itself, stamp};
use crate::core::refusals::dropped;
use crate::wire::code::Code;
use crate::wire::envelope::Envelope;
use crate::wire::message::{Message, Refusal, Target, excerpt};
use crate::wire::rewrite::read_rewritten;

impl Core {
    /// Rules on a message: what the gate says of it. Nothing is changed by it.
    pub(super) fn rule(&self, parcel: &Parcel<'_>, gate: &mut dyn Gate) -> Option<Verdict> {
        let session = self.sessions.get(parcel.sender)?;
        Some(gate.judge(&Judged::new(session, &self.registry, parcel.from, parcel.message)))
    }

    /// Has a message judged, and does with it what is said.
    pub(super) fn judge(&mut self, parcel: &Parcel<'_>, gate: &mut dyn Gate) {
        if !self.kept_back.is_empty()
            && let Err(refusal) = self.check_kept_back(parcel)
        {
            return self.refuse(parcel, &refusal);
        }
        if let Some(verdict) = self.rule(parcel, gate) {
            self.act_on(parcel, verdict, gate);
        }
    }

    fn act_on(&mut self, parcel: &Parcel<'_>, verdict: Verdict, gate: &mut dyn Gate) {
        // Taps see what a message becomes.
        if !matches!(verdict, Verdict::Replace(_)) {
            self.tap(parcel, verdict.word());
        }
        match verdict {
            Verdict::Pass => self.route(parcel, gate),
            Verdict::Replace(line) => self.go_on_as(parcel, &line, gate),
            Verdict::Reject { filter, reason } => {
                let refusal = Refusal { filter: Some(filter), ..Refusal::new(Code::Denied, reason) };
                self.refuse(parcel, &refusal);
            }
            // A request to the daemon would wait for nothing.
            Verdict::Drop if parcel.is_request() && parcel.message.target == Target::Daemon => {
                self.refuse(parcel, &dropped());
            }
            // Its asker waits in vain.
            Verdict::Drop if parcel.is_request() => {
                if let Err(refusal) = self.open_unheard(parcel) {
                    self.refuse(parcel, &refusal);
                }
            }
            // None has got it, as far as its publisher can tell.
            Verdict::Drop if parcel.wants_receipt() => self.say_receipt(&asked(parcel), Reached::default()),
            Verdict::Drop => {}
        }
    }

    /// Lets a message go on as another line, which still is its sender's, and still has its id.
    fn go_on_as(&mut self, parcel: &Parcel<'_>, line: &[u8], gate: &mut dyn Gate) {
        let envelope = match Envelope::scan(line) {
            Ok(envelope) if line.len() <= self.desk.limits.max_line_bytes => envelope,
            Ok(_) => return self.refuse_false_line(parcel, "the new line is longer than max_line_bytes"),
            Err(_) => return self.refuse_false_line(parcel, "the new line is no JSON object"),
        };
        let message: Message<'_> = match read_rewritten(parcel.message, &envelope) {
            Ok(message) => message,
            Err(refusal) => return self.refuse_false_line(parcel, &refusal.error),
        };
        // What was a `register` may have come from an address that only a `register` may come from.
        if !self.holds(parcel.sender, parcel.from) && !names_itself(&message) {
            self.tap(parcel, "reject");
            let error = format!(
                "\"from\" is \"{}\", which this connection does not hold, and a filter made the \"register\" another message",
                excerpt(parcel.from)
            );
            return self.refuse(parcel, &Refusal::new(Code::NotYours, error));
        }
        let (mut added, mut replaced) = (Vec::new(), Vec::new());
        let line = stamp(&message, parcel.from, parcel.id, &mut added, &mut replaced);
        let parcel = Parcel { message: &message, line, ..parcel.clone() };
        self.tap(&parcel, "replace");
        self.route(&parcel, gate);
    }

    /// The gate has said what it must not say. No peer is handed such a line.
    fn refuse_false_line(&mut self, parcel: &Parcel<'_>, why: &str) {
        let about = self.sessions.subject(parcel.sender);
        let text = format!("a filter has failed at a message: {why}");
        self.desk.orders.note(Level::Error, Event::Internal, about, text, |_| {});
        self.tap(parcel, "reject");
        self.refuse(parcel, &Refusal::new(Code::Internal, "a filter has failed at this message"));
    }
}
