//! Knows how one seed becomes a whole run, from its limits to the empty house at the end.
//! Never: what is right.

use std::time::Duration;

use telex::core::Tuning;
use telex::limits::{Limits, SharedNames};

use crate::model::Checked;
use crate::peers;
use crate::random::Random;
use crate::shell::{Reads, World};

/// As many as fit about 10 s of one core.
pub(crate) const SEEDS: u64 = 350;
#[cfg(feature = "daemon")]
pub(crate) const CARRIED_SEEDS: u64 = 100;

/// What a run, or many of them, amounted to.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) actions: u64,
    pub(crate) calls: u64,
    pub(crate) ambiguous: u64,
    /// Lines that waited for room.
    pub(crate) paused: u64,
    pub(crate) stalled: u64,
    pub(crate) untold: u64,
    pub(crate) missed: u64,
    pub(crate) delivered: u64,
    pub(crate) hash: u64,
    /// Memory was short, or how much is taken was told.
    pub(crate) depends_on_memory: bool,
}

impl Summary {
    /// What does not depend on orders that mean nothing.
    #[cfg(feature = "daemon")]
    pub(crate) fn counts(&self) -> [u64; 6] {
        [self.actions, self.paused, self.stalled, self.untold, self.missed, self.delivered]
    }

    pub(crate) fn add(&mut self, other: &Summary) {
        self.actions += other.actions;
        self.calls += other.calls;
        self.ambiguous += other.ambiguous;
        self.paused += other.paused;
        self.stalled += other.stalled;
        self.untold += other.untold;
        self.missed += other.missed;
        self.delivered += other.delivered;
        self.hash ^= other.hash;
    }
}

pub(crate) fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// One run, or the report of where core and model parted.
pub(crate) fn run(seed: u64) -> Result<Summary, String> {
    run_with(seed, false)
}

/// The same with a core that [`is_carried`](World::is_carried).
#[cfg(feature = "daemon")]
pub(crate) fn run_carried(seed: u64) -> Result<Summary, String> {
    run_with(seed, true)
}

fn run_with(seed: u64, is_carried: bool) -> Result<Summary, String> {
    let mut random = Random::new(seed);
    let (limits, tight) = limits(&mut random);
    let tuning = tuning(&mut random);
    let actions = number_from("TELEX_SIM_ACTIONS").unwrap_or_else(|| random.between(60, 260) as u64);
    let mut world = World::new(random, limits, tuning.clone(), tight);
    world.is_carried = is_carried;
    world.is_crowded = world.random.one_in(2);
    let mut done = 0;
    let outcome = no_panic(|| go(&mut world, actions, &mut done));
    match outcome {
        Ok(()) => Ok(Summary {
            actions: done,
            calls: world.calls,
            ambiguous: u64::from(world.is_ambiguous),
            paused: world.model().tickets,
            stalled: world.stalled,
            untold: world.core.stats().untold,
            missed: world.core.stats().missed,
            delivered: world.core.stats().delivered,
            hash: world.hash,
            depends_on_memory: world.model().tight || world.tells_memory,
        }),
        Err(divergence) => Err(format!(
            "DIVERGENCE: seed {seed}{}, action {done} of {actions}, call {}\n{divergence}\n\nthe last steps:\n{}\n\n\
             replay with TELEX_SIM_SEED={seed} cargo test --test simulation\n{:?}\n{tuning:?}",
            if world.model().tight { " (short of memory)" } else { "" },
            world.calls,
            Vec::from(world.log).join("\n"),
            world.limits,
        )),
    }
}

fn limits(random: &mut Random) -> (Limits, bool) {
    let wide = random.one_in(8);
    let max_line_bytes = if wide { 20_000 } else { random.between(200, 1000) };
    let tight = random.one_in(5);
    let limits = Limits {
        max_line_bytes,
        max_queue_bytes: max_line_bytes * random.between(4, 6),
        max_memory_bytes: if tight { random.between(2_000, 30_000) } else { 1 << 30 },
        max_connections: if random.one_in(10) { 5 } else { 100 },
        max_connections_per_uid: if random.one_in(10) { 3 } else { 100 },
        max_names: random.between(1, 5),
        max_requests: random.between(2, 12),
        max_subscriptions: random.between(2, 8),
        max_known_nodes: 10,
        request_timeout: Duration::from_secs(random.between(1, 60) as u64),
        stall_timeout: Duration::from_secs(10),
        shared_names: SharedNames::User,
    };
    (limits, tight)
}

/// Thresholds: those of the daemon, or small ones, so that few steps reach them.
fn tuning(random: &mut Random) -> Tuning {
    if random.one_in(3) {
        return Tuning { check_every: 1, ..Tuning::default() };
    }
    // The shell looks at whole queues.
    Tuning { gathered_bytes: Tuning::default().gathered_bytes, ..small_tuning(random) }
}

