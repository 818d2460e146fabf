//! Knows what a user asks of a running `telexd` at a prompt or in a script, and how it is told: results
//! on stdout, words on stderr, the outcome as the exit status.
//! Never: the protocol; that is the client library's.

mod args;
mod call;
mod exit;
mod list;
mod listen;
mod notice;
mod output;
mod send;
mod wait;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use telex::address::Address;
use telex::client::{self, Client};

use crate::args::{Cli, Command};
use crate::exit::{Exit, Failure};
use crate::notice::farewell;
use crate::output::Words;

/// How long a connection is waited for, if less is not asked for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// And at least, also for a verb that is only to take what is there already.
const CONNECT_TIMEOUT_MIN: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    // A fault in the arguments ends here, with the status 2.
    let cli = Cli::parse();
    let words = Words { quiet: cli.quiet };
    match run(cli, words) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            if !failure.words.is_empty() {
                words.say(&failure.words);
            }
            failure.exit.into()
        }
    }
}

fn run(cli: Cli, words: Words) -> Result<(), Failure> {
    let address = match &cli.address {
        Some(text) => Address::parse(text).map_err(|bad| Failure::new(Exit::Usage, bad.to_string()))?,
        None => client::default_address()?,
    };
    let talk = |within: Duration, run: &mut dyn FnMut(&mut Client) -> Result<(), Failure>| {
        let mut client = Client::connect_within(&address, within.clamp(CONNECT_TIMEOUT_MIN, CONNECT_TIMEOUT))
            .map_err(|error| Failure::unreachable(&address, &error))?;
        run(&mut client).inspect_err(|failure| {
            if failure.is_end {
                farewell(&mut client, words);
            }
        })
    };
    match cli.command {
        Command::Send(send) => {
            let order = send.read()?;
            talk(order.timeout, &mut |client| send::run(&order, client, words))
        }
        Command::Call(call) => {
            let order = call.read()?;
            let body = call::body(&order)?;
            talk(order.timeout, &mut |client| call::run(&order, &body, client))
        }
        Command::Listen(listen) => {
            talk(listen.timeout.unwrap_or(CONNECT_TIMEOUT), &mut |client| listen::run(&listen, client, words))
        }
        Command::List(list) => talk(CONNECT_TIMEOUT, &mut |client| list::run(&list, cli.quiet, client)),
    }
}
