//! Knows how long a plugin's calls may take, and which of them were late by the plugin's own doing.
//! Never: what a call says or answers, or what comes of a late one.

use std::fmt;
use std::time::{Duration, Instant};

use super::usage::{Usage, last_tick};

/// A budget is for a call that hands a plugin up to so many bytes, and grows with them beyond that.
const BUDGET_BYTES: usize = 64 * 1024;
/// If the clock has ticked during a call, the call may have been late, or the machine was busy with something
/// else. So many of the next calls of its kind are timed exactly, and only such a call can be late.
const WATCHED_CALLS: u32 = 1000;

/// What a plugin is called for. Each kind is watched by itself: a late timer does not pass among a thousand
/// quick messages.
#[derive(Clone, Copy, Debug)]
pub(super) enum Task {
    Judge,
    Event,
    Timer,
    Record,
    Flush,
}

impl Task {
    const COUNT: usize = Task::Flush as usize + 1;
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Task::Judge => "a message",
            Task::Event => "an event",
            Task::Timer => "a timer",
            Task::Record => "a record of the log",
            Task::Flush => "writing the log",
        })
    }
}

/// A call that took longer than it may. `Display` goes behind the plugin's name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Late {
    task: Task,
    took: Duration,
    allowed: Duration,
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (took, allowed) = (self.took.as_secs_f64() * 1e3, self.allowed.as_secs_f64() * 1e3);
        write!(f, "took {took:.1} ms for {}, and its budget is {allowed:.1} ms", self.task)
    }
}

/// How the calls of one plugin are timed.
#[derive(Debug)]
pub(super) struct Pace {
    budget: Duration,
    /// So many of the next calls are watched, for each kind.
    watched: [u32; Task::COUNT],
}

impl Pace {
    pub(super) fn new(budget: Duration) -> Pace {
        Pace { budget, watched: [0; Task::COUNT] }
    }

    /// Makes a call; gives its answer, and whether it was late. `bytes` is how much it is handed, which is
    /// asked only if that matters.
    ///
    /// Two looks at a coarse clock are all that this costs as long as nothing seems late.
    #[inline(always)]
    pub(super) fn time(
        &mut self,
        task: Task,
        bytes: impl FnOnce() -> usize,
        call: impl FnOnce() -> i32,
    ) -> (i32, Option<Late>) {
        if self.watched[task as usize] > 0 {
            return self.watch(task, bytes, call);
        }
        let before = last_tick();
        let answer = call();
        let after = last_tick();
        if after != before && Duration::from(after - before) > self.allowed(bytes()) {
            self.watched[task as usize] = WATCHED_CALLS;
        }
        (answer, None)
    }

    /// Makes a call and times it exactly: only what the plugin used of the machine itself makes it late.
    #[inline(never)]
    fn watch(
        &mut self,
        task: Task,
        bytes: impl FnOnce() -> usize,
        call: impl FnOnce() -> i32,
    ) -> (i32, Option<Late>) {
        self.watched[task as usize] -= 1;
        let before = Usage::now();
        let began = Instant::now();
        let answer = call();
        let took = began.elapsed();
        if took <= self.budget {
            return (answer, None);
        }
        let allowed = self.allowed(bytes());
        let is_late = took > allowed && Usage::now().is_to_blame(before, allowed);
        (answer, is_late.then_some(Late { task, took, allowed }))
    }

    /// How long a call may take that hands the plugin so many bytes.
    fn allowed(&self, bytes: usize) -> Duration {
        self.budget.mul_f64(bytes.max(BUDGET_BYTES) as f64 / BUDGET_BYTES as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_millis(1);

    /// Makes calls of a kind that sleep so long, until one is late or there were many.
    fn is_ever_late(pace: &mut Pace, task: Task, bytes: usize, sleep: Duration) -> bool {
        let call = || {
            std::thread::sleep(sleep);
            0
        };
        (0..50).any(|_| pace.time(task, || bytes, call).1.is_some())
    }

    #[test]
    fn a_budget_grows_with_the_bytes() {
        let pace = Pace::new(BUDGET);
        for (bytes, ms) in [(0, 1), (1, 1), (64 << 10, 1), (128 << 10, 2), (64 << 20, 1024)] {
            assert_eq!(pace.allowed(bytes), Duration::from_millis(ms), "{bytes}");
        }
    }

    #[test]
    fn one_late_call_is_none_yet_and_the_next_one_is() {
        let mut pace = Pace::new(BUDGET);
        let call = || {
            std::thread::sleep(Duration::from_millis(30));
            0
        };
        assert!(pace.time(Task::Judge, || 0, call).1.is_none());
        let late = pace.time(Task::Judge, || 0, call).1.expect("late");
        let told = late.to_string();
        assert!(told.starts_with("took ") && told.ends_with(" ms for a message, and its budget is 1.0 ms"));
    }

    #[test]
    fn quick_calls_of_one_kind_do_not_hide_late_ones_of_another() {
        let mut pace = Pace::new(BUDGET);
        let mut is_late = false;
        for _ in 0..10 {
            let late = || {
                std::thread::sleep(Duration::from_millis(20));
                0
            };
            is_late |= pace.time(Task::Timer, || 0, late).1.is_some();
            for _ in 0..2 * WATCHED_CALLS {
                pace.time(Task::Judge, || 0, || 0);
            }
        }
        assert!(is_late);
    }

    #[test]
    fn what_is_in_proportion_is_not_late() {
        let mut pace = Pace::new(BUDGET);
        assert!(!is_ever_late(&mut pace, Task::Judge, 64 << 20, Duration::from_millis(5)));
        assert!(is_ever_late(&mut pace, Task::Judge, 64 << 10, Duration::from_millis(5)));
    }

    #[test]
    fn a_busy_machine_makes_nothing_late() {
        let deadline = Instant::now() + Duration::from_millis(300);
        let spin = move || while Instant::now() < deadline {};
        let busy: Vec<_> = (0..16).map(|_| std::thread::spawn(spin)).collect();
        let mut pace = Pace::new(BUDGET);
        let call = || {
            let end = Instant::now() + BUDGET / 10;
            while Instant::now() < end {}
            0
        };
        while Instant::now() < deadline {
            pace.watched[Task::Judge as usize] = WATCHED_CALLS;
            assert!(pace.time(Task::Judge, || 0, call).1.is_none());
        }
        busy.into_iter().for_each(|thread| thread.join().expect("it spins"));
    }
}
