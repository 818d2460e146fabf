//! Knows how the daemon's loop treats the core: fair turns, partial writes, virtual time. Hands every
//! event to the models too, with what it led to.
//! Never: what is right.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::time::Duration;

use telex::clock::Now;
use telex::core::{
    About, Core, Event as CoreEvent, Gate, Identity, Input, Judged as Door, Order, Peer, SessionKey,
    Transport, Tuning, Verdict,
};
use telex::limits::Limits;
use telex::wire::envelope::Field;
use telex::wire::message::{Kind, Message, Target};
use telex::wire::rewrite::{Changes, rewrite};

use crate::carry::carry;
use crate::control::HOST;
use crate::handling::{Judged, verdict};
use crate::lines::{self, Seen};
use crate::model::{self, Checked, Conn, Event, Judgement, Model, Observed, Pass};
use crate::random::Random;

/// How a peer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    Nothing,
    OneByte,
    Some,
    Everything,
}

/// One connection, the socket and the peer behind it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) key: SessionKey,
    /// What the peer has sent and the core has not been handed.
    pub(crate) inbox: VecDeque<u8>,
    /// The peer sends nothing more.
    pub(crate) eof: bool,
    ended: bool,
    pub(crate) broke: bool,
    resume: bool,
    is_ready: bool,
    /// What the core has queued and the socket has not taken.
    queued: VecDeque<u8>,
    /// The socket has taken a part of a line.
    is_mid_line: bool,
    pub(crate) reads: Reads,
    /// The sequence number of the last line seen from each sender.
    last: BTreeMap<u64, u64>,
    /// Of the peer's own lines.
    pub(crate) sequence: u64,
}

#[derive(Debug, Default)]
struct Doorkeeper {
    judged: Vec<Judgement>,
}

impl Gate for Doorkeeper {
    fn judge(&mut self, judged: &Door<'_>) -> Verdict {
        let body = judged.message.envelope.raw(Field::Body).unwrap_or_default();
        self.judged.push(Judgement {
            number: judged.number,
            message_type: judged.message.message_type.clone().into_owned(),
            body: body.to_owned(),
        });
        match verdict(body) {
            Judged::Pass => Verdict::Pass,
            Judged::Drop => Verdict::Drop,
            Judged::Redirect(target) => redirect(judged.message, target),
            Judged::Reject => {
                Verdict::Reject { filter: "simulated".to_owned(), reason: "it says so".to_owned() }
            }
        }
    }
}

fn redirect(message: &Message<'_>, target: model::Target) -> Verdict {
    if matches!(message.kind, Kind::Reply(_)) || message.target == Target::Daemon {
        return Verdict::Pass;
    }
    let target = match target {
        model::Target::Daemon => Target::Daemon,
        model::Target::Address(to) => Target::Address(to.into()),
        model::Target::Topic(topic) => Target::Topic(topic.into()),
    };
    let changes = Changes { target: Some(target), ..Changes::default() };
    Verdict::Replace(rewrite(message.envelope, &changes))
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) core: Core,
    pub(crate) now: Now,
    pub(crate) limits: Limits,
    /// The most units of effort that a step may cost.
    effort_max: usize,
    tuning: Tuning,
    /// Between all steps the core is saved, and goes on as what is restored from that.
    pub(crate) is_carried: bool,
    pub(crate) sessions: BTreeMap<u64, Session>,
    numbers: BTreeMap<SessionKey, u64>,
    ready: VecDeque<u64>,
    pub(crate) models: Vec<Model>,
    doorkeeper: Doorkeeper,
    pub(crate) next_number: u64,
    /// Of all that was handed in and came out.
    pub(crate) hash: u64,
    pub(crate) calls: u64,
    pub(crate) stalled: u64,
    pub(crate) stopped: bool,
    /// Most messages of this run go to few receivers, and few of these read.
    pub(crate) is_crowded: bool,
    /// What has come is to be handled before any time is judged to be over.
    is_held_up: bool,
    /// Whose progress the core has asked for.
    to_measure: VecDeque<SessionKey>,
    /// The last things that happened, for the report of a divergence.
    pub(crate) log: VecDeque<String>,
    pub(crate) traces: bool,
    /// A peer was told how much memory is taken.
    pub(crate) tells_memory: bool,
    /// More models fit than can be followed, or none can any more: nothing can be said of the rest of
    /// this run.
    pub(crate) is_ambiguous: bool,
}

