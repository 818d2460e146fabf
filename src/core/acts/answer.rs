//! Knows how requests are opened, and how they end: by answers, by time, by leavers (PROTOCOL.md
//! section 5).
//! Never: where a request goes.

use crate::core::after::After;
use crate::core::order::{Order, Outcome, Token, Work};
use crate::core::own_line::AskedBy;
use crate::core::parcel::Parcel;
use crate::core::phase::Phase;
use crate::core::refusals::doubled_id;
use crate::core::table::requests::{Asked, LegKey, RequestKey};
use crate::core::table::timers::Timer;
use crate::core::{Core, SessionKey};
use crate::name::NodeAddress;
use crate::wire::code::Code;
use crate::wire::complaint::form_meant;
use crate::wire::message::{Id, Refusal, Target};

impl Core {
    /// Tells the sender that its message goes nowhere: a request by its reply, all else by an error.
    pub(super) fn refuse(&mut self, parcel: &Parcel<'_>, refusal: &Refusal) {
        let told = match parcel.is_request() {
            true => self.say_error_reply(parcel.sender, parcel.asked(), refusal),
            false => self.say_error(parcel.sender, Some(parcel.from), refusal, Some(parcel.id), |_| {}),
        };
        if self.tells_undeliverable() && parcel.message.target != Target::Daemon {
            let mut line = Vec::new();
            parcel.line.write_to(&mut line);
            line.pop();
            self.tell_undeliverable(refusal.code, &line);
        }
        // One that has waited had been let in: that is a fate.
        if !told && parcel.standing.ticket.is_some() {
            self.desk.stats.untold += 1;
        }
    }

    /// Tells the sender of a doubled id; never by a reply, which would be taken for the answer to the request
    /// that is open.
    pub(super) fn refuse_double(&mut self, sender: SessionKey, from: &str, id: &Id<'_>) {
        self.say_error(sender, Some(from), &doubled_id(id), Some(id), |_| {});
    }

    /// Whether a connection has a request of this id open. One whose time is over is not.
    pub(super) fn is_open(&mut self, asker: SessionKey, id: &Id<'_>) -> bool {
        self.requests.find_open(asker, id).is_some_and(|key| !self.end_if_due(key))
    }

    /// Whether a receiver owes an answer to a request of this `from` and id.
    pub(super) fn owes(&mut self, receiver: SessionKey, from: &str, id: &Id<'_>) -> bool {
        self.requests.find_owed(receiver, from, id).is_some_and(|key| !self.end_if_due(key))
    }

    /// Ends a request whose time is over, if that is not done yet. A time-out that is due counts as told, unless
    /// the shell was held up.
    pub(super) fn end_if_due(&mut self, key: RequestKey) -> bool {
        let is_due =
            !self.desk.held_up && self.requests.deadline(key).is_some_and(|at| at <= self.desk.mono());
        if is_due {
            self.request_expired(key);
        }
        is_due
    }

    /// Whether `more` requests may be open for a connection.
    pub(super) fn check_request_count(&mut self, asker: SessionKey, more: usize) -> Result<(), Refusal> {
        let most = self.desk.limits.max_requests;
        if self.requests.asked_by(asker) + more <= most {
            return Ok(());
        }
        self.desk.works(self.requests.asked_by(asker) / 4);
        for key in self.requests.due_of(asker, self.desk.mono()) {
            self.end_if_due(key);
        }
        let open = self.requests.asked_by(asker);
        if open + more <= most {
            return Ok(());
        }
        let error = format!("{open} requests are open, {more} more would pass max_requests, which is {most}");
        Err(Refusal::new(Code::TooManyRequests, error))
    }

    /// Opens a request that is handed to `receivers`.
    pub(super) fn open_request(&mut self, parcel: &Parcel<'_>, receivers: &[SessionKey]) {
        let key = self.requests.open(asked(parcel), receivers, Some(parcel.deadline));
        self.desk.timers.set(parcel.deadline, Timer::Request(key));
    }

    /// Opens a request that no peer has heard of, and that none can answer.
    pub(super) fn open_unheard(&mut self, parcel: &Parcel<'_>) -> Result<(), Refusal> {
        if self.is_overloaded() {
            return Err(self.out_of_memory());
        }
        self.check_request_count(parcel.sender, 1)?;
        self.open_request(parcel, &[]);
        Ok(())
    }

