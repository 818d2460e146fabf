//! Knows how lines get into outboxes and out of them, and what becomes of those that never do
//! (PROTOCOL.md section 4).
//! Never: who the receivers are, or why.

use std::collections::HashMap;
use std::rc::Rc;

use crate::clock::Now;
use crate::core::blocks::Blocks;
use crate::core::outbox::Class;
use crate::core::session::Session;
use crate::core::{Core, Effect, Reason, SessionKey};
use crate::wire::code::Code;
use crate::wire::envelope::{Envelope, Outgoing};
use crate::wire::json::{Object, write_string};
use crate::wire::message::{Id, Refusal, Told};

/// An outbox that has grown to this is written before the turn ends, while it is warm.
const EARLY_WRITE_BYTES: usize = 64 * 1024;

/// A receiver, as far as a line depends on it.
struct Reader {
    wants_sender: bool,
    broke: bool,
}

/// A request as its asker has to be answered, borrowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct AskedBy<'a> {
    /// Where the reply goes: the request's `from`, as stamped.
    pub(super) from: &'a str,
    /// What it is in reply to; none where the id itself is at fault.
    pub(super) id: Option<&'a Id<'a>>,
    pub(super) message_type: &'a str,
}

impl Core {
    /// Puts one line of `sender`'s into the outbox of each of `receivers`, which are there and
    /// have room.
    pub(super) fn deliver(
        &mut self,
        sender: SessionKey,
        class: Class,
        receivers: &[SessionKey],
        line: &Outgoing<'_>,
    ) {
        let [receiver] = *receivers else { return self.deliver_to_several(sender, class, receivers, line) };
        let Some(Reader { wants_sender, broke }) = self.reader(receiver) else { return };
        let member = if wants_sender { self.sender_member(sender) } else { None };
        let with_sender = member.as_deref().map(|member| line.with_sender(member));
        let line = with_sender.as_ref().unwrap_or(line);
        self.push(receiver, class, |session, _| session.outbox.push(sender, class, line));
        self.stats.delivered += 1;
        if broke {
            self.give_up_broken(receivers);
        }
    }

    /// The same: what they get is put together once, without and with the member `sender`.
    fn deliver_to_several(
        &mut self,
        sender: SessionKey,
        class: Class,
        receivers: &[SessionKey],
        line: &Outgoing<'_>,
    ) {
        let is_shared = self.blocks.begin_line(receivers, line.len());
        let mut copies = std::mem::take(&mut self.copies);
        let mut places = [None; 2];
        let mut any_broke = false;
        for &receiver in receivers {
            let Some(Reader { wants_sender, broke }) = self.reader(receiver) else { continue };
            any_broke |= broke;
            let at = usize::from(wants_sender);
            let (copy, place) = (&mut copies[at], &mut places[at]);
            if copy.is_empty() && place.is_none() {
                let member = if wants_sender { self.sender_member(sender) } else { None };
                let line = line.with_sender(member.as_deref().unwrap_or_default());
                match is_shared {
                    true => *place = Some(self.blocks.append(&line, wants_sender)),
                    false => line.write_to(copy),
                }
            }
            match *place {
                Some(place) => self.push(receiver, class, |session, blocks| {
                    session.outbox.push_shared(sender, class, place, blocks)
                }),
                None => {
                    self.push(receiver, class, |session, _| session.outbox.push_copy(sender, class, copy))
                }
            }
            self.stats.delivered += 1;
        }
        copies.iter_mut().for_each(Vec::clear);
        self.copies = copies;
        if any_broke {
            self.give_up_broken(receivers);
        }
    }

    /// What there is to know of a receiver before a line for it; what it has missed is told ahead of that.
    fn reader(&mut self, receiver: SessionKey) -> Option<Reader> {
        let session = self.sessions.get(receiver)?;
        let reader = Reader { wants_sender: session.wants_sender, broke: session.broke };
        if session.missed > 0 {
            self.say_lagged(receiver);
        }
        Some(reader)
    }

    /// What was queued for connections that nothing can be written to meets its fate at once.
    #[cold]
    fn give_up_broken(&mut self, receivers: &[SessionKey]) {
        for &receiver in receivers {
            if self.sessions.get(receiver).is_some_and(|session| session.broke) {
                self.give_up(receiver);
            }
        }
    }

