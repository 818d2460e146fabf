//! Knows how connections are closed by an administrator.
//! Never: why.

use clap::Args;
use serde_json::{Value, json};

use crate::answer::{ask, object};
use crate::context::{CONNECT_TIMEOUT, Context};
use crate::exit::Failure;
use crate::output::Results;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex kill runaway --reason 'it floods the logger'
  telex kill :7"#;

/// Close all connections of a node, or one by its unique id
///
/// For administrators. Prints how many were closed.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Kill {
    /// NODE or :N
    target: String,
    /// What they are told
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Kill {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let key = if self.target.starts_with(':') { "unique_id" } else { "node_id" };
        let reason = self.reason.map_or(Value::Null, Value::from);
        let body = object([(key, json!(self.target)), ("reason", reason)]);
        let reply = context.talk(CONNECT_TIMEOUT, |client| ask(client, "kill", &body))?;
        let mut results = Results::new();
        results.line(&reply.body_value()["killed"].to_string())?;
        results.flush()
    }
}
