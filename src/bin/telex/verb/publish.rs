//! Knows signals to a topic, and how many get them.
//! Never: how they are sent.

use clap::Args;
use serde_json::json;
use telex::client::{Client, Error, To};

use crate::body::{Sent, unsendable};
use crate::context::{Context, Form};
use crate::exit::{Exit, Failure};
use crate::output::Results;
use crate::sending::Sending;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex publish sensor.kitchen.temp '{"c":21}'
  telex publish --expect job.done '{"id":7}'"#;

/// Publish to the subscribers of a topic
///
/// That nobody subscribes is no error, unless --expect says so.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Publish {
    /// The topic, without wildcards
    topic: String,
    /// JSON, or any text with --text; '' is the empty string. Without a body, or with "-", each line of stdin is one
    #[arg(allow_negative_numbers = true)]
    body: Option<String>,
    /// End with 3 if nobody subscribes
    #[arg(long)]
    expect: bool,
    /// Print how many got it, and how many had no room for it
    #[arg(long)]
    receipt: bool,
    #[command(flatten)]
    sent: Sent,
}

impl Publish {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        context.talk(self.sent.timeout, |client| {
            self.sent.register(client)?;
            if self.expect || self.receipt {
                return self.publish_counted(client, context);
            }
            Sending::new(client, To::Topic(&self.topic), &self.sent, context.words).run(self.body.as_deref())
        })
    }

    fn publish_counted(&self, client: &mut Client, context: &Context) -> Result<(), Failure> {
        let body = self.sent.body(Some(self.body.as_deref().unwrap_or("-")))?;
        let receipt = match client.publish_for_receipt(&self.topic, &body, self.sent.timeout) {
            Ok(receipt) => receipt,
            Err(Error::Unsendable(why)) => return Err(unsendable(&why, None, self.sent.text)),
            Err(error) => return Err(error.into()),
        };
        if self.receipt {
            let mut results = Results::new();
            results.line(&match context.form() {
                Form::Json => json!({"receivers": receipt.receivers, "missed": receipt.missed}).to_string(),
                Form::Table => format!("{} got it, {} missed it", receipt.receivers, receipt.missed),
            })?;
            results.flush()?;
        }
        match self.expect && receipt.receivers + receipt.missed == 0 {
            true => Err(Failure::new(Exit::NoSuchNode, format!("nobody subscribes to \"{}\"", self.topic))),
            false => Ok(()),
        }
    }
}
