//! Knows the signals that tell the daemon to end or to read its configuration again.
//! Never: carries them out.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag::{register, register_conditional_default};
use signal_hook_mio::v1_0::Signals as Source;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: end.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// Has a write beyond the largest size of a file (RLIMIT_FSIZE, setrlimit(2)) fail from now on, as one to a full
/// disk does. Without this it kills the process.
pub fn fail_at_file_limit() -> io::Result<()> {
    register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(drop)
}

/// The signals as something that can be waited for.
pub struct Signals {
    source: Source,
    /// SIGTERM and SIGINT end the process at once.
    end_at_once: Arc<AtomicBool>,
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
        for signal in [SIGTERM, SIGINT] {
            register_conditional_default(signal, end_at_once.clone())?;
        }
        Ok(Signals { source: Source::new([SIGTERM, SIGINT, SIGHUP])?, end_at_once })
    }

    /// From now on they do not kill the process any more, but are kept for [`Signals::pending`].
    pub fn keep(&self) {
        self.end_at_once.store(false, Ordering::SeqCst);
    }

    /// What to register with the poller.
    pub fn source(&mut self) -> &mut Source {
        &mut self.source
    }

    /// What has come since the last call.
    pub fn pending(&mut self) -> Vec<Signal> {
        let as_asked = |number| if number == SIGHUP { Signal::Reload } else { Signal::Stop };
        self.source.pending().map(as_asked).collect()
    }
}
