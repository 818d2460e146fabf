//! Knows how the service manager is told of the daemon's state (sd_notify(3)). Without a service
//! manager nothing is told.
//! Never: decides what the state is.

use std::io;

use nix::sys::stat::fstat;
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
/// (sd-daemon(3)). $JOURNAL_STREAM alone does not say so: whatever a service starts inherits it, such
/// as the shell in a terminal whose stderr is the terminal.
pub fn is_journal() -> bool {
    let Ok(stderr) = fstat(io::stderr()) else { return false };
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| names(&stream, stderr.st_dev, stderr.st_ino))
}

/// Whether `stream` is `DEVICE:INODE` of this file.
fn names(stream: &str, device: u64, inode: u64) -> bool {
    stream == format!("{device}:{inode}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_named_by_device_and_inode() {
        assert!(names("8:1234", 8, 1234));
        for other in ["", "8", "8:", "8:123", "9:1234", "8:12345", "8:1234:"] {
            assert!(!names(other, 8, 1234), "{other}");
        }
    }
}
