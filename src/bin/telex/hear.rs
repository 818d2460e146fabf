//! Knows how messages of nodes are shown, and when it is enough.
//! Never: what they are to.

use clap::Args;
use telex::client::Client;

use crate::context::Context;
use crate::exit::Failure;
use crate::format::Format;
use crate::output::Results;
use crate::stream::{Heard, Until};

/// What and how much is shown of what comes.
#[derive(Args)]
pub(crate) struct Shown {
    #[command(flatten)]
    pub(crate) until: Until,
    /// Print this of each message, in which {time}, {from}, {to}, {topic}, {type}, {uid}, {body} and parts of the body
    /// ({body.a.b}) are filled in
    #[arg(long, value_name = "TEXT", value_parser = Format::parse)]
    format: Option<Format>,
    /// Print the bodies alone (null if a message has none)
    #[arg(long, conflicts_with = "format")]
    body: bool,
}

impl Shown {
    /// Connects, does `begin`, and prints what comes until it is enough.
    pub(crate) fn hear(
        &self,
        context: &Context,
        begin: impl FnMut(&mut Client) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut results = Results::new();
        self.until.hear(context, begin, |message| {
            if message.from().is_none() && message.topic().is_none() {
                return Ok(Heard::Other);
            }
            match &self.format {
                // A tab in it is the user's own.
                Some(format) => results.painted(&format.fill(message))?,
                None if self.body => results.line(message.body().unwrap_or("null"))?,
                None => results.line(message.line())?,
            }
            results.flush()?;
            Ok(Heard::Shown)
        })
    }
}
