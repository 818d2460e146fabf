//! Knows how a port of another node is spoken to: PROTOCOL.md, section 15, as far as an asker with one port of its own
//! needs it.
//! Never: what the messages mean.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use telex::client::{Category, Client, Error, Message, Refused, Register, text};
use telex::node::node_of;

use crate::answer::ask;
use crate::body::unsendable;
use crate::exit::{Exit, Failure};
use crate::given;
use crate::output::safe;

/// What is common to the verbs that have words for a port.
#[derive(Args)]
pub(crate) struct Spoken {
    /// Take all words as text, also those that are JSON
    #[arg(long)]
    text: bool,
    /// How long to wait; up to 1h
    #[arg(long, short = 'W', value_name = "TIME", default_value = "60s", value_parser = given::timeout)]
    pub(crate) timeout: Duration,
}

impl Spoken {
    /// Words as the elements of a list: JSON as it is, anything else as text. What begins as a list, an object or a string
    /// was meant as one.
    pub(crate) fn elements(&self, words: &[String]) -> Result<Vec<String>, Failure> {
        let element = |word: &String| match given::json(word) {
            Ok(json) if !self.text => Ok(json),
            Err(why) if !self.text && word.trim_start().starts_with(['[', '{', '"']) => {
                Err(Failure::usage(format!("a word is no JSON, and --text would take it as text: {why}")))
            }
            _ => Ok(text(word)),
        };
        words.iter().map(element).collect()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.timeout)
    }
}

/// A message to a port.
#[derive(Args)]
pub(crate) struct ToPort {
    /// The port, NODE#NAME
    #[arg(value_parser = port_id)]
    pub(crate) port: String,
    /// What the port takes the message by
    tag: String,
    /// JSON or text
    #[arg(value_name = "ARG", allow_negative_numbers = true)]
    args: Vec<String>,
    #[command(flatten)]
    pub(crate) spoken: Spoken,
}

impl ToPort {
    /// The elements of the list that it is.
    pub(crate) fn elements(&self) -> Result<Vec<String>, Failure> {
        let mut message = vec![text(&self.tag)];
        message.extend(self.spoken.elements(&self.args)?);
        Ok(message)
    }
}

/// Reads the ID of a port.
pub(crate) fn port_id(text: &str) -> Result<String, String> {
    match text.split_once('#') {
        Some((node, name)) if !node.is_empty() && !name.is_empty() => Ok(text.to_owned()),
        Some(("", _)) => Err(given::pointed("the node is missing; expected NODE#PORT", text, 0)),
        _ => Err(given::pointed("the port is missing; expected NODE#PORT", text, text.len())),
    }
}

/// A list as a body.
pub(crate) fn list(elements: &[String]) -> String {
    format!("[{}]", elements.join(","))
}

/// Becomes a node with a name of its own, without which no port is spoken to; gives the name.
pub(crate) fn become_node(client: &mut Client) -> Result<String, Failure> {
    let options = Register { node_id: Some("telex/%u".into()), exclusive: Some(true), ..Register::default() };
    Ok(client.register_with(&options)?)
}

/// A port that is there, and whose end is told.
pub(crate) struct Peer<'a> {
    client: &'a mut Client,
    port: &'a str,
    own: String,
}

/// What comes of a port.
pub(crate) enum Said {
    /// A message to the port of this side: a list.
    Answer(String),
    /// The port is dead. Of what: a list, which is empty if it ended normally.
    Died(Vec<Value>),
}