    fn sender_member(&mut self, sender: SessionKey) -> Option<Rc<[u8]>> {
        self.sessions.get_mut(sender).map(Session::sender_member)
    }

    /// Says a line of the daemon's own, which `write` writes without its LF; says whether it is on its
    /// way. What is owed may be due all at once, to one who reads: beyond the second count it is said
    /// too, and whoever reads it too slowly then is ended. There is no end to it: who asks without reading
    /// is not read, and nobody is owed more than he has open, or than happens.
    pub(super) fn say(&mut self, to: SessionKey, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let Some(session) = self.sessions.get(to) else { return false };
        if session.broke {
            return false;
        }
        if session.missed > 0 {
            self.say_lagged(to);
        }
        self.push_own(to, Class::Daemon, write);
        true
    }

    /// Whether the second count is full.
    pub(super) fn answers_are_full(&self, to: SessionKey) -> bool {
        let most = self.limits.max_queue_bytes;
        self.sessions.get(to).is_none_or(|session| session.outbox.answer_bytes() >= most)
    }

    /// Ends a connection that there is no room for answers to any more.
    pub(super) fn end_for_answers(&mut self, key: SessionKey) {
        let queued = self.sessions.get(key).map_or(0, |session| session.outbox.answer_bytes());
        let why = format!("{queued} bytes of answers and news wait for it, and there is no room for more");
        self.doom(key, Reason::Stalled, why);
    }

    fn push_own(&mut self, to: SessionKey, class: Class, write: impl FnOnce(&mut Vec<u8>)) {
        self.push(to, class, |session, _| {
            session.outbox.push_own(class, |bytes| {
                write(bytes);
                bytes.push(b'\n');
            });
        });
    }

    fn push(&mut self, to: SessionKey, class: Class, push: impl FnOnce(&mut Session, &mut Blocks)) {
        let is_answer = matches!(class, Class::Reply | Class::Daemon);
        let choked_at = if is_answer { self.choked_at() } else { 0 };
        // Before its queue is full, which may be ahead of the end of the turn.
        let early = self.limits.max_queue_bytes / 4;
        let Some(session) = self.sessions.get_mut(to) else { return };
        let before = session.outbox.footprint();
        session.outbox.borrow(&mut self.spare);
        push(session, &mut self.blocks);
        self.memory_bytes = self.memory_bytes + session.outbox.footprint() - before;
        self.stats.lines_out += 1;
        let queued = session.outbox.queue_bytes();
        self.stats.queue_bytes_max = self.stats.queue_bytes_max.max(queued);
        if is_answer && session.outbox.answer_bytes() > choked_at {
            session.choked = true;
        }
        let must_be_taken = session.leaving
            || session.ending
            || (is_answer && session.outbox.answer_bytes() >= self.limits.max_queue_bytes);
        if !session.dirty {
            session.dirty = true;
            self.dirty.push_back(to);
        }
        if queued >= EARLY_WRITE_BYTES.min(early) && !session.large {
            session.large = true;
            self.large.push(to);
        }
        if must_be_taken {
            self.watch_progress(to);
        }
    }

    /// Takes note that `count` bytes of what [`Core::transmit`] gave have been written.
    pub fn wrote(&mut self, key: SessionKey, count: usize, now: Now) {
        self.now = now;
        let choked_at = self.choked_at();
        let roll_call_at = self.roll_call_room() / 2;
        let Some(session) = self.sessions.get_mut(key) else { return };
        let before = session.outbox.footprint();
        session.outbox.wrote(count, &mut self.blocks);
        session.taken += count as u64;
        session.large = false;
        self.stats.bytes_out += count as u64;
        session.outbox.give_back(&mut self.spare);
        // A buffer only ever shrinks here.
        self.memory_bytes -= before - session.outbox.footprint();
        if session.choked && session.outbox.answer_bytes() <= choked_at {
            session.choked = false;
            self.effects.push_back(Effect::Resume(key));
        } else if session.roll_call.is_some() && session.outbox.answer_bytes() <= roll_call_at {
            self.effects.push_back(Effect::Resume(key));
        }
        let is_leaving = session.leaving && session.outbox.is_empty();
        let is_watched = session.watch.is_some();
        self.tell_missed(key);
        self.relieve(key);
        if is_watched {
            self.unwatch_progress(key);
        }
        if is_leaving {
            self.leaving.push(key);
        }
        self.settle();
    }

