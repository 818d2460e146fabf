//! Knows the process's file descriptors: how many it may have, which it was started with, and what lies in
//! one.
//! Never: reads or writes one.
#![expect(unsafe_code, reason = "descriptors that are passed on by number, and what only an ioctl tells")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one, and says what it is now.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// How many of the bytes that were written to a socket its peer has not taken from it yet, about
/// (TIOCOUTQ, unix(7) and tcp(7)). Over TCP what lies in the peer's own buffer is taken. 0 if the kernel
/// does not say.
pub fn unread(socket: &impl AsFd) -> usize {
    let mut count = 0;
    // SAFETY: the descriptor is open, and the request writes one int.
    let told = unsafe { nix::libc::ioctl(socket.as_fd().as_raw_fd(), nix::libc::TIOCOUTQ, &mut count) };
    if told == 0 { usize::try_from(count).unwrap_or(0) } else { 0 }
}

/// The sockets that the service manager has opened for this process (sd_listen_fds(3)). They are
/// handed out once: a second call in one process gives none.
pub fn inherited() -> io::Result<Vec<OwnedFd>> {
    static TAKEN: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    if TAKEN.swap(true, std::sync::atomic::Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let numbers = sd_notify::listen_fds().map_err(|error| match error.raw_os_error() {
        Some(nix::libc::EBADF) => {
            let count = std::env::var("LISTEN_FDS").unwrap_or_default();
            let text =
                format!("of the {count} descriptors from 3 on that LISTEN_FDS tells of, one is not open");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        }
        _ => error,
    })?;
    // SAFETY: LISTEN_PID names this process, so these descriptors were passed on to it and nothing
    // else in it has opened or taken them; they are taken once.
    Ok(numbers.map(|number| unsafe { OwnedFd::from_raw_fd(number) }).collect())
}
