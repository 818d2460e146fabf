//! A seeded simulation of the service: thousands of short runs of peers that do what they like, and a
//! model of PROTOCOL.md that has to agree with the core after every step.
//!
//! `TELEX_SIM_SEED=n` replays one run, `TELEX_SIM_TRACE=1` prints every step of it, `TELEX_SIM_SEEDS`
//! says how many runs there are (from seed `TELEX_SIM_FIRST` on), `TELEX_SIM_ACTIONS` how long each is,
//! and with `TELEX_SIM_GOES_ON=1` a divergence is told in a line and the next seed is tried.
//!
//! `shell` treats the core as the daemon's loop does, `peers` draws what happens, `run` makes a whole
//! life of it. `model` has what the protocol's state is, `handling`, `routing`, `control` and `leaving`
//! what it says of lines, messages, requests to the daemon and ends, `fits` compares lines.

mod control;
mod fits;
#[path = "../fuzz/targets/core.rs"]
mod fuzz_core;
mod handling;
mod leaving;
mod lines;
mod model;
mod peers;
mod random;
mod routing;
mod run;
mod scenarios;
mod shell;

#[test]
fn the_core_keeps_its_promises() {
    let seeds = match run::number_from("TELEX_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = run::number_from("TELEX_SIM_FIRST").unwrap_or(1);
            first..first + run::number_from("TELEX_SIM_SEEDS").unwrap_or(run::SEEDS)
        }
    };
    let started = std::time::Instant::now();
    let mut total = run::Summary::default();
    let goes_on = run::number_from("TELEX_SIM_GOES_ON").is_some();
    let mut diverged = 0;
    for seed in seeds.clone() {
        match run::run(seed) {
            Ok(summary) => total.add(&summary),
            Err(report) if goes_on => {
                diverged += 1;
                println!("{}", report.lines().take(4).collect::<Vec<_>>().join(" | "));
            }
            Err(report) => panic!("{report}"),
        }
    }
    assert_eq!(diverged, 0, "runs that diverged");
    let runs = seeds.end - seeds.start;
    println!("{runs} runs in {:.1?}: {total:?}", started.elapsed());
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
