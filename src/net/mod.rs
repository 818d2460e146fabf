//! Knows sockets and readiness: Unix and TCP, listening, accepting, reading, writing.
//! Never: whose socket it is, or what the bytes say.

mod alarm;
mod bind;
mod poller;
mod stream;

pub use bind::{Bound, Listener, adopt, bind, is_shortage};
pub use poller::{Event, Poller, Waker};
pub use stream::{Stream, Taken};
