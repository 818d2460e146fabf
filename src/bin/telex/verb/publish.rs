//! Knows signals to a topic, and how many get them.
//! Never: how they are sent.

use clap::Args;
use serde_json::json;
use telex::client::{Client, Error, To};

use crate::body::{Sent, bodies, unsendable};
use crate::context::{Context, Form};
use crate::exit::{Exit, Failure, Failures};
use crate::output::Results;
use crate::sending::Sending;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex publish sensor.kitchen.temp '{"c":21}'
  telex publish --expect job.done '{"id":7}'"#;

/// Publish to the subscribers of a topic
///
/// A topic without subscribers is no error, unless --expect says so.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Publish {
    /// The topic, without wildcards
    topic: String,
    /// JSON, or any text with --text; '' is the empty string. Without a body, or with "-", each line of stdin is one
    #[arg(allow_negative_numbers = true)]
    body: Option<String>,
    /// End with 3 if there are no subscribers
    #[arg(long)]
    expect: bool,
    /// Print how many subscribers got it, and how many had no room for it
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
        let mut failures = Failures::default();
        if let Some(body) = self.body.as_deref().filter(|body| *body != "-") {
            self.publish_one(&self.sent.body(Some(body))?, None, client, &mut failures, context)?;
            return failures.end(context.words);
        }
        for body in bodies(self.sent.text) {
            let (number, body) = body?;
            self.publish_one(&body, Some(number), client, &mut failures, context)?;
        }
        failures.end(context.words)
    }

    fn publish_one(
        &self,
        body: &str,
        line: Option<u64>,
        client: &mut Client,
        failures: &mut Failures,
        context: &Context,
    ) -> Result<(), Failure> {
        let receipt = match client.publish_for_receipt(&self.topic, body, self.sent.timeout) {
            Ok(receipt) => receipt,
            Err(Error::Unsendable(why)) => return Err(unsendable(&why, body, line, self.sent.text)),
            Err(error) => {
                let failure = Failure::from(error);
                if failure.is_end {
                    return Err(failure);
                }
                failures.add(&failure.at(line), context.words);
                return Ok(());
            }
        };
        if self.receipt {
            let mut results = Results::new();
            results.line(&match context.form() {
                Form::Json => json!({"receivers": receipt.receivers, "missed": receipt.missed}).to_string(),
                Form::Table => format!("{} got it, {} missed it", receipt.receivers, receipt.missed),
            })?;
            results.flush()?;
        }
        if self.expect && receipt.receivers + receipt.missed == 0 {
            let words = format!("no subscribers of \"{}\"", self.topic);
            failures.add(&Failure::new(Exit::NoSuchNode, words), context.words);
        }
        Ok(())
    }
}
