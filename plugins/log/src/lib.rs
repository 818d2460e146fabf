//! What the log plugins share: a [`Logger`] is what each of them is, and [`export!`] exports it. It has
//! options ([`options`], [`MaxLevel`], [`MaxQueueBytes`]) and a [`Queue`] with a thread behind it, which
//! writes what the daemon's loop must not wait for; [`LocalSocket`] is one that does without the thread
//! while nobody makes it wait. [`Line`] is what a record tells people.

mod access;
mod line;
mod local;
mod logger;
mod options;
mod queue;
#[cfg(feature = "testing")]
pub mod testing;

pub use access::check_append;
pub use line::Line;
pub use local::{LocalSocket, Stream};
pub use logger::{Logger, Way};
pub use options::{MaxLevel, MaxQueueBytes, options};
pub use queue::{Batch, Format, Queue, STEP, Sink, Tell};