/// What one line, or one time-out, may cost beyond what is left to do.
const LINE_EFFORT_MAX: usize = 500;
const LOG_LINES: usize = 60;
const MODELS_MAX: usize = 48;

fn about() -> About {
    About { version: "0.0.0", host: HOST.to_owned(), drain_timeout: Duration::from_secs(5) }
}

impl World {
    pub(crate) fn new(random: Random, limits: Limits, tuning: Tuning, tight: bool) -> World {
        let now = Now { mono: Duration::from_secs(1000), wall: Duration::from_secs(1_800_000_000) };
        World {
            random,
            effort_max: tuning.line_effort + tuning.settle_effort + LINE_EFFORT_MAX,
            now,
            models: vec![Model::new(limits.clone(), tight, tuning.short_answer_bytes)],
            core: Core::tuned(about(), limits.clone(), tuning.clone(), now),
            tuning,
            is_carried: false,
            limits,
            sessions: BTreeMap::new(),
            numbers: BTreeMap::new(),
            ready: VecDeque::new(),
            doorkeeper: Doorkeeper::default(),
            next_number: 1,
            hash: 0xcbf2_9ce4_8422_2325,
            calls: 0,
            stalled: 0,
            stopped: false,
            is_crowded: false,
            is_held_up: false,
            to_measure: VecDeque::new(),
            log: VecDeque::new(),
            tells_memory: false,
            traces: std::env::var_os("TELEX_SIM_TRACE").is_some(),
            is_ambiguous: false,
        }
    }

    pub(crate) fn model(&self) -> &Model {
        &self.models[0]
    }

