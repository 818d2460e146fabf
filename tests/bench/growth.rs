//! How the cost of a message grows with what else there is: `cargo bench --bench growth`.
//!
//! A core is handed lines, in turns as the daemon makes them, and what it has to write is taken from it; what
//! is timed is the core alone. All sizes of a row take their turns in every round, and what is told is the
//! median of the rounds, so whatever else the machine does falls on all of them alike.
#![expect(clippy::print_stdout, reason = "figures are what this is for")]

use std::io::IoSlice;
use std::time::{Duration, Instant};

use telex::clock::Now;
use telex::core::{About, Core, Identity, Input, OpenGate, Peer, SessionKey, Transport};
use telex::limits::Limits;

const ROUNDS: usize = 301;
/// Lines of a turn, but for long ones.
const LINES: usize = 256;
const BODY_BYTES: usize = 128;
/// What the daemon reads at once.
const READ_BYTES: usize = 256 * 1024;

/// The same moment for ever, for nothing here waits.
const NOW: Now = Now { mono: Duration::ZERO, wall: Duration::ZERO };

/// What one sender sends in one turn.
type Sent = (SessionKey, Vec<u8>);

/// A core of some size, and who sends what to it.
struct Subject {
    core: Core,
    connections: u64,
    /// What is sent in a round.
    says: Box<dyn FnMut(usize) -> Vec<Sent>>,
    /// Nanoseconds for each message, one of every round.
    took: Vec<f64>,
}

impl Subject {
    fn new() -> Subject {
        let about = About { version: "0", host: "host".to_owned(), drain_timeout: Duration::ZERO };
        // Sizes beyond what one peer may have come of many peers, or of larger limits.
        let limits = Limits { max_names: usize::MAX, max_subscriptions: usize::MAX, ..Limits::default() };
        let core = Core::new(about, limits, NOW);
        Subject { core, connections: 0, says: Box::new(|_| Vec::new()), took: Vec::new() }
    }

    fn connect(&mut self) -> SessionKey {
        self.connections += 1;
        let identity = Identity::Kernel { uid: Some(1), gid: Some(1), pid: 1 };
        let peer = Peer { transport: Transport::Unix, identity, administrator: false };
        self.core.open(self.connections, peer, NOW).expect("room")
    }

    fn node(&mut self, node_id: &str) -> SessionKey {
        let session = self.connect();
        self.register(session, node_id);
        session
    }

    fn register(&mut self, session: SessionKey, node_id: &str) {
        let line = format!("{{\"message_type\":\"register\",\"body\":{{\"node_id\":\"{node_id}\"}}}}\n");
        self.turn(&[(session, line.into_bytes())]);
    }

    fn subscribe(&mut self, session: SessionKey, pattern: &str) {
        let line = format!("{{\"message_type\":\"subscribe\",\"body\":{{\"topic\":\"{pattern}\"}}}}\n");
        self.turn(&[(session, line.into_bytes())]);
    }

    /// One turn of the loop; says how many bytes there were to write.
    fn turn(&mut self, sent: &[Sent]) -> usize {
        let mut wrote = 0;
        self.core.handle(Input::TimePassed, NOW, &mut OpenGate);
        for (session, bytes) in sent {
            for bytes in bytes.chunks(READ_BYTES) {
                self.core.handle(Input::Received { session: *session, bytes }, NOW, &mut OpenGate);
                while let Some(receiver) = self.core.next_large() {
                    wrote += self.write(receiver);
                }
            }
        }
        while let Some(receiver) = self.core.next_dirty() {
            wrote += self.write(receiver);
        }
        while self.core.next_order().is_some() {}
        std::hint::black_box(self.core.next_deadline());
        wrote
    }

    fn write(&mut self, receiver: SessionKey) -> usize {
        let mut wrote = 0;
        loop {
            let mut slices = [IoSlice::new(b""); 64];
            let filled = self.core.transmit(receiver, &mut slices);
            let count: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
            if count == 0 {
                return wrote;
            }
            self.core.wrote(receiver, count, NOW);
            wrote += count;
        }
    }

    fn measure(&mut self, round: usize) {
        let sent = (self.says)(round);
        let bytes: usize = sent.iter().map(|(_, bytes)| bytes.len()).sum();
        let lines = sent.iter().flat_map(|(_, bytes)| bytes).filter(|byte| **byte == b'\n').count();
        let began = Instant::now();
        let wrote = self.turn(&sent);
        self.took.push(began.elapsed().as_nanos() as f64 / lines as f64);
        assert_eq!(wrote, bytes, "all lines arrive once and as they were");
    }
}

/// A line to which nothing has to be added.
fn line(id: usize, from: &str, target: &str, body_bytes: usize) -> String {
    let body = "x".repeat(body_bytes);
    format!(
        "{{\"message_id\":\"{id:09}\",\"message_type\":\"signal\",\
         \"from\":\"{from}\",{target},\"body\":\"{body}\"}}\n"
    )
}

fn to_name(nth: usize) -> String {
    format!("\"to\":\"name-{nth:06}\"")
}

/// Many in one read, all to one name.
fn names_one(size: usize) -> Subject {
    names(size, |_, _| 0)
}

/// The same, to names that have not been used for long.
fn names_all(size: usize) -> Subject {
    names(size, move |round, nth| (round * LINES + nth) * 7919 % size)
}

