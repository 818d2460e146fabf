//! Knows how rules are written.
//! Never: what they decide.

use std::path::PathBuf;

use serde_json::{Map, Value};
use telex_plugin::Transport;
use telex_users::{Groups, Users, uids};

use crate::pattern::Pattern;
use crate::policy::{Policy, Rule, Who};
use crate::verb::{Verb, message_type, node_pattern};

/// What the plugin is told to do.
#[derive(Debug)]
pub struct Config {
    /// The rules.
    pub policy: Policy,
    /// Where rules are written that would be needed, everything being let through.
    pub learn_file: Option<PathBuf>,
    /// Users and groups in rules that this machine does not have. What a rule says of them matches no connection.
    pub unknown: Vec<Unknown>,
}

/// A name in a rule that this machine does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The number of the rule.
    pub rule: usize,
    /// Whether the rule allows something.
    pub allows: bool,
    /// The name.
    pub name: telex_users::Unknown,
}

/// Reads a configuration; or says what is wrong with it, where, and what would be right.
pub fn read(json: &str, users: &dyn Users) -> Result<Config, String> {
    let config: Map<String, Value> =
        serde_json::from_str(json).map_err(|error| format!("the configuration is no table: {error}"))?;
    for key in config.keys() {
        if !["default", "rule", "learn", "learn_file"].contains(&key.as_str()) {
            return Err(format!("there is no key \"{key}\"; there are default, rule, learn, learn_file"));
        }
    }
    let default_allows = match config.get("default").map(|value| value.as_str().ok_or(value)) {
        Some(Ok("allow")) => true,
        Some(Ok("deny")) => false,
        None => {
            return Err(
                "\"default\" is missing; it says what becomes of what no rule matches: \"allow\" or \"deny\""
                    .into(),
            );
        }
        Some(Ok(other)) => {
            return Err(format!("\"default\" is \"{other}\"; it must be \"allow\" or \"deny\""));
        }
        Some(Err(other)) => return Err(format!("\"default\" is {other}; it must be \"allow\" or \"deny\"")),
    };
    let mut unknown = Vec::new();
    let rules = match config.get("rule") {
        None => Vec::new(),
        Some(Value::Array(rules)) => {
            let mut read = |(number, rule)| {
                let (read, names) = read_rule(rule, users).map_err(|why| format!("rule {number}: {why}"))?;
                let allows = read.allows;
                unknown.extend(names.into_iter().map(|name| Unknown { rule: number, allows, name }));
                Ok::<Rule, String>(read)
            };
            (1..).zip(rules).map(&mut read).collect::<Result<_, _>>()?
        }
        Some(other) => return Err(format!("\"rule\" is {other}; it must be a list of tables")),
    };
    let learns = match config.get("learn") {
        None => false,
        Some(Value::Bool(learns)) => *learns,
        Some(other) => return Err(format!("\"learn\" is {other}; it must be true or false")),
    };
    let learn_file = match config.get("learn_file") {
        None if learns => {
            return Err("\"learn_file\" is missing; it says where to write what was learned, such as \
                        \"/var/lib/telexd/learned.toml\""
                .into());
        }
        None => None,
        Some(Value::String(path)) if path.starts_with('/') => Some(PathBuf::from(path)),
        Some(other) => return Err(format!("\"learn_file\" is {other}; it must be a path from / on")),
    };
    let policy = Policy::new(default_allows, rules);
    Ok(Config { policy, learn_file: learn_file.filter(|_| learns), unknown })
}

fn read_rule(rule: &Value, users: &dyn Users) -> Result<(Rule, Vec<telex_users::Unknown>), String> {
    let Value::Object(rule) = rule else { return Err(format!("it is {rule}; it must be a table")) };
    for key in rule.keys() {
        if !["allow", "deny", "user", "group", "uid", "transport", "node", "type"].contains(&key.as_str()) {
            return Err(format!(
                "there is no key \"{key}\"; a rule has allow or deny, and perhaps user, group, uid, transport, \
                 node, type"
            ));
        }
    }
    let (effect, verbs) = match (rule.get("allow"), rule.get("deny")) {
        (Some(verbs), None) => ("allow", verbs),
        (None, Some(verbs)) => ("deny", verbs),
        (None, None) => return Err("it has neither \"allow\" nor \"deny\"".into()),
        (Some(_), Some(_)) => {
            return Err("it has both \"allow\" and \"deny\"; make two rules of it, in their order".into());
        }
    };
    let what = read_what(effect, verbs)?;
    let types = match rule.get("type") {
        Some(_) if !what.iter().any(|(verb, _)| verb.has_type()) => {
            return Err(format!(
                "\"type\" goes with \"send\" and \"publish\", of which \"{effect}\" has none"
            ));
        }
        Some(types) => each("type", types, message_type)?,
        None => Vec::new(),
    };
    let (who, unknown) = read_who(rule, users)?;
    Ok((Rule { allows: effect == "allow", who, what, types }, unknown))
}

