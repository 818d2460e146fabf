//! Knows an answer that is still to come, and how to get at it: by waiting, as a future, by a callback.
//! Never: how it comes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::client::error::Error;
use crate::client::handle::pump::wait_for;
use crate::client::handle::shared::Shared;
use crate::client::handle::slot::{Outcome, Slot};
use crate::client::message::Message;

type Read<T> = Box<dyn FnOnce(Message) -> Result<T, Error> + Send>;

/// An answer that is still to come. [`wait`](Answer::wait) blocks until it is there; `.await` works on any
/// executor; [`then`](Answer::then) hands it to a callback. Dropped, it is forgotten: the request may be carried
/// out all the same, and its reply is dropped.
///
/// Its errors: those that the daemon tells, such as [`Error::NoSuchNode`] and [`Error::Timeout`]; [`Error::Node`],
/// if the node answered with one; [`Error::GaveUp`], if not even the daemon answered in time; [`Error::Lost`], if
/// the connection was lost on the way; [`Error::Away`], [`Error::NameLost`], [`Error::Closed`] and [`Error::Unsendable`], if nothing was
/// sent.
///
/// ```
/// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
/// use std::time::Duration;
/// use telex::client::{Handle, default_address};
///
/// let handle = Handle::connect(&default_address()?)?;
/// let second = Duration::from_secs(1);
/// // Both are on their way before the first is waited for.
/// let (hall, attic) = (handle.call("hall", "read", "", second), handle.call("attic", "read", "", second));
/// println!("{} {}", hall.wait()?.line(), attic.wait()?.line());
/// handle.call("hall", "set", r#"{"c":21}"#, second).then(|answer| {
///     if let Err(error) = answer {
///         eprintln!("the hall stays cold: {error}");
///     }
/// });
/// # Ok::<(), telex::client::Error>(())
/// ```
#[must_use = "an answer that is dropped is forgotten"]
pub struct Answer<T = Message> {
    slot: Arc<Slot>,
    shared: Arc<Shared>,
    read: Option<Read<T>>,
}

impl<T> Answer<T> {
    pub(super) fn new(
        shared: &Arc<Shared>,
        slot: Arc<Slot>,
        read: impl FnOnce(Message) -> Result<T, Error> + Send + 'static,
    ) -> Answer<T> {
        Answer { slot, shared: Arc::clone(shared), read: Some(Box::new(read)) }
    }

    /// Blocks until the answer is there. In a handler or callback, which run on the thread that reads, it reads
    /// the connection itself; what else comes meanwhile is kept until the handler has returned, and more than
    /// [`KEPT_BYTES_MAX`](crate::client::KEPT_BYTES_MAX) of that is [`Error::KeptFull`].
    pub fn wait(mut self) -> Result<T, Error> {
        let outcome = wait_for(&self.shared, &self.slot, None)?;
        // Without a deadline there is an outcome.
        self.read_out(outcome.unwrap_or(Err(Error::Away)))
    }

    /// The same, until then; [`Error::GaveUp`] after `patience`, which that was.
    pub(super) fn wait_until(mut self, until: Option<Instant>, patience: Duration) -> Result<T, Error> {
        match wait_for(&self.shared, &self.slot, until)? {
            Some(outcome) => self.read_out(outcome),
            None => Err(Error::GaveUp { after: patience }),
        }
    }

    /// Hands the answer to `callback` when it is there: on the thread that reads, between messages; at once, on
    /// this one, if it is there already. An answer that fails because its time is over is handed over on a
    /// thread of its own. A callback that panics hurts nothing else.
    pub fn then(mut self, callback: impl FnOnce(Result<T, Error>) + Send + 'static)
    where
        T: 'static,
    {
        let read = self.read.take();
        self.slot.call_back(Box::new(move |outcome| {
            callback(match (outcome, read) {
                (Ok(message), Some(read)) => read(message),
                (Ok(_), None) => Err(Error::Away),
                (Err(error), read) => {
                    drop(read);
                    Err(error)
                }
            });
        }));
    }

    fn read_out(&mut self, outcome: Outcome) -> Result<T, Error> {
        let read = self.read.take();
        match (outcome, read) {
            (Ok(message), Some(read)) => read(message),
            // It was polled after its end.
            (Ok(_), None) => Err(Error::Away),
            (Err(error), _) => Err(error),
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Error>> {
        let answer = self.get_mut();
        answer.slot.poll(context).map(|outcome| answer.read_out(outcome))
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        self.slot.forget();
    }
}

impl<T> std::fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}
