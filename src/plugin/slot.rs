//! Knows one plugin that is in force: its settings, how it fared, and when it is given up.
//! Never: what a message means, or which other plugins there are.

use std::time::Duration;

use telex_plugin::raw;

use super::ffi::Instance;
use super::file::Version;
use super::pace::Pace;
use super::workshop::Standing;
use crate::core::{Counters, Repeats};
use crate::plugin_settings::{OnFault, PluginSettings};

/// A strike is forgotten when no other follows for so long.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// A plugin that is in force.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) settings: PluginSettings,
    pub(super) version: Version,
    pub(super) instance: Instance,
    pub(super) counters: Counters,
    pub(super) pace: Pace,
    /// Bytes of records that it was handed since it was last told to write them.
    pub(super) unflushed_bytes: usize,
    /// It has failed too often: it is not called any more.
    pub(super) is_out: bool,
    /// Those that are not forgiven.
    strikes: u32,
    struck_at: Option<Duration>,
    /// Faults and late calls, as the log has them.
    told: Repeats,
    /// How often it wants to hear of its timer, in milliseconds, and when it does next.
    timer: Option<(u64, Duration)>,
}

impl Slot {
    pub(super) fn new(settings: PluginSettings, version: Version, instance: Instance) -> Slot {
        Slot {
            counters: Counters { name: settings.name.clone(), ..Counters::default() },
            pace: Pace::new(settings.budget),
            settings,
            version,
            instance,
            unflushed_bytes: 0,
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
        Standing { settings: self.settings.clone(), version: self.version, stays }
    }

    /// Whether it takes the log's records and judges no messages. Such a plugin is told of in the log and
    /// never given up: the log is worth more than the time that it takes.
    fn only_logs(&self) -> bool {
        self.instance.is_log() && !self.instance.is_filter()
    }

    /// Whether a connection is refused if this plugin fails to say what it thinks of it.
    pub(super) fn denies_on_fault(&self) -> bool {
        self.settings.on_fault == OnFault::Deny && !self.only_logs()
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
        let is_too_many = !self.is_out && !self.only_logs() && self.strikes >= self.settings.strikes;
        self.is_out |= is_too_many;
        (text, is_too_many)
    }

    /// What is said when it is given up.
    pub(super) fn given_up(&self) -> String {
        let strikes = self.settings.strikes;
        let then = match (self.instance.is_filter(), self.settings.on_fault) {
            (true, OnFault::Deny) => "the messages that it was to judge are refused",
            (true, OnFault::Pass) => "the messages that it was to judge go on without it",
            (false, _) => "the others go on without it",
        };
        format!(
            "failed or was late {strikes} times and is not called any more until the configuration is read again: {then}"
        )
    }
}
