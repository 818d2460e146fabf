//! Says which rule of a configuration decides.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::process::ExitCode;

use filter_acl::attempt::{Attempt, Sender};
use filter_acl::config;
use filter_acl::pattern::ANY;
use filter_acl::verb::Verb;
use nix::unistd::User;
use serde_json::Value;
use telex_plugin::Transport;
use telex_users::Machine;

const USAGE: &str = "usage: explain TELEXD.TOML [WHO=VALUE]... VERB WHAT [TYPE]

WHO is user, uid, gid, transport or node; VERB and WHAT are those of a rule, and TYPE
is the type of what is sent or published (default: signal). For example:

    explain /etc/telexd.toml user=www-data node=web-1 send db query";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match explain(&arguments) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("explain: {text}");
            ExitCode::from(2)
        }
    }
}

pub(crate) fn explain(arguments: &[String]) -> Result<String, String> {
    let Some((file, rest)) = arguments.split_first() else { return Err(USAGE.into()) };
    let who: Vec<_> = rest.iter().map_while(|word| word.split_once('=')).collect();
    let (verb, what, message_type) = match &rest[who.len()..] {
        [verb, what] => (verb, what, "signal"),
        [verb, what, message_type] => (verb, what, message_type.as_str()),
        _ => return Err(USAGE.into()),
    };
    let verb = Verb::ALL.into_iter().find(|one| one.word() == verb).ok_or(USAGE)?;
    let config = plugin_config(file)?;
    let policy = config::read(&config.to_string(), &Machine::here())?.policy;

    let (mut transport, mut uid, mut gid, mut user, mut node_ids) =
        (Transport::Unix, None, None, None, Vec::new());
    for (key, value) in who {
        let number = || value.parse().map_err(|_| format!("{key} is {value:?}; it must be a number"));
        match key {
            "user" => user = Some(value),
            "uid" => uid = Some(number()?),
            "gid" => gid = Some(number()?),
            "transport" if value == "tcp" => transport = Transport::Tcp,
            "transport" if value == "unix" => {}
            "node" => node_ids.push(value),
            _ => return Err(USAGE.into()),
        }
    }
    if let (Some(name), Transport::Unix) = (user, transport) {
        let account = User::from_name(name).ok().flatten().ok_or(format!("there is no user {name:?}"))?;
        uid = uid.or(Some(account.uid.as_raw()));
        gid = gid.or(Some(account.gid.as_raw()));
    }
    let holds = |test: &dyn Fn(&str) -> bool| node_ids.iter().any(|node_id| test(node_id));
    let sender = Sender { transport, uid, gid, user, unique_id: ":1", holds: &holds };
    let is_pattern = matches!(verb, Verb::Own | Verb::Subscribe | Verb::Monitor);
    let what = if is_pattern && !verb.is_about_topics() {
        what.replace('*', &ANY.to_string())
    } else {
        what.clone()
    };
    let attempt = Attempt { verb, what: what.into(), is_pattern, message_type: message_type.into() };

    let decision = policy.decide(&sender, &attempt);
    let effect = if decision.allowed { "allowed" } else { "denied" };
    Ok(match decision.rule {
        None => format!("{} is {effect} by the default", attempt.words()),
        Some(rule) => format!("{} is {effect} by rule {rule}: {}", attempt.words(), config["rule"][rule - 1]),
    })
}

/// What the file says to this plugin.
fn plugin_config(file: &str) -> Result<Value, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let settings: Value = toml::from_str(&text).map_err(|error| format!("{file}: {error}"))?;
    let is_acl = |plugin: &&Value| {
        plugin["path"].as_str().is_some_and(|path| path.contains("filter-acl") || path.contains("filter_acl"))
    };
    let plugin = settings["plugin"].as_array().and_then(|plugins| plugins.iter().find(is_acl));
    plugin.map(|plugin| plugin["config"].clone()).ok_or(format!("{file}: there is no plugin filter-acl"))
}
