//! Knows how the service manager is told of the daemon's state (sd_notify(3)). Without a service
//! manager nothing is told.
//! Never: decides what the state is.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use nix::unistd::pipe;
use sd_notify::NotifyState;

/// States that wait to be told: far more than come in the time in which a service manager may be busy.
const STATES_MAX: usize = 64;

/// What the service manager is told of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It serves; one line for `systemctl status`.
    Ready(String),
    /// The configuration is being read again; [`State::Ready`] follows.
    Reloading,
    /// What `systemctl status` shows has changed.
    Status(String),
    /// It is not stuck.
    Alive,
    /// It ends, which may take so long.
    Stopping(Duration),
    /// Of descriptors that the service manager keeps for it, those of this name are not needed any more.
    Forget(String),
}

/// The name of what is left with the service manager for the process that goes on.
pub const HANDOVER: &str = "handover";
/// How long the service manager may take until it has what is left with it: while it executes itself anew it answers
/// nothing.
const STORED_WITHIN_MS: u16 = 10_000;

fn store(descriptors: &[OwnedFd]) -> io::Result<()> {
    let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    // Without FDPOLL=0 it would drop a queue, of which nothing holds the other end.
    let states = [NotifyState::FdStore, NotifyState::FdName(HANDOVER), NotifyState::Custom("FDPOLL=0")];
    sd_notify::notify_with_fds(&states, &descriptors)?;
    let (ends, barrier) = pipe()?;
    sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[barrier.as_fd()])?;
    drop(barrier);
    let mut hangs_up = [PollFd::new(ends.as_fd(), PollFlags::empty())];
    loop {
        match poll(&mut hangs_up, PollTimeout::from(STORED_WITHIN_MS)) {
            Err(Errno::EINTR) => {}
            polled => return Ok(polled.map(drop)?),
        }
    }
}

/// Tells the service manager the daemon's states, each in its order, on a thread: one that is busy (systemd in a
/// `daemon-reload`) may take none for long. Without one ($NOTIFY_SOCKET) there is nothing to tell.
#[derive(Debug)]
pub struct ServiceManager {
    states: Option<SyncSender<State>>,
    teller: Option<JoinHandle<()>>,
    failures: Receiver<io::Error>,
    fail: Sender<io::Error>,
}

impl ServiceManager {
    /// Starts the thread; `wake` is called on it when there is a failure to be asked for. Fails if the process may
    /// have no more threads.
    pub fn start(wake: impl Fn() + Send + 'static) -> io::Result<ServiceManager> {
        let (fail, failures) = channel();
        let mut manager = ServiceManager { states: None, teller: None, failures, fail };
        if std::env::var_os("NOTIFY_SOCKET").is_some() {
            let (states, told) = sync_channel(STATES_MAX);
            let fail = manager.fail.clone();
            let teller = thread::Builder::new().name("notify".to_owned()).spawn(move || {
                for error in told.iter().filter_map(|state| notify(&state).err()) {
                    // At the daemon's end nothing asks for failures any more.
                    let _ = fail.send(error);
                    wake();
                }
            })?;
            (manager.states, manager.teller) = (Some(states), Some(teller));
        }
        Ok(manager)
    }

    /// Has a state told, without waiting for that.
    pub fn tell(&self, state: State) {
        if let Some(states) = &self.states
            && states.try_send(state).is_err()
        {
            // It is received by this same value.
            let _ = self.fail.send(io::Error::other("it takes nothing"));
        }
    }

    /// Leaves descriptors with the service manager, which hands them to the next process of the service under the name
    /// [`HANDOVER`]. Comes back when it has them, behind all that it was told before; that it is slow is no failure.
    pub fn store(self, descriptors: &[OwnedFd]) -> io::Result<()> {
        // What it was to forget by that name would be these.
        drop(self.states);
        if let Some(teller) = self.teller {
            // It does not panic.
            let _ = teller.join();
        }
        store(descriptors)
    }

    /// Why a state could not be told, once for each.
    pub fn next_failure(&self) -> Option<io::Error> {
        self.failures.try_recv().ok()
    }
}

/// How often the service manager wants to be told [`State::Alive`] (sd_watchdog_enabled(3)); none: not at all. Beyond that
/// it takes the process for stuck and kills it.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|within| !within.is_zero())
}

fn notify(state: &State) -> io::Result<()> {
    match state {
        State::Ready(status) => {
            sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&one_line(status))])
        }
        State::Status(status) => sd_notify::notify(&[NotifyState::Status(&one_line(status))]),
        State::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
        State::Reloading => sd_notify::notify(&[NotifyState::Reloading, NotifyState::monotonic_usec_now()?]),
        State::Stopping(within) => {
            let usec = u32::try_from(within.as_micros()).unwrap_or(u32::MAX);
            sd_notify::notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(usec)])
        }
        State::Forget(name) => sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]),
    }
}

/// A text as systemd takes it: a backslash in it vanishes, and a line feed would end it.
fn one_line(text: &str) -> String {
    text.replace('\\', "\\\\").replace(char::is_control, "\u{fffd}")
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
    fn a_status_is_one_line_and_keeps_its_backslashes() {
        assert_eq!(one_line("a\\b\nREADY=1"), "a\\\\b\u{fffd}READY=1");
    }

    #[test]
    fn a_stream_is_named_by_device_and_inode() {
        assert!(names("8:1234", 8, 1234));
        for other in ["", "8", "8:", "8:123", "9:1234", "8:12345", "8:1234:"] {
            assert!(!names(other, 8, 1234), "{other}");
        }
    }
}
