//! Knows which messages tell an error, and what it is.
//! Never: what was asked.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::value::RawValue;

use crate::client::message::Message;
use crate::wire::code::Code;
use crate::wire::json::clearly_lacks;
use crate::wire::message::Category;

/// An error that the daemon or a node told. `Display` is its sentence, with the code behind it in brackets.
#[derive(Clone, Debug)]
pub struct Refused {
    code: Option<String>,
    error: String,
    message: Message,
}

impl Refused {
    /// Gives a message back, unless it tells an error: any `error` line does, and a reply whose `body.error`
    /// is neither absent nor null.
    ///
    /// ```
    /// use telex::client::{Message, Refused};
    ///
    /// let line = r#"{"message_type":"ask_reply","from":null,"body":{"error":"it is late","code":"timeout"}}"#;
    /// let refused = Refused::check(Message::read(line.into())?).expect_err("an error");
    /// assert_eq!((refused.code(), refused.error()), (Some("timeout"), "it is late"));
    /// assert_eq!(refused.to_string(), "it is late (timeout)");
    /// assert!(refused.by_daemon() && refused.is(telex::wire::code::Code::Timeout));
    /// assert_eq!(refused.message().message_type(), "ask_reply");
    /// assert_eq!((refused.filter(), refused.count(), refused.column()), (None, None, None));
    /// # Ok::<(), telex::client::Fault>(())
    /// ```
    pub fn check(message: Message) -> Result<Message, Box<Refused>> {
        if message.category() != Category::Error
            && message.body().is_none_or(|body| clearly_lacks(body, "error"))
        {
            return Ok(message);
        }
        let fields: BTreeMap<String, &RawValue> =
            message.body().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default();
        let field = |name| fields.get(name).map(|raw| raw.get()).filter(|raw| *raw != "null");
        let text = |raw| serde_json::from_str::<String>(raw).ok();
        let (error, code) = match field("error") {
            // A node may answer with an error that is no string; it is shown as it stands.
            Some(raw) => (text(raw).unwrap_or_else(|| raw.to_owned()), field("code").and_then(text)),
            None if message.category() == Category::Error => {
                (message.line().to_owned(), field("code").and_then(text))
            }
            None => return Ok(message),
        };
        Err(Box::new(Refused { code, error, message }))
    }

    /// Whether the daemon itself told the error, and this is its code. What a node calls its own errors
    /// does not count.
    pub fn is(&self, code: Code) -> bool {
        self.by_daemon() && self.code() == Some(code.word())
    }

    /// `body.code`, the word for programs. The daemon always gives one; what a node gives is its own.
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// `body.error`, the sentence for people.
    pub fn error(&self) -> &str {
        &self.error
    }

    /// The plugin that said so: `body.filter` of a `denied`.
    pub fn filter(&self) -> Option<String> {
        self.message.body_value()["filter"].as_str().map(str::to_owned)
    }

    /// How many messages it is said of: `body.count` of a `node_gone`.
    pub fn count(&self) -> Option<u64> {
        self.message.body_value()["count"].as_u64()
    }

    /// The first byte of the line at fault, counted from 1: `body.column` of a `bad_json`.
    pub fn column(&self) -> Option<u64> {
        self.message.body_value()["column"].as_u64()
    }

    /// Whether the daemon itself told the error, and not a node.
    pub fn by_daemon(&self) -> bool {
        self.message.from().is_none()
    }

    /// The whole message that told the error.
    pub fn message(&self) -> &Message {
        &self.message
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{} ({code})", self.error),
            None => f.write_str(&self.error),
        }
    }
}

impl std::error::Error for Refused {}
