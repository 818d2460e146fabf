//! Knows the signals: which tell the daemon to end or to read its configuration again, and which mean nothing to it.
//! Never: carries them out.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc::{self, SIGPWR, SIGSTKFLT};
use nix::sys::signal::{SigSet, Signal as Named, raise};
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
};
use signal_hook::flag::{register, register_conditional_default};
use signal_hook_mio::v1_0::Signals as Source;

use super::terminal::Terminal;

/// Those that tell the daemon to end. SIGXCPU announces SIGKILL (RLIMIT_CPU, setrlimit(2)).
const STOP: [i32; 4] = [SIGTERM, SIGINT, SIGQUIT, SIGXCPU];
/// Those that would kill it, though they mean nothing to it; real-time signals would, too.
const MEANINGLESS: [i32; 7] = [SIGUSR1, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGSTKFLT];

/// What a signal asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, SIGINT, SIGQUIT or SIGXCPU: end.
    Stop,
    /// SIGHUP when the terminal that the daemon was started at is gone: end.
    TerminalGone,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR2: hand everything over to the process that goes on.
    HandOver,
    /// Nothing; this is its name.
    Ignored(String),
}

/// Lets every signal through: a process may have been started with some blocked, which would never come. To be called
/// before there are threads, which inherit it.
pub fn unblock_signals() -> io::Result<()> {
    Ok(SigSet::empty().thread_set_mask()?)
}

/// Has a write beyond the largest size of a file (RLIMIT_FSIZE, setrlimit(2)) fail from now on, as one to a full
/// disk does. Without this it kills the process.
pub fn fail_at_file_limit() -> io::Result<()> {
    register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(drop)
}

/// The signals as something that can be waited for.
pub struct Signals {
    source: Source,
    /// Those that are to end the process do so at once.
    end_at_once: Arc<AtomicBool>,
    /// Its end is that of the daemon; none: SIGHUP never means an end.
    terminal: Option<Terminal>,
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signals")
    }
}

impl Signals {
    /// Takes the signals from now on. Those that are to end the process still do so at once, until
    /// [`Signals::keep`]: nothing asks for them as long as the start takes.
    pub fn take() -> io::Result<Signals> {
        let end_at_once = Arc::new(AtomicBool::new(true));
        for signal in STOP {
            register_conditional_default(signal, end_at_once.clone())?;
        }
        // nohup(1) has it ignored, so that the terminal's end is not the daemon's.
        let terminal = if is_ignored(SIGHUP) { None } else { Terminal::controlling() };
        let real_time = libc::SIGRTMIN()..=libc::SIGRTMAX();
        let source = Source::new(STOP.into_iter().chain([SIGHUP, SIGUSR2]).chain(MEANINGLESS))?;
        for signal in real_time {
            // A tool that runs the daemon may keep one to itself: valgrind has the last.
            if let Err(error) = source.add_signal(signal)
                && error.raw_os_error() != Some(libc::EINVAL)
            {
                return Err(error);
            }
        }
        Ok(Signals { source, end_at_once, terminal })
    }

    /// From now on they do not kill the process any more, but are kept for [`Signals::pending`].
    pub fn keep(&self) {
        self.end_at_once.store(false, Ordering::SeqCst);
    }

    /// Leaves the signals that come from now on, and those that have come and were not asked for, to the program that this
    /// process becomes (execve(2) keeps both the mask and what is pending): it is to [unblock them](unblock_signals) when
    /// it has taken them.
    pub fn leave_to_next(mut self) -> io::Result<()> {
        SigSet::all().thread_set_mask()?;
        // Other threads may have heard them; this one is what goes on.
        for number in self.source.pending() {
            if let Ok(signal) = Named::try_from(number) {
                raise(signal)?;
            }
        }
        Ok(())
    }

    /// What to register with the poller.
    pub fn source(&mut self) -> &mut Source {
        &mut self.source
    }

    /// What has come since the last call.
    pub fn pending(&mut self) -> Vec<Signal> {
        let is_gone = || self.terminal.as_ref().is_some_and(Terminal::is_gone);
        let as_asked = |number| match number {
            SIGHUP if is_gone() => Signal::TerminalGone,
            SIGHUP => Signal::Reload,
            SIGUSR2 => Signal::HandOver,
            number if STOP.contains(&number) => Signal::Stop,
            number => Signal::Ignored(name(number)),
        };
        self.source.pending().map(as_asked).collect()
    }
}

fn name(number: i32) -> String {
    match Named::try_from(number) {
        Ok(named) => named.as_str().to_owned(),
        Err(_) => format!("SIGRTMIN+{}", number - libc::SIGRTMIN()),
    }
}

/// Whether the process has been started with this signal ignored (proc_pid_status(5)); not if it cannot be found out.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_named() {
        assert_eq!((&*name(SIGUSR1), &*name(libc::SIGRTMIN() + 3)), ("SIGUSR1", "SIGRTMIN+3"));
    }
}
