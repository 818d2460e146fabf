//! Knows the sockets that the service manager has opened for this process.
//! Never: what they are for.
#![expect(unsafe_code, reason = "descriptors that are passed on by number")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// A socket that the service manager has opened.
#[derive(Debug)]
pub struct Inherited {
    /// The socket.
    pub socket: OwnedFd,
    /// Its name (`FileDescriptorName=`, systemd.socket(5)); `unknown` without one.
    pub name: String,
}

/// The sockets that the service manager has opened for this process (sd_listen_fds_with_names(3)). They are
/// handed out once: a second call in one process gives none.
pub fn inherited() -> io::Result<Vec<Inherited>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let numbers = sd_notify::listen_fds().inspect_err(|_| TAKEN.store(false, Ordering::Relaxed));
    let numbers = numbers.map_err(|error| match error.raw_os_error() {
        Some(nix::libc::EBADF) => {
            let count = std::env::var("LISTEN_FDS").unwrap_or_default();
            let text =
                format!("of the {count} descriptors from 3 on that LISTEN_FDS tells of, one is not open");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        }
        _ => error,
    })?;
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    // SAFETY: LISTEN_PID names this process, so these descriptors were passed on to it and nothing
    // else in it has opened or taken them; they are taken once.
    let own = |number| Inherited {
        socket: unsafe { OwnedFd::from_raw_fd(number) },
        name: names.next().filter(|name| !name.is_empty()).unwrap_or("unknown").to_owned(),
    };
    Ok(numbers.map(own).collect())
}
