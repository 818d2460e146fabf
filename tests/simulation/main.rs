//! A seeded simulation of the service: thousands of short runs of peers that do what they like, and a
//! model of PROTOCOL.md that has to agree with the core after every step.
//!
//! `TELEX_SIM_SEED=n` replays one run, `TELEX_SIM_TRACE=1` prints every step of it, `TELEX_SIM_SEEDS`
//! says how many runs there are (from seed `TELEX_SIM_FIRST` on), `TELEX_SIM_ACTIONS` how long each is,
//! and with `TELEX_SIM_GOES_ON=1` a divergence is told in a line and the next seed is tried.
//!
//! Core runs are repeated with a core that is carried (`carry`) to another process, but for the process, between all steps.
//!
//! Two kinds of runs: one in which each event is followed to its end and compared exactly, and one in which work
//! is spread over many steps and other events come in between, held to a `ledger` of what peers read (`spread`).
//!
//! `clients` are the library's own, without threads and sockets, and held to a ledger of what they promise.
//!
//! `shell` treats the core as the daemon's loop does, `peers` draws what happens, `run` makes a whole
//! life of it. `model` has what the protocol's state is, `handling`, `routing`, `control` and `leaving`
//! what it says of lines, messages, requests to the daemon and ends, `fits` compares lines.

mod carry;
mod clients;
mod control;
mod fits;
#[path = "../fuzz/targets/core.rs"]
mod fuzz_core;
mod handling;
mod leaving;
mod ledger;
mod lines;
mod model;
mod peers;
mod random;
mod routing;
mod run;
mod scenarios;
mod shell;
mod spread;

#[test]
fn the_core_keeps_its_promises() {
    let mut total = run::Summary::default();
    for_each_seed(run::SEEDS, |seed| run::run(seed).map(|summary| total.add(&summary)));
    println!("{total:?}");
}

/// Handing over changes nothing, whenever it comes, but for orders that mean nothing (keys are given anew in another
/// one), and for how much memory is taken, and so for what comes while that is short.
#[cfg(feature = "daemon")]
#[test]
fn carried_to_another_process_between_all_steps_it_goes_on_as_if_nothing_had_been() {
    for_each_seed(run::CARRIED_SEEDS, |seed| {
        let (carried, usual) = (run::run_carried(seed)?, run::run(seed)?);
        match carried.depends_on_memory || carried.counts() == usual.counts() {
            true => Ok(()),
            false => Err(format!(
                "seed {seed} goes another way if it is carried: {carried:?} in place of {usual:?}"
            )),
        }
    });
}

#[test]
fn spread_work_keeps_the_promises() {
    let (mut read, mut lists) = (0, 0);
    for_each_seed(spread::SEEDS, |seed| {
        spread::run(seed).map(|(more_read, more_lists)| {
            read += more_read;
            lists += more_lists;
        })
    });
    println!("{read} messages were read, {lists} lists answered");
}

#[cfg(feature = "daemon")]
#[test]
fn spread_work_keeps_them_also_if_it_is_carried_to_another_process_between_all_steps() {
    for_each_seed(spread::CARRIED_SEEDS, |seed| spread::run_carried(seed).map(drop));
}

#[test]
fn clients_keep_the_promises() {
    let mut total = clients::Summary::default();
    for_each_seed(clients::SEEDS, |seed| clients::run(seed).map(|summary| total.add(&summary)));
    println!("{total:?}");
}

/// Runs the seeds that were asked for, or `usual` ones.
#[expect(clippy::print_stdout, reason = "a test says what it has done")]
fn for_each_seed(usual: u64, mut run: impl FnMut(u64) -> Result<(), String>) {
    let seeds = match run::number_from("TELEX_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = run::number_from("TELEX_SIM_FIRST").unwrap_or(1);
            first..first + run::number_from("TELEX_SIM_SEEDS").unwrap_or(usual)
        }
    };
    let started = std::time::Instant::now();
    let goes_on = run::number_from("TELEX_SIM_GOES_ON").is_some();
    let mut diverged = 0;
    for seed in seeds.clone() {
        match run(seed) {
            Ok(()) => {}
            Err(report) if goes_on => {
                diverged += 1;
                println!("{}", report.lines().take(4).collect::<Vec<_>>().join(" | "));
            }
            Err(report) => panic!("{report}"),
        }
    }
    assert_eq!(diverged, 0, "runs that diverged");
    println!("{} runs in {:.1?}", seeds.end - seeds.start, started.elapsed());
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [3, 77, 4711] {
        let (one, two) = (run::run(seed), run::run(seed));
        match (one, two) {
            (Ok(one), Ok(two)) => assert_eq!(one.hash, two.hash, "seed {seed}"),
            (one, two) => panic!("{:?} {:?}", one.err(), two.err()),
        }
    }
}

/// The body of the fuzz target, with data that means nothing: it has to compile and run without a fuzzer.
#[test]
fn the_fuzz_target_runs() {
    let mut random = random::Random::new(1);
    for _ in 0..300 {
        let data: Vec<u8> = (0..random.between(10, 800)).map(|_| random.word() as u8).collect();
        fuzz_core::run(&data);
    }
}
