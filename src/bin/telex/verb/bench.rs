//! Knows what is measured of a daemon, and how a figure is taken and told.
//! Never: how the load is made.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use serde_json::{Map, Value, json};

use crate::context::{Context, Form};
use crate::exit::{Exit, Failure};
use crate::given;
use crate::load::Load;
use crate::output::Results;
use crate::socket::raise_descriptor_limit;
use crate::stop::Stop;
use crate::table::Table;
use crate::waits::Waits;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex bench send --bytes 1024 --pid 4711
  telex bench publish --to 100
  telex bench call --rate 5000 --time 10s --json"#;

/// Measure what a daemon can do
///
/// All clients are one thread that never sleeps, and each message that arrives is compared with what was sent. It is
/// measured for the given time, after half of that which does not count. Nodes s-N and r-N are there meanwhile.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Messages in a second from one node to another
    Send {
        /// Number of senders, each with a receiver of its own
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        pairs: u32,
        #[command(flatten)]
        measured: Measured,
    },
    /// Messages in a second from one node to a topic; each counts for each subscriber that gets it
    Publish {
        /// Number of subscribers
        #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=60_000))]
        to: u32,
        #[command(flatten)]
        measured: Measured,
    },
    /// How long a request and its answer take, if requests come at a given rate: from when the request was due, not
    /// from when it could be sent
    Call {
        /// Requests in a second
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        rate: u32,
        #[command(flatten)]
        measured: Measured,
    },
}

#[derive(Args)]
struct Measured {
    /// Size of each message's body
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    bytes: u32,
    /// Measure for this time
    #[arg(long, default_value = "2s", value_parser = time)]
    time: Duration,
    /// The daemon's process; the time that it spends on a processor is told, for each message
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..))]
    pid: Option<i32>,
}

fn time(text: &str) -> Result<Duration, String> {
    let time = given::duration(text)?;
    if time.is_zero() { Err(given::pointed("nothing can be measured in no time", text, 0)) } else { Ok(time) }
}

/// What was measured.
struct Figure {
    messages: u64,
    took: Duration,
    /// It was measured to the end.
    is_whole: bool,
    /// Of the daemon, if its process is known.
    cpu: Option<Duration>,
}

impl Bench {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        raise_descriptor_limit();
        let address = context.address()?;
        let (name, size, measured) = match &self.what {
            What::Send { pairs, measured } => ("send", ("pairs", *pairs), measured),
            What::Publish { to, measured } => ("publish", ("to", *to), measured),
            What::Call { rate, measured } => ("call", ("rate", *rate), measured),
        };
        let (count, bytes) = (size.1 as usize, measured.bytes as usize);
        let mut load = match &self.what {
            What::Send { .. } => Load::pairs(address, count, bytes)?,
            What::Publish { .. } => Load::topic(address, count, bytes)?,
            What::Call { rate, .. } => Load::calls(address, Duration::from_secs(1) / *rate, bytes)?,
        };
        let stop = Stop::watch()?;
        let figure = measured.measure(&mut load, &stop)?;
        let mut told = vec![(size.0, json!(size.1)), ("bytes", json!(bytes))];
        told.extend(figure.told());
        if let What::Call { .. } = self.what {
            told.extend(told_of(&load.waits));
        }
        tell(name, told, context.form())?;
        if figure.is_whole { Ok(()) } else { stop.check() }
    }
}

impl Measured {
    /// Measures between two moments at which nothing is under way, so that the time is that of these messages and of no
    /// others.
    fn measure(&self, load: &mut Load, stop: &Stop) -> Result<Figure, Failure> {
        // A process that is not there is told at once.
        self.cpu()?;
        if !load.go_on(self.time / 2, stop)? {
            return stop.check().and(Err(Failure::new(Exit::Refused, "nothing was measured")));
        }
        load.drain()?;
        load.waits = Waits::new();
        let (cpu, arrived, began) = (self.cpu()?, load.arrived(), Instant::now());
        // What has been measured when the user wants an end is told, too.
        let is_whole = load.go_on(self.time, stop)?;
        load.drain()?;
        let (took, messages) = (began.elapsed(), load.arrived() - arrived);
        let cpu = self.cpu()?.zip(cpu).map(|(now, then)| now.saturating_sub(then));
        match messages {
            0 => stop.check().and(Err(Failure::new(Exit::Refused, "nothing was measured"))),
            messages => Ok(Figure { messages, took, is_whole, cpu }),
        }
    }

    /// The time that the daemon has spent on a processor. It is utime and stime of `/proc/PID/stat` together, but to the
    /// nanosecond.
    fn cpu(&self) -> Result<Option<Duration>, Failure> {
        let Some(pid) = self.pid else { return Ok(None) };
        let time = clock_getcpuclockid(Pid::from_raw(pid)).and_then(clock_gettime);
        let time = time.map_err(|errno| Failure::usage(format!("the process {pid}: {errno}")))?;
        Ok(Some(time.into()))
    }
}

impl Figure {
    fn told(&self) -> Vec<(&'static str, Value)> {
        let seconds = self.took.as_secs_f64();
        let cpu = self.cpu.map(|cpu| ("cpu_us", json!(cpu.as_secs_f64() * 1e6 / self.messages as f64)));
        let all = [
            ("messages", json!(self.messages)),
            ("seconds", json!(seconds)),
            ("per_second", json!(self.messages as f64 / seconds)),
        ];
        all.into_iter().chain(cpu).collect()
    }
}

/// How long requests took, in microseconds.
fn told_of(waits: &Waits) -> Vec<(&'static str, Value)> {
    let (min, max) = waits.ends();
    let at = |quantile| waits.at(quantile);
    let all = [
        ("min_us", min),
        ("p50_us", at(0.5)),
        ("p90_us", at(0.9)),
        ("p99_us", at(0.99)),
        ("p99.9_us", at(0.999)),
        ("max_us", max),
    ];
    all.map(|(name, wait)| (name, json!(wait.as_secs_f64() * 1e6))).to_vec()
}

fn tell(name: &str, told: Vec<(&'static str, Value)>, form: Form) -> Result<(), Failure> {
    let mut results = Results::new();
    if form == Form::Json {
        let members = told.into_iter().map(|(name, value)| (name.to_owned(), value));
        let line: Map<_, _> = std::iter::once(("bench".to_owned(), json!(name))).chain(members).collect();
        results.line(&Value::Object(line).to_string())?;
    } else {
        let mut table = Table::new(&["BENCH", &format!(">{}", name.to_uppercase())]);
        for (name, value) in told {
            let shown = match value.as_u64() {
                Some(count) => count.to_string(),
                None => format!("{:.3}", value.as_f64().unwrap_or_default()),
            };
            table.row([name.to_owned(), shown]);
        }
        table.write(&mut results)?;
    }
    results.flush()
}