fn names(size: usize, pick: impl Fn(usize, usize) -> usize + 'static) -> Subject {
    let mut subject = Subject::new();
    let (sender, receiver) = (subject.node("a"), subject.connect());
    for nth in 0..size {
        subject.register(receiver, &format!("name-{nth:06}"));
    }
    subject.says = Box::new(move |round| {
        let lines = (0..LINES).map(|nth| line(nth, "a", &to_name(pick(round, nth)), BODY_BYTES));
        vec![(sender, lines.collect::<String>().into_bytes())]
    });
    subject
}

/// One of them matches, the others differ from what is published at each of its tokens.
fn subscriptions(size: usize) -> Subject {
    const EACH: usize = 1000;
    let mut subject = Subject::new();
    let (sender, receiver) = (subject.node("a"), subject.connect());
    subject.subscribe(receiver, "sensor.*.temp");
    let mut other = receiver;
    for nth in 1..size {
        if nth % EACH == 1 {
            other = subject.connect();
        }
        let pattern = match nth % 4 {
            0 => format!("sensor.{nth}.*"),
            1 => format!("*.{nth}.temp"),
            2 => format!("sensor.*.{nth}"),
            _ => format!("{nth}.>"),
        };
        subject.subscribe(other, &pattern);
    }
    subject.says = Box::new(move |_| {
        let lines = (0..LINES).map(|nth| line(nth, "a", "\"topic\":\"sensor.kitchen.temp\"", BODY_BYTES));
        vec![(sender, lines.collect::<String>().into_bytes())]
    });
    subject
}

/// Two talk, the others are there.
fn connections_two(size: usize) -> Subject {
    connections(size, |_, _| 0)
}

/// Each sends a line to the next.
fn connections_all(size: usize) -> Subject {
    connections(size, move |round, nth| (round * LINES + nth) * 7919 % size)
}

/// A line a read, of the one that is picked to the one behind it.
fn connections(size: usize, pick: impl Fn(usize, usize) -> usize + 'static) -> Subject {
    let mut subject = Subject::new();
    let sessions: Vec<_> = (0..size).map(|nth| subject.node(&format!("name-{nth:06}"))).collect();
    subject.says = Box::new(move |round| {
        let says = |nth| {
            let from = pick(round, nth);
            let target = to_name((from + 1) % size);
            (sessions[from], line(nth, &format!("name-{from:06}"), &target, BODY_BYTES).into_bytes())
        };
        (0..LINES).map(says).collect()
    });
    subject
}

fn line_bytes(size: usize) -> Subject {
    let mut subject = Subject::new();
    let (sender, _) = (subject.node("a"), subject.node("name-000000"));
    // The line's own bytes, without LF.
    let body_bytes = size - (line(0, "a", &to_name(0), 0).len() - 1);
    let count = ((1 << 20) / size).clamp(1, LINES);
    subject.says = Box::new(move |_| {
        let lines = (0..count).map(|nth| line(nth, "a", &to_name(0), body_bytes));
        vec![(sender, lines.collect::<String>().into_bytes())]
    });
    subject
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Measures all sizes of a row beside each other.
fn row(sizes: &[usize], build: fn(usize) -> Subject) -> Vec<f64> {
    let mut subjects: Vec<_> = sizes.iter().map(|size| build(*size)).collect();
    for round in 0..ROUNDS {
        for nth in 0..subjects.len() {
            let at = (nth + round) % subjects.len();
            subjects[at].measure(round);
        }
    }
    subjects.into_iter().map(|subject| median(subject.took)).collect()
}

fn print<T: ToString>(name: &str, cells: impl IntoIterator<Item = T>) {
    let cells: String = cells.into_iter().map(|cell| format!("{:>10}", cell.to_string())).collect();
    println!("{name:44}{cells}");
}

fn main() {
    const SIZES: [usize; 6] = [1, 10, 100, 1000, 10_000, 100_000];
    const LINE_BYTES: [usize; 5] = [100, 1 << 10, 10 << 10, 100 << 10, 1 << 20];
    println!("ns for each message, median of {ROUNDS} rounds\n");
    print("", SIZES);
    type Row = (&'static str, usize, fn(usize) -> Subject);
    let rows: [Row; 5] = [
        ("registered names, all to one of them", SIZES.len(), names_one),
        ("registered names, to each in turn", SIZES.len(), names_all),
        ("subscriptions with wildcards, one matches", SIZES.len(), subscriptions),
        ("connections, two of them talk", SIZES.len() - 1, connections_two),
        ("connections, each in turn to the next", SIZES.len() - 1, connections_all),
    ];
    for (name, sizes, build) in rows {
        print(name, row(&SIZES[..sizes], build).into_iter().map(|ns| format!("{ns:.0}")));
    }
    println!();
    print("", ["100 B", "1 KiB", "10 KiB", "100 KiB", "1 MiB"]);
    let lines = row(&LINE_BYTES, line_bytes);
    print("lines of so many bytes", lines.iter().map(|ns| format!("{ns:.0}")));
    let for_each_kib = lines.iter().zip(LINE_BYTES).map(|(ns, bytes)| ns * 1024.0 / bytes as f64);
    print("the same for each KiB of them", for_each_kib.map(|ns| format!("{ns:.0}")));
}
