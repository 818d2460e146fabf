//! Knows when the user, or the system, wants the command to end.
//! Never: what is left to do then.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::exit::{Exit, Failure};

/// The signals that end a program: SIGINT (Ctrl-C), SIGTERM and SIGHUP.
pub(crate) struct Interrupt(SignalFd);

impl Interrupt {
    /// From now on these signals end nothing by themselves. To be called before threads are started that go on: these
    /// take it over.
    pub(crate) fn watch() -> Result<Interrupt, Failure> {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let watched = signals.thread_block().and_then(|()| SignalFd::with_flags(&signals, flags));
        watched.map(Interrupt).map_err(|errno| Failure::new(Exit::Refused, format!("signals: {errno}")))
    }

    /// Whether one has come.
    pub(crate) fn has_come(&self) -> bool {
        matches!(self.0.read_signal(), Ok(Some(_)))
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
