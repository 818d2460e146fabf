//! Knows one plugin that is in force: what it was asked to be, how it fared, and when it is given up.
//! Never: what a message means, or who else is called.

use std::time::Duration;

use telex_plugin::raw;

use super::ffi::Instance;
use super::file::Version;
use super::workshop::Standing;
use crate::core::Repeats;

/// What becomes of a message where its filter fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFault {
    /// It is refused.
    Deny,
    /// It goes on.
    Pass,
}

/// What the configuration says of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Absolute, or what it is called in the plugins' directory.
    pub path: String,
    /// Its name in the log, in counters and for who is refused; no two have the same.
    pub name: String,
    /// A JSON object, handed on as it is.
    pub config: String,
    /// Whether nothing goes without it.
    pub required: bool,
    /// Of a filter.
    pub on_fault: OnFault,
    /// How long one call may take.
    pub budget: Duration,
    /// After so many faults and late calls, each within a minute of the one before, it is not called any
    /// more.
    pub strikes: u32,
}

/// A strike is forgotten when no other follows for so long.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// A plugin that is in force.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) wanted: Wanted,
    pub(super) version: Version,
    pub(super) instance: Instance,
    pub(super) counters: Counters,
    /// So many of the next calls are watched for whose time they take.
    pub(super) suspected: u32,
    /// It has failed too often: it is not called any more.
    pub(super) is_out: bool,
    /// Those that are not forgiven.
    strikes: u32,
    struck_at: Option<Duration>,
    /// Faults and late calls, as the log has them.
    told: Repeats,
    /// How often it wants to hear of its timer, and when it does next.
    timer: Option<(u64, Duration)>,
}

/// How a plugin fared (PROTOCOL.md section 12).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) calls: u64,
    pub(super) pass: u64,
    pub(super) drop: u64,
    pub(super) reject: u64,
    pub(super) replace: u64,
    pub(super) nanoseconds: u64,
    pub(super) strikes: u64,
}

impl Slot {
    pub(super) fn new(wanted: Wanted, version: Version, instance: Instance) -> Slot {
        Slot {
            wanted,
            version,
            instance,
            counters: Counters::default(),
            suspected: 0,
            is_out: false,
            strikes: 0,
            struck_at: None,
            told: Repeats::default(),
            timer: None,
        }
    }

    /// What a new configuration is compared with.
    pub(super) fn standing(&self) -> Standing {
        let stays = !self.is_out && self.instance.wants(raw::RELOADED);
        Standing { wanted: self.wanted.clone(), version: self.version, stays }
    }

    /// Whether a connection is refused where this plugin fails to say what it thinks of it.
    pub(super) fn denies_on_fault(&self) -> bool {
        self.wanted.on_fault == OnFault::Deny && (self.instance.is_filter() || !self.instance.is_log())
    }

    /// When its timer passes next; one that has been set anew begins `now`.
    pub(super) fn next_timer(&mut self, now: Duration) -> Option<Duration> {
        let every = self.instance.timer();
        if self.timer.map_or(0, |(set, _)| set) != every {
            self.timer = (every > 0).then(|| (every, now + Duration::from_millis(every)));
        }
        self.timer.filter(|_| !self.is_out).map(|(_, at)| at)
    }

    /// Whether its timer has passed; then it begins anew.
    pub(super) fn timer_has_passed(&mut self, now: Duration) -> bool {
        let has_passed = self.next_timer(now).is_some_and(|at| at <= now);
        if has_passed && let Some((every, at)) = &mut self.timer {
            *at = now + Duration::from_millis(*every);
        }
        has_passed
    }

    /// Counts a fault or a late call. Gives what there is to log of it, and whether it was one too many.
    /// `now` is monotonic.
    pub(super) fn strike(&mut self, now: Duration, what: &str) -> (Option<String>, bool) {
        self.counters.strikes += 1;
        if self.struck_at.is_some_and(|at| now > at + FORGIVEN_AFTER) {
            self.strikes = 0;
        }
        self.struck_at = Some(now);
        self.strikes += 1;
        let text = self.told.count(now).map(|count| match count {
            1 => what.to_owned(),
            count => format!("failed or was late {count} more times; now it {what}"),
        });
        let is_too_many = !self.is_out && self.strikes >= self.wanted.strikes;
        self.is_out |= is_too_many;
        (text, is_too_many)
    }

    /// What is said when it is given up.
    pub(super) fn given_up(&self) -> String {
        let strikes = self.wanted.strikes;
        let then = match (self.instance.is_filter(), self.wanted.on_fault) {
            (true, OnFault::Deny) => "the messages that it was to judge are refused",
            (true, OnFault::Pass) => "the messages that it was to judge go on without it",
            (false, _) => "the others go on without it",
        };
        format!(
            "failed or was late {strikes} times and is not called any more until the configuration is read again: {then}"
        )
    }
}
