//! Knows what the daemon says unasked, and how to put it into words.
//! Never: what follows from it.

use std::time::Duration;

use telex::client::{Category, Client, Message, Refused};

use crate::output::{Words, safe};

/// What the daemon itself says, in words; `None` for the message of a node, and of a topic, also one of the daemon's own.
pub(crate) fn notice(message: &Message) -> Option<String> {
    if message.from().is_some() || message.topic().is_some() {
        return None;
    }
    if message.category() == Category::Error
        && let Err(refused) = Refused::check(message.clone())
    {
        return Some(safe(&refused.to_string()));
    }
    let body = message.body_value();
    Some(match body["event"].as_str() {
        Some("lagged") if body["count"] == 1 => "a message was missed: it came too fast".to_owned(),
        Some("lagged") => format!("{} messages were missed: they came too fast", body["count"]),
        Some("shutdown") => "the daemon shuts down".to_owned(),
        _ => message.line().to_owned(),
    })
}

/// How many messages the daemon says were missed.
pub(crate) fn missed(message: &Message) -> u64 {
    let body = message.body_value();
    let is_told = message.from().is_none() && body["event"] == "lagged";
    if is_told { body["count"].as_u64().unwrap_or_default() } else { 0 }
}

/// Says what the daemon has said before it ended the connection, such as why.
pub(crate) fn farewell(client: &mut Client, words: Words) {
    while let Ok(Some(message)) = client.next(Some(Duration::ZERO)) {
        if let Some(notice) = notice(&message) {
            words.say(&notice);
        }
    }
}