fn read_what(effect: &str, verbs: &Value) -> Result<Vec<(Verb, Vec<Pattern>)>, String> {
    let all = Verb::ALL.map(Verb::word).join(", ");
    match verbs {
        Value::String(text) if text == "*" => {
            Ok(Verb::ALL.map(|verb| (verb, vec![verb.everything()])).into())
        }
        Value::Object(verbs) if !verbs.is_empty() => verbs
            .iter()
            .map(|(word, patterns)| {
                let verb = Verb::ALL
                    .into_iter()
                    .find(|verb| verb.word() == word)
                    .ok_or_else(|| format!("there is no verb \"{effect}.{word}\"; there are {all}"))?;
                Ok((verb, each(&format!("{effect}.{word}"), patterns, |text| verb.pattern(text))?))
            })
            .collect(),
        other => Err(format!(
            "\"{effect}\" is {other}; it must be \"*\" for everything, or name some of {all}, each with a pattern \
             or a list of them: {effect}.send = \"db\""
        )),
    }
}

/// Users and groups are those of Unix sockets, unless the rule says that its users are those of TCP.
fn read_who(
    rule: &Map<String, Value>,
    users: &dyn Users,
) -> Result<(Vec<Who>, Vec<telex_users::Unknown>), String> {
    let (mut who, mut unknown) = (Vec::new(), Vec::new());
    let transport = match rule.get("transport").map(Value::as_str) {
        None => None,
        Some(Some("unix")) => Some(Transport::Unix),
        Some(Some("tcp")) => Some(Transport::Tcp),
        Some(_) => {
            return Err(format!("\"transport\" is {}; it must be \"unix\" or \"tcp\"", rule["transport"]));
        }
    };
    who.extend(transport.map(Who::Over));
    if transport == Some(Transport::Tcp)
        && let Some(key) = ["group", "uid"].into_iter().find(|key| rule.contains_key(*key))
    {
        return Err(format!("\"{key}\" is nothing that a TCP connection has; it has a \"user\" at most"));
    }
    match rule.get("user") {
        Some(names) if transport == Some(Transport::Tcp) => {
            who.push(Who::User(each("user", names, |name| Ok(name.to_owned()))?));
        }
        Some(names) => who.push(Who::Uid(uids(names, users, &mut unknown)?)),
        None => {}
    }
    if let Some(names) = rule.get("group") {
        who.push(Who::Group(Groups::read(names, users, &mut unknown)?));
    }
    if let Some(uids) = rule.get("uid") {
        let uid = |value: &Value| {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            number.ok_or_else(|| {
                format!("\"uid\" is {value}; it must be a number such as 1000, or a list of them")
            })
        };
        who.push(Who::Uid(items("uid", uids)?.iter().map(uid).collect::<Result<_, _>>()?));
    }
    if let Some(patterns) = rule.get("node") {
        who.push(Who::Node(each("node", patterns, node_pattern)?));
    }
    Ok((who, unknown))
}

/// A list, or one item in its place.
fn items<'a>(key: &str, value: &'a Value) -> Result<&'a [Value], String> {
    match value {
        Value::Array(items) if items.is_empty() => {
            Err(format!("\"{key}\" is empty; a key that is left out asks for nothing"))
        }
        Value::Array(items) => Ok(items),
        one => Ok(std::slice::from_ref(one)),
    }
}

