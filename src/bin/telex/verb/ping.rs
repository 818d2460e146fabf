//! Knows how long the way to the daemon and back takes.
//! Never: the way to a node.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use clap::Args;
use nix::poll::PollFlags;
use serde_json::json;

use crate::answer::ask;
use crate::context::{CONNECT_TIMEOUT, Context, Form};
use crate::exit::Failure;
use crate::given;
use crate::output::Results;
use crate::stop::Stop;
use crate::stream::deadline_after;
use crate::wait::wait;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex ping
  telex ping -n 1000 --every 10ms"#;

/// Measure round trips to the daemon
///
/// Ctrl-C ends it with what was measured until then.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Ping {
    /// End after N round trips
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Wait this long between them
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = given::duration)]
    every: Duration,
}

impl Ping {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let stop = Stop::watch()?;
        let mut trips = Vec::new();
        context.talk(CONNECT_TIMEOUT, |client| {
            for at in 0..self.count {
                if at > 0 {
                    wait(&[(stop.as_fd(), PollFlags::POLLIN)], deadline_after(self.every))?;
                }
                // What has come by then is told all the same.
                if stop.has_come() {
                    return Ok(());
                }
                let began = Instant::now();
                ask(client, "ping", &json!({}))?;
                trips.push(began.elapsed());
            }
            Ok(())
        })?;
        if trips.is_empty() {
            return stop.check();
        }
        trips.sort_unstable();
        // The smallest of which so many parts of 1000 are no larger.
        let part = |of_1000: usize| trips[(trips.len() * of_1000).div_ceil(1000).max(1) - 1];
        let shown = [("min", part(0)), ("p50", part(500)), ("p99", part(990)), ("p99.9", part(999)), ("max", part(1000))];
        let mut results = Results::new();
        if context.form() == Form::Json {
            let us = shown.map(|(name, time)| (format!("{name}_us"), json!(time.as_secs_f64() * 1e6)));
            let mut line: serde_json::Map<_, _> = us.into_iter().collect();
            line.insert("count".to_owned(), json!(trips.len()));
            results.line(&serde_json::Value::Object(line).to_string())?;
        } else {
            let shown = shown.map(|(name, time)| format!("{name} {:.1} us", time.as_secs_f64() * 1e6));
            results.line(&format!("{} round trips: {}", trips.len(), shown.join(", ")))?;
        }
        results.flush()?;
        if trips.len() < self.count as usize { stop.check() } else { Ok(()) }
    }
}
