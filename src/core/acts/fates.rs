//! Knows what becomes of lines that their receiver did not take: each sender is told (PROTOCOL.md section 4).
//! Never: why the receiver took nothing more.

use std::collections::HashMap;

use crate::core::after::{After, Fate, Undelivered};
use crate::core::desk::LINE_EFFORT;
use crate::core::outbox::{Class, Origin};
use crate::core::phase::Phase;
use crate::core::{Core, SessionKey};
use crate::wire::code::Code;
use crate::wire::envelope::Envelope;
use crate::wire::message::{Id, Refusal, Told};

/// What it costs to find out whose a line is.
const LOOK_EFFORT: usize = 2;

/// So many bytes of a line that is read are a unit of effort.
const READ_PER_UNIT: usize = 128;

impl Core {
    /// Gives up what a receiver has not taken. Each sender is told once of what was no request (the fate of a
    /// request is told by its reply).
    pub(super) fn give_up(&mut self, key: SessionKey) {
        // Of one that is leaving that is done ahead of the rest of its end.
        if self.sessions.get(key).is_none_or(|session| session.phase == Phase::Leaving) {
            return;
        }
        let Some(undelivered) = self.take_undelivered(key) else { return };
        let rest = if self.desk.is_free() { self.tell_fates(undelivered) } else { Some(undelivered) };
        if let Some(rest) = rest {
            self.desk.after.push(After::Undelivered(rest));
        }
    }

    /// Takes what a receiver has not taken, if there is anything.
    pub(super) fn take_undelivered(&mut self, key: SessionKey) -> Option<Box<Undelivered>> {
        let session = self.sessions.get_mut(key).filter(|session| !session.outbound.outbox.is_empty())?;
        Some(Box::new(Undelivered {
            receiver: session.caller.unique_id.clone(),
            outbox: self.post.take_outbox(session),
            fates: Vec::new(),
            places: HashMap::new(),
            told: 0,
        }))
    }

    /// Goes through what was not taken, then tells the senders; gives what is left of that when the time is up.
    pub(super) fn tell_fates(&mut self, mut of: Box<Undelivered>) -> Option<Box<Undelivered>> {
        while !of.outbox.is_empty() {
            let most = self.desk.left();
            if most == 0 {
                return Some(of);
            }
            let Undelivered { outbox, fates, places, .. } = &mut *of;
            let (mut delivered, mut lost, is_told) = (0, Vec::new(), self.tells_undeliverable());
            let (lines, effort) = self.post.take_lost(outbox, most, |origin, class, line| {
                delivered += u64::from(origin != Origin::Daemon);
                let (Some(sender), Class::Direct | Class::Reply) = (origin.peer(), class) else {
                    return LOOK_EFFORT;
                };
                add_fate(fates, places, sender, line);
                if is_told {
                    lost.push(line.to_vec());
                }
                LOOK_EFFORT + line.len() / READ_PER_UNIT
            });
            for line in lost {
                self.tell_undeliverable(Code::NodeGone, &line);
            }
            self.desk.settles(effort);
            self.desk.stats.lines_out -= lines as u64;
            self.desk.stats.delivered -= delivered;
        }
        while let Some(Fate { sender, first, count }) = of.fates.get(of.told) {
            if self.desk.left() == 0 {
                return Some(of);
            }
            self.tell_undelivered(*sender, &of.receiver, first.as_ref(), *count);
            self.desk.settles(LINE_EFFORT);
            of.told += 1;
        }
        None
    }

    /// Tells a sender that `count` messages were not handed to `receiver`, `first` the first one.
    fn tell_undelivered(&mut self, sender: SessionKey, receiver: &str, first: Option<&Id<'_>>, count: u64) {
        let what = match count {
            1 => "a message was".to_owned(),
            several => format!("{several} messages were"),
        };
        let error = format!("{what} not delivered: the connection {receiver} is gone");
        let refusal = Refusal::new(Code::NodeGone, error);
        let told = self.say_error(sender, None, &refusal, first, |body| {
            body.number("count", count);
        });
        if !told {
            self.desk.stats.untold += count;
        }
    }
}

fn add_fate(fates: &mut Vec<Fate>, places: &mut HashMap<SessionKey, usize>, sender: SessionKey, line: &[u8]) {
    let Ok(envelope) = Envelope::scan(line) else { return };
    let told = Told::of(&envelope);
    if told.request_type.is_some() {
        return;
    }
    let place = *places.entry(sender).or_insert(fates.len());
    if place == fates.len() {
        let first = told.id.and_then(Result::ok).map(Id::into_owned);
        fates.push(Fate { sender, first, count: 0 });
    }
    fates[place].count += 1;
}