/// Reads a text, or each of a list; `read` says what is wrong with one, beginning with a verb.
fn each<T>(
    key: &str,
    value: &Value,
    mut read: impl FnMut(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let item = |item: &Value| match item {
        Value::String(text) => read(text).map_err(|why| format!("\"{key}\" is \"{text}\", which {why}")),
        other => Err(format!("\"{key}\" is {other}; it must be a text or a list of texts")),
    };
    items(key, value)?.iter().map(item).collect()
}

#[cfg(test)]
mod tests {
    use crate::stage::config;

    /// What a configuration is refused for.
    fn refused(toml: &str) -> String {
        config(toml).expect_err(toml)
    }

    #[test]
    fn both_spellings_of_a_list_are_one() {
        let list = config(
            r#"
            default = "deny"
            rule = [
                { user = "alice", allow = { own = "a", send = ["b", "c"] }, type = "x" },
                { deny.subscribe = ">" },
            ]"#,
        );
        let tables = config(
            r#"
            default = "deny"
            learn = false
            learn_file = "/x"
            [[rule]]
            user = ["alice"]
            allow.own = "a"
            allow.send = ["b", "c"]
            type = "x"
            [[rule]]
            deny.subscribe = ">"
            "#,
        )
        .expect("tables");
        assert_eq!(list.expect("a list").policy.rules, tables.policy.rules);
        assert_eq!(tables.policy.rules.len(), 2);
        assert_eq!(tables.learn_file, None, "nothing is learned");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (toml, why) in [
            ("", r#""default" is missing; it says what becomes of what no rule matches: "allow" or "deny""#),
            ("default = 1", r#""default" is 1; it must be "allow" or "deny""#),
            (r#"default = "no""#, r#""default" is "no"; it must be "allow" or "deny""#),
            (r#"rules = []"#, r#"there is no key "rules"; there are default, rule, learn, learn_file"#),
        ] {
            assert_eq!(refused(toml), why);
        }
        for (rest, parts) in [
            ("rule = 7", vec!["\"rule\" is 7", "a list of tables"]),
            ("learn = 1", vec!["\"learn\" is 1", "true or false"]),
            ("learn = true", vec!["\"learn_file\" is missing", "/var/lib"]),
            (r#"learn_file = "x""#, vec!["\"learn_file\" is \"x\"", "from / on"]),
        ] {
            let why = refused(&format!("default = \"deny\"\n{rest}"));
            assert!(parts.iter().all(|part| why.contains(part)), "{rest}: {why}");
        }
    }

    #[test]
    fn what_is_wrong_in_a_rule_is_named_with_its_number() {
        for (rule, parts) in [
            (r#"7"#, vec!["it is 7", "a table"]),
            (r#"{ allow = "*", usr = "x" }"#, vec!["\"usr\"", "user, group"]),
            (r#"{ user = "alice" }"#, vec!["neither \"allow\" nor \"deny\""]),
            (r#"{ allow = "*", deny = "*" }"#, vec!["both", "two rules"]),
            (r#"{ allow = "send" }"#, vec!["\"allow\" is \"send\"", "allow.send = \"db\""]),
            (r#"{ allow = ["send"] }"#, vec!["\"allow\" is [\"send\"]"]),
            (r#"{ deny = {} }"#, vec!["\"deny\" is {}"]),
            (
                r#"{ allow.sent = "x" }"#,
                vec!["\"allow.sent\"", "own, send, publish, subscribe, monitor, ask"],
            ),
            (r#"{ allow.send = 7 }"#, vec!["\"allow.send\" is 7", "a text or a list of texts"]),
            (r#"{ allow.send = [] }"#, vec!["\"allow.send\" is empty"]),
            (r#"{ allow.send = ["a", ""] }"#, vec!["\"allow.send\" is \"\"", "is empty"]),
            (r#"{ allow.send = "a#b" }"#, vec!["\"a#b\"", "'#'", "leave it out"]),
            (r#"{ allow.send = ":7" }"#, vec!["\":7\"", "\":*\""]),
            (r#"{ allow.own = ":*" }"#, vec!["begins with ':'"]),
            (r#"{ allow.own = "a\tb" }"#, vec!["control character"]),
            (r#"{ allow.publish = "a..b" }"#, vec!["\"allow.publish\" is \"a..b\"", "empty token"]),
            (r#"{ deny.subscribe = "a.>.b" }"#, vec!["\"deny.subscribe\"", "last token"]),
            (r#"{ allow.ask = "lst" }"#, vec!["\"lst\"", "list, resolve"]),
            (r#"{ allow.own = "a", type = "x" }"#, vec!["\"type\"", "\"send\" and \"publish\""]),
            (r#"{ allow.send = "a", type = "x_reply" }"#, vec!["\"type\" is \"x_reply\"", "not judged"]),
            (r#"{ allow = "*", transport = "udp" }"#, vec!["\"transport\" is \"udp\"", "\"tcp\""]),
            (r#"{ allow = "*", transport = "tcp", group = "staff" }"#, vec!["\"group\"", "TCP"]),
            (r#"{ allow = "*", transport = "tcp", uid = 7 }"#, vec!["\"uid\"", "TCP"]),
            (r#"{ allow = "*", uid = -1 }"#, vec!["\"uid\" is -1", "a number"]),
            (r#"{ allow = "*", uid = "root" }"#, vec!["\"uid\" is \"root\"", "a number"]),
            (r#"{ allow = "*", uid = 4294967296 }"#, vec!["\"uid\" is 4294967296"]),
            (r#"{ allow = "*", node = "a#b" }"#, vec!["\"node\" is \"a#b\""]),
        ] {
            let why = refused(&format!("default = \"deny\"\nrule = [{{ allow = \"*\" }}, {rule}]"));
            assert!(why.starts_with("rule 2: "), "{rule}: {why}");
            assert!(parts.iter().all(|part| why.contains(part)), "{rule}: {why}");
        }
    }
}
