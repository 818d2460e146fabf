//! Knows what a user asks of a running `telexd` at a prompt or in a script, and how it is told: results
//! on stdout, words on stderr, the outcome as the exit status.
//! Never: the protocol; that is the client library's.

mod answer;
mod body;
mod command;
mod context;
mod exit;
mod format;
mod hear;
mod interrupt;
mod load;
mod notice;
mod output;
mod process;
mod recording;
mod replaying;
mod screen;
mod sending;
mod serving;
mod socket;
mod stream;
mod table;
mod tapping;
mod verb;
mod views;
mod wait;
mod waits;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::context::{Context, Form};
use crate::exit::{Exit, codes};
use crate::output::Words;
use crate::verb::Verb;

/// Talk to a running telexd: send messages, call nodes, listen, look.
#[derive(Parser)]
#[command(name = "telex", version, after_help = codes(), max_term_width = 100)]
struct Cli {
    /// Where the daemon is: unix:/path, unix:@name or tcp:host:port [default: $TELEX_ADDRESS, else
    /// unix:/run/telexd/telex.sock for root; for others unix:$XDG_RUNTIME_DIR/telex.sock if a daemon answers
    /// there, else the same as for root]
    #[arg(long, global = true, value_name = "ADDR")]
    address: Option<String>,
    /// No words on stderr: the exit code tells all
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Lines of JSON, wherever they go
    #[arg(long, global = true)]
    json: bool,
    /// For people, wherever it goes
    #[arg(long, global = true, conflicts_with = "json")]
    table: bool,
    #[command(subcommand)]
    verb: Verb,
}

fn main() -> ExitCode {
    // A fault in the arguments ends here, with the status 2.
    let Cli { address, quiet, json, table, verb } = Cli::parse();
    let form = match (json, table) {
        (true, _) => Some(Form::Json),
        (_, true) => Some(Form::Table),
        _ => None,
    };
    let words = Words { quiet };
    match verb.run(&Context { address, form, words }) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            if !failure.words.is_empty() {
                words.say(&failure.words);
            }
            failure.exit.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::verb::EXAMPLES;

    /// The words of a line, with the quotes of a shell.
    fn split(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        for (at, part) in line.split('\'').enumerate() {
            for (index, piece) in part.split(if at % 2 == 0 { ' ' } else { '\0' }).enumerate() {
                if index > 0 {
                    words.push(String::new());
                }
                words.last_mut().expect("a word").push_str(piece);
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn the_definition_holds() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_two_examples_at_least_and_they_are_right() {
        for (verb, examples) in EXAMPLES {
            let lines: Vec<_> = examples.lines().skip(1).collect();
            assert!(lines.len() >= 2, "{verb}");
            for line in lines {
                let command = line.split(" | ").find(|part| part.trim().starts_with("telex ")).expect(line);
                let command =
                    command.split(" > ").next().expect("a command").split(" && ").next().expect("one");
                let read = Cli::try_parse_from(split(command.trim()));
                assert!(
                    read.is_ok(),
                    "{line}: {}",
                    read.err().map(|error| error.to_string()).unwrap_or_default()
                );
            }
        }
    }
}
