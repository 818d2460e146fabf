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

use std::process::ExitCode;

use clap::Parser;
use telex::address::Address;
use telex::client::{self, Client};

use crate::args::{Cli, Command};
use crate::exit::{Exit, Failure};
use crate::output::Words;

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
    let connect = || Client::connect(&address).map_err(|error| Failure::unreachable(&address, &error));
    let done = match cli.command {
        Command::Send(send) => send::run(&send.read()?, connect, words),
        Command::Call(call) => call::run(&call.read()?, connect, words),
        Command::Listen(listen) => listen::run(&listen, connect, words),
        Command::List(list) => list::run(&list, cli.quiet, connect),
    };
    match done {
        Err(failure) if failure.exit == Exit::BrokenPipe => Ok(()),
        done => done,
    }
}
