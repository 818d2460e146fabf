//! Knows how something that may take long is done beside the loop: on a thread of its own, which wakes the loop at
//! its end.
//! Never: what is done.

use std::io;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;

/// Work that is done on a thread of its own. If the task is dropped the thread goes on, and what it comes to is
/// dropped there.
#[derive(Debug)]
pub struct BackgroundTask<T> {
    outcome: Receiver<T>,
}

impl<T: Send + 'static> BackgroundTask<T> {
    /// Starts `work`; `wake` is called on its thread when [`BackgroundTask::outcome`] has something to give. Fails if
    /// the process may have no more threads.
    pub fn start(
        work: impl FnOnce() -> T + Send + 'static,
        wake: impl FnOnce() + Send + 'static,
    ) -> io::Result<BackgroundTask<T>> {
        let (tell, outcome) = channel();
        thread::Builder::new().name("task".to_owned()).spawn(move || {
            // Dropped in this order, also if the work panics: the loop wakes when the outcome is there.
            let _wakes = AtEnd(Some(wake));
            let tell = tell;
            // It may be that nothing waits for it any more.
            let _ = tell.send(work());
        })?;
        Ok(BackgroundTask { outcome })
    }

    /// What the work has come to, once; none while it is under way. The error is that it has panicked.
    pub fn outcome(&self) -> Option<io::Result<T>> {
        match self.outcome.try_recv() {
            Ok(outcome) => Some(Ok(outcome)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(io::Error::other("it came to no end"))),
        }
    }
}

/// Calls what is in it when it is dropped.
struct AtEnd<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Waits for the wake, and gives what there is then.
    fn outcome_of<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (wake, woken) = channel();
        let task = BackgroundTask::start(work, move || wake.send(()).expect("a loop")).expect("a thread");
        woken.recv_timeout(Duration::from_secs(30)).expect("it wakes the loop");
        task.outcome().expect("it is there when the loop wakes")
    }

    #[test]
    fn the_loop_is_woken_when_the_outcome_is_there() {
        assert_eq!(outcome_of(|| 7).ok(), Some(7));
        let panics = || -> u8 { std::panic::resume_unwind(Box::new(())) };
        assert_eq!(outcome_of(panics).expect_err("a panic").to_string(), "it came to no end");
    }
}
