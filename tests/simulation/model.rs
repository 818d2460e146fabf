//! Knows what PROTOCOL.md promises, as a second, slow and simple service: what each connection holds
//! and waits for, and which line has to come next in whose queue.
//! Never: how the core does it. It shares no code with the core; it reads lines by its own means.
//!
//! The shell hands each event to the core and then, with all that the core appended to any queue,
//! to the model, which goes through the event line by line. Whatever it expects in a queue it takes
//! from what was seen there; what is missing, different or left over is a divergence. Lengths are
//! taken from what was seen too, so that the counts of bytes are exact.
//!
//! Where the protocol leaves a choice (whose turn it is among equals, which instance a new key goes
//! to) what was seen decides; where nothing was to be seen yet, the model goes on as several models,
//! one per choice, and those that do not fit what comes later are given up. Only when none is left
//! has the core broken a promise.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use telex::limits::Limits;

use crate::lines::{self, Seen};

pub(crate) type Checked<T = ()> = Result<T, String>;

/// What the core did in one call.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// What was appended to each connection's queue.
    pub(crate) lines: BTreeMap<u64, Vec<Seen>>,
    /// Connections whose queue was emptied by the core in the call, so that what it appended before
    /// was never to be seen.
    pub(crate) blind: BTreeSet<u64>,
    /// Connections that were ordered closed.
    pub(crate) closed: Vec<u64>,
    /// Connections that were said to be stalled.
    pub(crate) stalled: Vec<u64>,
    /// What the gate was asked.
    pub(crate) judged: Vec<Judgement>,
    /// What the core has counted so far: `untold`, `missed`, `delivered`.
    pub(crate) counted: (u64, u64, u64),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) number: u64,
    pub(crate) message_type: String,
    pub(crate) body: String,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Event<'a> {
    Opened { number: u64, user: Option<u32>, administrator: bool },
    Received(u64, &'a [u8]),
    Ended(u64),
    Broke(u64),
    Resumed(u64),
    HeldUp,
    TimePassed,
    Measured(u64),
    StopAsked,
    Wrote(u64, usize),
    Reaped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Signal,
    Reply,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Daemon,
    Address(String),
    Topic(String),
}

/// A client's message whose form is right.
#[derive(Clone, Debug)]
pub(crate) struct Msg {
    /// Counted by the model.
    pub(crate) serial: u64,
    pub(crate) sender: u64,
    /// Without CR.
    pub(crate) raw: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) kind: Kind,
    pub(crate) message_type: String,
    /// As [`lines::id`] gives it; none where the daemon assigns one.
    pub(crate) id: Option<String>,
    /// As stamped.
    pub(crate) from: String,
    pub(crate) target: Target,
    pub(crate) key: Option<String>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) in_reply_to: Option<String>,
}

impl Msg {
    pub(crate) fn body(&self) -> Vec<(String, String)> {
        match lines::field(&self.fields, "body") {
            Some(body) if body.starts_with('{') => lines::split(body),
            _ => Vec::new(),
        }
    }
}

/// What a line has to be.
#[derive(Clone, Debug)]
pub(crate) enum Expect {
    /// A peer's message, stamped.
    Message(Rc<Msg>),
    /// An `error` line with one of these codes.
    Error { codes: Vec<&'static str>, about: About, count: Option<u64> },
    /// The error reply to a request.
    Refusal { of: String, codes: Vec<&'static str>, about: About },
    /// The daemon's answer to a request; `body` is what it has to hold, perhaps among other things.
    Answer { to: Rc<Msg>, address: String, body: Vec<(&'static str, serde_json::Value)> },
    /// The daemon's answer, whatever it says.
    AnyAnswer { to: Rc<Msg> },
    /// A signal of the daemon's own.
    Signal { event: &'static str, body: Vec<(&'static str, serde_json::Value)> },
    /// A tap's copy.
    Tapped(Rc<Msg>),
}

/// What an error's `in_reply_to` has to be.
#[derive(Clone, Debug)]
pub(crate) enum About {
    Id(String),
    /// A `register`, which may be answered to the node ID that it asked for.
    Claim(Option<String>, String),
    Message(Rc<Msg>),
    Null,
    Any,
}

/// The two counts of a queue; topic messages and direct ones share the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Topic,
    Direct,
    Answer,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) len: usize,
    pub(crate) class: Class,
    pub(crate) message: Option<Rc<Msg>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) message: Rc<Msg>,
    pub(crate) ticket: u64,
    /// It goes on when one of these has room.
    pub(crate) receivers: Vec<u64>,
    /// It goes on: one of them has room, or (none) it may go elsewhere now.
    pub(crate) called: Option<Option<u64>>,
    pub(crate) deadline: Option<Duration>,
    /// When it was set, among all things that are due at some time.
    pub(crate) set: u64,
}