pub(crate) fn small_tuning(random: &mut Random) -> Tuning {
    let efforts = random.pick(&[5, 20, 60, 200]);
    Tuning {
        line_effort: random.between(1, efforts),
        settle_effort: random.between(1, efforts),
        publish_step: random.between(1, 3),
        stale_timers_min: random.between(0, 4),
        timers_together_max: 3,
        block_bytes: random.between(64, 3000),
        shared_bytes_min: random.between(0, 2000),
        early_write_bytes: random.between(0, 2000),
        compact_bytes: random.between(0, 1000),
        spare_bytes_each_max: random.between(0, 3000),
        spare_bytes_max: random.between(0, 10_000),
        short_news_bytes: random.between(100, 2000),
        short_answer_bytes: random.between(0, 1000),
        gathered_bytes: random.between(1, 2000),
        check_every: 1,
    }
}

/// A broken promise of the core's to itself is told like one to the model.
pub(crate) fn no_panic(act: impl FnOnce() -> Checked) -> Checked {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

fn go(world: &mut World, actions: u64, done: &mut u64) -> Checked {
    let stops = world.random.one_in(12);
    while *done < actions {
        *done += 1;
        peers::act(world)?;
        for _ in 0..world.random.below(4) {
            world.turn()?;
        }
        if world.random.one_in(60) {
            settle(world)?;
        }
        if world.is_ambiguous {
            return Ok(());
        }
    }
    if stops {
        world.stop()?;
        return drain_after_stop(world);
    }
    settle(world)?;
    leave(world)?;
    if world.is_ambiguous {
        return Ok(());
    }
    look_around(world)
}

/// With all peers reading and no time passing, all that was sent is handled.
pub(crate) fn settle(world: &mut World) -> Checked {
    world.note(|| "everybody reads".to_owned());
    let mut rounds = 0;
    loop {
        let numbers: Vec<u64> = world.sessions.keys().copied().collect();
        for &number in &numbers {
            if let Some(session) = world.sessions.get_mut(&number) {
                session.reads = Reads::Everything;
            }
            world.write(number)?;
        }
        world.finish_turn()?;
        if world.is_ambiguous {
            return Ok(());
        }
        if world.is_idle() {
            break;
        }
        world.turn()?;
        rounds += 1;
        if rounds > 10_000 {
            return Err("the core never comes to rest".to_owned());
        }
    }
    for (number, session) in &world.sessions {
        let is_read = world.model().conn(*number).is_some_and(|conn| !conn.leaving);
        if !session.inbox.is_empty() && is_read {
            return Err(format!(":{number} is never read again: its Resume was forgotten"));
        }
        if let Some(conn) = world.model().conn(*number) {
            if conn.held.is_some() || conn.roll_call.is_some() {
                return Err(format!(":{number} waits for ever"));
            }
            let backlog: Vec<u8> = conn.backlog.iter().copied().collect();
            let mut whole =
                backlog.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
            // Empty lines may be thrown away at any time.
            if whole.any(|line| !line.trim_ascii().is_empty()) {
                return Err(format!("lines of :{number} are forgotten"));
            }
            if !conn.queue.is_empty() && !session.broke {
                return Err(format!(":{number} reads, and its queue is not empty"));
            }
        }
    }
    Ok(())
}

/// Everybody goes, in one way or the other; those who wait for answers go when their time is over.
fn leave(world: &mut World) -> Checked {
    let numbers: Vec<u64> = world.sessions.keys().copied().collect();
    for number in numbers {
        match world.random.one_in(2) {
            true => world.half_close(number),
            false => world.hang_up(number)?,
        }
        world.turn()?;
    }
    for _ in 0..10_000 {
        settle(world)?;
        if world.sessions.is_empty() || world.is_ambiguous {
            return Ok(());
        }
        let Some(left) = world.time_to_deadline() else {
            let who: Vec<_> =
                world.sessions.keys().filter_map(|number| world.model().conn(*number)).collect();
            return Err(format!("somebody never goes, and nothing is due: {who:?}"));
        };
        world.pass_time(left)?;
    }
    Err("somebody never goes".to_owned())
}

/// When all have gone nothing is left of them.
pub(crate) fn look_around(world: &mut World) -> Checked {
    let Some(number) = world.connect(Some(0), true)? else {
        return Err("nobody is there, and a connection is refused".to_owned());
    };
    let expected = [
        "\"nodes\":0",
        "\"subscriptions\":0",
        "\"open_requests\":0",
        "\"paused\":0",
        "\"queue_bytes\":0",
        "\"now\":1",
        "\"memory_bytes\":0",
    ];
    let mut missing = "an answer";
    // The line that asks may itself be kept for a moment where it comes in pieces.
    for _ in 0..20 {
        world.send(number, b"{\"message_type\":\"stats\"}\n");
        while !world.is_idle() {
            world.turn()?;
        }
        let answer = world.log.iter().rev().find(|line| line.contains("stats_reply"));
        match expected.iter().find(|expected| !answer.is_some_and(|answer| answer.contains(*expected))) {
            None => return Ok(()),
            Some(expected) => missing = expected,
        }
    }
    Err(format!("all have gone, and stats do not say {missing}"))
}

fn drain_after_stop(world: &mut World) -> Checked {
    let numbers: Vec<u64> = world.sessions.keys().copied().collect();
    for number in numbers {
        if let Some(session) = world.sessions.get_mut(&number) {
            session.reads = Reads::Everything;
        }
        world.write(number)?;
    }
    if !world.core.is_drained() {
        return Err("all has been written after the stop, and somebody is owed more".to_owned());
    }
    Ok(())
}