    #[expect(clippy::print_stdout, reason = "a trace was asked for")]
    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        let text = text();
        if self.traces {
            println!("{text}");
        }
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.tells_memory |= text.contains("\"memory_bytes\":");
        self.log.push_back(text);
        if self.log.len() > LOG_LINES {
            self.log.pop_front();
        }
    }

    pub(crate) fn connect(&mut self, user: Option<u32>, administrator: bool) -> Checked<Option<u64>> {
        let number = self.next_number;
        self.next_number += 1;
        let (transport, identity) = match user {
            Some(uid) => (
                Transport::Unix,
                Identity::Kernel { uid: Some(uid), gid: Some(uid + 1), pid: number as i32 + 1000 },
            ),
            None => (Transport::Tcp, Identity::Anonymous),
        };
        // Those that have departed count only beyond as many again.
        let count = |most: usize, counts: &dyn Fn(&Conn) -> bool| {
            let conns: Vec<_> = self.model().conns.values().filter(|conn| counts(conn)).collect();
            conns.len() - conns.iter().filter(|conn| conn.departed).count().min(most)
        };
        let taken = count(self.limits.max_connections, &|_| true);
        let of_user = count(self.limits.max_connections_per_uid, &|conn| conn.user == user);
        let room = taken < self.limits.max_connections && of_user < self.limits.max_connections_per_uid;
        match self.core.open(number, Peer { transport, identity, administrator }, self.now) {
            Ok(key) => {
                if !room {
                    return Err(format!(
                        "{taken} connections, {of_user} of this user, and one more was let in"
                    ));
                }
                self.note(|| format!("+ :{number} uid {user:?} administrator {administrator}"));
                self.numbers.insert(key, number);
                self.sessions.insert(
                    number,
                    Session {
                        key,
                        inbox: VecDeque::new(),
                        eof: false,
                        ended: false,
                        broke: false,
                        resume: false,
                        is_ready: false,
                        queued: VecDeque::new(),
                        is_mid_line: false,
                        reads: Reads::Everything,
                        last: BTreeMap::new(),
                        sequence: 0,
                    },
                );
                self.after(Event::Opened { number, user, administrator })?;
                Ok(Some(number))
            }
            Err(line) => {
                let seen = Seen::parse(line.strip_suffix(b"\n").unwrap_or(&line))?;
                let tight = self.model().tight;
                if (room && !tight) || seen.text("message_type").as_deref() != Some("error") {
                    return Err(format!("a connection was refused: {}", seen.raw));
                }
                self.drain_effects(&mut Observed::default());
                Ok(None)
            }
        }
    }

    /// Puts a session at the end of the row of those that have something to be done for.
    pub(crate) fn wake(&mut self, number: u64) {
        if let Some(session) = self.sessions.get_mut(&number)
            && !session.is_ready
        {
            session.is_ready = true;
            self.ready.push_back(number);
        }
    }

    pub(crate) fn send(&mut self, number: u64, bytes: &[u8]) {
        if let Some(session) = self.sessions.get_mut(&number)
            && !session.eof
        {
            session.inbox.extend(bytes);
            self.wake(number);
        }
    }

    /// The peer closes its writing side.
    pub(crate) fn half_close(&mut self, number: u64) {
        if let Some(session) = self.sessions.get_mut(&number) {
            session.eof = true;
            self.note(|| format!("half-close of :{number}"));
            self.wake(number);
        }
    }

    /// The connection is reset or hung up; what has come before is still there to be read.
    pub(crate) fn hang_up(&mut self, number: u64) -> Checked {
        if self.model().tight {
            // A broken connection shows nothing of what becomes of its lines.
            self.half_close(number);
            return Ok(());
        }
        let Some(session) = self.sessions.get_mut(&number) else { return Ok(()) };
        if session.broke {
            return Ok(());
        }
        session.eof = true;
        session.broke = true;
        let key = session.key;
        self.note(|| format!("hang-up of :{number}"));
        self.wake(number);
        self.core.handle(Input::Broke { session: key }, self.now, &mut self.doorkeeper);
        self.after(Event::Broke(number))?;
        self.finish_turn()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.ready.is_empty()
    }

    /// One session's turn, then the write step.
    pub(crate) fn turn(&mut self) -> Checked {
        if let Some(number) = self.ready.pop_front() {
            self.serve(number)?;
        }
        self.finish_turn()
    }

    fn serve(&mut self, number: u64) -> Checked {
        let Some(session) = self.sessions.get_mut(&number) else { return Ok(()) };
        session.is_ready = false;
        let key = session.key;
        if std::mem::take(&mut session.resume) {
            self.note(|| format!("resumed :{number}"));
            self.core.handle(Input::Resumed { session: key }, self.now, &mut self.doorkeeper);
            self.after(Event::Resumed(number))?;
            self.flush_large()?;
        }
        if self.core.wants_bytes(key)
            && let Some(session) = self.sessions.get_mut(&number)
            && !session.inbox.is_empty()
        {
            // What is handed in at once may be worked off in one step, which may cost only so much.
            let here = session.inbox.len().min(self.limits.max_queue_bytes);
            // Cut anywhere: in the middle of a line, behind its LF, behind several.
            let count = match self.random.below(4) {
                0 => here,
                1 => self.random.between(1, here),
                2 => self.random.between(1, here.min(20)),
                _ => session.inbox.iter().position(|&byte| byte == b'\n').map_or(here, |at| at + 1),
            };
            let bytes: Vec<u8> = session.inbox.drain(..count).collect();
            self.note(|| format!("> :{number} {:?}", String::from_utf8_lossy(&bytes)));
            self.core.handle(Input::Received { session: key, bytes: &bytes }, self.now, &mut self.doorkeeper);
            self.after(Event::Received(number, &bytes))?;
            self.flush_large()?;
        }
        let Some(session) = self.sessions.get_mut(&number) else { return Ok(()) };
        // Whoever can go on with what is kept of him does so first.
        if session.inbox.is_empty() && session.eof && !session.ended && !session.resume {
            session.ended = true;
            self.note(|| format!("end of :{number}"));
            self.core.handle(Input::Ended { session: key }, self.now, &mut self.doorkeeper);
            self.after(Event::Ended(number))?;
        } else if !session.inbox.is_empty() && self.core.wants_bytes(key) {
            self.wake(number);
        }
        Ok(())
    }

    fn flush_large(&mut self) -> Checked {
        if self.random.one_in(2) {
            while let Some(key) = self.core.next_large() {
                if let Some(&number) = self.numbers.get(&key) {
                    self.write(number)?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn finish_turn(&mut self) -> Checked {
        while let Some(key) = self.core.next_dirty() {
            if let Some(&number) = self.numbers.get(&key) {
                self.write(number)?;
            }
        }
        self.core.reap();
        self.after(Event::Reaped)
    }

    /// The socket takes some.
    pub(crate) fn write(&mut self, number: u64) -> Checked {
        let Some(session) = self.sessions.get_mut(&number) else { return Ok(()) };
        let here = session.queued.len();
        if here == 0 || session.broke {
            return Ok(());
        }
        let count = match session.reads {
            Reads::Nothing => return Ok(()),
            Reads::OneByte => 1,
            Reads::Some => self.random.between(1, here),
            Reads::Everything => here,
        };
        if let Some(&last) = session.queued.iter().take(count).next_back() {
            session.is_mid_line = last != b'\n';
        }
        session.queued.drain(..count);
        let key = session.key;
        self.note(|| format!("w :{number} {count} of {here}"));
        self.core.wrote(key, count, self.now);
        self.after(Event::Wrote(number, count))
    }

    pub(crate) fn stop(&mut self) -> Checked {
        self.note(|| "stop".to_owned());
        self.stopped = true;
        self.core.handle(Input::StopAsked, self.now, &mut self.doorkeeper);
        self.after(Event::StopAsked)?;
        self.finish_turn()
    }

    pub(crate) fn pass_time(&mut self, span: Duration) -> Checked {
        self.now.mono += span;
        self.now.wall += span;
        let core_says = self.core.next_deadline();
        let due = core_says.is_some_and(|deadline| deadline <= self.now.mono);
        let owed = Pass::first_deadline(self.model()).is_some_and(|deadline| deadline <= self.now.mono);
        if owed && !due {
            return Err("something is due, and the core would not be called for it".to_owned());
        }
        self.note(|| format!("t +{span:?}"));
        if due && !self.stopped && self.random.one_in(3) {
            self.catch_up()?;
        }
        if due || self.random.one_in(4) {
            self.core.handle(Input::TimePassed, self.now, &mut self.doorkeeper);
            self.after(Event::TimePassed)?;
        }
        self.finish_turn()
    }

    /// The loop was held up, and some of what came meanwhile may be an answer to what seems overdue.
    fn catch_up(&mut self) -> Checked {
        self.note(|| "held up".to_owned());
        self.is_held_up = true;
        self.core.handle(Input::HeldUp, self.now, &mut self.doorkeeper);
        self.after(Event::HeldUp)?;
        for _ in 0..self.random.between(1, 6) {
            self.turn()?;
        }
        self.is_held_up = false;
        Ok(())
    }

    pub(crate) fn time_to_deadline(&mut self) -> Option<Duration> {
        self.core.next_deadline().map(|deadline| deadline.saturating_sub(self.now.mono))
    }

    /// Tells the core how far a peer has read: all that was written for it.
    fn measure(&mut self) -> Checked {
        while let Some(key) = self.to_measure.pop_front() {
            if let Some(&number) = self.numbers.get(&key) {
                self.core.handle(Input::Measured { session: key, unread: 0 }, self.now, &mut self.doorkeeper);
                self.after(Event::Measured(number))?;
            }
        }
        Ok(())
    }

    fn drain_effects(&mut self, observed: &mut Observed) {
        while let Some(effect) = self.core.next_order() {
            match effect {
                Order::Resume(key) => {
                    if let Some(&number) = self.numbers.get(&key) {
                        if let Some(session) = self.sessions.get_mut(&number) {
                            session.resume = true;
                        }
                        self.wake(number);
                    }
                }
                Order::Measure(key) => self.to_measure.push_back(key),
                Order::Happened(_) | Order::Do(..) => {}
                Order::Close(key) => observed.closed.extend(self.numbers.remove(&key)),
                Order::Note(note) => {
                    self.note(|| format!("# {:?} {}", note.about.number, note.text));
                    if note.event == CoreEvent::Stalled {
                        observed.stalled.extend(note.about.number);
                        self.stalled += 1;
                    }
                }
            }
        }
    }

    /// Has the core go on with what an event has led to, and with what its connection sent, until nothing is left
    /// of that. Gives all that was handed in: to the models it is one step.
    fn go_on<'a>(&mut self, event: Event<'a>, observed: &mut Observed) -> Checked<Vec<Event<'a>>> {
        const PARTS_MAX: usize = 10_000;
        let mut events = vec![event];
        let in_hand = match event {
            Event::Received(number, _) | Event::Resumed(number) | Event::Ended(number) => Some(number),
            _ => None,
        };
        while events.len() < PARTS_MAX {
            self.look_at_core()?;
            self.drain_effects(observed);
            if self.is_carried {
                let fresh = || Core::tuned(about(), self.limits.clone(), self.tuning.clone(), self.now);
                carry(&mut self.core, fresh)?;
            }
            let paused = in_hand.and_then(|number| self.sessions.get_mut(&number));
            let due = self.core.next_deadline().filter(|deadline| *deadline <= self.now.mono);
            if let Some(deadline) = due
                && (deadline.is_zero() || !self.is_held_up)
            {
                let (input, event) = match self.is_held_up {
                    true => (Input::HeldUp, Event::HeldUp),
                    false => (Input::TimePassed, Event::TimePassed),
                };
                self.core.handle(input, self.now, &mut self.doorkeeper);
                events.push(event);
            } else if let Some(session) = paused
                && std::mem::take(&mut session.resume)
            {
                let key = session.key;
                self.core.handle(Input::Resumed { session: key }, self.now, &mut self.doorkeeper);
                events.extend(in_hand.map(Event::Resumed));
            } else {
                return Ok(events);
            }
        }
        Err("the core is never done".to_owned())
    }

    /// Looks whether the core is sound, and has done no more than it may in a step.
    fn look_at_core(&mut self) -> Checked {
        self.core.check();
        // A unit is worth so many bytes.
        const UNIT_BYTES: usize = 50;
        let most = self.effort_max * UNIT_BYTES + self.limits.max_queue_bytes;
        match self.core.effort_bytes() {
            effort if effort > most => {
                Err(format!("a step has cost {} units of effort", effort / UNIT_BYTES))
            }
            _ => Ok(()),
        }
    }

    /// Sees what the core has done, and holds the models to it.
    fn after(&mut self, event: Event<'_>) -> Checked {
        self.calls += 1;
        let mut observed = Observed::default();
        let events = self.go_on(event, &mut observed)?;
        observed.judged = std::mem::take(&mut self.doorkeeper.judged);
        let stats = self.core.stats();
        observed.counted = (stats.untold, stats.missed, stats.delivered);
        let mut notes = Vec::new();
        for (&number, session) in &mut self.sessions {
            let mut slices = [IoSlice::new(&[]); 512];
            let filled = self.core.transmit(session.key, &mut slices);
            if filled == slices.len() {
                return Err(format!("the queue of :{number} is in too many pieces for the simulation"));
            }
            let len: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
            if observed.closed.contains(&number) {
                observed.blind.insert(number);
            }
            if len == session.queued.len() {
                continue;
            }
            let mut all: Vec<u8> = Vec::with_capacity(len);
            for slice in &slices[..filled] {
                all.extend_from_slice(slice);
            }
            let is_kept =
                len >= session.queued.len() && session.queued.iter().eq(all[..session.queued.len()].iter());
            let fresh = if is_kept { &all[session.queued.len()..] } else { &all[..] };
            if !is_kept {
                observed.blind.insert(number);
                if session.is_mid_line && !all.is_empty() {
                    return Err(format!(":{number} is sent a line split in two"));
                }
            }
            let mut seen = Vec::new();
            for line in fresh.split_inclusive(|&byte| byte == b'\n') {
                let Some(line) = line.strip_suffix(b"\n") else {
                    return Err(format!("a line without its end was queued for :{number}"));
                };
                let line = Seen::parse(line)?;
                check_order(session, &line)?;
                notes.push(format!("< :{number} {}", line.raw));
                seen.push(line);
            }
            session.queued = all.into();
            observed.lines.insert(number, seen);
        }
        for note in notes {
            self.note(|| note);
        }
        for &number in &observed.closed {
            self.note(|| format!("- :{number}"));
            self.sessions.remove(&number);
        }
        let mut fitting = Vec::new();
        let mut divergences = Vec::new();
        for model in &self.models {
            match model.follow(&events, self.now.mono, &observed) {
                Ok(models) => fitting.extend(models),
                Err(divergence) => divergences.push(divergence),
            }
        }
        if fitting.is_empty() {
            divergences.dedup();
            return Err(divergences.join("\nor\n"));
        }
        if fitting.len() > 1 {
            let mut known = std::collections::BTreeSet::new();
            fitting.retain(|model| known.insert(format!("{model:?}")));
        }
        self.is_ambiguous |= fitting.len() > MODELS_MAX || fitting[0].is_lost;
        self.models = fitting;
        self.measure()
    }
}

/// From one connection to one connection lines arrive in the order in which they were sent. This
/// looks at nothing but the numbers that the peers write into their bodies.
fn check_order(session: &mut Session, line: &Seen) -> Checked {
    if line.is_own() {
        return Ok(());
    }
    let Some(mark) = lines::field(&line.body, "s").and_then(|raw| serde_json::from_str::<Vec<u64>>(raw).ok())
    else {
        return Ok(());
    };
    let &[sender, sequence] = &mark[..] else { return Ok(()) };
    let last = session.last.entry(sender).or_default();
    if sequence <= *last {
        return Err(format!("number {sequence} of :{sender} comes behind its number {last}: {}", line.raw));
    }
    *last = sequence;
    Ok(())
}