/// Those who wait for room in one queue.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) waiters: BTreeMap<u64, u64>,
    /// The queue has come down to half since it was full.
    pub(crate) drained: bool,
}

/// Since when it is looked at whether somebody reads, and what he had taken then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    pub(crate) since: Duration,
    pub(crate) taken: usize,
    /// The time has come, and it is asked how far he has read.
    pub(crate) is_due: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) topic: String,
    pub(crate) group: Option<String>,
}

/// A `monitor` whose reply has not come yet.
#[derive(Clone, Debug)]
pub(crate) struct RollCall {
    pub(crate) request: Rc<Msg>,
    pub(crate) pattern: String,
    /// Instances that it was told of in the call so far.
    pub(crate) called: BTreeSet<(String, u64)>,
    /// Instances that came since, and were spoken of as that.
    pub(crate) heard_of: BTreeSet<(String, u64)>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Conn {
    pub(crate) number: u64,
    pub(crate) user: Option<u32>,
    pub(crate) administrator: bool,
    pub(crate) names: Vec<String>,
    pub(crate) credentials: bool,
    pub(crate) fails: bool,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) monitors: Vec<String>,
    pub(crate) taps: Vec<BTreeMap<String, String>>,

    /// The rest of a line that was too long is being skipped.
    pub(crate) skipping: bool,
    pub(crate) backlog: VecDeque<u8>,
    pub(crate) ended: bool,
    pub(crate) held: Option<Held>,
    pub(crate) roll_call: Option<RollCall>,
    pub(crate) broken_lines: u32,
    /// Its first line was a JSON object.
    pub(crate) greeted: bool,

    pub(crate) row: Option<Row>,
    pub(crate) queue: VecDeque<Entry>,
    pub(crate) front_written: usize,
    pub(crate) first: usize,
    pub(crate) second: usize,
    pub(crate) taken: usize,
    pub(crate) missed: u64,
    /// It is only owed things.
    pub(crate) leaving: bool,
    pub(crate) watch: Option<Watch>,
    pub(crate) broke: bool,
    /// It is gone for everybody else, and its lines are still handled.
    pub(crate) departed: bool,
}

impl Conn {
    pub(crate) fn unique_id(&self) -> String {
        format!(":{}", self.number)
    }

    /// Whether others can address it.
    pub(crate) fn is_here(&self) -> bool {
        !self.leaving && !self.departed
    }

    /// What messages are stamped with where they say nothing.
    pub(crate) fn address(&self) -> String {
        self.names.first().cloned().unwrap_or_else(|| self.unique_id())
    }

    pub(crate) fn owns(&self, address: &str) -> bool {
        let node = address.split('#').next().unwrap_or_default();
        node == self.unique_id() || self.names.iter().any(|name| name == node)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// In the order in which they came.
    pub(crate) instances: Vec<u64>,
    /// Delivery `one`.
    pub(crate) shares: bool,
    pub(crate) exclusive: bool,
    /// Who got the last messages while the same ones could be chosen, and who these were.
    pub(crate) turns: Turns,
    /// Where each key went last, and among whom that was chosen.
    pub(crate) keys: BTreeMap<String, (u64, Vec<u64>)>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Turns {
    pub(crate) among: Vec<u64>,
    pub(crate) recent: Vec<u64>,
}

impl Turns {
    /// "In turn": while the same ones can be chosen, none is served again before all others were.
    pub(crate) fn check(&mut self, chosen: u64, among: &[u64]) -> Checked {
        if self.among != among {
            *self = Turns { among: among.to_vec(), recent: Vec::new() };
        }
        let spared = self.recent.len().min(among.len() - 1);
        if self.recent[self.recent.len() - spared..].contains(&chosen) {
            return Err(format!(":{chosen} is served again before its turn among {among:?}"));
        }
        self.recent.push(chosen);
        Ok(())
    }
}

/// An open request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) message: Rc<Msg>,
    pub(crate) asker: u64,
    /// Who has it and has not replied.
    pub(crate) waiting: Vec<u64>,
    pub(crate) handed: usize,
    pub(crate) replied: bool,
    pub(crate) deadline: Duration,
    pub(crate) set: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) limits: Limits,
    /// `max_memory_bytes` is so small that `overloaded` can come at any time. How much memory the
    /// daemon takes for what it keeps is its own affair, so what was seen decides when.
    pub(crate) tight: bool,
    /// Bytes of answers beyond which a connection is not read while memory is short.
    pub(crate) short_answer_bytes: usize,
    pub(crate) now: Duration,
    pub(crate) stopped: bool,
    pub(crate) conns: BTreeMap<u64, Rc<Conn>>,
    pub(crate) nodes: BTreeMap<String, Rc<Node>>,
    pub(crate) requests: Vec<Request>,
    pub(crate) groups: BTreeMap<String, Turns>,
    /// Killed connections, with the names that they had: it is tried once more to write to them before anything else
    /// is told.
    pub(crate) dying: Vec<(u64, Vec<String>)>,
    /// Ids that the daemon assigned, by the serial of the message.
    pub(crate) assigned: BTreeMap<u64, String>,
    pub(crate) serials: u64,
    pub(crate) tickets: u64,
    pub(crate) sets: u64,
    pub(crate) untold: u64,
    pub(crate) missed: u64,
    /// Messages of peers put into queues, less those that were not taken.
    pub(crate) delivered: u64,
    /// Something that cannot be known any more came to matter: a name that nobody was told.
    pub(crate) is_lost: bool,
}

