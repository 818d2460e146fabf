//! Knows how messages that come are shown, and when it is enough.
//! Never: what they are to.

use telex::client::Client;

use crate::context::Context;
use crate::exit::Failure;
use crate::notice::notice;
use crate::output::Results;
use crate::stream::stream;
use crate::verb::Shown;

/// Prints what comes until it is enough.
pub(crate) fn hear(client: &mut Client, shown: &Shown, context: &Context) -> Result<(), Failure> {
    let mut results = Results::new();
    stream(client, &shown.enough(), |message| {
        if let Some(notice) = notice(message) {
            context.words.say(&notice);
            return Ok(false);
        }
        match &shown.format {
            Some(format) => results.line(&format.fill(message))?,
            None if shown.body => results.line(message.body().unwrap_or("null"))?,
            None => results.line(message.line())?,
        }
        results.flush()?;
        Ok(true)
    })
}
