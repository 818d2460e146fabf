//! Measures the client library beside others, as `README.md` says.

mod servers;
mod ways;

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

use crate::servers::Server;
use crate::ways::Done;

type Run = fn(&str, usize, Instant) -> Done;

struct Way {
    name: &'static str,
    server: Server,
    run: Run,
    in_flight: &'static [usize],
}

const ALL: &[usize] = &[1, 64, 1000];

const WAYS: &[Way] = &[
    Way { name: "telex tcp client", server: Server::TelexTcp, run: ways::telex_client, in_flight: &[1] },
    Way { name: "telex tcp blocking", server: Server::TelexTcp, run: ways::telex_blocking, in_flight: ALL },
    Way { name: "telex tcp futures", server: Server::TelexTcp, run: ways::telex_futures, in_flight: ALL },
    Way { name: "async-nats futures", server: Server::Nats, run: ways::nats_futures, in_flight: ALL },
    Way { name: "redis blocking", server: Server::Redis, run: ways::redis_blocking, in_flight: ALL },
    Way { name: "redis futures", server: Server::Redis, run: ways::redis_futures, in_flight: ALL },
    Way { name: "telex unix client", server: Server::TelexUnix, run: ways::telex_client, in_flight: &[1] },
    Way { name: "telex unix blocking", server: Server::TelexUnix, run: ways::telex_blocking, in_flight: ALL },
    Way { name: "telex unix futures", server: Server::TelexUnix, run: ways::telex_futures, in_flight: ALL },
    Way { name: "zbus futures", server: Server::Dbus, run: ways::zbus_futures, in_flight: ALL },
    Way {
        name: "telex unix publish",
        server: Server::TelexUnix,
        run: ways::telex_publish,
        in_flight: &[1000],
    },
];

/// Requests per second, and nanoseconds of client CPU for each.
#[derive(Clone, Copy, Debug)]
struct Figure {
    per_second: f64,
    cpu: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", server, address] => ways::serve(server, address),
        ["measure", way, address, in_flight, milliseconds] => {
            measure(
                way,
                address,
                in_flight.parse().expect("a number"),
                milliseconds.parse().expect("a number"),
            );
        }
        ["beside", address, milliseconds] => {
            let until = Instant::now() + Duration::from_millis(milliseconds.parse().expect("a number"));
            let [bare, call] = ways::beside_a_socket(address, until);
            println!("{bare} {call}");
        }
        [] => compare(5, 3000),
        ["--quick"] => compare(1, 300),
        _ => panic!("run [--quick]"),
    }
}

/// In a process of its own, so that all that it spends is the way's.
fn measure(way: &str, address: &str, in_flight: usize, milliseconds: u64) {
    let way = WAYS.iter().find(|of| of.name == way).expect("a way");
    (way.run)(address, in_flight, Instant::now() + Duration::from_millis(milliseconds / 5));
    let (before, began) = (cpu(), Instant::now());
    let done = (way.run)(address, in_flight, began + Duration::from_millis(milliseconds));
    let (spent, took) = (cpu() - before, began.elapsed());
    println!("{} {}", done as f64 / took.as_secs_f64(), spent.as_nanos() as f64 / done as f64);
}

/// What this process has spent on a processor, kernel included.
fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the usage");
    let of = |time: nix::sys::time::TimeVal| {
        Duration::from_micros(time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64)
    };
    of(usage.user_time()) + of(usage.system_time())
}

/// Has this program run once more; two numbers are what it prints.
fn again(arguments: &[&str]) -> [f64; 2] {
    let own = std::env::current_exe().expect("this program");
    let output = Command::new(own).args(arguments).output().expect("it can be run");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let mut numbers = text.split_whitespace().map(|number| number.parse().expect("a number"));
    [numbers.next().expect("two"), numbers.next().expect("two")]
}

fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Measures all ways in turn, so many times, and prints the figures in the middle.
fn compare(rounds: usize, milliseconds: u64) {
    let milliseconds = milliseconds.to_string();
    println!("{:<22}{:>10}{:>14}{:>14}", "", "in flight", "requests/s", "CPU ns each");
    let mut figures: Vec<(&str, usize, Figure)> = Vec::new();
    for way in WAYS {
        if !way.server.is_there() {
            println!("{:<22} has no server here", way.name);
            continue;
        }
        for &in_flight in way.in_flight {
            let run = |_| {
                let server = way.server.start();
                again(&["measure", way.name, &server.address, &in_flight.to_string(), &milliseconds])
            };
            let runs: Vec<[f64; 2]> = (0..rounds).map(run).collect();
            let of = |which: usize| middle(runs.iter().map(|run| run[which]).collect());
            let figure = Figure { per_second: of(0), cpu: of(1) };
            println!("{:<22}{in_flight:>10}{:>14.0}{:>14.0}", way.name, figure.per_second, figure.cpu);
            figures.push((way.name, in_flight, figure));
        }
    }
    let find = |name: &str, in_flight: usize| {
        figures.iter().find(|of| of.0 == name && of.1 == in_flight).map(|of| of.2)
    };
    println!();
    for in_flight in [64, 1000] {
        for way in ["telex tcp blocking", "telex tcp futures"] {
            if let (Some(ours), Some(theirs)) = (find(way, in_flight), find("async-nats futures", in_flight))
            {
                let (rate, cpu) = (ours.per_second / theirs.per_second, ours.cpu / theirs.cpu);
                println!(
                    "{way}, {in_flight} in flight: {rate:.2} of async-nats' requests (at least 1.5), {cpu:.2} of its CPU (at most 0.6)"
                );
            }
        }
    }
    for server in [Server::TelexTcp, Server::TelexUnix] {
        let run = |_| {
            let server = server.start();
            let [bare, call] = again(&["beside", &server.address, &milliseconds]);
            call / bare
        };
        let ratio = middle((0..rounds).map(run).collect());
        println!(
            "{}: a blocking call takes {ratio:.3} of a bare socket's round trip (at most 1.1)",
            server.word()
        );
    }
    if let Some(publish) = find("telex unix publish", 1000) {
        println!("a published message of 128 bytes takes {:.0} ns of client CPU (at most 150)", publish.cpu);
    }
}
