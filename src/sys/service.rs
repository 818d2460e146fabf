//! Knows how the service manager is told of the daemon's state (sd_notify(3)). Without a service
//! manager nothing is told to anybody.
//! Never: decides what the state is.

use std::io;

use sd_notify::NotifyState;

/// The daemon serves; `status` is one line for `systemctl status`.
pub fn notify_ready(status: &str) -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)])
}

/// The configuration is being read again; [`notify_ready`] follows.
pub fn notify_reloading() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Reloading, NotifyState::monotonic_usec_now()?])
}

/// The daemon is ending.
pub fn notify_stopping() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Stopping])
}

/// Whether stderr is read by the journal, which takes a level in front of each line
/// (sd-daemon(3)).
pub fn is_journal() -> bool {
    std::env::var_os("JOURNAL_STREAM").is_some()
}
