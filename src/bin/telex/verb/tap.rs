//! Knows how copies of messages are asked for and shown.
//! Never: takes a message from its receiver.

use std::collections::HashMap;

use clap::Args;
use serde_json::{Value, json};
use telex::client::Message;

use crate::answer::ask;
use crate::colour::{Colours, hue_of_verdict};
use crate::context::{Context, Form};
use crate::exit::Failure;
use crate::output::{Results, safe};
use crate::process::Process;
use crate::stream::{Heard, Until};
use crate::tapping::Filters;

/// Bytes of requests that `--pair` keeps until their replies come; then the older half of them is forgotten.
const OPEN_BYTES_MAX: usize = 64 << 20;

pub(super) const EXAMPLES: &str = r#"Examples:
  telex tap --to 'web-*'
  telex tap --pair --type set -n 10
  telex tap --topic 'sensor.*' --snap 200 --sample 100 --json"#;

/// Show every message that clients send, without taking it from its receiver
///
/// For administrators. Requests to the daemon are shown too, this command's own never. All filters that are given must
/// match; in those that are patterns * is any run of characters, and a field that a message does not have is an empty
/// text.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Tap {
    #[command(flatten)]
    filters: Filters,
    /// Show each request together with its reply and the time between them; the filters are for the request
    #[arg(long, conflicts_with_all = ["snap", "sample"])]
    pair: bool,
    #[command(flatten)]
    until: Until,
}

impl Tap {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let (form, colours) = (context.form(), context.colours());
        let (mut results, mut pairs) = (Results::new(), Pairs::default());
        self.until.hear(
            context,
            |client| {
                ask(client, "tap", &self.filters.body())?;
                if self.pair {
                    ask(client, "tap", &self.filters.replies())?;
                }
                Ok(())
            },
            |message| {
                let Some(copy) = Copy::of(message) else { return Ok(Heard::Other) };
                let pair = if self.pair { pairs.match_up(&copy) } else { Pair::None };
                if matches!(pair, Pair::Waits | Pair::Strange) {
                    return Ok(Heard::Kept);
                }
                match form {
                    Form::Json => results.line(&copy.as_json(&pair))?,
                    Form::Table => results.painted(&copy.as_text(&pair, colours))?,
                }
                results.flush()?;
                Ok(Heard::Shown)
            },
        )
    }
}

/// A copy of a message.
struct Copy {
    /// What the daemon says of it.
    told: Value,
    line: String,
    /// The message; null if its line was cut.
    message: Value,
}

/// What a message is to another one.
enum Pair {
    None,
    /// A request, which is shown with its reply.
    Waits,
    /// A reply to a request that was not tapped.
    Strange,
    /// A reply, to this request, and how many milliseconds later it came.
    Answers(String, f64),
}

impl Copy {
    fn of(message: &Message) -> Option<Copy> {
        let told = message.body_value();
        if message.from().is_some() || told["event"] != "tap" {
            return None;
        }
        let line = told["line"].as_str()?.to_owned();
        let message = serde_json::from_str(&line).unwrap_or_default();
        Some(Copy { told, line, message })
    }

    fn as_json(&self, pair: &Pair) -> String {
        let mut told = self.told.clone();
        if let Some(members) = told.as_object_mut() {
            members.remove("event");
            let Process { name, user, .. } = self.process();
            members.insert("command".to_owned(), json!(name));
            members.insert("user".to_owned(), json!(user));
            if let Pair::Answers(request, ms) = pair {
                members.insert("request".to_owned(), json!(request));
                members.insert("after_ms".to_owned(), json!(ms));
            }
        }
        told.to_string()
    }

    fn as_text(&self, pair: &Pair, colours: Colours) -> String {
        let Process { pid, name, user, .. } = self.process();
        let who = format!("{user} {name}[{pid}]");
        let verdict = match self.told["verdict"].as_str() {
            Some("pass") | None => String::new(),
            Some(verdict) => {
                let word = safe(&verdict.to_uppercase());
                format!(" {}", colours.paint(hue_of_verdict(verdict), &word))
            }
        };
        let receivers = self.told["receivers"].as_u64().map_or_else(String::new, |count| format!(" ({count} get it)"));
        let line = format!("{}{verdict}{receivers} {}", safe(&who), safe(&self.line));
        match pair {
            Pair::Answers(request, ms) => format!("{}\n  {ms:.3} ms later: {line}", safe(request)),
            _ => line,
        }
    }

    fn process(&self) -> Process {
        let mut sender = self.told["sender"].clone();
        sender["since"] = self.told["time"].clone();
        Process::of(&sender)
    }
}

/// Requests that have not been answered yet.
#[derive(Default)]
struct Pairs {
    open: HashMap<(String, String), (String, f64, u64)>,
    seen: u64,
    bytes: usize,
}

impl Pairs {
    fn match_up(&mut self, copy: &Copy) -> Pair {
        let message = &copy.message;
        let time = copy.told["time"].as_f64().unwrap_or_default();
        let key = |address: &Value, id: &Value| (address.to_string(), id.to_string());
        let message_type = message["message_type"].as_str().unwrap_or_default();
        if message_type.ends_with("_reply") {
            let asked = self.open.remove(&key(&message["to"], &message["body"]["in_reply_to"]));
            let Some((line, then, _)) = asked else { return Pair::Strange };
            self.bytes -= line.len();
            return Pair::Answers(line, (time - then) * 1000.0);
        }
        if message_type == "signal" || message["to"].is_null() && message["topic"].is_null() {
            return Pair::None;
        }
        self.seen += 1;
        self.bytes += copy.line.len();
        if self.bytes > OPEN_BYTES_MAX {
            let mut seen: Vec<u64> = self.open.values().map(|(.., seen)| *seen).collect();
            seen.sort_unstable();
            let recent = seen.get(seen.len() / 2).copied().unwrap_or(u64::MAX);
            self.open.retain(|_, (.., seen)| *seen > recent);
            self.bytes = self.open.values().map(|(line, ..)| line.len()).sum::<usize>() + copy.line.len();
        }
        let request = (copy.line.clone(), time, self.seen);
        if let Some((line, ..)) = self.open.insert(key(&message["from"], &message["message_id"]), request) {
            self.bytes -= line.len();
        }
        Pair::Waits
    }
}
