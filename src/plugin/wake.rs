//! Knows how other threads end the wait of the daemon's loop.
//! Never: what there is to do then.

use std::fmt;
use std::sync::Arc;
use std::thread::ThreadId;

/// Ends the loop's wait; can be called on any thread.
#[derive(Clone)]
pub(super) struct Wake {
    wake: Arc<dyn Fn() + Send + Sync>,
    loop_thread: ThreadId,
}

impl Wake {
    /// To be made on the thread of the loop.
    pub(super) fn new(wake: impl Fn() + Send + Sync + 'static) -> Wake {
        Wake { wake: Arc::new(wake), loop_thread: std::thread::current().id() }
    }

    pub(super) fn wake(&self) {
        (self.wake)();
    }

    /// Whether the calling thread is that of the loop, which needs no waking.
    pub(super) fn is_on_loop(&self) -> bool {
        std::thread::current().id() == self.loop_thread
    }
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wake")
    }
}