impl Model {
    pub(crate) fn new(limits: Limits, tight: bool, short_answer_bytes: usize) -> Model {
        Model {
            limits,
            tight,
            short_answer_bytes,
            now: Duration::ZERO,
            stopped: false,
            conns: BTreeMap::new(),
            nodes: BTreeMap::new(),
            requests: Vec::new(),
            groups: BTreeMap::new(),
            dying: Vec::new(),
            assigned: BTreeMap::new(),
            serials: 0,
            tickets: 0,
            sets: 0,
            untold: 0,
            missed: 0,
            delivered: 0,
            is_lost: false,
        }
    }

    /// All models that fit what was seen.
    pub(crate) fn follow(
        &self,
        events: &[Event<'_>],
        now: Duration,
        observed: &Observed,
    ) -> Checked<Vec<Model>> {
        const CHOICES_MAX: usize = 200;
        let mut fitting: Vec<Model> = Vec::new();
        let mut first_divergence = None;
        let mut script: Vec<usize> = Vec::new();
        for _ in 0..CHOICES_MAX {
            let mut pass = Pass {
                m: self.clone(),
                seen: observed,
                cursor: BTreeMap::new(),
                judged: 0,
                script: std::mem::take(&mut script),
                choices: Vec::new(),
                doomed: Vec::new(),
                closed: BTreeSet::new(),
                is_spread: events.len() > 1,
                floating: None,
                favoured: None,
                waited_for: Vec::new(),
                ticket: None,
            };
            pass.m.now = now;
            match events.iter().try_for_each(|event| pass.event(*event)).and_then(|()| pass.end()) {
                Ok(()) => fitting.push(pass.m),
                Err(_) if pass.m.is_lost => fitting.push(pass.m),
                Err(divergence) => {
                    first_divergence.get_or_insert(divergence);
                }
            }
            // The next script: the last choice that has another way, taken that way.
            let mut choices = pass.choices;
            while let Some((taken, of)) = choices.pop() {
                if taken + 1 < of {
                    script = choices.iter().map(|(taken, _)| *taken).collect();
                    script.push(taken + 1);
                    break;
                }
            }
            if script.is_empty() {
                break;
            }
        }
        match (fitting.is_empty(), first_divergence) {
            (true, Some(divergence)) => Err(divergence),
            _ => Ok(fitting),
        }
    }

    pub(crate) fn conn(&self, number: u64) -> Option<&Conn> {
        self.conns.get(&number).map(|conn| &**conn)
    }

    /// Whether nothing more of this connection's can be handled now.
    pub(crate) fn is_blocked(&self, conn: &Conn) -> bool {
        let asks_without_reading = conn.second > self.limits.max_queue_bytes / 2 && !conn.broke;
        conn.held.is_some() || conn.roll_call.is_some() || asks_without_reading
    }

    /// Who is at an address.
    pub(crate) fn instances(&self, address: &str) -> Vec<u64> {
        let node = address.split('#').next().unwrap_or_default();
        if let Some(number) = node.strip_prefix(':') {
            let number = number.parse().ok();
            return number
                .filter(|number| self.conn(*number).is_some_and(Conn::is_here))
                .into_iter()
                .collect();
        }
        self.nodes.get(node).map(|node| node.instances.clone()).unwrap_or_default()
    }

    /// Open requests of one connection, one handed to n counting n. One that a filter has dropped is
    /// open too, and counts as one.
    pub(crate) fn asked_by(&self, asker: u64) -> usize {
        self.requests
            .iter()
            .filter(|request| request.asker == asker)
            .map(|request| request.handed.max(1))
            .sum()
    }

    /// A place in the order of things that were set to be due.
    pub(crate) fn next_set(&mut self) -> u64 {
        self.sets += 1;
        self.sets
    }

    /// Requests that a connection has and has not answered.
    pub(crate) fn open_at(&self, receiver: u64) -> usize {
        self.requests.iter().filter(|request| request.waiting.contains(&receiver)).count()
    }

    pub(crate) fn id_of(&self, message: &Msg) -> Option<String> {
        message.id.clone().or_else(|| self.assigned.get(&message.serial).cloned())
    }
}

/// One way through one event.
pub(crate) struct Pass<'a> {
    pub(crate) m: Model,
    pub(crate) seen: &'a Observed,
    pub(crate) cursor: BTreeMap<u64, usize>,
    pub(crate) judged: usize,
    pub(crate) script: Vec<usize>,
    pub(crate) choices: Vec<(usize, usize)>,
    pub(crate) doomed: Vec<(u64, &'static str)>,
    pub(crate) closed: BTreeSet<u64>,
    /// The event in hand was worked off in parts.
    pub(crate) is_spread: bool,
    /// An answer that may come before, between or behind what the request in hand leads to.
    pub(crate) floating: Option<(u64, Expect)>,
    /// The receiver that the connection in hand waited for and need not wait for any more.
    pub(crate) favoured: Option<u64>,
    /// All that it waited for.
    pub(crate) waited_for: Vec<u64>,
    /// The place of the held line in hand, which counts in other rows too.
    pub(crate) ticket: Option<u64>,
}

impl<'a> Pass<'a> {
    pub(crate) fn conn(&self, number: u64) -> Option<&Conn> {
        self.m.conn(number)
    }

