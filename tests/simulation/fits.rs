//! Knows whether a line is the one that was due.
//! Never: why it was due.

use std::rc::Rc;

use serde_json::Value;

use crate::lines::{self, Seen};
use crate::model::{About, Checked, Expect, Msg, Pass};

impl Pass<'_> {
    pub(crate) fn fits(&self, number: u64, expect: &Expect, line: &Seen) -> Checked {
        if let Expect::Message(message) = expect {
            return self.is_message(number, message, line);
        }
        if !line.is_own() {
            return Err("it is no line of the daemon's own".to_owned());
        }
        match expect {
            Expect::Message(_) => Ok(()),
            Expect::Error { codes, about, count } => {
                has_type(line, "error")?;
                self.has_code(line, codes)?;
                self.is_about(line, about)?;
                self.is_addressed(number, line, about)?;
                match (count, line.body_value("count").and_then(|count| count.as_u64())) {
                    (Some(due), Some(told)) if *due == told => Ok(()),
                    (None, None) => Ok(()),
                    (due, told) => Err(format!("count is {told:?} and not {due:?}")),
                }
            }
            Expect::Refusal { of, codes, about } => {
                has_type(line, &format!("{of}_reply"))?;
                self.has_code(line, codes)?;
                self.is_about(line, about)?;
                self.is_addressed(number, line, about)
            }
            Expect::Answer { to, address, body } => {
                has_type(line, &format!("{}_reply", to.message_type))?;
                self.is_about(line, &About::Message(to.clone()))?;
                if line.body_value("error") != Some(Value::Null) {
                    return Err("it should be a success".to_owned());
                }
                if line.text("to").as_ref() != Some(address) {
                    return Err(format!("it should go to {address:?}"));
                }
                has_body(line, body)
            }
            Expect::AnyAnswer { to } => {
                has_type(line, &format!("{}_reply", to.message_type))?;
                self.is_about(line, &About::Message(to.clone()))
            }
            Expect::Signal { event, body } => {
                has_type(line, "signal")?;
                if line.body_text("event").as_deref() != Some(event) {
                    return Err(format!("it should be the event {event}"));
                }
                has_body(line, body)
            }
            Expect::Tapped(message) => {
                has_type(line, "signal")?;
                if line.body_text("event").as_deref() != Some("tap") {
                    return Err("it should be a tap".to_owned());
                }
                let inner = line.body_text("line").ok_or("a tap has no line")?;
                self.is_stamped(message, &Seen::parse(inner.as_bytes())?, None)
            }
        }
    }

    fn has_code(&self, line: &Seen, codes: &[&str]) -> Checked {
        let code = line.body_text("code").unwrap_or_default();
        if !codes.contains(&code.as_str()) {
            return Err(format!("its code is {code:?} and not one of {codes:?}"));
        }
        match line.body_text("error") {
            Some(text) if !text.is_empty() => Ok(()),
            _ => Err("it has no error for people".to_owned()),
        }
    }

    fn is_about(&self, line: &Seen, about: &About) -> Checked {
        let told = line.in_reply_to();
        let due = match about {
            About::Any => return Ok(()),
            About::Null => None,
            About::Id(id) => Some(id.clone()),
            About::Claim(Some(id), _) => Some(id.clone()),
            About::Claim(None, _) => return Ok(()),
            About::Message(message) => match self.m.id_of(message) {
                Some(id) => Some(id),
                // An id that the daemon assigned and nobody has seen yet, or none.
                None => return Ok(()),
            },
        };
        if told != due || (due.is_none() && lines::field(&line.body, "in_reply_to") != Some("null")) {
            return Err(format!("it should be about {due:?}"));
        }
        Ok(())
    }

    /// An error goes to an address that its receiver has, or had when it sent what was at fault.
    fn is_addressed(&self, number: u64, line: &Seen, about: &About) -> Checked {
        let to = line.text("to").unwrap_or_default();
        let had = match about {
            About::Message(message) => message.from == to,
            About::Claim(_, from) => *from == to,
            _ => false,
        };
        if had || self.conn(number).is_some_and(|conn| conn.owns(&to)) {
            return Ok(());
        }
        Err(format!("it goes to {to:?}, which :{number} does not hold"))
    }

    fn is_message(&self, number: u64, message: &Rc<Msg>, line: &Seen) -> Checked {
        let wants_sender = self.conn(number).is_some_and(|conn| conn.credentials);
        let sender = wants_sender.then(|| {
            let user = self.conn(message.sender).map(|conn| conn.user);
            (message.sender, user)
        });
        self.is_stamped(message, line, Some(sender))
    }

    /// `sender` is what that member has to say: nothing where it must not be there. For a tap's copy
    /// it is not looked at.
    fn is_stamped(
        &self,
        message: &Rc<Msg>,
        line: &Seen,
        sender: Option<Option<(u64, Option<Option<u32>>)>>,
    ) -> Checked {
        if line.text("from").as_ref() != Some(&message.from) {
            return Err(format!("it should be from {:?}", message.from));
        }
        let mut at = 0;
        for (key, raw) in &line.fields {
            let original = message.fields.get(at).filter(|(original, _)| original == key);
            match original {
                Some((_, original)) => {
                    at += 1;
                    if original != raw && !(key == "from" && original == "null") {
                        return Err(format!("{key:?} was {original} and is {raw}"));
                    }
                }
                None if key == "from" && lines::field(&message.fields, "from").is_none() => {}
                None if key == "message_id" && message.id.is_none() => {}
                None if key == "sender" && matches!(sender, Some(Some(_))) => {}
                None => return Err(format!("{key:?} was not sent, or not here")),
            }
        }
        if at != message.fields.len() {
            return Err(format!("{:?} is missing", message.fields[at].0));
        }
        if let Some(id) = self.m.id_of(message)
            && lines::field(&line.fields, "message_id").and_then(lines::id) != Some(id.clone())
        {
            return Err(format!("its id should be {id}"));
        }
        if let Some(Some((number, user))) = sender {
            let raw = lines::field(&line.fields, "sender").ok_or("it has no sender")?;
            let told: Value = serde_json::from_str(raw).map_err(|error| error.to_string())?;
            let named = told["unique_id"] == format!(":{number}");
            // Of one who is gone by now the model knows the number alone.
            let right = user.is_none_or(|user| match user {
                Some(uid) => told["uid"] == uid && told["gid"] == uid + 1 && told["pid"] == number + 1000,
                None => told.as_object().is_some_and(|told| told.len() == 1),
            });
            if !named || !right {
                return Err(format!("the sender of :{number} is {raw}"));
            }
        } else if line.fields.len() == message.fields.len()
            && lines::field(&message.fields, "from") != Some("null")
            && line.raw != message.raw
        {
            return Err(format!("it was not forwarded byte for byte: {}", message.raw));
        }
        Ok(())
    }
}

fn has_type(line: &Seen, due: &str) -> Checked {
    match line.text("message_type") {
        Some(told) if told == due => Ok(()),
        told => Err(format!("its type is {told:?} and not {due:?}")),
    }
}

fn has_body(line: &Seen, body: &[(&'static str, Value)]) -> Checked {
    for (name, due) in body {
        match line.body_value(name) {
            Some(told) if told == *due => {}
            told => return Err(format!("{name:?} is {told:?} and not {due}")),
        }
    }
    Ok(())
}
