//! Knows the latest moment at which a wait is to end.
//! Never: what is due then.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// A timer that can be polled (timerfd_create(2)). It is set again only for an earlier moment than it is set
/// for, and rings also where nothing is due any more: so a deadline that never comes due, like most, costs
/// no system call. A time-out of epoll_wait(2) would be set and cleared by the kernel in each wait.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: TimerFd,
    pub(super) set_for: Option<Duration>,
}

impl Alarm {
    pub(super) fn new() -> io::Result<Alarm> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Ok(Alarm { timer: TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?, set_for: None })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    /// What to poll. It never has to be read: setting it takes back that it has rung.
    pub(super) fn fd(&self) -> RawFd {
        self.timer.as_fd().as_raw_fd()
    }

    /// Has it ring at `at`, which is later than `now`.
    pub(super) fn ring_at(&mut self, at: Duration, now: Duration) -> io::Result<()> {
        let will_ring = self.set_for.is_some_and(|set_for| now < set_for && set_for <= at);
        if !will_ring {
            let wait = TimeSpec::from(at.saturating_sub(now));
            self.timer.set(Expiration::OneShot(wait), TimerSetTimeFlags::empty())?;
            self.set_for = Some(at);
        }
        Ok(())
    }
}