    pub(crate) fn change(&mut self, number: u64) -> &mut Conn {
        Rc::make_mut(self.m.conns.get_mut(&number).expect("the model changes only who is there"))
    }

    /// One of several ways; the others are gone in other passes.
    pub(crate) fn choose(&mut self, of: usize) -> usize {
        let way = self.script.get(self.choices.len()).copied().unwrap_or(0);
        self.choices.push((way, of));
        way
    }

    pub(crate) fn peek(&self, number: u64, ahead: usize) -> Option<&'a Seen> {
        let at = self.cursor.get(&number).copied().unwrap_or(0) + ahead;
        self.seen.lines.get(&number)?.get(at)
    }

    pub(crate) fn is_blind(&self, number: u64) -> bool {
        let is_blind = self.seen.blind.contains(&number) || self.conn(number).is_some_and(|conn| conn.broke);
        is_blind && self.peek(number, 0).is_none()
    }

    /// All that was seen has to have been expected.
    fn end(&mut self) -> Checked {
        for (number, lines) in &self.seen.lines {
            if let Some(line) = lines.get(self.cursor.get(number).copied().unwrap_or(0)) {
                return Err(format!("nobody owes :{number} this line: {}", line.raw));
            }
        }
        if let Some(judgement) = self.seen.judged.get(self.judged) {
            return Err(format!("this should not have been judged: {judgement:?}"));
        }
        let closed: BTreeSet<u64> = self.seen.closed.iter().copied().collect();
        if closed != self.closed {
            let who = closed.symmetric_difference(&self.closed).next().and_then(|one| self.conn(*one));
            return Err(format!("{closed:?} were closed, and {:?} should have been; {who:?}", self.closed));
        }
        let counted = (self.m.untold, self.m.missed, self.m.delivered);
        if counted != self.seen.counted {
            let told = self.seen.counted;
            return Err(format!(
                "(untold, missed, delivered) are counted as {told:?} and should be {counted:?}"
            ));
        }
        // "up to max_queue_bytes": what is let in below the bound may pass it by the one line.
        let bound = self.m.limits.max_queue_bytes + self.m.limits.max_line_bytes + 1025;
        for conn in self.m.conns.values() {
            if conn.first > bound {
                let (number, first) = (conn.number, conn.first);
                return Err(format!("the queue of :{number} is over its bound: {first} bytes"));
            }
        }
        Ok(())
    }

