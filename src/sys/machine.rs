//! Knows the real clocks, the host's name, its groups and the daemon's own user.
//! Never: what that is asked for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::clock::Now;

/// The machine's clocks. The steady one is the same for all processes until the machine ends (CLOCK_MONOTONIC,
/// clock_gettime(2)): one that goes on with another's state has the same deadlines.
#[derive(Clone, Copy, Debug)]
pub struct Clock;

impl Clock {
    /// Reads both clocks.
    pub fn now(self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        // The kernel always has it.
        let mono = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        Now { mono, wall }
    }
}

/// The host's name (gethostname(2)), or `localhost` if it has none that is text.
pub fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}

/// Whether there is a group of this name. If that cannot be found out there may be. Asks NSS, which can take seconds.
pub fn has_group(name: &str) -> bool {
    !matches!(nix::unistd::Group::from_name(name), Ok(None))
}

/// The daemon's own user.
pub fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Whether that is root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
