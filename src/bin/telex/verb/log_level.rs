//! Knows how much the daemon logs for now.
//! Never: what it logs.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::answer::{ask, object};
use crate::context::{CONNECT_TIMEOUT, Context};
use crate::exit::Failure;
use crate::given;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex log-level debug --for 10m
  telex log-level info"#;

/// Have the daemon log more or less for a while
///
/// For administrators. Without --for it holds until the configuration is read again (telex reload) or the daemon ends.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LogLevel {
    /// The least severe records that are logged
    #[arg(value_parser = ["error", "warning", "notice", "info", "debug"])]
    level: String,
    /// For so long
    #[arg(long = "for", value_name = "TIME", value_parser = given::duration)]
    time: Option<Duration>,
}

impl LogLevel {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let time = self.time.map_or(Value::Null, |time| json!(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)));
        let body = object([("level", json!(self.level)), ("for_ms", time)]);
        context.talk(CONNECT_TIMEOUT, |client| ask(client, "log_level", &body)).map(drop)
    }
}
