//! Knows how a failure that ends the daemon is told.
//! Never: prints it.

use std::fmt;
use std::io;

/// What was being done when the daemon could not go on, and why it failed.
#[derive(Debug)]
pub struct Fatal {
    doing: String,
    source: io::Error,
}

impl Fatal {
    /// For `map_err`: what was being done.
    pub(super) fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> Fatal {
        let doing = what.into();
        move |source| Fatal { doing, source }
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.source)
    }
}

impl std::error::Error for Fatal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