    /// Orders some work of the shell's. Until that is done, the request is open like others, but for its
    /// time: it has none.
    pub(super) fn order(&mut self, parcel: &Parcel<'_>, work: Work) -> Result<(), Refusal> {
        self.check_answer(parcel.sender, 0)?;
        self.check_request_count(parcel.sender, 1)?;
        let token = Token(self.requests.open(asked(parcel), &[], None));
        self.desk.orders.put(Order::Do(token, work));
        Ok(())
    }

    /// Answers a request by what came of the work that was ordered for it.
    pub(in crate::core) fn done(&mut self, Token(key): Token, outcome: Outcome<'_>) {
        let Some((what, _)) = self.requests.close(key) else { return };
        match outcome {
            Outcome::Reloaded(reloaded) => self.say_reply(what.asker, what.borrowed(), |body| {
                body.strings("applied", reloaded.applied.iter().copied());
                body.strings("restart", reloaded.restart.iter().copied());
            }),
            Outcome::Told(object) => {
                let members = object.strip_prefix('{').and_then(|inside| inside.strip_suffix('}'));
                let members = members.unwrap_or_default();
                self.say_reply(what.asker, what.borrowed(), |body| body.members(members.as_bytes()));
            }
            Outcome::Failed(why) => {
                return self.end_request(&what, false, &Refusal::new(Code::BadField, why));
            }
        }
        self.request_closed(what.asker);
    }

    /// Finds what a reply of `receiver`'s answers: by the address that the request was sent from, or by the
    /// asker's unique id. A request whose time is over is not answered any more, though it may not have been
    /// told yet.
    pub(super) fn find_owed(
        &mut self,
        receiver: SessionKey,
        id: &Id<'_>,
        target: &Target<'_>,
    ) -> Option<LegKey> {
        let Target::Address(to) = target else { return None };
        let leg = self.requests.find_leg(receiver, to, id).or_else(|| {
            let NodeAddress::Unique(number) = NodeAddress::parse(to).ok()? else { return None };
            let asker = self.sessions.of_number(number).filter(|_| !to.contains('#'))?;
            self.requests.find_leg_to(receiver, asker, id)
        })?;
        let is_due = self.requests.request_of(leg).is_some_and(|request| self.end_if_due(request));
        (!is_due).then_some(leg)
    }

    /// Takes note that a request is over.
    pub(super) fn request_closed(&mut self, asker: SessionKey) {
        self.desk.timers.gone_stale();
        if self.sessions.get(asker).is_some_and(|session| session.phase >= Phase::Leaving) {
            self.desk.after.push(After::Settled(asker));
        }
    }

    /// Ends a request that none can answer any more, or that none answered in time.
    pub(super) fn end_request(&mut self, what: &Asked, replied: bool, refusal: &Refusal) {
        if !replied {
            self.say_error_reply(what.asker, what.borrowed(), refusal);
        }
        self.request_closed(what.asker);
    }

    /// Ends a request that was not answered in time.
    pub(super) fn request_expired(&mut self, key: RequestKey) {
        if let Some((what, replied)) = self.requests.close(key) {
            self.end_request(&what, replied, &timed_out(&what.message_type));
        }
    }
}

/// What is said of a request of this type whose time is over.
pub(super) fn timed_out(message_type: &str) -> Refusal {
    let meant = form_meant(message_type, None).unwrap_or_default();
    Refusal::new(Code::Timeout, format!("nobody answered in time{meant}"))
}

/// A request as it is kept until it is answered.
pub(super) fn asked(parcel: &Parcel<'_>) -> Asked {
    Asked {
        asker: parcel.sender,
        from: parcel.from.into(),
        id: parcel.id.clone().into_owned(),
        message_type: (*parcel.message.message_type).into(),
    }
}

impl Asked {
    /// As its answer is addressed.
    pub(super) fn borrowed(&self) -> AskedBy<'_> {
        AskedBy { from: &self.from, id: Some(&self.id), message_type: &self.message_type }
    }
}
