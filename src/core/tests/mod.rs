//! What the core says to its shell, beside what it says to peers (that is in `tests/transcripts`).

mod departed;
mod memory;
mod pressure;
mod shell;
mod signals;
mod spread;
mod steps;
mod turns;
mod waiting;

use serde_json::{Value, json};

use super::*;

/// A core, and a shell that lets everybody read everything. No call may do more than it should.
struct Bench {
    core: Core,
    now: Now,
    numbers: u64,
    gate: Box<dyn Gate>,
    effort_max: usize,
    /// The most effort of any call so far, in units.
    effort_most: usize,
}

/// Thresholds of which one call may do a sixteenth of the usual effort, so that small crowds take many steps.
fn small() -> Tuning {
    let Tuning { line_effort, settle_effort, publish_step, timers_together_max, .. } = Tuning::default();
    Tuning {
        timers_together_max: timers_together_max / 16,
        line_effort: line_effort / 16,
        settle_effort: settle_effort / 16,
        publish_step: publish_step / 16,
        check_every: 4096,
        ..Tuning::default()
    }
}

impl Bench {
    fn new() -> Bench {
        Bench::with(Limits::default())
    }

    fn with(limits: Limits) -> Bench {
        Bench::tuned(limits, Tuning::default())
    }

    /// One call may do 64 Ki units of effort with the usual thresholds, and less in proportion with others.
    fn tuned(limits: Limits, tuning: Tuning) -> Bench {
        let now = Now { mono: Duration::ZERO, wall: Duration::from_secs(1_800_000_000) };
        let about = About { version: "0", host: "host".to_owned(), drain_timeout: Duration::from_secs(5) };
        let effort_max = (64 << 10) / (Tuning::default().settle_effort / tuning.settle_effort);
        let core = Core::tuned(about, limits, tuning, now);
        Bench { core, now, numbers: 0, gate: Box::new(OpenGate), effort_max, effort_most: 0 }
    }

    /// Root, over a Unix socket.
    fn connects(&mut self) -> SessionKey {
        self.connects_as(root())
    }

    fn connects_as(&mut self, peer: Peer) -> SessionKey {
        self.numbers += 1;
        self.core.open(self.numbers, peer, self.now).expect("room")
    }

    fn handles(&mut self, input: Input<'_>) {
        let brought = match &input {
            Input::Received { bytes, .. } => bytes.len(),
            _ => 0,
        };
        self.core.handle(input, self.now, &mut *self.gate);
        // Bytes of a backlog were brought by an earlier call.
        let effort = self.core.desk.effort.call;
        assert!(effort <= self.effort_max, "{effort} units of effort for {brought} bytes in one call");
        self.effort_most = self.effort_most.max(effort);
    }

    /// Lets turns pass, in each of which sessions are resumed, until nothing is left to be done. Says how many
    /// turns that took.
    fn turns_until_done(&mut self) -> usize {
        let mut turns = 0;
        loop {
            self.turn();
            turns += 1;
            let is_due = self.core.next_deadline().is_some_and(|at| at <= self.now.mono);
            if !is_due && self.core.desk.orders.kept_bytes() == 0 {
                return turns;
            }
            assert!(turns < 1_000_000, "it never ends");
        }
    }

    /// One turn of the loop, in which none reads.
    fn turn(&mut self) {
        self.handles(Input::TimePassed);
        for order in self.orders() {
            if let Order::Resume(session) = order {
                self.handles(Input::Resumed { session });
            }
        }
        self.core.reap();
    }

    /// Says many lines in reads of about 64 KiB, with a turn behind each.
    fn floods(&mut self, session: SessionKey, lines: impl Iterator<Item = Value>) {
        let mut bytes = String::new();
        for line in lines {
            bytes += &format!("{line}\n");
            if bytes.len() > 64 << 10 {
                self.sends(session, &bytes);
                bytes.clear();
            }
        }
        self.sends(session, &bytes);
    }

