//! Knows what a word that is being typed can become, at the prompt and in a shell: a verb, a flag, a value, a node that
//! is there.
//! Never: runs it, or waits for a daemon that does not answer.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use clap::{Arg, Command};
use rustyline::completion::{Completer as Complete, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Helper, Result};
use serde_json::json;

use crate::answer::ask_pages;
use crate::context::{CONNECT_TIMEOUT, Context};
use crate::exit::Failure;
use crate::output::{Words, safe};

/// How long a key press waits for the daemon's answer.
const PATIENCE: Duration = Duration::from_millis(200);
/// Arguments that are names of nodes and called otherwise than NODE, each behind its verb.
const NODES: &[(&str, &str)] =
    &[("kill", "target"), ("list", "pattern"), ("monitor", "pattern"), ("tap", "from"), ("tap", "to")];

/// Completes words at the prompt.
pub(crate) struct Completer<'a> {
    context: &'a Context,
    command: Command,
}

impl<'a> Completer<'a> {
    pub(crate) fn new(context: &'a Context) -> Completer<'a> {
        let mut command = crate::definition();
        command.build();
        Completer { context, command }
    }

    /// What the last of these words can become, as it is typed.
    fn found(&self, words: &[String]) -> Vec<String> {
        let Some(start) = words.last() else { return Vec::new() };
        let argument = awaited(&self.command, words);
        let found = match argument {
            Some((verb, argument, place)) if names_node(verb, argument, place) => nodes(self.context),
            Some((_, argument, _)) => {
                let values = argument.get_possible_values();
                values
                    .iter()
                    .filter(|value| !value.is_hide_set())
                    .map(|value| value.get_name().to_owned())
                    .collect()
            }
            None => verbs_or_flags(&self.command, words),
        };
        let found = found.into_iter().filter(|word| word.starts_with(start.as_str()));
        found.map(|word| shell_words::quote(&word).into_owned()).collect()
    }
}

/// The names of the nodes that are there, but for those that would drive a terminal; none if the daemon does not tell them
/// in time.
pub(crate) fn nodes(context: &Context) -> Vec<String> {
    let (done, names) = channel();
    let words = Words { quiet: true, ..context.words };
    let context = Context { address: context.address.clone(), words, ..*context };
    // It may outlive the wait, and ends with the process.
    thread::spawn(move || done.send(names_of(&context)));
    let names = names.recv_timeout(PATIENCE).unwrap_or(Ok(Vec::new())).unwrap_or_default();
    names.into_iter().filter(|name| safe(name) == *name).collect()
}

fn names_of(context: &Context) -> std::result::Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    context.talk(CONNECT_TIMEOUT, |client| {
        ask_pages(client, "list", json!({}), ("nodes", "node_id"), |_, node| {
            names.extend(node["node_id"].as_str().map(str::to_owned));
            Ok(())
        })
    })?;
    Ok(names)
}

/// The flags of the verb if the last word begins as one, else the verbs, if there is none yet.
fn verbs_or_flags(command: &Command, words: &[String]) -> Vec<String> {
    let Some((last, typed)) = words.split_last() else { return Vec::new() };
    let verb = typed.iter().find_map(|word| command.find_subcommand(word));
    if last.starts_with('-') {
        let flags = verb.unwrap_or(command).get_arguments().filter(|flag| !flag.is_hide_set());
        return flags.filter_map(Arg::get_long).map(|flag| format!("--{flag}")).collect();
    }
    let verbs = command.get_subcommands().filter(|one| verb.is_none() && !one.is_hide_set());
    verbs.map(|verb| verb.get_name().to_owned()).collect()
}

/// Whether the last of these words is to be the name of a node.
pub(crate) fn is_node(command: &Command, words: &[String]) -> bool {
    awaited(command, words).is_some_and(|(verb, argument, place)| names_node(verb, argument, place))
}

/// The argument that the last of these words is, the verb that takes it, and which of its values it is.
fn awaited<'c>(command: &'c Command, words: &[String]) -> Option<(&'c Command, &'c Arg, usize)> {
    let (last, typed) = words.split_last()?;
    let (mut verb, mut at) = (None::<&Command>, 0);
    let mut waiting: Option<&Arg> = None;
    let mut given = Vec::new();
    for word in typed {
        if waiting.take().is_some() {
            continue;
        }
        if word == "--" {
            return None;
        }
        if word.starts_with('-') {
            let option = option(verb.unwrap_or(command), word);
            given.extend(option.map(|option| option.get_id().as_str()));
            waiting = option.filter(|option| needs_value(option) && !word.contains('='));
            continue;
        }
        match verb {
            Some(_) => at += 1,
            None => verb = Some(command.find_subcommand(word)?),
        }
    }
    let verb = verb?;
    if let Some(option) = waiting {
        return Some((verb, option, 0));
    }
    // Those that talk have one of these in place of a node.
    if last.starts_with('-') || given.contains(&"daemon") || given.contains(&"topic") {
        return None;
    }
    // The last one may stand for several words.
    let behind = verb.get_positionals().count().saturating_sub(1);
    let argument = verb.get_positionals().nth(at.min(behind))?;
    Some((verb, argument, at.saturating_sub(behind)))
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

impl Complete for Completer<'_> {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &rustyline::Context<'_>) -> Result<(usize, Vec<Pair>)> {
        let before = &line[..at];
        let begin = before.rfind(char::is_whitespace).map_or(0, |space| space + 1);
        let typed = before[..begin].split_whitespace().enumerate();
        let typed = typed.filter(|(nth, word)| *nth > 0 || *word != "telex").map(|(_, word)| word);
        let words: Vec<String> = typed.chain([&before[begin..]]).map(str::to_owned).collect();
        let pair = |word: String| Pair { display: word.clone(), replacement: format!("{word} ") };
        Ok((begin, self.found(&words).into_iter().map(pair).collect()))
    }
}

impl Helper for Completer<'_> {}
impl Highlighter for Completer<'_> {}
impl Validator for Completer<'_> {}
impl Hinter for Completer<'_> {
    type Hint = String;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::colour::{Colours, When};

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

    #[test]
    fn verbs_flags_and_values_are_known() {
        let words = Words { quiet: true, colours: Colours::default() };
        let context = Context { address: None, form: None, colour: When::Never, words };
        let completer = Completer::new(&context);
        for (line, expected) in [
            ("subs|", &["subscribe", "subscribers"][..]),
            ("complet|", &["completions"]),
            ("--json subs|", &["subscribe", "subscribers"]),
            ("listen --jo|", &["--join"]),
            ("listen --js|", &["--json"]),
            ("listen --topic|", &[]),
            ("profile a s|", &["set", "show"]),
            ("completions z|", &["zsh"]),
            ("list --color n|", &["never"]),
        ] {
            let words: Vec<String> = line.trim_end_matches('|').split(' ').map(str::to_owned).collect();
            assert_eq!(completer.found(&words), expected, "{line}");
        }
    }
}
