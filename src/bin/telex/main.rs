//! Knows what a user asks of a running `telexd` at a prompt or in a script, and how it is told: results
//! on stdout, words on stderr, the outcome as the exit status.
//! Never: the protocol; that is the client library's.

mod answer;
mod body;
mod caret;
mod colour;
mod command;
mod complete;
mod context;
mod document;
mod exit;
mod format;
mod given;
mod groups;
mod hear;
mod keep;
mod line_ends;
mod load;
mod man;
mod notice;
mod output;
mod own_file;
mod port;
mod process;
mod progress;
mod recording;
mod replaying;
mod screen;
mod sending;
mod serving;
mod setting;
mod socket;
mod stop;
mod stream;
mod table;
mod tapping;
mod verb;
mod views;
mod wait;
mod waits;
mod watch;

use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser};

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
    /// much time as all the rest, are not looked at. The verb is the whole command then, as a level of commands costs
    /// half of what is left.
    fn read_at_once() -> Option<Cli> {
        let mut words = std::env::args_os().skip(1).peekable();
        let name = words.peek()?.to_str()?.to_owned();
        let command = Global::augment_args(Verb::command(&name)?);
        let matches = command.try_get_matches_from(words).ok()?;
        Some(Cli { global: Global::from_arg_matches(&matches).ok()?, verb: Verb::read(&name, &matches)? })
    }
}

/// The table of arguments, from which help, completions and man pages are made.
pub(crate) fn definition() -> clap::Command {
    Cli::command()
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
    use clap::Command;

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
    fn the_help_of_every_verb_ends_with_two_examples_at_least() {
        for verb in definition().get_subcommands_mut() {
            let name = verb.get_name().to_owned();
            let help = verb.render_long_help().to_string();
            let (_, examples) =
                help.rsplit_once("\n\nExamples:\n").unwrap_or_else(|| panic!("{name} has none"));
            assert!(examples.lines().count() >= 2, "{name}: {examples}");
            let is_own = |line: &str| line.starts_with("  ") && line.contains(&format!("telex {name}"));
            assert!(examples.lines().all(is_own), "{name}: {examples}");
        }
    }

    #[test]
    fn the_commands_beside_those_of_other_tools_are_right() {
        let readme = include_str!("../../../README.md");
        let (_, table) = readme
            .split_once("| `redis-cli` | `telex` |\n| --- | --- | --- | --- | --- | --- |\n")
            .expect("a table");
        let rows: Vec<_> = table.lines().take_while(|line| line.starts_with('|')).collect();
        assert!(rows.len() > 5, "{rows:?}");
        for row in rows {
            let (_, command) = row.trim_end_matches([' ', '|', '`']).rsplit_once("| `").expect(row);
            let read = Cli::try_parse_from(split(&format!("telex {command}")));
            assert!(read.is_ok(), "{command}");
        }
    }

    /// The rows of the table that has a place for each word of the ancestor's command.
    fn words_of_aemp() -> Vec<(&'static str, &'static str)> {
        let (_, table) = include_str!("../../coming_from.rs").split_once("//! ## aemp\n").expect("the table");
        let rows = table.lines().filter_map(|line| line.strip_prefix("//! | `"));
        rows.filter_map(|row| row.split_once(" | ")).collect()
    }

    #[test]
    fn each_word_of_aemp_has_a_verb_that_is_there_or_a_reason() {
        let rows = words_of_aemp();
        let known: String = rows.iter().map(|(words, _)| format!("`{words} ")).collect();
        let words = "snd mon cal eval shell trace run restart setnodeid delnodeid gensecret setsecret delsecret gencert \
                     setcert delcert setseeds delseeds addseed delseed setbinds delbinds addbind delbind setservices \
                     delservices addservice delservice profile setparent delparent delprofile showprofile showconfig";
        for word in words.split(' ') {
            let is_there = |end: &str| known.contains(&format!("`{word}{end}"));
            assert!(is_there("`") || is_there(" "), "{word}");
        }
        let telex = definition();
        let mut count = 0;
        for (words, place) in rows {
            for (_, call) in
                place.match_indices("`telex ").map(|(at, _)| place[at + 1..].split_at("telex ".len()))
            {
                let verb = call.split([' ', '`']).next().expect("a verb");
                assert!(telex.find_subcommand(verb).is_some(), "{words}: telex {verb}");
                count += 1;
            }
            let has_reason = place.starts_with("none") || place.starts_with("*not yet*");
            assert!(place.contains("`telex ") || has_reason, "{words}: {place}");
        }
        assert!(count > 15, "{count}");
    }

    #[test]
    fn every_verb_is_found_by_its_name() {
        for verb in Cli::command().get_subcommands() {
            let found = Verb::command(verb.get_name());
            assert_eq!(found.as_ref().map(Command::get_name), Some(verb.get_name()));
            // As it is read, together with what all verbs take.
            found.map(Global::augment_args).expect("a verb").debug_assert();
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
