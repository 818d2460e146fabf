//! Knows what a user asks of a running `telexd` at a prompt or in a script, and how it is told: results
//! on stdout, words on stderr, the outcome as the exit status.
//! Never: the protocol; that is the client library's.

mod answer;
mod body;
mod colour;
mod command;
mod complete;
mod context;
mod exit;
mod format;
mod given;
mod hear;
mod keep;
mod notice;
mod output;
mod port;
mod process;
mod sending;
mod serving;
mod stop;
mod stream;
mod table;
mod verb;
mod wait;

use std::process::ExitCode;

use clap::{Args, Command, FromArgMatches, Parser};

use crate::colour::{Colours, When};
use crate::context::{Context, Form};
use crate::exit::{Exit, codes};
use crate::output::Words;
use crate::verb::Verb;

/// Talk to a running telexd: send messages, call nodes, listen, look.
#[derive(Parser)]
#[command(name = "telex", version, after_help = codes(), max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// What all verbs take.
#[derive(Args)]
struct Global {
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
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    color: When,
}

impl Cli {
    /// The command line. A fault in it ends here, with the status 2.
    fn read() -> Cli {
        Cli::read_at_once().unwrap_or_else(Cli::parse)
    }

    /// The same where the first word is a verb and nothing is at fault: the arguments of all other verbs, which cost as
    /// much time as all the rest, are not looked at.
    fn read_at_once() -> Option<Cli> {
        let verb = Verb::command(std::env::args_os().nth(1)?.to_str()?)?;
        let command = Global::augment_args(Command::new("telex")).subcommand(verb);
        let matches = command.try_get_matches_from(std::env::args_os()).ok()?;
        Cli::from_arg_matches(&matches).ok()
    }
}

fn main() -> ExitCode {
    let Cli { global, verb } = Cli::read();
    let form = match (global.json, global.table) {
        (true, _) => Some(Form::Json),
        (_, true) => Some(Form::Table),
        _ => None,
    };
    let words = Words { quiet: global.quiet, colours: Colours::on(global.color, &std::io::stderr()) };
    match verb.run(&Context { address: global.address, form, colour: global.color, words }) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            if !failure.words.is_empty() {
                words.fail(&failure.words);
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
    fn every_verb_is_found_by_its_name() {
        for verb in Cli::command().get_subcommands() {
            let found = Verb::command(verb.get_name());
            assert_eq!(found.as_ref().map(Command::get_name), Some(verb.get_name()));
        }
        assert!(Verb::command("log_level").is_none() && Verb::command("nonsense").is_none());
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
