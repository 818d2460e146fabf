//! Knows how the command is told to end: by SIGINT (Ctrl-C), SIGTERM, or SIGHUP, when its terminal is gone.
//! Never: what there is to say at the end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_default, register_usize};
use signal_hook::low_level::pipe;

use crate::exit::{Exit, Failure};

/// The first signal, as something that can be waited for.
pub(crate) struct Stop {
    told: UnixStream,
    signal: Arc<AtomicUsize>,
}

impl Stop {
    /// From now on the first signal is told here, and a second one ends the process at once. A signal that the command
    /// was started to ignore stays ignored, as of a job in the background of a script.
    pub(crate) fn watch() -> Result<Stop, Failure> {
        Stop::register().map_err(|error| Failure::file("signals", &error))
    }

    fn register() -> io::Result<Stop> {
        let (told, tell) = UnixStream::pair()?;
        let (is_second, signal) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let signals = [(SIGINT, Exit::Interrupted), (SIGTERM, Exit::Terminated), (SIGHUP, Exit::HungUp)];
        for (number, word) in signals {
            if is_ignored(number) {
                continue;
            }
            // What is registered first is done first: no signal sees the flag that it sets itself.
            register_conditional_default(number, Arc::clone(&is_second))?;
            register(number, Arc::clone(&is_second))?;
            register_usize(number, Arc::clone(&signal), word as usize)?;
            pipe::register(number, tell.try_clone()?)?;
        }
        Ok(Stop { told, signal })
    }

    /// Whether a signal has come.
    pub(crate) fn has_come(&self) -> bool {
        self.check().is_err()
    }

    /// Fails once a signal has come.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self.signal.load(Ordering::Relaxed) {
            0 => Ok(()),
            code => Err(Failure::new(Exit::of_code(code as i32), "")),
        }
    }
}

impl AsFd for Stop {
    /// Readable once a signal has come.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.told.as_fd()
    }
}

fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
