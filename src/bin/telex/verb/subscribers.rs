//! Knows what connections would get a message to a topic.
//! Never: publishes one.

use clap::Args;
use serde_json::{Value, json};

use crate::answer::{Members, ask};
use crate::context::{CONNECT_TIMEOUT, Context, Form};
use crate::exit::Failure;
use crate::output::Results;
use crate::table::Table;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex subscribers sensor.kitchen.temp
  telex subscribers job.done --json"#;

/// List the connections that would get a message to a topic
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Subscribers {
    /// The topic, without wildcards
    topic: String,
}

impl Subscribers {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let reply = context.talk(CONNECT_TIMEOUT, |client| {
            ask(client, "subscribers", &json!({"topic": self.topic}))
        })?;
        let body = reply.body_value();
        let subscribers = body["subscribers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut results = Results::new();
        if context.form() == Form::Json {
            for subscriber in subscribers {
                results.line(&subscriber.to_string())?;
            }
        } else {
            let mut table = Table::new(&["ID", "NODES", "GROUP"]).with_names(1, context.colours());
            for subscriber in subscribers {
                let text = |key: &str| subscriber[key].as_str().unwrap_or("-").to_owned();
                let names = subscriber["node_ids"].as_array().into_iter().flatten().filter_map(Value::as_str);
                table.row([text("unique_id"), names.collect::<Vec<_>>().join(","), text("group")]);
            }
            table.write(&mut results)?;
        }
        let has_more = Members::of_reply(&reply).is_some_and(|members| members.raw("more") == Some("true"));
        if has_more {
            context.words.say("there are more of them than fit into an answer");
        }
        results.flush()
    }
}
