//! Knows sockets and readiness: Unix and TCP, listening, accepting, reading, writing. [`Sockets`] is all of it in one.
//! Never: which peer a socket is of, or what its bytes say.

mod alarm;
mod bind;
mod connection;
mod listeners;
mod newcomers;
mod poller;
mod reserve;
mod sockets;
mod stream;

pub use crate::listen::{is_listening, is_shortage};
pub use bind::{Bound, Listener, adopt, bind, take_over};
pub use connection::{Read, Wrote};
pub use newcomers::Newcomer;
pub use poller::Waker;
pub use sockets::{Change, Found, Ready, Sockets};
pub use stream::Stream;
use stream::Taken;
