//! Knows what the service manager is told of the daemon while it runs, and when.
//! Never: how it is told.

use std::time::Duration;

use crate::address::Address;
use crate::daemon::Daemon;
use crate::sys::{State, watchdog};

/// The status is told at most so often.
const STATUS_EVERY: Duration = Duration::from_secs(10);
/// What an end may take beyond `drain_timeout`: plugins and the log have to end, too.
const END_MARGIN: Duration = Duration::from_secs(10);

/// What has been told, and what is due.
#[derive(Debug)]
pub(super) struct Notices {
    /// How often the service manager wants a sign of life, halved: from one turn to the next it may take a little longer.
    /// None: it wants none.
    feed_every: Option<Duration>,
    feed_at: Duration,
    /// Connections and nodes, as the status has them.
    told: (usize, usize),
    /// When the status may be told again.
    status_at: Duration,
}

impl Default for Notices {
    fn default() -> Notices {
        let feed_every = watchdog().map(|within| within / 2);
        Notices { feed_every, feed_at: Duration::ZERO, told: (0, 0), status_at: Duration::ZERO }
    }
}

impl Notices {
    /// When the loop has to turn at the latest. The watchdog alone wakes it: a status that has changed meanwhile is told
    /// in the next turn that there is.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.feed_every.map(|_| self.feed_at)
    }
}

impl Daemon {
    /// Tells what is due. That it is called shows that the loop turns.
    pub(super) fn notify(&mut self, now: Duration) {
        if let Some(every) = self.notices.feed_every
            && now >= self.notices.feed_at
        {
            self.notices.feed_at = now + every;
            self.service_manager.tell(State::Alive);
        }
        if self.stop_at.is_none() && now >= self.notices.status_at && self.figures() != self.notices.told {
            let status = self.status(now);
            self.service_manager.tell(State::Status(status));
        }
    }

    /// Tells that the daemon serves.
    pub(super) fn tell_ready(&mut self, now: Duration) {
        let status = self.status(now);
        self.service_manager.tell(State::Ready(status));
    }

    /// Tells that the daemon ends, and how long that may take.
    pub(super) fn tell_stopping(&mut self) {
        self.service_manager.tell(State::Stopping(self.config.drain_timeout + END_MARGIN));
    }

    fn figures(&self) -> (usize, usize) {
        (self.switch.core.connections(), self.switch.core.nodes())
    }

    /// One line for `systemctl status`.
    fn status(&mut self, now: Duration) -> String {
        self.notices.told = self.figures();
        self.notices.status_at = now + STATUS_EVERY;
        let (connections, nodes) = self.notices.told;
        let addresses: Vec<_> = self.addresses().map(Address::to_string).collect();
        format!("connections: {connections}; nodes: {nodes}; listening on {}", addresses.join(", "))
    }
}
