//! Knows how a real daemon is started, talked to, watched and ended, each step with a deadline.
//! Never: what the daemon should do.

mod child;
mod client;
pub(crate) mod needs;
mod process;
mod telexd;

use std::time::{Duration, Instant};

pub(crate) use child::{ChildClient, Part, digest, missed};
pub(crate) use client::Client;
pub(crate) use process::Process;
pub(crate) use telexd::{Starter, Telexd, run};

/// How long a test waits for what must come: far more than it takes, also on a slow machine that
/// does many things at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `look` finds something; `what` is for whoever reads that it never did.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same for what is either so or not.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_for(what, || is_so().then_some(()));
}
