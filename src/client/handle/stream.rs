//! Knows a row of things that come one by one, and how to get at them: by waiting, or as futures.
//! Never: where they come from.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::client::error::Error;
use crate::client::handle::pump::wait_for_next;
use crate::client::handle::queue::{Queue, Taken};
use crate::client::handle::shared::Shared;

type OnDrop = Box<dyn FnOnce() + Send>;

/// What comes, one by one: the messages of a subscription, the answers of a [`gather`], and so on. It is bounded;
/// what finds no room is counted and told in its place. Dropped, it ends, and what it was made by is undone
/// (`unsubscribe`, `unmonitor`).
///
/// It ends when nothing comes any more: the handle has ended, or the time of a [`gather`] is over.
///
/// [`gather`]: crate::client::Handle::gather
///
/// ```
/// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
/// use telex::client::{Arrival, Handle, default_address};
///
/// let handle = Handle::connect(&default_address()?)?;
/// let mut news = handle.subscribe("sensor.>", None).wait()?;
/// # handle.publish("sensor.hall", "20.5")?;
/// for arrival in news.iter() {
///     match arrival {
///         Arrival::Message(message) => println!("{:?} {:?}", message.topic(), message.body()),
///         Arrival::Missed(count) => println!("missed {count:?}"),
///         _ => {}
///     }
/// #   break;
/// }
/// # Ok::<(), telex::client::Error>(())
/// ```
///
/// In a task, `next` is awaited in place of `iter`:
///
/// ```
/// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
/// use std::time::Duration;
/// use telex::client::{Handle, To, default_address};
///
/// # async fn example() -> Result<(), telex::client::Error> {
/// let handle = Handle::connect(&default_address()?)?;
/// let mut replies = handle.gather(To::Topic("sensors"), "read", "", Duration::from_millis(100));
/// while let Some(reply) = replies.next().await {
///     println!("{}", reply?.line());
/// }
/// assert!(replies.is_ended());
/// # Ok(())
/// # }
/// # smol::block_on(example()).unwrap();
/// ```
pub struct Stream<T> {
    queue: Arc<Queue<T>>,
    shared: Arc<Shared>,
    on_drop: Option<OnDrop>,
}

impl<T> Stream<T> {
    pub(super) fn new(
        shared: &Arc<Shared>,
        queue: Arc<Queue<T>>,
        on_drop: impl FnOnce() + Send + 'static,
    ) -> Stream<T> {
        Stream { queue, shared: Arc::clone(shared), on_drop: Some(Box::new(on_drop)) }
    }

    /// What is next, as a future; `None` at the end. It can be dropped and made again: nothing is lost.
    #[expect(clippy::should_implement_trait, reason = "it is awaited; the iterator is `iter`")]
    pub fn next(&mut self) -> Next<'_, T> {
        Next { stream: self }
    }

    /// The same for those who write a `poll` of their own, such as a `futures::Stream`.
    ///
    /// ```
    /// # let _switch = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/switch.rs"));
    /// use std::future::poll_fn;
    /// use telex::client::{Handle, default_address};
    ///
    /// let handle = Handle::connect(&default_address()?)?;
    /// let mut presence = handle.monitor("attic").wait()?;
    /// assert!(smol::block_on(poll_fn(|context| presence.poll_next(context))).is_some());
    /// # Ok::<(), telex::client::Error>(())
    /// ```
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.queue.poll(context)
    }

    /// Blocks until something comes, for `timeout` at most (`None`: for ever; zero: only what is there already).
    /// `None` if nothing came in time, and at the end, which [`is_ended`](Stream::is_ended) tells. In a
    /// handler it reads the connection itself, like [`Answer::wait`](crate::client::Answer::wait), whose errors it
    /// has there; elsewhere it has none.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Option<T>, Error> {
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        match wait_for_next(&self.shared, &self.queue, until)? {
            Taken::Item(item) => Ok(Some(item)),
            Taken::Nothing | Taken::Ended => Ok(None),
        }
    }

    /// Whether nothing comes any more and all has been taken.
    pub fn is_ended(&self) -> bool {
        self.queue.is_ended()
    }

    /// Blocks for each until the end.
    pub fn iter(&mut self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.wait(None).ok().flatten())
    }
}

/// What is next in a [`Stream`].
#[must_use = "futures do nothing unless they are awaited"]
#[derive(Debug)]
pub struct Next<'a, T> {
    stream: &'a mut Stream<T>,
}

impl<T> Future for Next<'_, T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.get_mut().stream.poll_next(context)
    }
}

impl<T> Drop for Stream<T> {
    fn drop(&mut self) {
        if let Some(on_drop) = self.on_drop.take().filter(|_| !self.shared.is_inherited()) {
            on_drop();
        }
    }
}

impl<T> std::fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}
