//! Knows how a service waits until its process is told to end (SIGTERM, SIGINT), and what these signals do afterwards.
//! Never: what is done at the end.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_default};
use signal_hook::low_level::{pipe, unregister};

/// Waits until the process is told to end. A second signal ends it at once, and so does one after this has returned.
pub(super) fn wait() -> io::Result<()> {
    let (mut told, tell) = UnixStream::pair()?;
    let _told =
        [Registered(pipe::register(SIGTERM, tell.try_clone()?)?), Registered(pipe::register(SIGINT, tell)?)];
    expect_the_first()?;
    loop {
        match told.read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read.map(drop),
        }
    }
}

/// What is done at a signal.
struct Registered(SigId);

impl Drop for Registered {
    fn drop(&mut self) {
        unregister(self.0);
    }
}

/// The next signal is the first one; those that follow do what they do by default. A handler stays in the process once
/// it was set, and without this they would do nothing.
fn expect_the_first() -> io::Result<()> {
    static IS_SECOND: Mutex<Option<Arc<AtomicBool>>> = Mutex::new(None);
    let mut is_second = IS_SECOND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(is_second) = &*is_second {
        is_second.store(false, Ordering::Relaxed);
        return Ok(());
    }
    let flag = Arc::new(AtomicBool::new(false));
    // What is registered first is done first: no signal sees the flag that it sets itself.
    let registered = [
        Registered(register_conditional_default(SIGTERM, Arc::clone(&flag))?),
        Registered(register_conditional_default(SIGINT, Arc::clone(&flag))?),
        Registered(register(SIGTERM, Arc::clone(&flag))?),
        Registered(register(SIGINT, Arc::clone(&flag))?),
    ];
    std::mem::forget(registered);
    *is_second = Some(flag);
    Ok(())
}
