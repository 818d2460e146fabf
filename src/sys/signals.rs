//! Knows the signals that tell the daemon to end or to read its configuration again.
//! Never: carries them out.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals as Source;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: end.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// The signals as something that can be waited for.
pub struct Signals(Source);

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signals")
    }
}

impl Signals {
    /// Takes the signals from now on; they do not kill the process any more.
    pub fn take() -> io::Result<Signals> {
        Source::new([SIGTERM, SIGINT, SIGHUP]).map(Signals)
    }

    /// What to register with the poller.
    pub fn source(&mut self) -> &mut Source {
        &mut self.0
    }

    /// What has come since the last call.
    pub fn pending(&mut self) -> Vec<Signal> {
        let as_asked = |number| if number == SIGHUP { Signal::Reload } else { Signal::Stop };
        self.0.pending().map(as_asked).collect()
    }
}
