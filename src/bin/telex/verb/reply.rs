//! Knows how a node is played that gives every request one answer.
//! Never: looks at what it is asked.

use clap::Args;
use telex::client::{Client, Message, Register, text};

use crate::context::{CONNECT_TIMEOUT, Context};
use crate::exit::Failure;
use crate::given;
use crate::keep::{Bounds, Reconnect};
use crate::notice::notice;
use crate::serving::reply;

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
        let mut count = 0;
        self.reconnect.keep(context, CONNECT_TIMEOUT, Bounds::default(), |client| {
            let name = client.register_with(&options)?;
            context.words.say(&format!("listening as {name}"));
            self.answer_all(client, &mut count, context)
        })
    }

    fn answer_all(&self, client: &mut Client, count: &mut u64, context: &Context) -> Result<(), Failure> {
        loop {
            let Some(message) = client.next(None)? else { continue };
            if let Some(notice) = notice(&message) {
                context.words.say(&notice);
            } else if message.is_request() {
                *count += 1;
                reply(client, &message, Ok(self.answer(&message, *count)))?;
            }
        }
    }

    fn answer(&self, request: &Message, count: u64) -> String {
        let from = text(request.from().unwrap_or_default());
        let filled = self.body.replace("{{count}}", &count.to_string());
        let filled = match self.text {
            true => filled.replace("{{from}}", request.from().unwrap_or_default()),
            false => filled.replace("{{from}}", &from[1..from.len() - 1]),
        };
        let filled = filled.replace("{{body}}", request.body().unwrap_or("null"));
        if self.text { text(&filled) } else { filled }
    }
}
