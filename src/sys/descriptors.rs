//! Knows the process's file descriptors: how many it may have, and what lies in one.
//! Never: reads or writes one.
#![expect(unsafe_code, reason = "what only an ioctl tells")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one, and says what it is now.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // A sandbox may forbid that also if it changes nothing.
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
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
