//! What the log plugins share: what a record tells people ([`Line`]), the options that all of them have
//! ([`options`], [`MaxLevel`], [`MaxQueueBytes`]), and a [`Queue`] with a thread behind it, which writes
//! what the daemon's loop must not wait for; [`LocalSocket`] is one that does without the thread while
//! nobody makes it wait.

mod line;
mod local;
mod options;
mod queue;

pub use line::Line;
pub use local::LocalSocket;
pub use options::{MaxLevel, MaxQueueBytes, options};
pub use queue::{Batch, Format, Queue, STEP, Sink, Tell};
