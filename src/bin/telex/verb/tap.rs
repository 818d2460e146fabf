//! Knows how copies of messages are asked for and shown.
//! Never: takes a message from its receiver.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use telex::client::Message;
use telex::duration;

use crate::answer::{ask, object};
use crate::context::{CONNECT_TIMEOUT, Context, Form};
use crate::exit::Failure;
use crate::notice::notice;
use crate::output::{Results, safe};
use crate::process::Process;
use crate::stream::{Enough, stream};

/// Requests of which `--pair` remembers that no reply has come yet; then the oldest ones are forgotten.
const OPEN_MAX: usize = 10_000;

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
    /// Sender
    #[arg(long, value_name = "PATTERN")]
    from: Option<String>,
    /// Receiver
    #[arg(long, value_name = "PATTERN")]
    to: Option<String>,
    /// Topic
    #[arg(long, value_name = "PATTERN")]
    topic: Option<String>,
    /// Type
    #[arg(long = "type", value_name = "PATTERN")]
    message_type: Option<String>,
    /// Unique id of the sender's connection
    #[arg(long, value_name = "PATTERN")]
    unique_id: Option<String>,
    /// User of the sender's
    #[arg(long, value_name = "UID")]
    uid: Option<u32>,
    /// No more of a line than so many bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    snap: Option<u64>,
    /// One message of so many
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    sample: Option<u64>,
    /// With a reply its request, and the time between them
    #[arg(long, conflicts_with_all = ["snap", "sample"])]
    pair: bool,
    /// End with 0 after so many
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End with 5 after this time
    #[arg(short = 'W', long = "wait", value_name = "TIME", value_parser = duration::parse)]
    wait: Option<Duration>,
}

impl Tap {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let text = |text: &Option<String>| text.as_ref().map_or(Value::Null, |text| json!(text));
        let body = object([
            ("from", text(&self.from)),
            ("to", text(&self.to)),
            ("topic", text(&self.topic)),
            ("message_type", text(&self.message_type)),
            ("unique_id", text(&self.unique_id)),
            ("uid", json!(self.uid)),
            ("snap_bytes", json!(self.snap)),
            ("sample", json!(self.sample)),
        ]);
        let enough = Enough { count: self.count, deadline: self.wait.map(|wait| Instant::now() + wait) };
        let (form, mut results, mut pairs) = (context.form(), Results::new(), Pairs::default());
        context.talk(self.wait.unwrap_or(CONNECT_TIMEOUT), |client| {
            ask(client, "tap", &body)?;
            stream(client, &enough, |message| {
                let Some(copy) = Copy::of(message) else {
                    if let Some(notice) = notice(message) {
                        context.words.say(&notice);
                    }
                    return Ok(false);
                };
                let pair = if self.pair { pairs.match_up(&copy) } else { Pair::None };
                if matches!(pair, Pair::Waits) {
                    return Ok(false);
                }
                results.line(&match form {
                    Form::Json => copy.as_json(&pair),
                    Form::Table => copy.as_text(&pair),
                })?;
                results.flush()?;
                Ok(true)
            })
        })
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
    /// A reply, to this request, so many milliseconds later.
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

    fn as_text(&self, pair: &Pair) -> String {
        let Process { pid, name, user, .. } = self.process();
        let who = format!("{user} {name}[{pid}]");
        let verdict = match self.told["verdict"].as_str() {
            Some("pass") | None => String::new(),
            Some(verdict) => format!(" {}", verdict.to_uppercase()),
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
}

impl Pairs {
    fn match_up(&mut self, copy: &Copy) -> Pair {
        let message = &copy.message;
        let time = copy.told["time"].as_f64().unwrap_or_default();
        let key = |address: &Value, id: &Value| (address.to_string(), id.to_string());
        let message_type = message["message_type"].as_str().unwrap_or_default();
        if message_type.ends_with("_reply") {
            let asked = self.open.remove(&key(&message["to"], &message["body"]["in_reply_to"]));
            return asked.map_or(Pair::None, |(line, then, _)| Pair::Answers(line, (time - then) * 1000.0));
        }
        if message_type == "signal" || message["to"].is_null() && message["topic"].is_null() {
            return Pair::None;
        }
        self.seen += 1;
        if self.open.len() >= OPEN_MAX {
            let recent = self.seen - OPEN_MAX as u64 / 2;
            self.open.retain(|_, (.., seen)| *seen > recent);
        }
        let request = (copy.line.clone(), time, self.seen);
        self.open.insert(key(&message["from"], &message["message_id"]), request);
        Pair::Waits
    }
}
