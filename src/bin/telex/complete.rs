//! Knows what a word at the prompt can become: a verb, a flag, a node that is there.
//! Never: runs it.

use std::cell::RefCell;

use clap::CommandFactory;
use rustyline::completion::{Completer as Complete, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Helper, Result};
use serde_json::json;
use telex::client::Client;

use crate::Cli;
use crate::answer::ask;
use crate::context::Context;
use crate::output::safe;

/// Completes words, over a connection of its own.
pub(crate) struct Completer<'a> {
    context: &'a Context,
    client: RefCell<Option<Client>>,
}

impl<'a> Completer<'a> {
    pub(crate) fn new(context: &'a Context) -> Completer<'a> {
        Completer { context, client: RefCell::new(None) }
    }

    /// The nodes whose names begin so; none if the daemon does not say.
    fn nodes(&self, start: &str) -> Vec<String> {
        const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);
        let mut slot = self.client.borrow_mut();
        let client = match slot.take() {
            Some(client) => Some(client),
            None => self.context.connect(PATIENCE).ok(),
        };
        let Some(mut client) = client else { return Vec::new() };
        let Ok(reply) = ask(&mut client, "list", &json!({"match": format!("{start}*")})) else {
            return Vec::new();
        };
        *slot = Some(client);
        let body = reply.body_value();
        let nodes = body["nodes"].as_array().into_iter().flatten();
        let names = nodes.filter_map(|node| node["node_id"].as_str());
        // What a terminal could not show is not offered.
        names.filter(|name| safe(name) == *name).map(|name| shell_words::quote(name).into_owned()).collect()
    }
}

/// The verbs, or the flags of one, that begin so.
fn words(verb: Option<&str>, start: &str) -> Vec<String> {
    let cli = Cli::command();
    let all: Vec<String> = match verb {
        None => cli.get_subcommands().map(|verb| verb.get_name().to_owned()).collect(),
        Some(verb) => {
            let own = cli.find_subcommand(verb).into_iter().flat_map(clap::Command::get_arguments);
            let flags = own.chain(cli.get_arguments()).filter(|flag| !flag.is_hide_set());
            flags.filter_map(|flag| flag.get_long()).chain(["help"]).map(|flag| format!("--{flag}")).collect()
        }
    };
    all.into_iter().filter(|word| word.starts_with(start)).collect()
}

impl Complete for Completer<'_> {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &rustyline::Context<'_>) -> Result<(usize, Vec<Pair>)> {
        let before = &line[..at];
        let begin = before.rfind(char::is_whitespace).map_or(0, |space| space + 1);
        let (mut earlier, start) = (before[..begin].split_whitespace(), &before[begin..]);
        let verb = earlier.find(|&word| word != "telex");
        let found = match verb {
            Some(_) if !start.starts_with('-') => self.nodes(start),
            verb => words(verb, start),
        };
        let pair = |word: String| Pair { display: word.clone(), replacement: format!("{word} ") };
        Ok((begin, found.into_iter().map(pair).collect()))
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

    #[test]
    fn verbs_and_their_flags_are_known() {
        assert_eq!(words(None, "subs"), ["subscribe", "subscribers"]);
        assert_eq!(words(Some("listen"), "--jo"), ["--join"]);
        assert_eq!(words(Some("listen"), "--js"), ["--json"]);
        assert!(words(Some("listen"), "--topic").is_empty(), "it is hidden");
    }
}
