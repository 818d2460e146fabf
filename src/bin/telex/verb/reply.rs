//! Knows how a node is played that gives every request one answer.
//! Never: looks at what it is asked.

use std::os::fd::AsFd;
use std::time::Duration;

use clap::Args;
use nix::poll::PollFlags;
use telex::client::{Client, Message, Register, text};

use crate::context::{CONNECT_TIMEOUT, Context};
use crate::exit::{Failure, until_told};
use crate::given;
use crate::keep::{Bounds, Reconnect};
use crate::notice::notice;
use crate::serving::reply;
use crate::stop::Stop;
use crate::wait::wait;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex reply heating '{"c":20.5}'
  telex reply echo '{"you":"{{from}}","said":{{body}},"count":{{count}}}'"#;

/// Be a node that gives every request this answer
///
/// In the answer {{body}} is the request's body, {{from}} its sender (within a string), {{count}} how many there were.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Reply {
    /// The node
    name: String,
    /// JSON, or any text with --text
    #[arg(allow_negative_numbers = true)]
    body: String,
    /// The answer is plain text, and sent as a JSON string
    #[arg(long)]
    text: bool,
    #[command(flatten)]
    reconnect: Reconnect,
}

impl Reply {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        // Wrong JSON is told before any request comes.
        for sample in [r#"{"message_type":"ask","from":"a"}"#, r#"{"message_type":"ask","from":"a","body":"b"}"#] {
            if let Ok(sample) = Message::read(sample.into())
                && let Err(why) = given::json(&self.answer(&sample, 1))
            {
                let body = sample.body().unwrap_or("null");
                let words = format!("to the body {body} the answer would be no JSON (see --text): {why}");
                return Err(Failure::usage(words));
            }
        }
        let options =
            Register { node_id: Some(self.name.as_str().into()), exclusive: Some(true), ..Register::default() };
        let (mut count, stop) = (0, Stop::watch()?);
        let ended = self.reconnect.keep(context, CONNECT_TIMEOUT, Bounds::of(&stop), |client| {
            let name = client.register_with(&options)?;
            context.words.say(&format!("serving {name}"));
            self.answer_all(client, &mut count, &stop, context)
        });
        until_told(ended)
    }

    fn answer_all(
        &self,
        client: &mut Client,
        count: &mut u64,
        stop: &Stop,
        context: &Context,
    ) -> Result<(), Failure> {
        loop {
            stop.check()?;
            let Some(message) = client.next(Some(Duration::ZERO))? else {
                wait(&[(client.as_fd(), PollFlags::POLLIN), (stop.as_fd(), PollFlags::POLLIN)], None)?;
                continue;
            };
            if let Some(notice) = notice(&message) {
                context.words.say(&notice);
            } else if message.is_request() {
                *count += 1;
                reply(client, &message, Ok(self.answer(&message, *count)))?;
            }
        }
    }

    fn answer(&self, request: &Message, count: u64) -> String {
        let (count, from) = (count.to_string(), request.from().unwrap_or_default());
        let quoted = text(from);
        let from = if self.text { from } else { &quoted[1..quoted.len() - 1] };
        let places =
            [("{{count}}", &*count), ("{{from}}", from), ("{{body}}", request.body().unwrap_or("null"))];
        let filled = fill(&self.body, &places);
        if self.text { text(&filled) } else { filled }
    }
}

/// A text with its places filled in. What a place is filled with has none.
fn fill(text: &str, places: &[(&str, &str)]) -> String {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("{{") {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        let place = places.iter().find(|(name, _)| rest.starts_with(name));
        // Else it is a brace, behind which a place may begin.
        let (name, value) = place.copied().unwrap_or(("{", "{"));
        filled.push_str(value);
        rest = &rest[name.len()..];
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn places_are_filled_once() {
        let places = [("{{count}}", "1"), ("{{from}}", "{{body}}"), ("{{body}}", "{{count}}")];
        for (text, filled) in [
            ("{{from}} {{body}} {{count}}", "{{body}} {{count}} 1"),
            ("{{{body}}}", "{{{count}}}"),
            ("{{", "{{"),
            ("{\"a\":{{count}}}", "{\"a\":1}"),
            ("{{other}}", "{{other}}"),
            ("\u{e4}{{count}}\u{e4}", "\u{e4}1\u{e4}"),
        ] {
            assert_eq!(fill(text, &places), filled, "{text}");
        }
    }
}