    /// Puts what is due into a queue; false where nobody will ever be told.
    pub(crate) fn push(&mut self, number: u64, class: Class, expect: Expect) -> Checked<bool> {
        let Some(conn) = self.conn(number) else { return Ok(false) };
        let is_own = !matches!(expect, Expect::Message(_));
        if conn.broke && is_own {
            return Ok(false);
        }
        self.say_lagged(number)?;
        // What the daemon itself owes is said beyond the bound too; who does not read it is found out.
        if class == Class::Answer && !is_own && self.finds_it_full(number) {
            self.doom(number, "stalled");
        }
        self.append(number, class, expect)?;
        Ok(true)
    }

    /// What was just queued for broken connections is given up at once.
    pub(crate) fn give_up_broken(&mut self, receivers: &[u64]) -> Checked {
        for &receiver in receivers {
            if self.conn(receiver).is_some_and(|conn| conn.broke) {
                self.give_up(receiver)?;
            }
        }
        Ok(())
    }

    /// Looks from now on whether somebody reads.
    pub(crate) fn watch(&mut self, number: u64) {
        let now = self.m.now;
        let conn = self.change(number);
        if conn.watch.is_none() && !conn.broke {
            conn.watch = Some(Watch { since: now, taken: conn.taken, is_due: false });
        }
    }

    /// What somebody has to read in each `stall_timeout`, where he has to.
    pub(crate) fn has_to_read(&self, number: u64) -> Option<usize> {
        // What the kernel's measure may lack, 36 KiB, counts for it.
        const STALL_BYTES: usize = 28 * 1024;
        let conn = self.conn(number).filter(|conn| !conn.broke)?;
        let is_waited_for = conn.row.as_ref().is_some_and(|row| !row.waiters.is_empty());
        if is_waited_for || conn.second >= self.m.limits.max_queue_bytes {
            return Some(STALL_BYTES);
        }
        ((conn.leaving || conn.ended) && !conn.queue.is_empty()).then_some(1)
    }

    pub(crate) fn unwatch(&mut self, number: u64) {
        let half = self.m.limits.max_queue_bytes / 2;
        if self.conn(number).is_some_and(|conn| conn.first <= half) {
            self.end_watch(number);
        }
    }

    pub(crate) fn end_watch(&mut self, number: u64) {
        if self.m.conns.contains_key(&number) && self.has_to_read(number).is_none() {
            self.change(number).watch = None;
        }
    }

    /// "A line that finds it full closes the connection." Of lines that were never to be seen the
    /// lengths are guessed, so that it may be full or not.
    fn finds_it_full(&mut self, number: u64) -> bool {
        const WRONG_BY: usize = 80;
        let (bound, is_guessed) = (self.m.limits.max_queue_bytes, self.is_blind(number));
        let is_doomed = self.doomed.iter().any(|(one, _)| *one == number);
        let closed = self.seen.closed.contains(&number);
        let Some(conn) = self.conn(number) else { return false };
        if conn.broke || !is_guessed || !closed || is_doomed {
            return conn.second >= bound;
        }
        let is_near = conn.second.abs_diff(bound) <= conn.queue.len() * WRONG_BY;
        let is_full = conn.second >= bound;
        if is_near { self.choose(2) == usize::from(!is_full) } else { is_full }
    }

    /// What was missed is told ahead of what comes next.
    pub(crate) fn say_lagged(&mut self, number: u64) -> Checked {
        let Some(conn) = self.conn(number) else { return Ok(()) };
        let (missed, broke) = (conn.missed, conn.broke);
        if missed == 0 {
            return Ok(());
        }
        self.change(number).missed = 0;
        let body = vec![("count", missed.into())];
        match broke {
            true => Ok(()),
            false => self.append(number, Class::Answer, Expect::Signal { event: "lagged", body }),
        }
    }

    /// Lets an answer come where it is seen.
    pub(crate) fn float(&mut self, number: u64, expect: Expect) {
        self.floating = Some((number, expect));
    }

    /// The answer that floats comes now, if it has not come yet.
    pub(crate) fn land(&mut self) -> Checked {
        match self.floating.take() {
            Some((number, expect)) => self.push(number, Class::Answer, expect).map(|_| ()),
            None => Ok(()),
        }
    }

