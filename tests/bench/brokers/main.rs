//! What telexd costs, beside what others would cost in its place. `tests/bench/run` runs it, and
//! `tests/bench/README.md` says how each figure is taken.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "figures are what this is for")]

mod dialect;
mod frame;
mod load;
mod relay;
mod rows;
mod server;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use server::{Address, Server};
use table::Table;

/// How it was called.
struct Wanted {
    rounds: usize,
    /// How long each measurement takes.
    time: Duration,
    /// A part of the names of the rows that are wanted.
    rows: String,
    /// The same of columns; commas stand between several parts.
    columns: String,
    servers: Vec<Server>,
    /// Where to be the relay, instead.
    relay: Option<Address>,
}

const WHAT_THERE_IS: &str = "--quick, --rounds N, --rows PART, --columns PART, \
                             --with mosquitto, --with dbus-broker, --beside ANOTHER-TELEXD";

fn wanted() -> Result<Wanted, lexopt::Error> {
    let mut wanted = Wanted {
        rounds: 5,
        time: Duration::from_millis(500),
        rows: String::new(),
        columns: String::new(),
        servers: Server::USUAL.to_vec(),
        relay: None,
    };
    let mut parser = Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("quick") => (wanted.rounds, wanted.time) = (1, Duration::from_millis(100)),
            Arg::Long("rows") => wanted.rows = parser.value()?.string()?,
            Arg::Long("columns") => wanted.columns = parser.value()?.string()?,
            Arg::Long("rounds") => wanted.rounds = parser.value()?.parse()?,
            Arg::Long("beside") => {
                server::set_beside(parser.value()?.into());
                wanted.servers.extend(Server::BESIDE);
            }
            Arg::Long("with") => match parser.value()?.string()?.as_str() {
                "mosquitto" => wanted.servers.push(Server::MOSQUITTO),
                "dbus-broker" => wanted.servers.push(Server::DBUS_BROKER),
                strange => return Err(format!("no server that is known: {strange}").into()),
            },
            Arg::Long("relay") => {
                let parse = |text: &str| Address::parse(text).ok_or("no address");
                wanted.relay = Some(parser.value()?.parse_with(parse)?);
            }
            // Cargo says so to every benchmark.
            Arg::Long("bench") => {}
            strange => return Err(strange.unexpected()),
        }
    }
    Ok(wanted)
}

fn main() -> ExitCode {
    let wanted = match wanted() {
        Ok(wanted) => wanted,
        Err(error) => {
            eprintln!("{error}; what there is: {WHAT_THERE_IS}");
            return ExitCode::from(2);
        }
    };
    if let Some(address) = wanted.relay {
        return match relay::run(&address) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => panic!("the relay: {error}"),
        };
    }
    server::raise_descriptor_limit();
    let mut rows = rows::rows();
    rows.retain(|row| row.name.contains(&wanted.rows));
    let mut table = Table::default();
    let mut servers = wanted.servers;
    servers.retain(|server| wanted.columns.split(',').any(|part| server.name().contains(part)));
    let mut turns = servers.clone();
    for round in 1..=wanted.rounds {
        for row in &rows {
            eprintln!("round {round} of {}: {}", wanted.rounds, row.name);
            for &server in turns.iter().filter(|server| row.has(**server) && server.is_there()) {
                table.add(row, server, row.measure(server, wanted.time));
            }
        }
        // Nobody is always the first one on a core that has just been idle.
        turns.rotate_left(1);
    }
    println!("{}", table.show(&rows, &servers));
    for failure in &table.failures {
        println!("FAILED: {failure}");
    }
    if table.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
