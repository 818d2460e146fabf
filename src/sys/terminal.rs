//! Knows the terminal that the daemon was started at, and when it is gone.
//! Never: reads it or writes to it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::libc::{O_NOCTTY, O_NONBLOCK};
use nix::sys::termios::tcgetattr;

/// The process's controlling terminal, whose end the kernel and the shell tell it by SIGHUP.
#[derive(Debug)]
pub(super) struct Terminal(File);

impl Terminal {
    /// The controlling terminal; none for a service, or behind setsid(1). What stdin, stdout and stderr are does
    /// not count: they may have been redirected, or belong to a terminal that others are started at.
    pub(super) fn controlling() -> Option<Terminal> {
        let flags = O_NOCTTY | O_NONBLOCK;
        OpenOptions::new().read(true).custom_flags(flags).open("/dev/tty").map(Terminal).ok()
    }

    /// Whether it has been hung up: its window was closed, its connection lost, its session ended.
    pub(super) fn is_gone(&self) -> bool {
        tcgetattr(&self.0) == Err(Errno::EIO)
    }
}