    /// Gives up what a receiver has not taken. Each sender is told once of what was no request (the
    /// fate of a request is told by its reply).
    pub(super) fn give_up(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let mut outbox = std::mem::take(&mut session.outbox);
        let receiver = session.unique_id.clone();
        self.memory_bytes -= outbox.footprint();
        let mut fates = Fates::default();
        let (mut lines, mut delivered) = (0, 0);
        outbox.give_up(&mut self.blocks, |sender, class, line| {
            lines += 1;
            delivered += u64::from(sender.is_some());
            if let (Some(sender), Class::Direct | Class::Reply) = (sender, class) {
                fates.add(sender, line);
            }
        });
        self.stats.lines_out -= lines;
        self.stats.delivered -= delivered;
        for Fate { sender, first, count } in fates.list {
            self.tell_undelivered(sender, &receiver, first.as_ref(), count);
        }
    }

    /// Tells a sender that `count` messages were not handed to `receiver`, `first` the first one.
    pub(super) fn tell_undelivered(
        &mut self,
        sender: SessionKey,
        receiver: &str,
        first: Option<&Id<'_>>,
        count: u64,
    ) {
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
            self.stats.untold += count;
        }
    }

    /// Says an `error` line to `address`, or to where the connection is addressed by default. Says
    /// whether it is on its way, as [`Core::say`] does.
    pub(super) fn say_error(
        &mut self,
        to: SessionKey,
        address: Option<&str>,
        refusal: &Refusal,
        in_reply_to: Option<&Id<'_>>,
        extra: impl FnOnce(&mut Object<'_>),
    ) -> bool {
        let own = self.address_of(to);
        self.stats.error(refusal.code);
        self.say(to, |out| write_error(out, address.unwrap_or(&own), refusal, in_reply_to, extra))
    }

    /// Says the reply to a request, with what `extra` adds to its body.
    pub(super) fn say_reply(
        &mut self,
        to: SessionKey,
        asked: AskedBy<'_>,
        extra: impl FnOnce(&mut Object<'_>),
    ) {
        self.own_ids += 1;
        let id = self.own_ids;
        self.say(to, |out| {
            write_reply(out, id, asked, |body| {
                body.null("error");
                extra(body);
            });
        });
    }

    /// Says the error reply to a request.
    pub(super) fn say_error_reply(&mut self, to: SessionKey, asked: AskedBy<'_>, refusal: &Refusal) -> bool {
        self.stats.error(refusal.code);
        self.own_ids += 1;
        let id = self.own_ids;
        self.say(to, |out| write_reply(out, id, asked, |body| write_refusal(body, refusal)))
    }

    /// Says a signal of the daemon's own, `extra` being what stands in its body behind the event.
    pub(super) fn say_signal(&mut self, to: SessionKey, event: &str, extra: impl FnOnce(&mut Object<'_>)) {
        let (address, id) = self.signal_head(to);
        self.say(to, |out| write_signal(out, id, &address, event, extra));
    }

    /// Says a signal under the rule for topics: its receiver has room for it.
    pub(super) fn say_topic_signal(
        &mut self,
        to: SessionKey,
        event: &str,
        extra: impl FnOnce(&mut Object<'_>),
    ) {
        if self.begin_topic_line(to) {
            let (address, id) = self.signal_head(to);
            self.push_own(to, Class::Topic, |out| write_signal(out, id, &address, event, extra));
        }
    }

    /// The same for a line that is written already, without its LF.
    pub(super) fn say_topic_line(&mut self, to: SessionKey, line: &[u8]) {
        if self.begin_topic_line(to) {
            self.push_own(to, Class::Topic, |out| out.extend_from_slice(line));
        }
    }

    /// Says what has to come before a line for topics; false where that would be of no use.
    fn begin_topic_line(&mut self, to: SessionKey) -> bool {
        let Some(session) = self.sessions.get(to).filter(|session| !session.broke) else { return false };
        if session.missed > 0 {
            self.say_lagged(to);
        }
        true
    }

    /// Tells a subscriber how many messages it has missed, ahead of what comes next.
    pub(super) fn say_lagged(&mut self, to: SessionKey) {
        let (address, id) = self.signal_head(to);
        let Some(session) = self.sessions.get_mut(to) else { return };
        let count = std::mem::take(&mut session.missed);
        if !session.broke {
            self.push_own(to, Class::Daemon, |out| {
                write_signal(out, id, &address, "lagged", |body| {
                    body.number("count", count);
                });
            });
        }
    }

    /// Tells a subscriber how many messages it has missed as soon as its queue is below half again.
    /// Nobody is ended for reading: where there is no room for it yet, it comes later.
    pub(super) fn tell_missed(&mut self, to: SessionKey) {
        let half = self.limits.max_queue_bytes / 2;
        let Some(session) = self.sessions.get(to) else { return };
        if session.missed > 0 && session.outbox.direct_bytes() < half && !self.answers_are_full(to) {
            self.say_lagged(to);
        }
    }

    fn signal_head(&mut self, to: SessionKey) -> (Rc<str>, u64) {
        self.own_ids += 1;
        (self.address_of(to), self.own_ids)
    }

    /// What a connection's messages are stamped with where it says nothing else: its first node ID,
    /// else its unique id.
    pub(super) fn address_of(&self, key: SessionKey) -> Rc<str> {
        let Some(session) = self.sessions.get(key) else { return Rc::from("") };
        let first = session.names.first().and_then(|&node| self.registry.get(node));
        first.map_or_else(|| session.unique_id.clone(), |node| node.name.clone())
    }
}

/// The messages of several senders that one receiver did not take.
#[derive(Default)]
struct Fates {
    /// In the order of their first messages.
    list: Vec<Fate>,
    places: HashMap<SessionKey, usize>,
}

struct Fate {
    sender: SessionKey,
    first: Option<Id<'static>>,
    count: u64,
}

impl Fates {
    fn add(&mut self, sender: SessionKey, line: &[u8]) {
        let Ok(envelope) = Envelope::scan(line) else { return };
        let told = Told::of(&envelope);
        if told.request_type.is_some() {
            return;
        }
        let place = *self.places.entry(sender).or_insert(self.list.len());
        if place == self.list.len() {
            let first = told.id.and_then(Result::ok).map(Id::into_owned);
            self.list.push(Fate { sender, first, count: 0 });
        }
        self.list[place].count += 1;
    }
}

/// Writes an `error` line, without its LF.
pub(super) fn write_error(
    out: &mut Vec<u8>,
    to: &str,
    refusal: &Refusal,
    in_reply_to: Option<&Id<'_>>,
    extra: impl FnOnce(&mut Object<'_>),
) {
    let mut line = Object::begin(out);
    line.string("message_type", "error").null("from").string("to", to);
    line.object("body", |body| {
        write_refusal(body, refusal);
        write_in_reply_to(body, in_reply_to);
        extra(body);
    });
    line.end();
}

fn write_reply(out: &mut Vec<u8>, id: u64, asked: AskedBy<'_>, fill: impl FnOnce(&mut Object<'_>)) {
    let mut line = Object::begin(out);
    write_own_id(&mut line, id);
    // The type may need escapes, and `_reply` goes inside its quotes.
    let message_type = line.key("message_type");
    write_string(message_type, asked.message_type);
    message_type.pop();
    message_type.extend_from_slice(b"_reply\"");
    line.null("from").string("to", asked.from);
    line.object("body", |body| {
        write_in_reply_to(body, asked.id);
        fill(body);
    });
    line.end();
}

fn write_signal(out: &mut Vec<u8>, id: u64, to: &str, event: &str, extra: impl FnOnce(&mut Object<'_>)) {
    let mut line = Object::begin(out);
    write_own_id(&mut line, id);
    line.string("message_type", "signal").null("from").string("to", to);
    line.object("body", |body| {
        body.string("event", event);
        extra(body);
    });
    line.end();
}

pub(super) fn write_own_id(line: &mut Object<'_>, id: u64) {
    let out = line.key("message_id");
    out.extend_from_slice(b"\":0-");
    out.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
    out.push(b'"');
}

fn write_refusal(body: &mut Object<'_>, refusal: &Refusal) {
    body.string("error", &refusal.error).string("code", refusal.code.word());
    if let Some(column) = refusal.column {
        body.number("column", column);
    }
    if let Some(filter) = &refusal.filter {
        body.string("filter", filter);
    }
}

fn write_in_reply_to(body: &mut Object<'_>, id: Option<&Id<'_>>) {
    match id {
        Some(id) => id.write_to(body.key("in_reply_to")),
        None => drop(body.null("in_reply_to")),
    }
}