impl<'a> Peer<'a> {
    /// Fails if the port is not there.
    pub(crate) fn reach(
        client: &'a mut Client,
        port: &'a str,
        timeout: Duration,
    ) -> Result<Peer<'a>, Failure> {
        let own = become_node(client)?;
        ask(client, "monitor", &json!({"node_id": node_of(port)}))?;
        let body = json!({"port": port}).to_string();
        match client.call(node_of(port), "port_monitor", &body, timeout) {
            Ok(_) => Ok(Peer { client, port, own }),
            Err(Error::Node(why)) if why.code() == Some("no_such_port") => {
                let words = format!("no port \"{port}\": it is dead, or never was");
                Err(Failure::new(Exit::NoSuchNode, words))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The port of this side.
    pub(crate) fn answers_to(&self) -> String {
        format!("{}#1", self.own)
    }

    /// Sends the port a message: a list.
    pub(crate) fn send(&mut self, message: &str) -> Result<(), Failure> {
        self.signal(self.port, message)
    }

    /// Tells the port to die of this: a list.
    pub(crate) fn kill(&mut self, reason: &str) -> Result<(), Failure> {
        let body = format!(r#"{{"event":"port_kill","port":{},"reason":{reason}}}"#, text(self.port));
        self.signal(node_of(self.port), &body)
    }

    fn signal(&mut self, to: &str, body: &str) -> Result<(), Failure> {
        match self.client.send(to, body) {
            Ok(_) => Ok(()),
            Err(Error::Unsendable(why)) => Err(unsendable(&why, body, None, true)),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the daemon has taken what was sent; fails if it says that it did not arrive.
    pub(crate) fn settle(&mut self, timeout: Duration) -> Result<(), Failure> {
        self.client.call(telex::client::To::Daemon, "ping", "", timeout)?;
        while let Some(message) = self.client.next(Some(Duration::ZERO))? {
            check(&message)?;
        }
        Ok(())
    }

    /// What comes next; fails at the deadline, and if the node goes.
    pub(crate) fn next(&mut self, deadline: Option<Instant>) -> Result<Said, Failure> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let Some(message) = self.client.next(left)? else {
                return Err(Failure::new(Exit::Timeout, format!("\"{}\" said nothing in time", self.port)));
            };
            check(&message)?;
            if message.is_request() {
                self.answer(&message)?;
            } else if let Some(said) = self.read(&message)? {
                return Ok(said);
            }
        }
    }

    fn read(&self, message: &Message) -> Result<Option<Said>, Failure> {
        let (body, node) = (message.body_value(), node_of(self.port));
        let is_event = |event: &str, key: &str, of: &str| body["event"] == event && body[key] == of;
        if message.from().is_none() && is_event("node_down", "node_id", node) {
            let reason = body["reason"].as_str().unwrap_or("unknown");
            return Err(Failure::new(Exit::NodeGone, format!("the node \"{node}\" is gone ({reason})")));
        }
        if message.to() == Some(&*self.answers_to()) && body.is_array() {
            return Ok(message.body().map(|body| Said::Answer(body.to_owned())));
        }
        if message.from() == Some(node) && is_event("port_down", "port", self.port) {
            let reason = body["reason"].as_array().cloned().unwrap_or_default();
            // A reason that a port is killed for may begin like that, but does not name its node.
            if let [Value::String(word), Value::String(told), why] = &reason[..]
                && (&**word, &**told) == ("transport_error", node)
            {
                let words = format!("messages between \"{node}\" and this command were lost: {why}");
                return Err(Failure::new(Exit::NodeGone, words));
            }
            return Ok(Some(Said::Died(reason)));
        }
        Ok(None)
    }

    /// The port of this side may be monitored: it is there as long as its node.
    fn answer(&mut self, request: &Message) -> Result<(), Failure> {
        let is_known = matches!(request.message_type(), "port_monitor" | "port_unmonitor");
        let answered = match is_known {
            true => self.client.reply(request, ""),
            false => self.client.reply_error(request, "this node is a command, which answers nothing"),
        };
        Ok(answered?)
    }
}

/// What the daemon says that it could not deliver is a failure.
fn check(message: &Message) -> Result<(), Failure> {
    if message.category() == Category::Error
        && let Err(refused) = Refused::check(message.clone())
    {
        return Err(Failure::new(Exit::of_refusal(&refused), safe(&refused.to_string())));
    }
    Ok(())
}