    pub(crate) fn append(&mut self, number: u64, class: Class, expect: Expect) -> Checked {
        if self
            .floating
            .as_ref()
            .is_some_and(|(to, floating)| *to == number && self.next_fits(number, floating))
        {
            self.land()?;
        }
        let message = match &expect {
            Expect::Message(message) => Some(message.clone()),
            _ => None,
        };
        // What is queued for a broken connection is given up at once.
        let broke = self.conn(number).is_some_and(|conn| conn.broke);
        let blind = self.seen.blind.contains(&number) || broke;
        let fit = self.peek(number, 0).map(|line| (line, self.fits(number, &expect, line)));
        let len = match fit {
            Some((line, fit)) if fit.is_ok() || !blind => {
                fit.map_err(|fault| {
                    format!(":{number} was sent {}\n  where {expect:?}\n  was due: {fault}", line.raw)
                })?;
                if let Some(message) = &message {
                    self.learn_id(message, line)?;
                }
                *self.cursor.entry(number).or_default() += 1;
                line.raw.len() + 1
            }
            // Never to be seen: about as long as it would have been.
            _ if blind => message.as_ref().map_or(150, |message| self.stamped_len(number, message)),
            _ => return Err(format!(":{number} was not sent {expect:?}")),
        };
        if message.is_some() {
            self.m.delivered += 1;
        }
        let conn = self.change(number);
        match class {
            Class::Answer => conn.second += len,
            Class::Topic | Class::Direct => conn.first += len,
        }
        conn.queue.push_back(Entry { len, class, message });
        let (second, leaving) = (conn.second, conn.leaving || conn.ended);
        if leaving || (class == Class::Answer && second >= self.m.limits.max_queue_bytes) {
            self.watch(number);
        }
        Ok(())
    }

    /// The length of a message that was never to be seen, as well as can be told.
    fn stamped_len(&self, number: u64, message: &Msg) -> usize {
        let has = |name| lines::field(&message.fields, name).is_some();
        let from = if has("from") { 0 } else { message.from.len() + 10 };
        // `"message_id":":7-1",`
        let id = if has("message_id") { 0 } else { 19 + message.sender.to_string().len() };
        let sender = if self.conn(number).is_some_and(|conn| conn.credentials) { 60 } else { 0 };
        message.raw.len() + 1 + from + id + sender
    }

    fn learn_id(&mut self, message: &Rc<Msg>, line: &Seen) -> Checked {
        if message.id.is_some() {
            return Ok(());
        }
        let id = lines::field(&line.fields, "message_id").and_then(lines::id);
        let id = id.ok_or_else(|| format!("no message_id was assigned: {}", line.raw))?;
        match self.m.assigned.get(&message.serial) {
            Some(known) if *known != id => Err(format!("two ids for one message: {known} and {id}")),
            Some(_) => Ok(()),
            None => {
                if self.m.assigned.values().any(|other| *other == id) {
                    return Err(format!("the id {id} was assigned twice"));
                }
                self.m.assigned.insert(message.serial, id);
                Ok(())
            }
        }
    }

    /// The connection is to be ended when the line in hand has been handled.
    pub(crate) fn doom(&mut self, number: u64, reason: &'static str) {
        if !self.doomed.iter().any(|(doomed, _)| *doomed == number) {
            self.doomed.push((number, reason));
        }
    }

    /// What was not taken is given up: each sender is told once of all that was no request.
    pub(crate) fn give_up(&mut self, number: u64) -> Checked {
        let conn = self.change(number);
        let queue = std::mem::take(&mut conn.queue);
        (conn.first, conn.second, conn.front_written) = (0, 0, 0);
        let mut by_sender: Vec<(Rc<Msg>, u64)> = Vec::new();
        for entry in queue {
            let Some(message) = entry.message else { continue };
            self.m.delivered -= 1;
            if message.kind == Kind::Request || entry.class == Class::Topic {
                continue;
            }
            match by_sender.iter_mut().find(|(first, _)| first.sender == message.sender) {
                Some((_, count)) => *count += 1,
                None => by_sender.push((message, 1)),
            }
        }
        for (first, count) in by_sender {
            self.tell_lost(&first, count)?;
        }
        Ok(())
    }

    /// `count` messages of one sender, none of them a request, were not handed over.
    pub(crate) fn tell_lost(&mut self, first: &Rc<Msg>, count: u64) -> Checked {
        let about = About::Message(first.clone());
        let expect = Expect::Error { codes: vec!["node_gone"], about, count: Some(count) };
        if !self.push(first.sender, Class::Answer, expect)? {
            self.m.untold += count;
        }
        Ok(())
    }
}