    /// Hands bytes in, and lets turns pass until all of them have been handled.
    fn sends(&mut self, session: SessionKey, bytes: &str) {
        self.handles(Input::Received { session, bytes: bytes.as_bytes() });
        while !self.core.wants_bytes(session) {
            self.turn();
        }
    }

    fn passes(&mut self, time: Duration) {
        self.now = Now { mono: self.now.mono + time, wall: self.now.wall + time };
        self.handles(Input::TimePassed);
    }

    fn says(&mut self, session: SessionKey, line: Value) {
        let bytes = format!("{line}\n");
        self.handles(Input::Received { session, bytes: bytes.as_bytes() });
    }

    /// Says it, and reads all that it has to read.
    fn asks(&mut self, session: SessionKey, line: Value) -> Vec<Value> {
        self.says(session, line);
        self.hears(session)
    }

    fn emits_to(&mut self, to: &str, body: &str) {
        self.emits(Some(to), None, body);
    }

    fn publishes(&mut self, topic: &str, body: &str) {
        self.emits(None, Some(topic), body);
    }

    fn emits(&mut self, to: Option<&str>, topic: Option<&str>, body: &str) {
        self.handles(Input::Emitted(&Emission::new(to, topic, body, 1 << 20).expect("a signal")));
    }

    fn registers(&mut self, session: SessionKey, node_id: &str) {
        self.says(session, json!({"message_type": "register", "from": node_id}));
    }

    fn leaves(&mut self, session: SessionKey) {
        self.handles(Input::Ended { session });
        self.hears(session);
    }

    /// All that has come to a connection.
    fn hears(&mut self, session: SessionKey) -> Vec<Value> {
        let mut bytes = Vec::new();
        loop {
            let mut slices = [IoSlice::new(b""); 16];
            let filled = self.core.transmit(session, &mut slices);
            let count: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
            slices[..filled].iter().for_each(|slice| bytes.extend_from_slice(slice));
            if count == 0 {
                break;
            }
            self.core.wrote(session, count, self.now);
        }
        bytes
            .split_inclusive(|&byte| byte == b'\n')
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    fn orders(&mut self) -> Vec<Order> {
        let mut orders = Vec::new();
        while let Some(order) = self.core.next_order() {
            match order {
                Order::Measure(session) => self.handles(Input::Measured { session, unread: 0 }),
                order => orders.push(order),
            }
        }
        orders
    }

    fn happenings(&mut self) -> Vec<String> {
        let happened =
            |order| if let Order::Happened(happened) = order { Some(told(&happened)) } else { None };
        self.orders().into_iter().filter_map(happened).collect()
    }

    fn replay(&self) -> Vec<String> {
        let mut all = Vec::new();
        self.core.replay(&mut |happened| all.push(told(&happened)));
        all
    }

    /// The records, each as its event, the number, node ID and uid that it is about, and its fields.
    fn notes(&mut self) -> Vec<(Event, Value)> {
        let note = |order| match order {
            Order::Note(Note { event, about, fields, text, .. }) => {
                assert!(!text.is_empty() && !fields.contains('\n'), "{text} {fields}");
                let fields: Value = serde_json::from_str(&fields).unwrap();
                Some((event, json!([about.number, about.node_id.as_deref(), about.uid, fields])))
            }
            _ => None,
        };
        self.orders().into_iter().filter_map(note).collect()
    }
}

/// What is told to plugins, on a line each.
fn told(happened: &Happened) -> String {
    let Party { number, unique_id, peer, node_ids } = &happened.who;
    assert_eq!((&**unique_id, peer), (&*format!(":{number}"), &root()));
    format!("{number} {} {:?}", node_ids.join(","), happened.what)
}

/// A user over a Unix socket who is no administrator.
fn user(uid: u32) -> Peer {
    let identity = Identity::Kernel { uid: Some(uid), gid: Some(uid), pid: 1 };
    Peer { transport: Transport::Unix, identity, administrator: false }
}

fn root() -> Peer {
    let identity = Identity::Kernel { uid: Some(0), gid: Some(0), pid: 1 };
    Peer { transport: Transport::Unix, identity, administrator: true }
}
