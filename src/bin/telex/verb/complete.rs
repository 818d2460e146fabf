//! Knows if a word of a command line that is being typed is the name of a node, and which nodes there are.
//! Never: waits for a daemon that does not answer.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use clap::{Arg, Args, Command};
use serde_json::json;

use crate::answer::ask_pages;
use crate::context::{CONNECT_TIMEOUT, Context};
use crate::exit::Failure;
use crate::output::{Results, Words, safe};

/// How long a shell has to wait.
const TIMEOUT: Duration = Duration::from_millis(200);
/// Arguments that are names of nodes and called otherwise than NODE, each behind its verb.
const NODES: &[(&str, &str)] =
    &[("kill", "target"), ("list", "pattern"), ("monitor", "pattern"), ("tap", "from"), ("tap", "to")];

pub(super) const EXAMPLES: &str = r#"Examples:
  telex complete -- send ''
  telex complete -- call --timeout 2s ''"#;

/// Print the names of the nodes, if the last word is to be one
///
/// The scripts of `telex completions` ask this. It says nothing on stderr, and always ends with 0.
#[derive(Args)]
#[command(after_help = EXAMPLES, hide = true)]
pub(crate) struct Complete {
    /// The words behind telex, as far as they are typed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl Complete {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let mut command = crate::definition();
        command.build();
        if !is_node(&command, &self.words) {
            return Ok(());
        }
        let context = Context {
            address: context.address.clone().or_else(|| value_of(&self.words, "--address")),
            words: Words { quiet: true, ..context.words },
            ..*context
        };
        let (done, names) = channel();
        // It may outlive the wait, and ends with the process.
        thread::spawn(move || done.send(names_of(&context)));
        let Ok(Ok(names)) = names.recv_timeout(TIMEOUT) else { return Ok(()) };
        let mut results = Results::new();
        // The shell shows them as they are.
        for name in names.into_iter().filter(|name| safe(name) == *name) {
            results.line(&name)?;
        }
        results.flush()
    }
}

fn names_of(context: &Context) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    context.talk(CONNECT_TIMEOUT, |client| {
        ask_pages(client, "list", json!({}), ("nodes", "node_id"), |_, node| {
            names.extend(node["node_id"].as_str().map(str::to_owned));
            Ok(())
        })
    })?;
    Ok(names)
}

/// The value of an option that has been typed in full.
fn value_of(words: &[String], option: &str) -> Option<String> {
    let (_, typed) = words.split_last()?;
    typed.iter().enumerate().find_map(|(at, word)| match word.strip_prefix(option)? {
        "" => typed.get(at + 1).cloned(),
        behind => behind.strip_prefix('=').map(str::to_owned),
    })
}

/// Whether the last of these words is to be the name of a node.
fn is_node(command: &Command, words: &[String]) -> bool {
    let Some((last, typed)) = words.split_last() else { return false };
    let (mut verb, mut at) = (None::<&Command>, 0);
    let mut waiting: Option<&Arg> = None;
    let mut given = Vec::new();
    for word in typed {
        if waiting.take().is_some() {
            continue;
        }
        if word == "--" {
            return false;
        }
        if word.starts_with('-') {
            let option = option(verb.unwrap_or(command), word);
            given.extend(option.map(|option| option.get_id().as_str()));
            waiting = option.filter(|option| needs_value(option) && !word.contains('='));
            continue;
        }
        match verb {
            Some(_) => at += 1,
            None => verb = command.find_subcommand(word),
        }
        if verb.is_none() {
            return false;
        }
    }
    if let Some(option) = waiting {
        return verb.is_some_and(|verb| names_node(verb, option, 0));
    }
    let Some(verb) = verb.filter(|_| !last.starts_with('-')) else { return false };
    // Those that talk have one of these in place of a node.
    if given.contains(&"daemon") || given.contains(&"topic") {
        return false;
    }
    // The last one may stand for several words.
    let last = verb.get_positionals().count().saturating_sub(1);
    let argument = verb.get_positionals().nth(at.min(last));
    argument.is_some_and(|argument| names_node(verb, argument, at.saturating_sub(last)))
}

fn option<'c>(verb: &'c Command, word: &str) -> Option<&'c Arg> {
    let name = word.trim_start_matches('-').split('=').next().unwrap_or_default();
    verb.get_arguments().find(|argument| match word.starts_with("--") {
        true => argument.get_long() == Some(name),
        // Of letters in one word the last one may take a value.
        false => argument.get_short() == name.chars().last(),
    })
}

fn needs_value(option: &Arg) -> bool {
    option.get_num_args().is_some_and(|count| count.min_values() > 0)
}

/// Whether the value of this place that an argument takes is the name of a node.
fn names_node(verb: &Command, argument: &Arg, place: usize) -> bool {
    let most = argument.get_num_args().map_or(1, |count| count.max_values());
    let names = argument.get_value_names().unwrap_or_default();
    let name = if names.len() > 1 { names.get(place) } else { names.first() };
    let id = argument.get_id().as_str();
    place < most
        && (NODES.contains(&(verb.get_name(), id))
            || name.map_or(id == "node", |name| name.as_str() == "NODE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_expected_where_one_belongs() {
        let mut command = crate::definition();
        command.build();
        for (line, expected) in [
            ("send |", true),
            ("send a|", true),
            ("send --text a|", true),
            ("send -W 2s |", true),
            ("send -qW 2s |", true),
            ("send --timeout=2s |", true),
            ("send --timeout |", false),
            ("send a |", false),
            ("send -|", false),
            ("send -- |", false),
            ("call |", true),
            ("call a |", false),
            ("call a b |", false),
            ("call --daemon |", false),
            ("--address unix:/x call |", true),
            ("wait-for a b |", true),
            ("kill |", true),
            ("kill a |", false),
            ("tap --to |", true),
            ("tap --topic |", false),
            ("tap |", false),
            ("list |", true),
            ("profile |", false),
            ("serve |", false),
            ("sen|", false),
            ("no |", false),
            ("|", false),
        ] {
            let words: Vec<String> = line.trim_end_matches('|').split(' ').map(str::to_owned).collect();
            assert_eq!(is_node(&command, &words), expected, "{line}");
        }
    }

    #[test]
    fn the_arguments_are_there() {
        let command = crate::definition();
        for (verb, argument) in NODES {
            let verb = command.find_subcommand(verb).expect(verb);
            assert!(verb.get_arguments().any(|known| known.get_id() == argument), "{argument}");
        }
    }
}
