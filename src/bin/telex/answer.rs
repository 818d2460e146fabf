//! Knows how the daemon is asked, and what of its answer is the asker's.
//! Never: what is asked.

use std::fmt;
use std::time::Duration;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use telex::client::{Client, Message, To};

use crate::exit::{Exit, Failure};

/// How long the daemon is waited for.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The members of a JSON object, in their order and as they stand in it.
#[derive(Debug)]
pub(crate) struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

impl Members {
    /// The body of a reply without the envelope's words: `in_reply_to`, and `error` if it is null.
    pub(crate) fn of_reply(reply: &Message) -> Option<Members> {
        let Members(mut members) = serde_json::from_str(reply.body()?).ok()?;
        members.retain(|(name, value)| name != "in_reply_to" && (name != "error" || value.get() != "null"));
        Some(Members(members))
    }

    /// The only member, if it has this name.
    pub(crate) fn only(&self, name: &str) -> Option<&str> {
        match &self.0[..] {
            [(only, value)] if only == name => Some(value.get()),
            _ => None,
        }
    }

    /// A member as it stands there.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.get())
    }

    /// All but those of these names.
    pub(crate) fn without(mut self, names: &[&str]) -> Members {
        self.0.retain(|(name, _)| !names.contains(&&**name));
        self
    }

    /// As an object on one line.
    pub(crate) fn to_line(&self) -> String {
        let member =
            |(name, value): &(String, Box<RawValue>)| format!("{}:{}", Value::from(name.as_str()), value);
        format!("{{{}}}", self.0.iter().map(member).collect::<Vec<_>>().join(","))
    }
}

/// What is printed of a reply's body: `result` alone if there is nothing else, else the body without the envelope's
/// words; `null` for none.
pub(crate) fn answer_of(reply: &Message) -> String {
    match Members::of_reply(reply) {
        None => reply.body().unwrap_or("null").to_owned(),
        Some(members) => match members.only("result") {
            Some(result) => result.to_owned(),
            None => members.to_line(),
        },
    }
}

/// Asks the daemon itself.
pub(crate) fn ask(client: &mut Client, message_type: &str, body: &Value) -> Result<Message, Failure> {
    ask_raw(client, message_type, &body.to_string())
}

/// The same with a body that is written already.
pub(crate) fn ask_raw(client: &mut Client, message_type: &str, body: &str) -> Result<Message, Failure> {
    Ok(client.call(To::Daemon, message_type, body, TIMEOUT)?)
}

/// Asks the daemon page by page: hands each entry of the member `entries` to `each`, as it stands there and as a tree. The
/// page behind an entry is asked for by what it has as `key`.
pub(crate) fn ask_pages(
    client: &mut Client,
    message_type: &str,
    mut body: Value,
    (entries, key): (&str, &str),
    mut each: impl FnMut(&str, &Value) -> Result<(), Failure>,
) -> Result<(), Failure> {
    loop {
        let reply = ask(client, message_type, &body)?;
        let members = Members::of_reply(&reply);
        let page = members.as_ref().and_then(|members| members.raw(entries));
        let page: Vec<&RawValue> =
            page.and_then(|page| serde_json::from_str(page).ok()).ok_or_else(|| {
                Failure::new(
                    Exit::Unreachable,
                    format!("the daemon's answer to {message_type} has no \"{entries}\""),
                )
            })?;
        let mut last = Value::Null;
        for raw in page {
            let entry: Value = serde_json::from_str(raw.get()).unwrap_or_default();
            each(raw.get(), &entry)?;
            last = entry[key].clone();
        }
        let more = members.as_ref().and_then(|members| members.raw("more")) == Some("true");
        if !more || last.is_null() {
            return Ok(());
        }
        body["after"] = last;
    }
}

/// An object of those members that are not null.
pub(crate) fn object<const COUNT: usize>(members: [(&str, Value); COUNT]) -> Value {
    let given = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(given.map(|(name, value)| (name.to_owned(), value)).collect())
}
