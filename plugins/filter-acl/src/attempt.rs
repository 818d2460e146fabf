//! Knows what a message tries to do, in the words of the rules.
//! Never: whether it may.

use std::borrow::Cow;

use telex_plugin::{Category, Transport};

use crate::pattern::ANY;
use crate::verb::{ASKS, Verb, message_type};

/// Who sent a message, as the daemon vouches for it.
pub struct Sender<'a> {
    /// How it is connected.
    pub transport: Transport,
    /// Its user id, over a Unix socket.
    pub uid: Option<u32>,
    /// The group id that it connected with.
    pub gid: Option<u32>,
    /// Its authenticated name, over TCP.
    pub user: Option<&'a str>,
    /// `:7`
    pub unique_id: &'a str,
    /// Whether one of its node IDs passes a test.
    pub holds: &'a Holds<'a>,
}

/// Whether any node ID of a connection passes a test.
pub type Holds<'a> = dyn Fn(&dyn Fn(&str) -> bool) -> bool + 'a;

impl Sender<'_> {
    /// Whether this is an address of its own, or a port of one.
    fn is_at(&self, address: &str) -> bool {
        let own = node_of(address);
        own == self.unique_id || (self.holds)(&|node_id| node_id == own)
    }
}

/// A message at the door, as far as rules look at it.
pub struct Said<'a> {
    /// Who said it.
    pub sender: Sender<'a>,
    /// Its category.
    pub category: Category,
    /// Its type.
    pub message_type: &'a str,
    /// As stamped; of a `register` perhaps the node ID that it is about.
    pub from: &'a str,
    /// The address that it goes to.
    pub to: Option<&'a str>,
    /// The topic that it is published to.
    pub topic: Option<&'a str>,
    /// Finds a value in the body by JSON Pointer; it is JSON as it stands there.
    pub value: &'a dyn Fn(&str) -> Option<&'a str>,
}

/// What a message tries to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt<'a> {
    /// What it does.
    pub verb: Verb,
    /// To what: a node ID, an address without its port, a topic, a pattern, a request to the daemon.
    pub what: Cow<'a, str>,
    /// Whether that is a pattern, whose runs of any characters are an [`ANY`] each.
    pub is_pattern: bool,
    /// The type of what is sent or published.
    pub message_type: Cow<'a, str>,
}

impl<'a> Attempt<'a> {
    /// What a message tries to do; none where there is nothing to judge. That is so of replies (the daemon
    /// lets nobody answer but those who were asked), and of requests that it refuses for their form.
    pub fn of(said: &Said<'a>) -> Option<Attempt<'a>> {
        let attempt = |verb, what: Cow<'a, str>| Attempt {
            verb,
            what,
            is_pattern: false,
            message_type: said.message_type.into(),
        };
        match (said.category, said.to, said.topic) {
            (Category::Reply, ..) | (Category::Signal, None, None) => None,
            (_, Some(to), _) => Some(attempt(Verb::Send, node_of(to).into())),
            (_, _, Some(topic)) => Some(attempt(Verb::Publish, topic.into())),
            (Category::Request, None, None) => match said.message_type {
                "register" => {
                    let name = said.name_asked_for()?;
                    let is_pattern = name.contains('%');
                    Some(Attempt { is_pattern, ..attempt(Verb::Own, expansions(name)) })
                }
                "subscribe" => {
                    Some(Attempt { is_pattern: true, ..attempt(Verb::Subscribe, said.text("/topic")?) })
                }
                "monitor" => {
                    let pattern = said.text("/node_id")?.replace('*', "\0");
                    Some(Attempt { is_pattern: true, ..attempt(Verb::Monitor, pattern.into()) })
                }
                // It is judged as the message that it will become.
                "spool_put" => {
                    let message_type = said.text("/message_type")?;
                    let to = said.text("/to")?;
                    Some(Attempt { message_type, ..attempt(Verb::Send, node_of(&to).to_owned().into()) })
                }
                asked if ASKS.contains(&asked) => Some(attempt(Verb::Ask, asked.into())),
                _ => None,
            },
        }
    }

    /// In the words of the protocol, for people: `send "query" to "db"`.
    pub fn words(&self) -> String {
        let what = match self.is_pattern {
            true => quoted(&self.pattern()),
            false => quoted(&self.what),
        };
        match self.verb {
            Verb::Own => format!("own {what}"),
            Verb::Send => format!("send {} to {what}", quoted(&self.message_type)),
            Verb::Publish => format!("publish {} to {what}", quoted(&self.message_type)),
            Verb::Subscribe => format!("subscribe to {what}"),
            Verb::Monitor => format!("monitor {what}"),
            Verb::Ask => format!("ask the daemon for {what}"),
        }
    }

    /// The rule that allows it, as a line of the list `rule`. None where a rule cannot say just that: a `*`
    /// in it is no character, and what has no right form is refused in it as by the daemon.
    pub fn rule(&self, who: &[(&str, String)]) -> Option<String> {
        let what = self.pattern();
        let is_typed = self.verb.has_type();
        let stars = !self.verb.is_about_topics() && self.what.contains('*')
            || is_typed && self.message_type.contains('*');
        if stars || self.verb.pattern(&what).is_err() || is_typed && message_type(&self.message_type).is_err()
        {
            return None;
        }
        let who: String = who.iter().map(|(key, value)| format!("{key} = {value}, ")).collect();
        let types = if is_typed { format!(", type = {}", quoted(&self.message_type)) } else { String::new() };
        Some(format!("{{ {who}allow.{} = {}{types} }},", self.verb.word(), quoted(&what)))
    }

