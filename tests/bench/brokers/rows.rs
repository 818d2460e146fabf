//! Knows what is measured: the rows of the table, what telexd is to reach in each, and how a figure is taken.
//! Never: how it is shown.

use std::time::{Duration, Instant};

use crate::frame::{Body, Form};
use crate::load::Load;
use crate::server::{Program, Running, Server, Transport};

/// What the clients of a server do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// So many senders, each to a receiver of its own, as fast as they can.
    Pairs(usize),
    /// One who publishes, to so many subscribers.
    Topic(usize),
    /// So many clients, each with one request after the other to a service of its own.
    Requests(usize),
    /// The same by one client; what counts is how long it waits, also while somebody else sends as fast as he
    /// can.
    RoundTrip { flood: bool },
    /// Nothing; what counts is the memory that each of them needs.
    Idle,
}

/// A bound for telexd over one transport.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) transport: Transport,
    pub(crate) most: f64,
    /// Times what this server needs in the same run; without one the bound is a figure.
    pub(crate) of: Option<Server>,
}

/// A row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) work: Work,
    pub(crate) body: Body,
    pub(crate) targets: Vec<Target>,
    /// Only telexd looks into bodies.
    pub(crate) telexd_alone: bool,
}

/// What was measured once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    /// What counts: microseconds of the server's CPU for each message or request, of a round trip, or bytes.
    pub(crate) value: f64,
    /// What is told beside it: messages or requests in a second, or the 99th percentile.
    pub(crate) beside: Option<f64>,
}

const NATS: Server = Server(Program::Nats, Transport::Tcp);
const REDIS: Server = Server(Program::Redis, Transport::Unix);

/// All rows of the table, in its order.
pub(crate) fn rows() -> Vec<Row> {
    let row = |name: &str, work, bytes, targets: &[Target]| Row {
        name: name.to_owned(),
        work,
        body: Body::text(bytes),
        targets: targets.to_vec(),
        telexd_alone: false,
    };
    let nats = |most| Target { transport: Transport::Tcp, most, of: Some(NATS) };
    let redis = |most| Target { transport: Transport::Unix, most, of: Some(REDIS) };
    let relay = |most| {
        [Transport::Unix, Transport::Tcp].map(|transport| Target {
            transport,
            most,
            of: Some(Server(Program::Relay, transport)),
        })
    };
    let bytes =
        [Transport::Unix, Transport::Tcp].map(|transport| Target { transport, most: 1000.0, of: None });
    let mut rows = vec![
        row("one to one, 16 B", Work::Pairs(1), 16, &[nats(1.0)]),
        row("one to one, 128 B", Work::Pairs(1), 128, &[nats(1.0), redis(0.5)]),
        row("one to one, 1 KiB", Work::Pairs(1), 1024, &[nats(0.9)]),
        row("one to one, 16 KiB", Work::Pairs(1), 16 * 1024, &[nats(0.85)]),
        row("topic to 10, 128 B", Work::Topic(10), 128, &[redis(0.6)]),
        row("topic to 100, 128 B", Work::Topic(100), 128, &[redis(0.6)]),
        row("topic to 1,000, 128 B", Work::Topic(1000), 128, &[redis(0.5)]),
        row("64 to 64, 128 B", Work::Pairs(64), 128, &[nats(0.7)]),
        row("requests, 64 pairs, 128 B", Work::Requests(64), 128, &relay(1.3)),
        row("round trip, 128 B", Work::RoundTrip { flood: false }, 128, &relay(1.15)),
        row("round trip beside a flood", Work::RoundTrip { flood: true }, 128, &[]),
        row("memory of an idle client", Work::Idle, 16, &bytes),
    ];
    for (form, name) in [(Form::Numbers, "numbers"), (Form::Objects, "objects")] {
        for bytes in [128, 1024, 16 * 1024] {
            let body = Body { form, bytes };
            let name = format!("one to one, {bytes} B of {name}");
            rows.push(Row { body, telexd_alone: true, ..row(&name, Work::Pairs(1), 0, &[]) });
        }
    }
    rows
}

impl Row {
    /// Whether it has anything to say of a server.
    pub(crate) fn has(&self, server: Server) -> bool {
        matches!(server.0, Program::Telexd | Program::Beside) || !self.telexd_alone
    }

    /// Measures it with a server of its own. The error says what did not arrive as it should have.
    pub(crate) fn measure(&self, server: Server, time: Duration) -> Result<Figure, String> {
        let running = server.start();
        match self.work {
            Work::Idle => Ok(measure_memory(&running)),
            Work::Pairs(pairs) => measure_cpu(&running, Load::pairs(&running, pairs, self.body), time),
            Work::Topic(count) => measure_cpu(&running, Load::topic(&running, count, self.body), time),
            Work::Requests(pairs) => measure_cpu(&running, Load::requests(&running, pairs, self.body), time),
            Work::RoundTrip { flood } => {
                let mut load = Load::requests(&running, 1, self.body);
                if flood {
                    load.flood(self.body);
                }
                measure_round_trips(load, time)
            }
        }
    }
}

/// Between two moments at which nothing is under way, so that the time is that of these messages and of no
/// others.
fn measure_cpu(server: &Running, mut load: Load<'_>, time: Duration) -> Result<Figure, String> {
    load.go_on(time / 2)?;
    load.drain()?;
    let (cpu, arrived, began) = (server.cpu(), load.arrived(), Instant::now());
    load.go_on(time)?;
    load.drain()?;
    let (cpu, arrived, took) = (server.cpu() - cpu, load.arrived() - arrived, began.elapsed());
    if arrived == 0 {
        return Err("nothing was sent".to_owned());
    }
    let value = cpu.as_secs_f64() * 1e6 / arrived as f64;
    Ok(Figure { value, beside: Some(arrived as f64 / took.as_secs_f64()) })
}

fn measure_round_trips(mut load: Load<'_>, time: Duration) -> Result<Figure, String> {
    load.go_on(time / 2)?;
    load.drain()?;
    load.round_trips.clear();
    load.go_on(time)?;
    load.drain()?;
    load.round_trips.sort();
    let percentile = |percent: usize| {
        let nth = load.round_trips.len() * percent / 100;
        load.round_trips.get(nth).map(|time| time.as_secs_f64() * 1e6)
    };
    let value = percentile(50).ok_or("nothing has arrived")?;
    Ok(Figure { value, beside: percentile(99) })
}

/// What each client adds. The first ones are not counted, with whom the server takes what it needs for any.
fn measure_memory(server: &Running) -> Figure {
    const FIRST: usize = 100;
    const CLIENTS: usize = 5000;
    let mut load = Load::new(server);
    load.idle(FIRST);
    let before = server.rss_bytes();
    load.idle(FIRST + CLIENTS);
    let grown = server.rss_bytes().saturating_sub(before);
    Figure { value: grown as f64 / CLIENTS as f64, beside: None }
}
