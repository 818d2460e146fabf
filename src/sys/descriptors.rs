//! Knows the process's file descriptors: how many it may have, and which it was started with.
//! Never: reads or writes one.
#![expect(unsafe_code, reason = "a descriptor that was passed on by number has to be owned by somebody")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one, and says what it is now.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// The sockets that the service manager has opened for this process (sd_listen_fds(3)). They are
/// handed out once: a second call in one process gives none.
pub fn inherited() -> io::Result<Vec<OwnedFd>> {
    static TAKEN: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    if TAKEN.swap(true, std::sync::atomic::Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let numbers = sd_notify::listen_fds()?;
    // SAFETY: LISTEN_PID names this process, so these descriptors were passed on to it and nothing
    // else in it has opened or taken them; they are taken once.
    Ok(numbers.map(|number| unsafe { OwnedFd::from_raw_fd(number) }).collect())
}