    /// What it is about, as a rule says it. The number of a connection comes once and never again.
    fn pattern(&self) -> Cow<'_, str> {
        match self.verb {
            _ if self.is_pattern => self.what.replace(ANY, "*").into(),
            Verb::Send if self.what.starts_with(':') => ":*".into(),
            _ => (&*self.what).into(),
        }
    }
}

impl<'a> Said<'a> {
    /// The node ID of a `register`: `from` where it is new to the sender, else the body's, else `from` again.
    fn name_asked_for(&self) -> Option<Cow<'a, str>> {
        let name = match (self.value)("/node_id") {
            Some(json) if self.sender.is_at(self.from) => text(json)?,
            _ => self.from.into(),
        };
        (!name.starts_with(':')).then_some(name)
    }

    /// A string in the body.
    fn text(&self, pointer: &str) -> Option<Cow<'a, str>> {
        text((self.value)(pointer)?)
    }
}

/// The string that stands in JSON, where it is one.
fn text(json: &str) -> Option<Cow<'_, str>> {
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') { serde_json::from_str(json).ok().map(Cow::Owned) } else { Some(inside.into()) }
}

/// What a node ID that is asked for may become: `%n` and `%u` are any run of characters.
fn expansions(name: Cow<'_, str>) -> Cow<'_, str> {
    if !name.contains('%') {
        return name;
    }
    let mut parts = name.split("%%").map(|part| part.replace("%n", "\0").replace("%u", "\0"));
    let first = parts.next().unwrap_or_default();
    Cow::Owned(parts.fold(first, |name, part| name + "%" + &part))
}

/// The part of an address before its port.
pub fn node_of(address: &str) -> &str {
    address.split_once('#').map_or(address, |(node, _)| node)
}

/// A text in quotes, as it stands in TOML and in JSON.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\x7f', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::{Peer, alice};

    fn attempts(peer: &Peer, line: &str) -> Option<(Verb, String)> {
        peer.attempts(line).map(|attempt| (attempt.verb, attempt.what.replace(ANY, "*")))
    }

    #[test]
    fn what_lines_try_to_do() {
        for (line, verb, what) in [
            (r#"{"message_type":"ask","to":"db"}"#, Verb::Send, "db"),
            (r#"{"message_type":"signal","to":"db#7#x"}"#, Verb::Send, "db"),
            (r#"{"message_type":"ask","to":":9#x"}"#, Verb::Send, ":9"),
            (r#"{"message_type":"register","to":"db","body":{"node_id":"x"}}"#, Verb::Send, "db"),
            (r#"{"message_type":"ask","topic":"a.b"}"#, Verb::Publish, "a.b"),
            (r#"{"message_type":"subscribe","body":{"topic":"a.*"}}"#, Verb::Subscribe, "a.*"),
            (r#"{"message_type":"monitor","body":{"node_id":"a*b"}}"#, Verb::Monitor, "a*b"),
            (r#"{"message_type":"list"}"#, Verb::Ask, "list"),
            (r#"{"message_type":"kill","body":{"node_id":"x"}}"#, Verb::Ask, "kill"),
            (r#"{"message_type":"spool_put","body":{"to":"db#1","message_type":"x"}}"#, Verb::Send, "db"),
        ] {
            assert_eq!(attempts(&alice(), line), Some((verb, what.into())), "{line}");
        }
        let put = r#"{"message_type":"spool_put","body":{"to":"db","message_type":"x"}}"#;
        assert_eq!(alice().attempts(put).map(|attempt| attempt.message_type), Some("x".into()));
    }

    #[test]
    fn what_is_not_judged() {
        for line in [
            r#"{"message_type":"ask_reply","to":"db"}"#,
            r#"{"message_type":"signal"}"#,
            r#"{"message_type":"whoami"}"#,
            r#"{"message_type":"unregister","body":{"node_id":"x"}}"#,
            r#"{"message_type":"subscribe","body":{"topic":7}}"#,
            r#"{"message_type":"subscribe"}"#,
            r#"{"message_type":"register","body":{"node_id":[]}}"#,
            r#"{"message_type":"register"}"#,
            r#"{"message_type":"register","body":{"node_id":":9"}}"#,
            r#"{"message_type":"nonsense"}"#,
        ] {
            assert_eq!(attempts(&alice(), line), None, "{line}");
        }
    }

    #[test]
    fn the_node_id_of_a_register() {
        let web = Peer { node_ids: vec!["web", "www"], ..alice() };
        for (from, body, name) in [
            (r#""from":"new""#, "{}", "new"),
            (r#""from":"new""#, r#"{"node_id":"web"}"#, "new"),
            (r#""from":null"#, r#"{"node_id":"new"}"#, "new"),
            (r#""from":"www""#, r#"{"node_id":"new"}"#, "new"),
            (r#""from":"web#port""#, r#"{"node_id":"new"}"#, "new"),
            (r#""from":":7""#, r#"{"node_id":"n\u0065w"}"#, "new"),
            (r#""from":"web""#, "{}", "web"),
            (r#""from":"w%%n-%n%%-%u""#, "{}", "w%n-*%-*"),
        ] {
            let line = format!(r#"{{"message_type":"register",{from},"body":{body}}}"#);
            assert_eq!(attempts(&web, &line), Some((Verb::Own, name.into())), "{line}");
        }
    }

    #[test]
    fn what_is_quoted_is_on_one_line() {
        assert_eq!(quoted("a\"b\\c\n\u{7f}ä"), r#""a\"b\\c\n\u007fä""#);
    }

    #[test]
    fn a_string_of_json() {
        assert_eq!(text(r#""a""#), Some("a".into()));
        assert_eq!(text(r#""\u0061\n""#), Some("a\n".into()));
        for other in ["7", "null", "[\"a\"]", "\"", ""] {
            assert_eq!(text(other), None, "{other}");
        }
    }
}
